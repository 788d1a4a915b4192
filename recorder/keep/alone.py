"""One birdrec at a time writes to a folder."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recorder.errors import UsageError

SCAN_NOTE = ".done/.lock"
"""Where a scan says who it is: `.done` is no result."""
_STATION_NOTE = ".lock"
_TAKEN = (errno.EAGAIN, errno.EACCES)


@contextmanager
def alone_in(out: Path, note: str = _STATION_NOTE) -> Iterator[None]:
    """UsageError for the second, whether scan or station: the folder itself is locked. Who has it
    stands in the file `note` in it, which is locked too. A disk that knows no locks (some network
    disks) lets both in."""
    place = out / note
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with place.open("a+") as stream:
            for descriptor in (folder, stream.fileno()):
                _lock(descriptor, out)
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n")
            stream.flush()
            yield
    finally:
        os.close(folder)


def _lock(descriptor: int, out: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            process = "".join(f" (process {pid})" for pid in _holders(out))
            raise UsageError(
                f"--out {out} is in use by another birdrec{process}: stop it, or choose another "
                "folder"
            ) from error


def _holders(out: Path) -> list[str]:
    """The processes that say that they write there, and still run."""
    found = []
    for note in (_STATION_NOTE, SCAN_NOTE):
        try:
            pid = (out / note).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if pid.isdecimal() and Path("/proc", pid).exists():
            found.append(pid)
    return found
