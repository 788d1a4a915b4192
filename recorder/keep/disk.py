"""What is asked of a disk: that names are safe, and that room is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Return when the names in it are on the disk; OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ensure_free(folder: Path, needed_bytes: int, min_free_bytes: int) -> None:
    """OSError when so much more would leave less free than that."""
    missing = missing_bytes(folder, needed_bytes, min_free_bytes)
    if missing > 0:
        raise OSError(errno.ENOSPC, f"less than {min_free_bytes / 1e6:.0f} MB would be left free")


def missing_bytes(folder: Path, needed_bytes: int, min_free_bytes: int) -> int:
    """So much must be freed in the folder's file system before; 0 or less when there is room."""
    free = os.statvfs(folder)
    return min_free_bytes + needed_bytes - free.f_bavail * free.f_frsize
