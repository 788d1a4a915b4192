"""A folder of files up to a total size: what was used least recently makes room.

    FOLDER/NAME.raw    bytes, memory-mapped when they are used
    FOLDER/NAME.json   a note, with the size and CRC-32 of the bytes and of itself; some hundred
                       bytes that stay, and are counted, when the bytes make room

Several processes may share a folder. Anything in it may be deleted at any time.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_OURS = re.compile(r"[0-9a-f]{64}\.(raw|json)(\.[0-9a-f]{16}\.tmp)?")
"""No other file in the folder is counted or deleted."""
_FULL, _UNSEEN = 0.9, 0.05
"""Of the limit: what is left after files made room, and how much a process then writes before it
looks at the folder again. Two processes at once keep to the limit."""
_FREE_BYTES = 1_000_000_000
"""Checkpoints need room on the disk too."""

_LEFT_OVER_NS = 3600 * 10**9
"""Nobody writes a file for an hour."""

Note = dict[str, Any]


class LimitedFolder:
    """Keeps bytes by name (64 hexadecimal digits); what it gives back is what was put in."""

    def __init__(self, folder: Path, limit_bytes: float, *, say: Callable[[str], None]) -> None:
        """`say` is told, once each: that files make room, are damaged, or cannot be written."""
        self._folder = folder
        self._limit = limit_bytes
        self._say = say
        self._told: set[str] = set()
        self._checked: dict[str, tuple[int, int]] = {}
        self._unseen = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._evict(0)
        except OSError as error:
            self._tell_unwritable(error)

    def note(self, name: str) -> Note | None:
        """What was noted with the bytes; None when it is not there, damaged or another's."""
        envelope = self._envelope(name)
        return None if envelope is None else envelope["note"]

    def get(self, name: str) -> tuple[NDArray[np.uint8], Note] | None:
        """The bytes, memory-mapped, and their note; None when they must be made again."""
        envelope, path = self._envelope(name), self._folder / f"{name}.raw"
        if envelope is None or not path.exists():
            return None
        try:
            raw = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
            file = (path.stat().st_ino, len(raw))
        except (OSError, ValueError):
            raw, file = np.empty(0, np.uint8), (0, 0)
        # All of it is read for the check: once for each file that is put there.
        if self._checked.get(name) != file and crc32(raw.data) == envelope["crc32"]:
            self._checked[name] = file
        if self._checked.get(name) != file or len(raw) != envelope["size"]:
            self._tell("damaged", f"{path} is damaged: it is made again, and so are others like it")
            return None
        with suppress(OSError):  # a folder that can only be read has no order
            os.utime(path)
        return raw, envelope["note"]

    def put(self, name: str, raw: bytes, note: Note) -> None:
        """Keep them, if there is room and the folder can be written to."""
        text = json.dumps({"name": name, "size": len(raw), "crc32": crc32(raw), "note": note})
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._make_room(len(raw)):
                _write(self._folder / f"{name}.raw", raw)
            checked = f"{crc32(text.encode()):08x} {text}"
            _write(self._folder / f"{name}.json", checked.encode())
        except OSError as error:
            self._tell_unwritable(error)

    def _envelope(self, name: str) -> dict[str, Any] | None:
        try:
            checked = (self._folder / f"{name}.json").read_text(encoding="utf-8")
            check, text = checked.split(" ", 1)
            if int(check, 16) != crc32(text.encode()):
                return None
            envelope: dict[str, Any] = json.loads(text)
            return envelope if envelope["name"] == name else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _make_room(self, needed: int) -> bool:
        """Whether `needed` bytes fit, now that others may have been deleted for them."""
        if shutil.disk_usage(self._folder).free < needed + _FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if needed > _FULL * self._limit:
            much = f"{needed / 1e9:.3g} GB in one file is too much for the cache {self._folder}"
            self._tell("large", f"{much} of {self._limit / 1e9:g} GB: it is made at each use")
            return False
        if needed <= self._unseen:
            self._unseen -= needed
            return True
        return self._evict(needed)

    def _evict(self, needed: int) -> bool:
        """Delete what was used least recently until `needed` bytes fit; False when they cannot."""
        files = sorted(self._files())
        excess = sum(size for _, size, _ in files) + needed - _FULL * self._limit
        if excess > 0:
            full = f"the cache {self._folder} is full ({self._limit / 1e9:g} GB)"
            self._tell("full", f"{full}: what was used least recently is made again when needed")
        for used_ns, size, path in files:
            if excess > 0 and _may_go(path, used_ns):
                path.unlink(missing_ok=True)
                excess -= size
        self._unseen = _UNSEEN * self._limit
        return excess <= 0

    def _files(self) -> list[tuple[int, int, Path]]:
        """When each file was used last, its size, and the file."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # other processes delete too
                    if _OURS.fullmatch(entry.name):
                        status = entry.stat()
                        found.append((status.st_mtime_ns, status.st_size, Path(entry.path)))
        return found

    def _tell_unwritable(self, error: OSError) -> None:
        self._tell(
            "unwritable",
            f"the cache {self._folder} cannot be written to ({error.strerror}): what is not in it "
            "is made at each use, which is slow; make room, or choose another folder",
        )

    def _tell(self, what: str, line: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._say(line)


def _may_go(path: Path, used_ns: int) -> bool:
    """Notes stay; so do temporary files, unless whoever wrote them has died."""
    is_left_over = path.suffix == ".tmp" and time.time_ns() - used_ns > _LEFT_OVER_NS
    return path.suffix == ".raw" or is_left_over


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all. Without fsync: what a power failure leaves behind is found damaged."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
