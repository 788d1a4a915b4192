"""`detections.jsonl`: an append-only file of JSON objects, one a line, that survives anything.

A batch is one write, and is acknowledged after it has reached the disk. What a power cut or a kill
leaves half-written at the end is cut off at the next start, and said. The journal is the truth:
`station.sqlite` is made from it, and can be made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from recorder.keep.disk import sync_folder

Record = dict[str, Any]

LEDGER = "ledger"
"""The kind of the line that closes a batch of settled rows."""
_OF_A_BATCH = ("settled", "rejected")
"""Kinds of the lines that it closes."""
_TAIL_BYTES = 1 << 16


class Journal:
    """One writer; nothing but the end ever changes."""

    def __init__(self, path: Path) -> None:
        """Open or make it, and cut off what was never acknowledged; OSError when that fails."""
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        size = os.fstat(self._descriptor).st_size
        self.bytes = _whole_bytes(self._descriptor, size)
        self.cut_bytes = size - self.bytes
        """Cut off at the start: a line that a crash had left half-written, or a batch unclosed."""
        if self.cut_bytes:
            os.ftruncate(self._descriptor, self.bytes)
            os.fsync(self._descriptor)
        sync_folder(path.parent)
        self._unsynced = False

    def append(self, records: Iterable[Record]) -> None:
        """Write lines at the end, all or none; they are safe from a power cut after `sync`.

        OSError when the disk takes no more: then the file is as it was before.
        """
        text = "".join(line_of(one) + "\n" for one in records)
        data = memoryview(text.encode("utf-8", "surrogateescape"))
        place = self.bytes
        try:
            while data:
                written = os.pwrite(self._descriptor, data, place)
                place, data = place + written, data[written:]
        except OSError:
            # Best effort: should this fail too, the next start cuts the torn line.
            os.ftruncate(self._descriptor, self.bytes)
            raise
        self.bytes = place
        self._unsynced = True

    def sync(self) -> None:
        """Return when everything appended is on the disk; OSError when it did not get there."""
        if self._unsynced:
            os.fdatasync(self._descriptor)
            self._unsynced = False

    def read(self, start: int = 0) -> Iterator[tuple[Record, int]]:
        """(record, the byte after it) from a byte on; a line that is damaged is left out."""
        with self.path.open("rb") as stream:
            stream.seek(start)
            place = start
            for line in stream:
                place += len(line)
                record = _parsed(line)
                if record is not None:
                    yield record, place

    def close(self) -> None:
        os.close(self._descriptor)


def line_of(record: Record) -> str:
    """One line of the file, without its end."""
    # Without spaces between: a tenth less for a card to take.
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _whole_bytes(descriptor: int, size: int) -> int:
    """Without a torn last line, and without settled rows that no ledger line closes."""
    looked_at = _TAIL_BYTES
    while size:
        begin = max(0, size - looked_at)
        lines = os.pread(descriptor, size - begin, begin).splitlines(keepends=True)
        if begin > 0 and len(lines) == 1:
            looked_at *= 4
            continue
        last = lines[-1]
        record = _parsed(last) if last.endswith(b"\n") else None
        if record is not None and record.get("kind") not in _OF_A_BATCH:
            return size
        size -= len(last)
    return 0


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line.decode("utf-8", "surrogateescape"))
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
