"""Hand-style labels: what somebody would mark as nocall by eye (§2.2(3))."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recorder.detect.mel import FRAMES_PER_TOKEN, SAMPLE_RATE_HZ, TOKEN_S, MelConfig
from recorder.keep.formats import written
from train.clips.dataset import Dataset, key
from train.clips.hand_labels import COLUMNS as HAND_COLUMNS
from train.clips.recordings import load_recordings

_SHORT_S = 16.0
"""Only in clips up to this length is what is not marked as nocall taken for a call (§2.2(3))."""
_SILENT_S = 3.0
"""A stretch without any call of at least this length is marked by hand-style labels."""


def write_hand_style_labels(dataset: Dataset, path: Path) -> None:
    """What somebody would mark as nocall by eye: stretches of 3 s and more without a loud frame,
    in short clips without secondary labels (§2.2(3)); as a table of hand labels."""
    with written(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HAND_COLUMNS)
        for clip in sorted(dataset.clips, key=key):
            if clip.secondary_labels:
                continue
            for recording in load_recordings([clip], MelConfig()).recordings:
                if len(recording.samples) > _SHORT_S * SAMPLE_RATE_HZ:
                    continue
                ranges = [[round(a, 2), round(b, 2)] for a, b in _silences(recording.active)]
                if ranges:
                    writer.writerow((key(clip), 0, 1, json.dumps(ranges)))


def _silences(active: np.ndarray) -> Iterator[tuple[float, float]]:
    """(from, to) in seconds of each stretch of frames of which none is active."""
    edges = np.diff(np.concatenate(([True], active, [True])).astype(np.int8))
    frame_s = TOKEN_S / FRAMES_PER_TOKEN
    for first, last in zip(np.flatnonzero(edges < 0), np.flatnonzero(edges > 0), strict=True):
        if (last - first) * frame_s >= _SILENT_S:
            yield first * frame_s, last * frame_s
