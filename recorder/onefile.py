"""One recording from its bytes to its rows: analysed in full, or with the reason why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder import __version__
from recorder.detect.bundle import ModelBundle
from recorder.detect.models import AnyPipeline, Model
from recorder.detect.pipeline import ChunkResult
from recorder.errors import AudioFileError, ModelError
from recorder.file_rows import Gathered, columns, file_result, packed, unpacked
from recorder.keep.formats import ManifestRow
from recorder.keep.part_file import PartFile
from recorder.keep.result import FileResult
from recorder.memory import give_back
from recorder.sound.files.audiofile import AudioFile
from recorder.sound.files.finder import Found
from recorder.sound.files.notes import with_start
from recorder.sound.files.remote import BadSectorError, sha256_of
from recorder.sound.resample import StreamResampler
from recorder.species.expectation import Expectation

Floats = NDArray[np.float32]

_BLOCK_S = 10
_LONG_S = 3600.0
"""A longer recording has so many rows that room is made for them."""

Progress = Callable[[float], None]
"""Told which share of the file was just analysed, 0 to 1."""


class FileScanner:
    """Analyses one file after another with one model."""

    def __init__(
        self,
        model: Model,
        thresholds: Floats,
        *,
        start: str = "",
        expectation: Expectation | None = None,
    ) -> None:
        """`start` is the time of day that the user gives a recording, ISO 8601."""
        self._model, self._expectation = model, expectation
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
        row = blank_row(found, bundle)
        if found.problem:
            status = "skipped" if found.harmless else "failed"
            return FileResult(replace(row, status=status, reason=found.problem))
        try:
            result = self._analyse(found, row, progress, part)
        except (AudioFileError, ModelError) as error:
            result = FileResult(replace(row, status="failed", reason=str(error)))
        except OSError as error:
            words = f"cannot be read ({error.strerror or error})"
            result = FileResult(replace(row, status="failed", reason=words))
        except Exception as error:
            # The others must not pay for a fault of ours.
            words = f"a fault of birdrec itself, please report it ({type(error).__name__}: {error})"
            result = FileResult(replace(row, status="failed", reason=words))
        elapsed_s = round(time.monotonic() - started, 3)
        return replace(result, manifest=replace(result.manifest, elapsed_s=elapsed_s))

    def failed(self, found: Found, reason: str) -> FileResult:
        """Of a file that nothing can be had of."""
        return FileResult(replace(blank_row(found, self._model.bundle), reason=reason))

    def _analyse(
        self, found: Found, row: ManifestRow, progress: Progress, part: Path | None
    ) -> FileResult:
        bundle = self._model.bundle
        growing = PartFile(part, columns(bundle.outputs))
        gathered = Gathered(bundle, self._thresholds, self._expectation)
        known, pipeline = self._resumed(growing)
        gathered.add(known)
        del known
        with AudioFile(found.path) as sound:
            notes = with_start(sound.notes(found.name), self._start)
            resampler = StreamResampler(sound.sample_rate_hz, bundle.sample_rate_hz)
            for block in sound.blocks(_BLOCK_S * sound.sample_rate_hz):
                settled = pipeline.push(resampler.push(block))
                if self._model.resumption is not None:
                    growing.append(packed(settled, bundle.outputs))
                gathered.add(settled)
                progress(len(block) / max(sound.frames or 0, sound.frames_read))
        gathered.add(pipeline.push(resampler.finish()))
        gathered.add(pipeline.finish())
        if not sound.frames_read:
            raise AudioFileError(sound.damage or "it holds no samples")
        if sound.bad_samples >= sound.frames_read * sound.channels:
            raise AudioFileError(
                f"none of its {sound.bad_samples} samples is a number in range: what has written "
                "it is broken"
            )
        manifest = replace(account(row, sound, found), **vars(notes))
        heard_s = sound.frames_read / sound.sample_rate_hz
        if heard_s > _LONG_S:
            give_back()
        return file_result(gathered, manifest, heard_s)

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
        return unpacked(known, outputs), resumption.pipeline(first_window=window)


def blank_row(found: Found, bundle: ModelBundle) -> ManifestRow:
    """Of a file that nothing is known of yet."""
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


def account(row: ManifestRow, sound: AudioFile, found: Found, *, sha256: str = "") -> ManifestRow:
    """Status and reason from what the reader met on its way through the file; its hash is made here
    where it is not given."""
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
    reasons += [words for words in (sound.damage, sound.growth) if words]
    if sound.damage or sound.growth:
        status = "partial"
    if not sha256:
        try:
            sha256 = sha256_of(found)
        except BadSectorError as error:
            reasons, status = [*reasons, str(error)], "partial"
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
        sha256=sha256,
    )
