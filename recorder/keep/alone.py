"""One birdrec at a time writes to a folder."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recorder.errors import UsageError

_TAKEN = (errno.EAGAIN, errno.EACCES)


@contextmanager
def alone_in(out: Path, below: str = "") -> Iterator[None]:
    """UsageError for the second; the lock lies in `out`, or in a folder `below` it. A disk that
    knows no locks (some network disks) lets both in."""
    folder = out / below
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                lock.seek(0)
                raise UsageError(
                    f"--out {out} is in use by another birdrec (process {lock.read().strip()}): "
                    "stop it, or choose another folder"
                ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
