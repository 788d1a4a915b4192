"""What the pseudo labels of one step or several say along some clips (the paper's Figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import TOKEN_S
from recorder.errors import ConfigError
from train.clips.dataset import Clip, key, read_dataset
from train.judging.figures import Trace, Traces
from train.scenes.pseudo import PseudoLabels, read_pseudo_labels
from train.scenes.pseudo_targets import ONE, SURE

Bytes = NDArray[np.uint8]

_CLIPS = 4
_SPECIES = 5
_MOST_TOKENS = 192
"""The first minute."""


def pseudo_traces(folders: Sequence[Path], dataset: Path) -> list[Traces]:
    """For each of some clips the top five classes of each folder, token by token, [] without any.

    One clip a species: those along which the last folder's score of their own species varies most.
    What the metadata name second is not known to call. ConfigError when no clip is in all folders.
    """
    if not folders:
        return []
    stores = [read_pseudo_labels(folder, []) for folder in folders]
    clips = _telling(read_dataset(dataset).clips, stores)
    if not clips:
        raise ConfigError(f"no clip of {dataset} has pseudo labels in all of the folders")
    return [_traces(clip, store, several=len(stores) > 1) for clip in clips for store in stores]


def _telling(clips: Sequence[Clip], stores: Sequence[PseudoLabels]) -> list[Clip]:
    spread: dict[str, tuple[float, Clip]] = {}
    for clip in sorted(clips, key=key):
        if clip.label not in stores[-1].labels:
            continue
        each = [store.of(clip, store.labels) for store in stores]
        last = each[-1]
        if last is None or any(one is None for one in each):
            continue
        own = last[:_MOST_TOKENS, stores[-1].labels.index(clip.label)]
        width = float(np.quantile(own, 0.95) - np.median(own))
        if clip.label not in spread or width > spread[clip.label][0]:
            spread[clip.label] = (width, clip)
    best = sorted(spread.values(), key=lambda one: (-one[0], key(one[1])))
    return [clip for _, clip in best[:_CLIPS]]


def _traces(clip: Clip, store: PseudoLabels, *, several: bool) -> Traces:
    scores = store.of(clip, store.labels)
    assert scores is not None
    scores = scores[:_MOST_TOKENS]
    top = sorted(range(scores.shape[1]), key=lambda column: -int(scores[:, column].max()))
    own = store.labels.index(clip.label)
    shown = [own, *[column for column in top if column != own][: _SPECIES - 1]]
    name = f"{key(clip)}, {store.folder.name}" if several else key(clip)
    return Traces(name, TOKEN_S, [_trace(clip, store.labels[one], scores[:, one]) for one in shown])


def _trace(clip: Clip, label: str, scores: Bytes) -> Trace:
    is_own, count = label == clip.label, len(scores)
    known = is_own or label not in clip.secondary_labels
    return Trace(label, SURE, (scores / ONE).tolist(), [is_own] * count, [known] * count)
