"""The files of a scan, written row by row as the recordings are done."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np
from numpy.typing import NDArray

from recorder.keep.formats import (
    ChunkRow,
    DetectionRow,
    EventRow,
    Row,
    beside,
    cell,
    wall_time,
    write_audacity,
    write_raven,
    write_scores,
    written,
)
from recorder.keep.parquet import ParquetDetections
from recorder.keep.result import FileResult


class ScanOutputs:
    """`detections.csv`, `chunks.csv`, `events.csv`, `manifest.jsonl`, and what else is asked for.

    Files arrive in the order of their names, so the rows are sorted as they are written, in
    constant memory. Nothing is under its final name before the scan ends in good order.
    """

    def __init__(
        self, out: Path, *, formats: Sequence[str], labels: Sequence[str], scores: bool
    ) -> None:
        self._out = out
        self._formats = formats
        self._labels = labels
        self._scores = scores
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._detections = self._csv("detections.csv", DetectionRow)
        self._chunks = self._csv("chunks.csv", ChunkRow)
        self._events = self._csv("events.csv", EventRow)
        self._manifest = self._text("manifest.jsonl")
        self._lines = self._text("detections.jsonl") if "jsonl" in self._formats else None
        self._parquet = None
        if "parquet" in self._formats:
            parquet = ParquetDetections(self._out / "detections.parquet")
            self._parquet = self._open.enter_context(parquet)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, result: FileResult) -> None:
        """Write everything that one recording gave."""
        _write(self._detections, result.detections)
        _write(self._chunks, result.chunks)
        _write(self._events, result.events)
        self._manifest.write(json.dumps(asdict(result.manifest)) + "\n")
        name = result.manifest.path
        if self._lines is not None:
            for row in result.detections:
                time = wall_time(result.manifest.start, row.start_s)
                self._lines.write(json.dumps({**asdict(row), "start_time": time}) + "\n")
        if self._parquet is not None:
            self._parquet.add(result.detections, result.manifest.start)
        if result.scores is None:
            return
        if "raven" in self._formats:
            write_raven(beside(self._out / "raven", name, ".selections.txt"), result.detections)
        if "audacity" in self._formats:
            write_audacity(beside(self._out / "audacity", name, ".txt"), result.detections)
        if self._scores:
            write_scores(
                beside(self._out / "scores", name, ".npz"), _score_arrays(result, self._labels)
            )

    def _text(self, name: str) -> TextIO:
        return self._open.enter_context(written(self._out / name))

    def _csv(self, name: str, kind: type[Row]) -> Any:
        writer = csv.writer(self._text(name), lineterminator="\n")
        writer.writerow([field.name for field in fields(kind)])
        return writer


def _score_arrays(result: FileResult, labels: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Before thresholding: `scores` float32 [chunks, classes], `chunk_end_s`, `labels`, and
    `bird` float32 [chunks], any bird, known or not, if the model has it."""
    assert result.scores is not None
    arrays: dict[str, NDArray[Any]] = {
        "scores": result.scores,
        "chunk_end_s": np.array(result.chunk_end_s, np.float64),
        "labels": np.array(labels),
    }
    return arrays if result.bird is None else {**arrays, "bird": result.bird}


def _write(writer: Any, rows: Sequence[Row]) -> None:
    for row in rows:
        writer.writerow([cell(name, value) for name, value in vars(row).items()])
