"""libsndfile, as damaged files need it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import soundfile

from recorder.errors import AudioFileError

_SHORT_CHUNK = re.compile(r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""libsndfile's log of a WAV or AIFF that is shorter than its header says: it mends it silently."""
_STREAMED_BYTES = 0x7FFF0000
"""A header that promises more than this was written before the length was known."""


class Forwards(soundfile.SoundFile):  # type: ignore[misc]
    """Reads on without setting its place after each read: in a damaged file that fails."""

    def seekable(self) -> bool:
        return False


def open_regular(path: Path) -> int:
    """Open without ever waiting: a FIFO or a device with an audio name must not hang a scan."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise AudioFileError(f"cannot be opened ({error.strerror})") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise AudioFileError("not a regular file")
    if status.st_size == 0:
        os.close(descriptor)
        raise AudioFileError("the file is empty (0 bytes)")
    return descriptor


def promised(frames: int, log: str) -> int:
    """What the header said, where libsndfile has put the real length in its place."""
    short = _SHORT_CHUNK.search(log)
    if short is None:
        return frames
    claimed, real = int(short[1]), int(short[2])
    if not 0 < real < claimed < _STREAMED_BYTES:
        return frames
    return round(frames * claimed / real)


def one_line(error: Exception) -> str:
    """libsndfile's own words, without the file descriptor that it was opened by."""
    text = getattr(error, "error_string", None) or str(error)
    if "SF_INFO struct incomplete" in str(text):
        return "its header names an impossible sample rate or number of channels"
    return " ".join(str(text).split()).rstrip(".")
