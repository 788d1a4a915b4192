"""What a training begins with: the nets that it starts from, or is taught by.

They are checkpoints or bundles, and what they owe to whom goes on into what is made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recorder.errors import ConfigError
from train.clips.dataset import SPLIT, Dataset, key
from train.clips.folds import divided
from train.invented.imagined import is_imagined
from train.learning.checkpoint import Checkpoint, read_checkpoint
from train.learning.from_bundle import bundle_checkpoint
from train.nets.build import Net

Ancestor = dict[str, Any]
"""`name` of a net, `attribution` (recordists) and `licences` of its recordings, and `clips`: the
keys of those, None where nobody wrote them down; whether it was trained on what its dataset holds
out (`train_on_val`)."""


def read_net(path: Path) -> Checkpoint:
    """A checkpoint, or a bundle as one; ModelError when it is neither."""
    return bundle_checkpoint(path) if path.is_dir() else read_checkpoint(path)


def start_from(net: Net, start: Checkpoint, path: Path, labels: list[str]) -> None:
    """Give a new net the averaged weights of `start`, read from `path`; of its classes those that
    both have, and of its attention blocks the first ones, as many as the new net has. ConfigError
    when it is another kind of net."""
    weights = start.net.state_dict()
    mine = net.state_dict()
    weights = {name: value for name, value in weights.items() if name in mine or not _later(name)}
    theirs = start.content["labels"]
    # Another seed imagines other birds under the same names.
    shared = [label for label in labels if label in theirs and not is_imagined(label)]
    to = [labels.index(label) for label in shared]
    kept = [theirs.index(label) for label in shared]
    try:
        for name in weights:
            if "classify." in name and name in mine:
                rows = mine[name].clone()
                rows[to] = weights[name][kept]
                weights[name] = rows
        net.load_state_dict(weights)
    except RuntimeError as error:
        reason = _difference(start.net, net) or str(error).splitlines()[-1].strip()
        raise ConfigError(f"{path} cannot be the start of this net: {reason}") from error


def _difference(start: Net, net: Net) -> str:
    """What to change in a configuration, in words; "" where its keys do not say it."""
    if type(start) is not type(net):
        return f"it is a {type(start).__name__.lower()}"
    theirs, ours = start.config.to_dict(), net.config.to_dict()
    differ = [f"{name} = {theirs[name]}" for name in theirs if theirs[name] != ours.get(name)]
    return f"set {', '.join(differ)} in the configuration" if differ else ""


def heard_of_held_out(nets: Iterable[Checkpoint], dataset: Dataset) -> str:
    """In words, which of these nets, or of those that they come from, has trained on clips that
    the dataset's split holds out; "" when none is known to.

    Labelled soundscapes may be made of such clips: they say nothing of such a net.
    """
    held_out = {key(clip) for clip in divided(dataset, -1, ())[1]}
    for net in nets:
        for one in [_itself(net), *net.content.get("ancestors", [])]:
            if one["clips"] is None and one.get("train_on_val"):
                return f"{one['name']} was trained on what its dataset holds out"
            both = held_out & set(one["clips"] or ())
            if both:
                return f"{one['name']} was trained on {len(both)} clips that {SPLIT} holds out"
    return ""


def _later(name: str) -> bool:
    """Whether these are weights of an attention block after the first."""
    block = re.fullmatch(r"head\.attention\.(\d+)\..*", name)
    return block is not None and int(block[1]) > 0


def ancestors_of(nets: Iterable[Checkpoint]) -> list[Ancestor]:
    """These nets and all that they come from, each once."""
    found: list[Ancestor] = []
    for net in nets:
        for one in [_itself(net), *net.content.get("ancestors", [])]:
            if one not in found:
                found.append(one)
    return found


def _itself(net: Checkpoint) -> Ancestor:
    config, sources = net.content["config"], net.content["sources"]
    return {
        "name": f"{net.name}, seed {config['seed']}" if "seed" in config else net.name,
        "attribution": sorted({source[2] for source in sources} - {""}),
        "licences": sorted({source[3] for source in sources} - {""}),
        "clips": net.content.get("clips"),
        "train_on_val": config.get("train_on_val", False),
    }
