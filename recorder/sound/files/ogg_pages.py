"""Ogg streams that are damaged inside: what is whole before and behind, and where it belongs.

Each page of a stream has a checksum, a number, and the place of its last sample. A decoder that is
given the whole file leaves damaged pages out without a word, and what is behind comes too early.
Here each stretch of whole pages is a stream of its own, behind the pages of the header.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from recorder.sound.files.extent import Extent
from recorder.sound.files.patched import Part, PatchedFile

_HEADER = struct.Struct("<4sBBqIIIB")
_BEGINNING, _END = 2, 4
_BLOCK_BYTES = 1 << 22
_LARGEST_PAGE_BYTES = 27 + 255 + 255 * 255
_ONES = 0xFFFFFFFF
_REVERSED = bytes(int(f"{one:08b}"[::-1], 2) for one in range(256))
_OPUS_HZ = 48_000


@dataclass(frozen=True)
class Page:
    """A whole page."""

    start: int
    stop: int
    granule: int
    """Where its last sample is, in samples of the stream; -1 when it ends none."""
    number: int
    serial: int
    begins: bool
    """A stream."""


@dataclass(frozen=True)
class Stretch:
    """Whole pages that follow each other."""

    file: PatchedFile
    end_granule: int
    """Where its last sample is."""


@dataclass(frozen=True)
class OggStream:
    """What is whole of a file."""

    stretches: list[Stretch]
    opus_skip: int | None
    """Samples at 48 kHz that an Opus stream begins with and that are no sound; None for Vorbis."""
    chained: bool = False
    """Each stretch is a recording of its own, and begins where the one before it ends."""
    damage: str = ""
    """Of such recordings: decoders leave out what is damaged without a word."""

    def frames(self, rate_hz: int) -> int | None:
        """Of the whole recording, what is damaged included, at the decoder's rate; None where only
        its end tells."""
        if self.chained:
            return None
        return self._place(self.stretches[-1].end_granule, rate_hz)

    def first_frame(self, number: int, frames: int, rate_hz: int) -> int:
        """Where a stretch begins at the earliest, of which a decoder gives so many frames."""
        if self.chained:
            return 0
        end = self._place(self.stretches[number].end_granule, rate_hz)
        if number > 0 and self.opus_skip is not None:
            # The decoder takes the beginning of any stream for what is to be skipped.
            end -= round(self.opus_skip * rate_hz / _OPUS_HZ)
        return max(0, end - frames)

    def _place(self, granule: int, rate_hz: int) -> int:
        if self.opus_skip is None:
            return granule
        return round((granule - self.opus_skip) * rate_hz / _OPUS_HZ)


def whole_pages(extent: Extent) -> Iterator[Page]:
    """Every page of a file whose checksum is right, in order."""
    place = 0
    while place < extent.size:
        data = extent.at(place, _BLOCK_BYTES + _LARGEST_PAGE_BYTES)
        at, last = 0, place + len(data) >= extent.size
        while (at := data.find(b"OggS", at)) >= 0 and (last or at < _BLOCK_BYTES):
            page = page_at(data, at)
            if page is None:
                at += 1
                continue
            _, _, kind, granule, serial, number, *_ = _HEADER.unpack_from(page)
            stop = place + at + len(page)
            yield Page(place + at, stop, granule, number, serial, bool(kind & _BEGINNING))
            at += len(page)
        place += max(at, _BLOCK_BYTES) if at >= 0 else len(data) - (0 if last else 3)


def damaged_inside(extent: Extent) -> OggStream | None:
    """The stretches of a stream in which pages are missing, or the streams that follow each other
    in one file (decoders read the first); None where it is one that is whole.

    None too where the header is damaged, or several streams run beside each other: decoders know
    best.
    """
    head = extent.at(0, 64)
    if head[:4] != b"OggS":
        return None
    before: Page | None = None
    header_stop, runs = 0, [_Run()]
    for page in whole_pages(extent):
        if before is not None and page.begins:
            return _chain(extent)
        if (before is None and page.start != 0) or (before and page.serial != before.serial):
            return None
        follows = before is None or (page.start, page.number) == (before.stop, before.number + 1)
        before = page
        if page.granule == 0 and follows and header_stop == page.start:
            # The two or three packets before the sound.
            header_stop = page.stop
            continue
        if not follows:
            runs.append(_Run())
        runs[-1].add(page)
    # Pages that end no sample are a part of one that is lost.
    kept = [run for run in runs if run.last is not None]
    if len(runs) == 1 or not kept:
        return None
    opus = head.find(b"OpusHead")
    skip = None if opus < 0 else int.from_bytes(head[opus + 10 : opus + 12], "little")
    return OggStream([run.stretch(extent, header_stop) for run in kept], skip)


def _chain(extent: Extent) -> OggStream | None:
    """None where streams begin beside each other."""
    starts: list[int] = []
    before: Page | None = None
    missing = False
    for page in whole_pages(extent):
        if page.begins:
            if before is not None and before.begins:
                return None
            starts.append(page.start)
        elif before is not None:
            missing |= page.number != before.number + 1
        missing |= before is not None and page.start != before.stop
        before = page
    links = [
        Stretch(PatchedFile(extent, [(start, stop)]), 0)
        for start, stop in pairwise([*starts, extent.size])
    ]
    words = (
        "several Ogg streams behind each other, with damaged pages: times behind them may be early"
    )
    return OggStream(links, None, chained=True, damage=words if missing else "")


@dataclass
class _Run:
    """Pages that follow each other."""

    start: int = -1
    last: Page | None = None
    """In which a sample ends."""

    def add(self, page: Page) -> None:
        if self.start < 0:
            self.start = page.start
        if page.granule > 0:
            self.last = page

    def stretch(self, extent: Extent, header_stop: int) -> Stretch:
        last = self.last
        assert last is not None
        ending = as_last(extent.at(last.start, last.stop - last.start))
        parts: list[Part] = [(0, header_stop), (self.start, last.start), ending]
        return Stretch(PatchedFile(extent, parts), last.granule)


def page_at(data: bytes, place: int) -> bytes | None:
    """The page that begins there, if it is whole and its checksum is right."""
    if place + _HEADER.size > len(data):
        return None
    *_, checksum, segments = _HEADER.unpack_from(data, place)
    table = data[place + _HEADER.size : place + _HEADER.size + segments]
    page = data[place : place + _HEADER.size + segments + sum(table)]
    if len(table) < segments or len(page) < _HEADER.size + segments + sum(table):
        return None
    blank = page[:22] + b"\0" * 4 + page[26:]
    return page if _checksum(blank) == checksum else None


def is_last(page: bytes) -> bool:
    """Does it say that nothing follows?"""
    return bool(page[5] & _END)


def granule_of(page: bytes) -> int:
    """Where its last sample is."""
    return int(_HEADER.unpack_from(page)[3])


def as_last(page: bytes) -> bytes:
    """The same page, marked as the last of its stream."""
    last = bytearray(page)
    last[5] |= _END
    last[22:26] = b"\0" * 4
    last[22:26] = _checksum(bytes(last)).to_bytes(4, "little")
    return bytes(last)


def _checksum(page: bytes) -> int:
    """Ogg's CRC is that of zlib with all bits the other way round, and without its inversions."""
    mirrored = zlib.crc32(page.translate(_REVERSED), _ONES) ^ _ONES
    return int(f"{mirrored:032b}"[::-1], 2)
