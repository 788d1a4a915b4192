"""What is known of a long recording while it is analysed, so that an interruption costs minutes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class PartFile:
    """Rows of floats that only grow: a torn last one is not counted, and written over."""

    def __init__(self, path: Path | None, columns: int) -> None:
        """Without a path nothing is kept."""
        self._path, self._columns = path, columns
        self._rows = 0

    def read(self) -> Floats:
        """[rows, columns] of what an interrupted analysis left."""
        try:
            data = b"" if self._path is None else self._path.read_bytes()
        except OSError:
            data = b""
        rows = len(data) // (4 * self._columns)
        found = np.frombuffer(data[: 4 * rows * self._columns], "<f4").astype(np.float32)
        return found.reshape(rows, self._columns)

    def cut(self, rows: int) -> None:
        """Go on after so many rows."""
        self._rows = rows

    def append(self, rows: Floats) -> None:
        """Write rows [rows, columns]; a disk that takes none only makes a resumption longer."""
        if self._path is None or not len(rows):
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                place = 4 * self._rows * self._columns
                if os.fstat(descriptor).st_size < place:
                    raise OSError("somebody else writes here")
                os.ftruncate(descriptor, place)
                data = memoryview(rows.astype("<f4").tobytes())
                while data:
                    written = os.pwrite(descriptor, data, place)
                    place, data = place + written, data[written:]
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            self._rows += len(rows)
        except OSError:
            self._path = None


def load_piece(path: Path | None, columns: int) -> Floats | None:
    """Rows [chunks, columns] that were kept whole; None where there are none."""
    if path is None:
        return None
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = rows.dtype == np.float32 and rows.ndim == 2 and rows.shape[1] == columns
    return rows if fits else None


def save_piece(path: Path | None, rows: Floats) -> None:
    """Keep rows whole or not at all; a disk that takes none only makes a resumption longer."""
    if path is None or path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as stream:
            np.save(stream, rows)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        return
