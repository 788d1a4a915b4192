"""Files of sound in a station's folder: which may go, and how they go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from recorder.keep.flac import PART
from recorder.keep.journal import Record
from recorder.keep.retention import Kept, Limits, surplus

LOCK = ".keep"
"""A file of the sound's name and this end makes birdrec never remove the sound."""


def thin(
    out: Path,
    kept: Sequence[Kept],
    limits: Limits,
    *,
    now_utc_s: float | None,
    missing_bytes: int = 0,
) -> Iterator[Record]:
    """Remove what the limits leave no room for; a row for each, after it is gone.

    OSError at the end when some could not be removed.
    """
    failure: OSError | None = None
    gone = surplus(
        kept,
        limits,
        now_utc_s=now_utc_s,
        missing_bytes=missing_bytes,
        locked=lambda one: (out / (one.path + LOCK)).exists(),
    )
    for one, reason in gone:
        try:
            remove(out, one.path)
        except OSError as error:
            failure = error
            continue
        yield {"kind": "removed", "path": one.path, "reason": reason}
    if failure is not None:
        raise failure


def remove(out: Path, path: str) -> None:
    """Delete a file of the station's folder, never one that a link leads to; OSError.

    One that is gone already is what was wished.
    """
    target = out / path
    if target.parent.resolve() != out.resolve() / PurePosixPath(path).parent:
        raise OSError(f"{target.parent} leads out of {out}")
    target.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Delete what a crash left half-written."""
    for path in folder.glob(f"*/*{PART}"):
        path.unlink(missing_ok=True)
