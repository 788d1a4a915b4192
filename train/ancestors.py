"""What a training begins with: the nets that it starts from, or is taught by.

They are checkpoints or bundles, and what they owe to whom goes on into what is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recorder.errors import ConfigError
from train.checkpoint import Checkpoint, read_checkpoint
from train.from_bundle import bundle_checkpoint
from train.imagined import is_imagined
from train.nets import Net

Ancestor = dict[str, Any]
"""`name` of a net, `attribution` (recordists) and `licences` of its recordings, and `clips`: the
keys of those, None where nobody wrote them down."""


def read_net(path: Path) -> Checkpoint:
    """A checkpoint, or a bundle as one; ModelError when it is neither."""
    return bundle_checkpoint(path) if path.is_dir() else read_checkpoint(path)


def start_from(net: Net, start: Checkpoint, path: Path, labels: list[str]) -> None:
    """Give a new net the averaged weights of `start`, read from `path`; of its classes those that
    both have. ConfigError when it is another kind of net."""
    weights = start.net.state_dict()
    mine = net.state_dict()
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
        reason = str(error).splitlines()[-1].strip()
        raise ConfigError(f"{path} cannot be the start of this net: {reason}") from error


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
    }
