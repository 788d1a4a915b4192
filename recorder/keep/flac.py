"""FLAC files with words about themselves (Vorbis comments)."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import soundfile
from numpy.typing import NDArray

from recorder.keep.disk import sync_folder

# FLAC holds 24 bits; what was captured in 32 has its value in the upper ones.
_SUBTYPES = {"int16": "PCM_16", "int32": "PCM_24", "float32": "PCM_24"}


@dataclass(frozen=True)
class Tags:
    """The Vorbis comments of a file."""

    title: str = ""
    date: str = ""
    """Of the first sample, UTC, ISO 8601."""
    comment: str = ""
    """A GUANO block."""
    software: str = ""


def open_flac(target: Any, dtype: str, rate_hz: int, channels: int, tags: Tags) -> Any:
    """A file to write [frames, channels] to; `target` is a path or a binary file.

    Raises SoundFileError.
    """
    subtype = _SUBTYPES.get(dtype, "PCM_16")
    file = soundfile.SoundFile(target, "w", rate_hz, channels, subtype, format="FLAC")
    for field in fields(tags):
        if value := getattr(tags, field.name):
            setattr(file, field.name, value)
    return file


def write_flac(path: Path, frames: NDArray[Any], rate_hz: int, tags: Tags) -> int:
    """Write a file that is there whole or not at all, and return its bytes; OSError."""
    memory = io.BytesIO()
    with open_flac(memory, str(frames.dtype), rate_hz, frames.shape[1], tags) as file:
        file.write(frames)
    temporary = path.with_name(path.name + PART)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as stream:
            stream.write(memory.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    return memory.getbuffer().nbytes


PART = ".part"
"""Ends the name of a file that is being written."""


def utc_stem(utc_s: float) -> str:
    """A time for a file's name: the same length for all, in the order of time, never twice an
    hour as local time is."""
    when = datetime.fromtimestamp(round(utc_s, 3), UTC)
    return f"{when:%Y%m%dT%H%M%S}.{when.microsecond // 1000:03d}Z"
