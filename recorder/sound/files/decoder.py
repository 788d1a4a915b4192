"""libsndfile, as damaged files need it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import soundfile

from recorder.errors import AudioFileError

_SHORT_CHUNK = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""libsndfile's log of a file that is shorter than its header says: it mends it silently."""
_W64_CHUNKS = re.compile(
    r"^riff .*?^ *Block Align *: (\d+).*?^data *: (\d+)", re.DOTALL | re.MULTILINE
)
"""Of a W64 it says what the header says, and nothing more."""
_W64_HEAD_BYTES = 24
"""Counted with a chunk's length."""
POSSIBLE_HZ = range(1_000, 1_000_001)
LARGEST_CHANNELS = 64
"""Arrays of microphones have up to so many: where a header says more it is damaged."""
NO_LENGTH_BYTES = 1 << 62
STREAMED_BYTES = 0x7FFF0000
"""A header that promises more than this was written before the length was known."""


_HOLES_NAMED = 5


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
    w64 = _W64_CHUNKS.search(log)
    if w64 is not None:
        block_bytes, claimed = int(w64[1]), int(w64[2]) - _W64_HEAD_BYTES
        said = block_bytes > 0 and 0 < claimed < NO_LENGTH_BYTES
        return max(frames, claimed // block_bytes) if said else frames
    short = _SHORT_CHUNK.search(log)
    if short is None:
        return frames
    claimed, real = int(short[1]), int(short[2])
    if not 0 < real < claimed < STREAMED_BYTES:
        return frames
    return round(frames * claimed / real)


def one_line(error: Exception) -> str:
    """libsndfile's own words, without the file descriptor that it was opened by."""
    text = getattr(error, "error_string", None) or str(error)
    if "SF_INFO struct incomplete" in str(text):
        return "its header names an impossible sample rate or number of channels"
    return " ".join(str(text).split()).rstrip(".")


def bridged(holes: list[str]) -> str:
    """What is said of the holes in a file; the first few are named."""
    more = f" and {len(holes) - _HOLES_NAMED} more" * (len(holes) > _HOLES_NAMED)
    return f"damaged, silence in its place: {', '.join(holes[:_HOLES_NAMED])}{more}"
