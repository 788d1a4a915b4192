"""The files of a scan, written row by row as the recordings are done."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np
from numpy.typing import NDArray

from recorder.keep.formats import (
    ChunkRow,
    DetectionRow,
    EventRow,
    RejectedRow,
    Row,
    beside,
    cell,
    wall_time,
    write_audacity,
    write_raven,
    write_scores,
    written,
)
from recorder.keep.parquet import ParquetRows
from recorder.keep.result import FileResult
from recorder.keep.rows import Rows

_Heard = DetectionRow | RejectedRow


class ScanOutputs:
    """`detections.csv`, `chunks.csv`, `events.csv`, `manifest.jsonl`, and what else is asked for;
    `rejected.csv` where something can be (`rejects`).

    Files arrive in the order of their names, so the rows are sorted as they are written, in
    constant memory. Nothing is under its final name before the scan ends in good order, or is
    interrupted.
    """

    def __init__(
        self,
        out: Path,
        *,
        formats: Sequence[str],
        labels: Sequence[str],
        scores: bool,
        rejects: bool = False,
        before: Collection[str] = (),
    ) -> None:
        """`before` are the formats of an earlier scan, whose tables are replaced or removed."""
        self._out, self._rejects = out, rejects
        self._formats = formats
        self._labels = labels
        self._scores = scores
        self._before = before
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._tables = [self._table("detections", DetectionRow)]
        if self._rejects:
            self._tables.append(self._table("rejected", RejectedRow))
        self._chunks = self._csv("chunks.csv", ChunkRow)
        self._events = self._csv("events.csv", EventRow)
        self._manifest = self._text("manifest.jsonl")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)
        if kind is None:
            self._clear_away()

    def add(self, result: FileResult) -> None:
        """Write everything that one recording gave."""
        rows: tuple[Rows[Any], ...] = (result.detections, result.rejected)
        for table, each in zip(self._tables, rows, strict=False):
            table.add(each, result.manifest.start)
        _write(self._chunks, result.chunks)
        _write(self._events, result.events)
        self._manifest.write(json.dumps(asdict(result.manifest)) + "\n")
        name = result.manifest.path
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

    def _clear_away(self) -> None:
        """Tables of an earlier run that was asked for more: they do not belong to these."""
        asked = {"csv", *self._formats}
        for suffix in ("csv", "jsonl", "parquet"):
            if suffix not in self._before:
                continue
            if suffix not in asked:
                (self._out / f"detections.{suffix}").unlink(missing_ok=True)
            if suffix not in asked or not self._rejects:
                (self._out / f"rejected.{suffix}").unlink(missing_ok=True)

    def _table(self, name: str, kind: type[_Heard]) -> _Table:
        """In every format of tables that is asked for."""
        lines = self._text(f"{name}.jsonl") if "jsonl" in self._formats else None
        parquet = None
        if "parquet" in self._formats:
            rows = ParquetRows(self._out / f"{name}.parquet", kind)
            parquet = self._open.enter_context(rows)
        return _Table(self._csv(f"{name}.csv", kind), lines, parquet)

    def _text(self, name: str) -> TextIO:
        return self._open.enter_context(written(self._out / name))

    def _csv(self, name: str, kind: type[Row]) -> Any:
        writer = csv.writer(_UnixLines(self._text(name)), lineterminator="\r\n")
        writer.writerow([field.name for field in fields(kind)])
        return writer


class _UnixLines:
    """Ends rows with a line feed alone. The csv module quotes carriage returns within a name only
    where rows end with one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        self._stream.write(row.removesuffix("\r\n") + "\n")


@dataclass(frozen=True)
class _Table:
    """Detections, or what was rejected, in up to three formats."""

    csv: Any
    lines: TextIO | None
    parquet: ParquetRows | None

    def add(self, rows: Rows[Any], start: str) -> None:
        """Of one recording, and the time of day of its first sample."""
        _write(self.csv, rows)
        if self.lines is not None:
            for row in rows:
                time = wall_time(start, row.start_s)
                self.lines.write(json.dumps({**asdict(row), "start_time": time}) + "\n")
        if self.parquet is not None:
            self.parquet.add(rows, start)


def _score_arrays(result: FileResult, labels: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Before thresholding: `scores` float32 [chunks, classes], `chunk_end_s`, `labels`, `model`
    (name and hash), and `bird` float32 [chunks], any bird, known or not, if the model has it."""
    assert result.scores is not None
    arrays: dict[str, NDArray[Any]] = {
        "scores": result.scores,
        "chunk_end_s": np.array(result.chunk_end_s, np.float64),
        "labels": np.array(labels),
        "model": np.array(result.manifest.model),
    }
    return arrays if result.bird is None else {**arrays, "bird": result.bird}


def _write(writer: Any, rows: Rows[Any]) -> None:
    for values in rows.values():
        writer.writerow(map(cell, rows.names, values))
