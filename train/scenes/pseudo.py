"""A folder of pseudo labels: what nets said, token by token, of clips that they never saw (§2.4).

OUT/pseudo_labels.json      classes, nets (path, hash, fold, step), how many clips each read
OUT/LABEL/FILE.npz          scores uint8 [tokens, classes], 255 = 1
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from recorder.errors import ConfigError
from train.clips.dataset import Clip, key
from train.scenes.pseudo_targets import ONE, UNKNOWN

PROVENANCE = "pseudo_labels.json"

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class PseudoLabels:
    """A folder of them, read clip by clip."""

    folder: Path
    labels: list[str]
    clips: frozenset[str]
    """LABEL/FILE of those that were read: other files in the folder are older, and not theirs."""

    def of(self, clip: Clip, labels: list[str]) -> Bytes | None:
        """[tokens, classes] in the order of `labels`, 0 for a class that they do not have (a bird
        that does not exist); None when there are none of this clip. ConfigError when the file is
        damaged."""
        path = _path(self.folder, clip)
        if key(clip) not in self.clips:
            return None
        try:
            with np.load(path) as kept:
                scores: Bytes = kept["scores"]
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise ConfigError(
                f"{path} is damaged ({error}): make the pseudo labels again"
            ) from error
        result = np.zeros((len(scores), len(labels)), np.uint8)
        both = [label for label in labels if label in self.labels]
        columns = [labels.index(label) for label in both]
        result[:, columns] = scores[:, [self.labels.index(label) for label in both]]
        return result


def read_pseudo_labels(folder: Path, labels: list[str]) -> PseudoLabels:
    """Open what `write_pseudo_labels` wrote; ConfigError unless it has all of the classes."""
    path = folder / PROVENANCE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known, clips = content["labels"], frozenset(content["clips"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"no pseudo labels in {folder}: {PROVENANCE} cannot be read ({error}); "
            "`birdrec train pseudo-label` writes them"
        ) from error
    lacking = [label for label in labels if label not in known]
    if lacking:
        raise ConfigError(f"the pseudo labels in {folder} lack the classes {', '.join(lacking)}")
    return PseudoLabels(folder, known, clips)


def write_clip(folder: Path, clip: Clip, scores: NDArray[np.float32]) -> None:
    """Keep the scores of a clip, [tokens, classes] in 0..1, NaN for what nobody knows; the whole
    file or nothing."""
    path = _path(folder, clip)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        known = np.where(np.isnan(scores), UNKNOWN, np.rint(ONE * scores))
        np.savez_compressed(stream, scores=known.astype(np.uint8))
    temporary.replace(path)


def _path(folder: Path, clip: Clip) -> Path:
    return folder / f"{key(clip)}.npz"
