"""From the settled chunks of one recording to its rows; and to and from plain rows of numbers."""

from __future__ import annotations

import math
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import ModelBundle
from recorder.detect.decide import detected, token_events
from recorder.detect.mel import CHUNK_S, TOKEN_S, TOKENS_PER_CHUNK
from recorder.detect.pipeline import ChunkResult
from recorder.keep.formats import ChunkRow, DetectionRow, EventRow, ManifestRow, RejectedRow
from recorder.keep.result import FileResult
from recorder.keep.rows import Rows
from recorder.species.expectation import Expectation
from recorder.species.rejection import reject

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_DATE_AT_END = re.compile(r"_\d{8}$")


def packed(settled: list[ChunkResult], outputs: int) -> Floats:
    """[chunks, 17 * outputs]: the chunk's scores, then those of its tokens."""
    if not settled:
        return np.empty((0, columns(outputs)), np.float32)
    return np.stack([np.concatenate([one.scores, one.token_scores.ravel()]) for one in settled])


def unpacked(rows: Floats, outputs: int) -> list[ChunkResult]:
    """What `packed` was given, counted from 0."""
    return [
        ChunkResult(index, row[:outputs], row[outputs:].reshape(TOKENS_PER_CHUNK, outputs))
        for index, row in enumerate(rows)
    ]


def columns(outputs: int) -> int:
    """Of a packed row."""
    return (TOKENS_PER_CHUNK + 1) * outputs


class Gathered:
    """What is settled of a recording, in little memory: of most chunks the scores alone.

    The scores of tokens are kept of what is detected in the chunk or beside it: events reach no
    further. Of any bird they are kept wherever something is: it is said where a list or a prior
    takes the species away.
    """

    def __init__(
        self, bundle: ModelBundle, thresholds: Floats, expectation: Expectation | None = None
    ) -> None:
        self.bundle, self.thresholds = bundle, thresholds
        self.expectation = expectation
        # Plain bytes: an array of its own for each chunk would be more head than numbers.
        self._scores = bytearray()
        self._chunks = 0
        self._near: list[Bools] = []
        """What is detected in the last two chunks."""
        self._last: Floats | None = None
        """The tokens of the last one: whether they are kept, the next one tells too."""
        self._places: dict[int, array[int]] = {}
        """Of each output, the chunks whose tokens were kept..."""
        self._tokens: dict[int, bytearray] = {}
        """...and the tokens' scores."""

    def add(self, settled: Sequence[ChunkResult]) -> None:
        """The next chunks, in order."""
        for one in settled:
            scores = one.scores[np.newaxis]
            hits = detected(scores, self.thresholds, len(self.bundle.labels))[0]
            self._keep([*self._near, hits])
            self._near = [*self._near[-1:], hits]
            self._last = one.token_scores.copy()
            self._scores += one.scores.astype(np.float32).tobytes()
            self._chunks += 1

    def _keep(self, near: list[Bools]) -> None:
        """Of the last chunk what events may need, if `near` it they are."""
        if self._last is None:
            return
        needed = np.logical_or.reduce(near)
        if needed.any():
            needed[len(self.bundle.labels) :] = True
        for output in map(int, np.flatnonzero(needed)):
            self._places.setdefault(output, array("I")).append(self._chunks - 1)
            tokens = self._last[:, output].astype(np.float32).tobytes()
            self._tokens.setdefault(output, bytearray()).extend(tokens)
        self._last = None

    @property
    def scores(self) -> Floats:
        """[chunks, outputs]."""
        return np.frombuffer(self._scores, np.float32).reshape(-1, self.bundle.outputs).copy()

    def tracks(self) -> Iterator[tuple[int, int, Floats]]:
        """(output, first chunk, token scores [16 * chunks]) of what was kept without a gap."""
        self._keep(self._near)
        for output, places in self._places.items():
            tokens = np.frombuffer(self._tokens[output], np.float32)
            starts = [0, *(np.flatnonzero(np.diff(places) > 1) + 1), len(places)]
            for start, stop in pairwise(starts):
                track = slice(start * TOKENS_PER_CHUNK, stop * TOKENS_PER_CHUNK)
                yield output, places[start], tokens[track]


