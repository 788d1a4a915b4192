"""The mean of the weights of nets that come from one another: what several know, at one's price.

Nets that go on from one start mostly lie in one valley, whose middle errs less than its slopes
(Wortsman et al., "Model soups" and "Robust fine-tuning", 2022: arXiv:2203.05482, 2109.01903). The
mean of nets that were begun apart is no net. Not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from recorder.detect.mel import MelConfig
from recorder.errors import UsageError
from train.learning.ancestors import ancestors_of, read_net, start_from
from train.learning.checkpoint import Checkpoint, write_content
from train.nets.build import rebuilt


def write_soup(
    paths: Sequence[Path], out: Path, *, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Write the mean of the averaged weights of the nets in `paths` as a checkpoint.

    The first must be a checkpoint: its classes and its blocks of attention are those of the mean,
    and of the others what they have of them. `say` is told of nets that seem to have been begun
    apart. Nothing has judged the mean, and no training goes on from it but by `--init`. UsageError
    when there are fewer than two, or it cannot be written;
    ConfigError when they are of different kinds.
    """
    if len(paths) < 2:
        raise UsageError("a mean of one net is that net: name two or more")
    if out.resolve() in [path.resolve() for path in paths]:
        raise UsageError(f"--out {out} is one of the nets: choose another name")
    _refuse_training(out)
    if paths[0].is_dir():
        raise UsageError(f"{paths[0]} is a bundle: name a checkpoint first, whose classes stay")
    first, *others = (read_net(path) for path in paths)
    labels = first.content["labels"]
    for other, path in zip(others, paths[1:], strict=True):
        if not _are_related(first, other):
            say(
                f"{path} and {paths[0]} do not come from one another (--init), as far as they say: "
                "the mean of nets that were begun apart knows nothing"
            )
    each = [first.net.state_dict()]
    for other, path in zip(others, paths[1:], strict=True):
        net = rebuilt(first.content, MelConfig(n_fft=first.mel.n_fft))
        # A class that only the first has keeps what the first says of it.
        net.load_state_dict(first.net.state_dict())
        start_from(net, other, path, labels)
        each.append(net.state_dict())
    mean = {
        name: torch.stack([one[name] for one in each]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in each[0].items()
    }
    ancestors = [*first.content.get("ancestors", []), *ancestors_of(others)]
    once = [one for at, one in enumerate(ancestors) if one not in ancestors[:at]]
    unjudged = {"judged_by": "", "figures": {}}
    content = {**first.content, **unjudged, "ancestors": once, "net": mean, "average": mean}
    content.pop("optimizer", None)
    write_content(out, content, "the mean")
    return out


def _are_related(first: Checkpoint, other: Checkpoint) -> bool:
    """Does one come from the other, or do both from a third? Of bundles the name alone is known."""
    return any(
        one["name"] == two["name"] and (None in (one["clips"], two["clips"]) or one == two)
        for one in ancestors_of([first])
        for two in ancestors_of([other])
    )


def _refuse_training(out: Path) -> None:
    """UsageError where `out` is anything but an earlier mean."""
    if not out.exists():
        return
    try:
        content = torch.load(out, weights_only=True, map_location="cpu")
        is_mean = "average" in content and "optimizer" not in content
    except Exception:
        is_mean = False
    if not is_mean:
        raise UsageError(f"--out {out} is there and is no mean of nets: choose another name")
