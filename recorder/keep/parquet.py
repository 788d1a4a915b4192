"""Detections as Parquet, for those who ask a table of millions of rows (extra `parquet`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from recorder.keep.formats import DetectionRow, RejectedRow, temporary_for, values_of, wall_time

_ROWS_AT_ONCE = 50_000
"""Of a group, which is what is held in memory."""


def parquet_is_there() -> bool:
    """Is the library installed?"""
    return find_spec("pyarrow") is not None


class ParquetRows:
    """`detections.parquet` (or `rejected.parquet`): the columns of the CSV in full precision, and
    `start_time`.

    There whole or not at all, as the other files.
    """

    def __init__(
        self, path: Path, kind: type[DetectionRow] | type[RejectedRow] = DetectionRow
    ) -> None:
        self._path, self._kind = path, kind
        self._temporary = temporary_for(path)
        self._rows: list[tuple[Any, ...]] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        import pyarrow
        import pyarrow.parquet

        columns = [(one.name, _TYPES[str(one.type)]) for one in fields(self._kind)]
        self._schema = pyarrow.schema([*columns, ("start_time", "string")])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer: Any = self._open.enter_context(
            pyarrow.parquet.ParquetWriter(self._temporary, self._schema, compression="zstd")
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._write()
        self._open.__exit__(kind, error, trace)
        if kind is None:
            with self._temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            self._temporary.replace(self._path)

    def add(self, rows: Sequence[DetectionRow | RejectedRow], start: str) -> None:
        """Of one recording, and the time of day of its first sample."""
        for row in rows:
            name = row.file.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            values = (name, *values_of(row)[1:], wall_time(start, row.start_s))
            self._rows.append(values)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        import pyarrow

        if not self._rows:
            return
        names = self._schema.names
        columns = dict(zip(names, zip(*self._rows, strict=True), strict=True))
        self._writer.write_table(pyarrow.table(columns, schema=self._schema))
        self._rows = []


_TYPES = {"str": "string", "float": "float64"}