def file_result(gathered: Gathered, manifest: ManifestRow, heard_s: float) -> FileResult:
    """What the settled chunks of a recording of `heard_s` seconds are for its readers."""
    name, bundle, outputs = manifest.path, gathered.bundle, gathered.scores
    classes = len(bundle.labels)
    scores, bird = outputs[:, :classes], outputs[:, classes] if bundle.any_bird else None
    said, limits = bundle.said, [float(limit) for limit in gathered.thresholds]
    hits_of = detected(outputs, gathered.thresholds, classes)
    rejected = _reject(hits_of, outputs, gathered, manifest)
    chunks, detections = Rows(ChunkRow), Rows(DetectionRow)
    for place, hits in enumerate(hits_of):
        start_s, end_s = place * CHUNK_S, (place + 1) * CHUNK_S
        labels = sorted(np.flatnonzero(hits), key=lambda index: said[index].label)
        for index in labels:
            label = said[index]
            names = (label.label, label.scientific_name, label.common_name)
            score = float(outputs[place, index])
            detections.append(DetectionRow(name, start_s, end_s, *names, score, limits[index]))
        birds = " ".join(said[index].label for index in labels) or "nocall"
        chunks.append(ChunkRow(f"{_row_stem(name)}_{end_s:g}", name, start_s, end_s, birds))
    events = _events(name, gathered, hits_of, round(heard_s, 3))
    return FileResult(manifest, detections, chunks, events, scores, bird, rejected)


def _reject(
    hits_of: NDArray[np.bool_], outputs: Floats, gathered: Gathered, manifest: ManifestRow
) -> Rows[RejectedRow]:
    """What list and prior take away of the hits [chunks, said], which are changed; as rows."""
    expectation, limits = gathered.expectation, gathered.thresholds
    if expectation is None:
        return Rows(RejectedRow)
    rejected = reject(
        hits_of,
        outputs,
        limits,
        bundle=gathered.bundle,
        expectation=expectation,
        moments_of=lambda places: expectation.in_recording(
            manifest.start, [place * CHUNK_S for place in places]
        ),
    )
    rows = (
        RejectedRow(
            file=manifest.path,
            start_s=one.place * CHUNK_S,
            end_s=(one.place + 1) * CHUNK_S,
            label=one.label.label,
            scientific_name=one.label.scientific_name,
            common_name=one.label.common_name,
            score=float(outputs[one.place, one.index]),
            adjusted=one.adjusted,
            threshold=float(limits[one.index]),
            reason=one.reason,
        )
        for one in rejected
    )
    return Rows(RejectedRow, rows)


def _events(
    name: str, gathered: Gathered, hits_of: NDArray[np.bool_], recording_s: float
) -> Rows[EventRow]:
    heard = math.ceil(recording_s / TOKEN_S)  # the rest is padding
    said = gathered.bundle.said
    outputs, starts_s, ends_s, scores = array("I"), array("d"), array("d"), array("d")
    for output, first, track in gathered.tracks():
        before = first * TOKENS_PER_CHUNK
        hits = hits_of[first : first + len(track) // TOKENS_PER_CHUNK, [output]]
        for event in token_events(track[: max(0, heard - before), np.newaxis], hits):
            outputs.append(output)
            starts_s.append((before + event.first_token) * TOKEN_S)
            ends_s.append(min((before + event.last_token) * TOKEN_S, recording_s))
            scores.append(event.score)
    labels = [label.label for label in said]
    rank = np.argsort(np.argsort(labels))
    rows = Rows(EventRow)
    for place in np.lexsort((rank[np.asarray(outputs, np.intp)], np.asarray(starts_s))):
        label = labels[outputs[place]]
        rows.append(EventRow(name, starts_s[place], ends_s[place], label, scores[place]))
    return rows


def _row_stem(name: str) -> str:
    """BirdCLEF's row id is the stem without a date at its end: 90100_CMP_20140301 -> 90100_CMP."""
    return _DATE_AT_END.sub("", os.path.splitext(os.path.basename(name))[0])
