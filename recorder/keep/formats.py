"""What a scan leaves behind: rows and the files that hold them. The columns are promises."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from recorder.errors import UsageError

_LONGEST_NAME_BYTES = 255
_TRIED_BYTES = 1 << 16
"""A folder without room for so much is full."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
RUN = "run.json"
"""What a scan says of itself."""
STATION_TABLES = "station.sqlite"
"""Where a station keeps its tables."""
FORMATS = ("csv", "jsonl", "raven", "audacity", "parquet")
"""`csv` is always written: it is what other programs are promised."""


@dataclass(frozen=True, slots=True)
class DetectionRow:
    """A species over its threshold in a 5-s chunk."""

    file: str
    start_s: float
    end_s: float
    label: str
    scientific_name: str
    common_name: str
    score: float
    threshold: float


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A species over its threshold that a species list or a prior took away, and why."""

    file: str
    start_s: float
    end_s: float
    label: str
    scientific_name: str
    common_name: str
    score: float
    """As the net gave it."""
    adjusted: float
    """What list and prior made of it; 0 where it is not on the list."""
    threshold: float
    reason: str


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A 5-s chunk, with or without birds."""

    row_id: str
    file: str
    start_s: float
    end_s: float
    birds: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """A call at token resolution (0.3125 s)."""

    file: str
    start_s: float
    end_s: float
    label: str
    score: float


@dataclass(frozen=True)
class ManifestRow:
    """What became of one file; `seconds_analysed == seconds_in_file` or there is a reason."""

    path: str
    status: str
    """analysed | repaired | partial | failed | skipped"""
    reason: str
    seconds_in_file: float
    seconds_analysed: float
    sample_rate: int
    channels: int
    sha256: str
    model: str
    birdrec: str
    elapsed_s: float
    start: str = ""
    """Time of day of the first sample, ISO 8601; with its distance to UTC where that is known."""
    start_from: str = ""
    """guano | comment | name | option"""
    recorder: str = ""
    gain: str = ""
    temperature_c: float | None = None
    battery_v: float | None = None


Row = DetectionRow | RejectedRow | ChunkRow | EventRow


def values_of(row: Row) -> list[Any]:
    """In the order of the columns."""
    return [getattr(row, name) for name in row.__slots__]


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A text file that is there whole or not at all: temporary file, fsync, rename.

    Names that are not UTF-8 keep their bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_for(path)
    with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def refuse_other(path: Path, option: str, begins: tuple[bytes, ...]) -> None:
    """UsageError where a file is in the way that does not begin as what will be written: it may be
    anybody's recording."""
    try:
        with path.open("rb") as stream:
            head = stream.read(128)
    except PermissionError as error:
        # Writing puts another file in its place, which needs no permission to read it.
        raise UsageError(
            f"{option} {path} cannot be read ({error.strerror}), and nobody knows what would be "
            "lost: choose another name"
        ) from error
    except OSError:
        # Not there, or writing it will say what is wrong.
        return
    if head and not head.lower().startswith(begins):
        raise UsageError(f"{option} {path} is there and holds something else: choose another name")


def make_writable(out: Path) -> None:
    """Make the folder of `--out` and try it before any work; UsageError when it cannot be used."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as stream:
            stream.write(bytes(_TRIED_BYTES))
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be written to ({error.strerror}): choose another folder"
        ) from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    with written(path) as stream:
        stream.write(json.dumps(content, indent=2) + "\n")


def write_raven(path: Path, rows: Sequence[DetectionRow]) -> None:
    """A Raven selection table for one recording."""
    times = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)")
    bands = ("Low Freq (Hz)", "High Freq (Hz)", "Species", "Common Name", "Score")
    with written(path) as stream:
        stream.write("\t".join(times + bands) + "\n")
        for number, row in enumerate(rows, 1):
            place = f"{number}\tSpectrogram 1\t1\t{row.start_s:g}\t{row.end_s:g}\t50\t15000"
            stream.write(f"{place}\t{row.label}\t{row.common_name}\t{row.score:.4f}\n")


def write_audacity(path: Path, rows: Sequence[DetectionRow]) -> None:
    """An Audacity label track for one recording."""
    with written(path) as stream:
        for row in rows:
            stream.write(f"{row.start_s:g}\t{row.end_s:g}\t{row.common_name} {row.score:.2f}\n")


def write_scores(path: Path, arrays: dict[str, Any]) -> None:
    """Arrays of one recording as `.npz`, there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_for(path)
    with temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    temporary.replace(path)


def beside(folder: Path, name: str, suffix: str) -> Path:
    """Where what belongs to a recording goes: its relative path, with a suffix.

    A name that has no room for the suffix is cut, and ends in its hash.
    """
    path = folder / f"{name}{suffix}"
    encoded = os.fsencode(path.name)
    if len(encoded) <= _LONGEST_NAME_BYTES:
        return path
    ending = f"~{hashlib.sha256(encoded).hexdigest()[:12]}{suffix}"
    kept = encoded[: _LONGEST_NAME_BYTES - len(ending)].decode("utf-8", "ignore")
    return path.with_name(kept + ending)


def wall_time(start: str, seconds: float) -> str:
    """The time of day so long after the start of a recording; empty when that is not known."""
    if not start:
        return ""
    time = datetime.fromisoformat(start.replace("Z", "+00:00")) + timedelta(seconds=seconds)
    text = time.isoformat(timespec="milliseconds" if time.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def cell(name: str, value: Any) -> str:
    """A value in a CSV: seconds without trailing zeros, scores with four decimals.

    A text that a spreadsheet would take for a formula gets a mark before it.
    """
    if name in ("score", "adjusted", "threshold"):
        return f"{value:.4f}"
    if isinstance(value, float):
        return str(round(value, 4)).removesuffix(".0")
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def from_cell(text: str) -> str:
    """What `cell` was given for this text."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULAS) else text


def temporary_for(path: Path) -> Path:
    """Where a file grows before it has its name: short, whatever the name's length."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(f".{digest[:16]}.tmp")
