"""From the settled chunks of one recording to its rows; and to and from plain rows of numbers."""

from __future__ import annotations

import math
import os
import re

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import ModelBundle
from recorder.detect.decide import detected, token_events
from recorder.detect.mel import CHUNK_S, TOKEN_S, TOKENS_PER_CHUNK
from recorder.detect.pipeline import ChunkResult
from recorder.keep.formats import ChunkRow, DetectionRow, EventRow, ManifestRow
from recorder.keep.result import FileResult

Floats = NDArray[np.float32]

_DATE_AT_END = re.compile(r"_\d{8}$")


def packed(settled: list[ChunkResult], outputs: int) -> Floats:
    """[chunks, 17 * outputs]: the chunk's scores, then those of its tokens."""
    if not settled:
        return np.empty((0, columns(outputs)), np.float32)
    return np.stack([np.concatenate([one.scores, one.token_scores.ravel()]) for one in settled])


def unpacked(rows: Floats, outputs: int) -> list[ChunkResult]:
    """What `packed` was given, counted from the recording's first chunk."""
    return [
        ChunkResult(index, row[:outputs], row[outputs:].reshape(TOKENS_PER_CHUNK, outputs))
        for index, row in enumerate(rows)
    ]


def columns(outputs: int) -> int:
    """Of a packed row."""
    return (TOKENS_PER_CHUNK + 1) * outputs


def file_result(
    results: list[ChunkResult],
    manifest: ManifestRow,
    heard_s: float,
    *,
    bundle: ModelBundle,
    thresholds: Floats,
) -> FileResult:
    """What the settled chunks of a recording of `heard_s` seconds are for its readers."""
    name = manifest.path
    outputs = np.stack([result.scores for result in results])
    classes = len(bundle.labels)
    scores, bird = outputs[:, :classes], outputs[:, classes] if bundle.any_bird else None
    said = bundle.said
    hits_of = detected(outputs, thresholds, classes)
    chunks, detections = [], []
    for result, hits in zip(results, hits_of, strict=True):
        start_s, end_s = result.index * CHUNK_S, (result.index + 1) * CHUNK_S
        labels = sorted(np.flatnonzero(hits), key=lambda index: said[index].label)
        for index in labels:
            label = said[index]
            names = (label.label, label.scientific_name, label.common_name)
            score, threshold = float(result.scores[index]), float(thresholds[index])
            detections.append(DetectionRow(name, start_s, end_s, *names, score, threshold))
        birds = " ".join(said[index].label for index in labels) or "nocall"
        chunks.append(ChunkRow(f"{_row_stem(name)}_{end_s:g}", name, start_s, end_s, birds))
    events = _events(name, results, hits_of, bundle, round(heard_s, 3))
    return FileResult(manifest, tuple(detections), tuple(chunks), events, scores, bird)


def _events(
    name: str,
    results: list[ChunkResult],
    hits_of: NDArray[np.bool_],
    bundle: ModelBundle,
    recording_s: float,
) -> tuple[EventRow, ...]:
    heard = math.ceil(recording_s / TOKEN_S)  # the rest is padding
    token_scores = np.concatenate([result.token_scores for result in results])
    token_scores = token_scores[:heard, : len(bundle.said)]
    rows = [
        EventRow(
            name,
            event.first_token * TOKEN_S,
            min(event.last_token * TOKEN_S, recording_s),
            bundle.said[event.label_index].label,
            event.score,
        )
        for event in token_events(token_scores, hits_of)
        if event.first_token * TOKEN_S < recording_s
    ]
    return tuple(sorted(rows, key=lambda row: (row.start_s, row.label)))


def _row_stem(name: str) -> str:
    """BirdCLEF's row id is the stem without a date at its end: 90100_CMP_20140301 -> 90100_CMP."""
    return _DATE_AT_END.sub("", os.path.splitext(os.path.basename(name))[0])
