"""One recording from its bytes to its rows: analysed in full, or with the reason why not."""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder import __version__
from recorder.detect.bundle import ModelBundle
from recorder.detect.decide import detected, token_events
from recorder.detect.mel import CHUNK_S, TOKEN_S, TOKENS_PER_CHUNK
from recorder.detect.models import AnyPipeline, Model
from recorder.detect.pipeline import ChunkResult
from recorder.errors import AudioFileError, ModelError
from recorder.keep.formats import ChunkRow, DetectionRow, EventRow, ManifestRow
from recorder.keep.part_file import PartFile
from recorder.keep.result import FileResult
from recorder.sound.audiofile import AudioFile
from recorder.sound.finder import Found
from recorder.sound.notes import with_start
from recorder.sound.resample import StreamResampler

Floats = NDArray[np.float32]

_BLOCK_S = 10
_DATE_AT_END = re.compile(r"_\d{8}$")

Progress = Callable[[float], None]
"""Told which share of the file was just analysed, 0 to 1."""


class FileScanner:
    """Analyses one file after another with one model."""

    def __init__(self, model: Model, thresholds: Floats, *, start: str = "") -> None:
        """`start` is the time of day that the user gives a recording, ISO 8601."""
        self._model = model
        self._thresholds = thresholds
        self._start = start

    def scan(
        self, found: Found, progress: Progress = lambda _: None, part: Path | None = None
    ) -> FileResult:
        """One file, whatever it is: a problem ends in its manifest row, never in an exception.

        What is settled of a long one grows in `part`; what is there already is not made again.
        """
        started = time.monotonic()
        bundle = self._model.bundle
        row = _blank_row(found, bundle)
        if found.problem:
            status = "skipped" if found.harmless else "failed"
            return FileResult(replace(row, status=status, reason=found.problem))
        try:
            result = self._analyse(found, row, progress, part)
        except (AudioFileError, ModelError) as error:
            result = FileResult(replace(row, status="failed", reason=str(error)))
        elapsed_s = round(time.monotonic() - started, 3)
        return replace(result, manifest=replace(result.manifest, elapsed_s=elapsed_s))

    def _analyse(
        self, found: Found, row: ManifestRow, progress: Progress, part: Path | None
    ) -> FileResult:
        bundle = self._model.bundle
        growing = PartFile(part, (TOKENS_PER_CHUNK + 1) * bundle.outputs)
        results, pipeline = self._resumed(growing)
        with AudioFile(found.path) as sound:
            notes = with_start(sound.notes(found.name), self._start)
            resampler = StreamResampler(sound.sample_rate_hz, bundle.sample_rate_hz)
            for block in sound.blocks(_BLOCK_S * sound.sample_rate_hz):
                settled = pipeline.push(resampler.push(block))
                if self._model.resumption is not None:
                    growing.append(_packed(settled, bundle.outputs))
                results += settled
                progress(len(block) / max(sound.frames or 0, sound.frames_read))
        results += pipeline.push(resampler.finish())
        results += pipeline.finish()
        if not sound.frames_read:
            raise AudioFileError(sound.damage or "it holds no samples")
        manifest = replace(_account(row, sound, found.path), **vars(notes))
        heard_s = sound.frames_read / sound.sample_rate_hz
        return _rows(
            found.name, results, manifest, heard_s, bundle=bundle, thresholds=self._thresholds
        )

    def _resumed(self, part: PartFile) -> tuple[list[ChunkResult], AnyPipeline]:
        """(what is settled already, the pipeline that goes on from there)."""
        resumption, outputs = self._model.resumption, self._model.bundle.outputs
        if resumption is None:
            return [], self._model.pipeline()
        rows, window = part.read(), 0
        while resumption.settled_before(window + 1) <= len(rows):
            window += 1
        known = rows[: resumption.settled_before(window)]
        part.cut(len(known))
        results = [
            ChunkResult(index, row[:outputs], row[outputs:].reshape(TOKENS_PER_CHUNK, outputs))
            for index, row in enumerate(known)
        ]
        return results, resumption.pipeline(window)


def _packed(settled: list[ChunkResult], outputs: int) -> Floats:
    """[chunks, 17 * outputs]: the chunk's scores, then those of its tokens."""
    if not settled:
        return np.empty((0, (TOKENS_PER_CHUNK + 1) * outputs), np.float32)
    return np.stack([np.concatenate([one.scores, one.token_scores.ravel()]) for one in settled])


def _blank_row(found: Found, bundle: ModelBundle) -> ManifestRow:
    return ManifestRow(
        path=found.name,
        status="failed",
        reason="",
        seconds_in_file=0.0,
        seconds_analysed=0.0,
        sample_rate=0,
        channels=0,
        sha256="",
        model=f"{bundle.name}@{bundle.sha256[:12]}",
        birdrec=__version__,
        elapsed_s=0.0,
    )


def _account(row: ManifestRow, sound: AudioFile, path: Path) -> ManifestRow:
    """Status and reason from what the reader met on its way through the file."""
    promised = sound.frames if sound.frames is not None else sound.frames_read
    reasons, status = [], "analysed"
    if sound.repair:
        status = "repaired"
        reasons.append(sound.repair)
    if sound.bad_samples:
        status = "repaired"
        reasons.append(
            f"{sound.bad_samples} samples that are not numbers in range, replaced by silence"
        )
    if sound.damage is not None:
        status = "partial"
        reasons.append(sound.damage)
    return replace(
        row,
        status=status,
        reason="; ".join(reasons),
        seconds_in_file=round(max(promised, sound.frames_read) / sound.sample_rate_hz, 3),
        seconds_analysed=round(
            (sound.frames_read - sound.frames_bridged) / sound.sample_rate_hz, 3
        ),
        sample_rate=sound.sample_rate_hz,
        channels=sound.channels,
        sha256=_sha256(path),
    )


def _rows(
    name: str,
    results: list[ChunkResult],
    manifest: ManifestRow,
    heard_s: float,
    *,
    bundle: ModelBundle,
    thresholds: Floats,
) -> FileResult:
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


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise AudioFileError(f"vanished while it was analysed ({error.strerror})") from error
