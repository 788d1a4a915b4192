"""Where sound waits: a RAM disk for the last minutes, the station's own folder for what is more.

The RAM disk costs a card nothing and survives a crash of birdrec, not a power cut.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from recorder.keep.spool import Spool, SpoolFolder, remove_runs, runs_left
from recorder.station.rows import RunInfo

_RAM_DISK = Path("/dev/shm")
_MOST_RAM_BYTES = 160_000_000
_RAM_SHARE = 6
"""Of a small board's memory, the sixth part at most."""
_RAM_FREE_BYTES = 32_000_000


def spool_folders(out: Path, min_free_bytes: int, ram_bytes: int = 0) -> list[SpoolFolder]:
    """The RAM disk where there is one, then the station's folder.

    Of the RAM disk `ram_bytes` are taken; 0 = by the memory.
    """
    disk = SpoolFolder(out / "spool", None, min_free_bytes)
    if not os.access(_RAM_DISK, os.W_OK):
        return [disk]
    name = hashlib.sha256(os.fsencode(out.resolve())).hexdigest()[:12]
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit_bytes = ram_bytes or min(_MOST_RAM_BYTES, memory_bytes // _RAM_SHARE)
    return [SpoolFolder(_RAM_DISK / f"birdrec-{name}", limit_bytes, _RAM_FREE_BYTES), disk]


def spool_of(info: RunInfo, folders: list[SpoolFolder]) -> Spool:
    """The spool of a run, with what is left in it."""
    return Spool(
        folders,
        run_id=run_id(info),
        sample_rate_hz=info.sample_rate,
        channels=info.channels,
        dtype=info.dtype,
    )


def remove_others(folders: list[SpoolFolder], keep: RunInfo) -> None:
    """Sound of runs that are closed is not needed any more."""
    remove_runs(folders, [one for one in runs_left(folders) if one != run_id(keep)])


def run_id(info: RunInfo) -> str:
    """Names the run in its segments."""
    return f"{info.run} {info.start_utc} {info.device}"
