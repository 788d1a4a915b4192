"""Where the frames of a FLAC file lie, so that reading goes on behind what is damaged.

Each frame says which sample it begins with, and carries two checksums. A decoder that lost its way
begins anew at any of them; what lies between is known to the sample. Format: RFC 9639, section 9.
"""

from __future__ import annotations

import mmap
import re
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder.sound.files.decoder import Forwards
from recorder.sound.files.extent import Extent
from recorder.sound.files.patched import Part, PatchedFile

_BEGINS = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""With the block that must come first, whose length is always the same."""
_SYNC = (b"\xff\xf8", b"\xff\xf9")
"""Blocks of one size, numbered; and blocks of any size, whose sample is said."""
_READ_AHEAD_BYTES = 1 << 16
"""More than libsndfile reads of a FLAC beyond what it decodes."""
_TAG_BYTES = 1 << 20
"""Of what may stand before a FLAC (ID3, with a picture)."""
_LONGEST_HEADER = 16
_LARGEST_BLOCK = 65_535
"""Samples."""
_TAIL_BYTES = 1 << 18
"""Some frames of the longest kind."""
_BLOCK_FRAMES = {1: 192, **{code: 576 << (code - 2) for code in range(2, 6)}}
_BLOCK_FRAMES |= {code: 256 << (code - 8) for code in range(8, 16)}


class FlacFrames:
    """The frames of one file, found by their headers."""

    def __init__(self, extent: Extent) -> None:
        """ValueError when it does not begin as a FLAC file does."""
        self._extent = extent
        with mmap.mmap(extent.descriptor, extent.stop, access=mmap.ACCESS_READ) as data:
            sound_at, fixed_frames = _metadata(data, extent.start)
            found = sorted(_headers(data, sound_at, fixed_frames))
        self.starts = [sample for sample, _ in found]
        """The first sample of each frame; a few of them may be no frames at all."""
        self._sound_at = sound_at - extent.start
        self.places = [place - extent.start for _, place in found]
        """Its first byte."""

    def next_whole(self, sample: int) -> tuple[Forwards, int, NDArray[np.float32]] | None:
        """(decoder, first sample, float32 [frames, channels]) of what can be decoded first at or
        behind a sample, no more than one block of it; None where nothing can."""
        for number in range(self._number_at(sample), len(self.starts)):
            start, stop = self.starts[number], self._stop(number)
            late = max(0, sample - start)
            if late >= stop - start:
                continue
            try:
                decoder = Forwards(self._from_frame(number), closefd=False)
                # Without the block behind it, which may be damaged.
                piece = decoder.read(stop - start, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError):
                continue
            if late < len(piece):
                return decoder, start + late, piece[late:]
        return None

    def _number_at(self, sample: int) -> int:
        """Of the frame that holds a sample, or of the first that comes after it."""
        return max(0, bisect_right(self.starts, sample) - 1)

    def _stop(self, number: int) -> int:
        """One past the last sample of a frame: where the next begins, unless that is far."""
        last = self.starts[number] + _LARGEST_BLOCK
        return min(last, self.starts[number + 1]) if number + 1 < len(self.starts) else last

    def _from_frame(self, number: int) -> PatchedFile:
        """A FLAC file that begins with this frame."""
        head: Part = (0, self._sound_at)
        return PatchedFile(self._extent, [head, (self.places[number], self._extent.size)])


def begins_again(extent: Extent) -> int:
    """Where behind its beginning another FLAC file begins; 0: nowhere."""
    with mmap.mmap(extent.descriptor, extent.stop, access=mmap.ACCESS_READ) as data:
        again = _BEGINS.search(data, extent.start + 1)
        return 0 if again is None else again.start() - extent.start


def second_behind(extent: Extent, read_until: int) -> int:
    """Where the next FLAC file begins, near to where a decoder of the first has stopped; 0:
    nowhere."""
    own = _BEGINS.search(extent.at(0, _TAG_BYTES))
    start = max(0, read_until - _READ_AHEAD_BYTES)
    near = extent.at(start, 2 * _READ_AHEAD_BYTES)
    places = [start + one.start() for one in _BEGINS.finditer(near)]
    return places[-1] if own is not None and places and places[-1] > own.start() else 0


def goes_on_after(extent: Extent, sample: int) -> bool:
    """Do frames at the end of a FLAC file begin after this sample?

    Two of them that follow each other must: by accident one is soon taken for one.
    """
    block_frames = int.from_bytes(extent.at(8, 2), "big")
    tail = extent.at(max(0, extent.size - _TAIL_BYTES), _TAIL_BYTES)
    found = {first for first, _ in _headers(tail, 0, block_frames) if first > sample}
    return any(first + block_frames in found for first in found)


def _headers(data: bytes | mmap.mmap, begin: int, fixed_frames: int) -> Iterator[tuple[int, int]]:
    """(first sample, place) of whatever has a frame's header with a right checksum."""
    for sync in _SYNC:
        place = begin - 1
        while (place := data.find(sync, place + 1)) >= 0:
            sample = _first_sample(data[place : place + _LONGEST_HEADER], fixed_frames)
            if sample is not None:
                yield sample, place


def _metadata(data: mmap.mmap, begin: int) -> tuple[int, int]:
    """(where the first frame begins, frames of a block where all are of one size)."""
    if data[begin : begin + 4] != b"fLaC":
        raise ValueError("no FLAC file")
    place, block_frames = begin + 4, 0
    while place + 4 <= len(data):
        kind, length = data[place], int.from_bytes(data[place + 1 : place + 4], "big")
        if kind & 0x7F == 0:
            block_frames = int.from_bytes(data[place + 4 : place + 6], "big")
        place += 4 + length
        if kind & 0x80:
            return place, block_frames
    raise ValueError("its beginning is damaged")


def _first_sample(header: bytes, fixed_frames: int) -> int | None:
    """Which sample a frame begins with; None when this is no header."""
    if len(header) < 6 or header[2] >> 4 == 0 or header[2] & 15 == 15 or header[3] & 1:
        return None
    number, place = _coded_number(header, 4)
    if number is None:
        return None
    block, rate = header[2] >> 4, header[2] & 15
    place += {6: 1, 7: 2}.get(block, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if place >= len(header) or _checksum(header[:place]) != header[place]:
        return None
    if header[1] & 1:
        return number
    return number * (fixed_frames or _BLOCK_FRAMES.get(block, 0))


def _coded_number(header: bytes, place: int) -> tuple[int | None, int]:
    """A number in the manner of UTF-8, and the place after it."""
    first = header[place]
    if first < 0x80:
        return first, place + 1
    more = 8 - (~first & 0xFF).bit_length()
    if not 2 <= more <= 7 or place + more > len(header):
        return None, place
    number = first & (0x7F >> more)
    for byte in header[place + 1 : place + more]:
        if byte & 0xC0 != 0x80:
            return None, place
        number = number << 6 | byte & 0x3F
    return number, place + more


def _checksum(data: bytes) -> int:
    """CRC-8 with the polynomial x^8 + x^2 + x + 1."""
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _crc8_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1 ^ (0x07 if byte & 0x80 else 0)) & 0xFF
    return byte


_CRC8 = [_crc8_of(byte) for byte in range(256)]
