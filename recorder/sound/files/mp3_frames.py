"""MP3 frame by frame: how many there are, and where bytes are that belong to none.

A decoder knows the length of an MP3 by a tag in its first frame, which the recorder writes when it
closes the file; without it, it guesses from the first frame's size and leaves out what is beyond
(a third of a file of varying bit rate, or two). In front of anything that is no frame it gives up,
and after damage inside it goes on without saying how much it left out. Every frame says its own
length, so that all of it can be counted (ISO 11172-3, 13818-3; layer III alone).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from recorder.sound.files.extent import Extent
from recorder.sound.files.patched import Part

_BLOCK_BYTES = 1 << 20
_SURE_FRAMES = 5
"""So many in a row, each where the one before it ends, are no accident."""
_JUNK_BYTES = 1 << 20
"""Further in no first frame is looked for: what is not MP3 at all need not be read to its end."""
_KBPS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""By version: 3 is MPEG-1, 2 MPEG-2, 0 the unofficial 2.5."""
_FRAMES_ARE_THERE, _BYTES_ARE_THERE = 1, 2
"""Flags of a tag."""


@dataclass(frozen=True)
class _Header:
    """The four bytes that a frame begins with."""

    version: int
    rate_hz: int
    mono: bool
    length: int
    """Of the whole frame, bytes."""

    @property
    def samples(self) -> int:
        return 1152 if self.version == 3 else 576

    @property
    def side_bytes(self) -> int:
        """Between header and sound; a tag stands behind them."""
        if self.version == 3:
            return 17 if self.mono else 32
        return 9 if self.mono else 17

    @property
    def kind(self) -> str:
        return f"{self.rate_hz} Hz, {'mono' if self.mono else 'stereo'}"

    def goes_with(self, other: _Header) -> bool:
        return (self.version, self.rate_hz, self.mono) == (
            other.version, other.rate_hz, other.mono
        )  # fmt: skip


@lru_cache(maxsize=4096)
def _header(data: bytes) -> _Header | None:
    """Of four bytes; None where no frame of layer III can begin."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return None
    version, third = data[1] >> 3 & 3, data[2]
    kbps = 0 if version == 1 else _KBPS[3 if version == 3 else 2][third >> 4]
    if not kbps or third >> 2 & 3 == 3:
        return None
    rate_hz = _RATES_HZ[version][third >> 2 & 3]
    slots = 144_000 if version == 3 else 72_000
    length = slots * kbps // rate_hz + (third >> 1 & 1)
    return _Header(version, rate_hz, data[3] >> 6 == 3, length)


@dataclass
class _Run:
    """Frames that follow each other."""

    start: int
    stop: int
    frames: int
    muted: list[bytes] = field(default_factory=list)
    """Behind a hole: its first frames, without the sound that needs bytes from before them."""


@dataclass
class Mp3:
    """The frames of a file."""

    first: _Header
    first_bytes: bytes
    """The whole first frame; a tag, or sound."""
    begins_at: int
    """Behind what players write before the sound (ID3)."""
    runs: list[_Run] = field(default_factory=list)
    other: tuple[int, str] | None = None
    """Where frames of another kind begin first, which no decoder goes on with, and which kind."""

    @cached_property
    def _tag_at(self) -> int:
        """Where in the first frame a tag with a count of frames begins, or 0."""
        at = 4 + self.first.side_bytes
        if self.first_bytes[at : at + 4] not in (b"Xing", b"Info"):
            return 0
        if any(self.first_bytes[4:at]):
            # Decoders take it for sound then.
            return 0
        (flags,) = struct.unpack_from(">I", self.first_bytes, at + 4)
        return at if flags & _FRAMES_ARE_THERE else 0

    @property
    def tagged_frames(self) -> int | None:
        """How many the tag promises; None without one."""
        if not self._tag_at:
            return None
        (count,) = struct.unpack_from(">I", self.first_bytes, self._tag_at + 8)
        return int(count)

    @property
    def frames(self) -> int:
        """With sound in them, that are there."""
        return sum(run.frames for run in self.runs) - bool(self._tag_at)

    @property
    def junk_bytes(self) -> int:
        """Before the first frame."""
        return self.runs[0].start - self.begins_at

    @property
    def silent_frames(self) -> int:
        """Of what `parts` gives: those that are missing, and what cannot be decoded without."""
        return sum(count for _, count in self.holes) + sum(len(run.muted) for run in self.runs)

    @cached_property
    def holes(self) -> list[tuple[int, int]]:
        """(how many frames come before it, about how many are missing) of each."""
        mean_bytes = sum(run.stop - run.start for run in self.runs) / sum(
            run.frames for run in self.runs
        )
        found, before = [], -bool(self._tag_at)
        for run, after in zip(self.runs, self.runs[1:], strict=False):
            before += run.frames
            missing = round((after.start - run.stop) / mean_bytes)
            found.append((before, missing))
            before += missing
        return found

    def parts(self) -> list[Part]:
        """The file as a decoder should read it: a tag that counts all frames, then these, with
        silence for as many as are missing in each hole."""
        missing = [count for _, count in self.holes]
        start = self.runs[0].start + (self.first.length if self._tag_at else 0)
        sound: list[Part] = []
        sound += [(start, self.runs[0].stop)]
        for run, count in zip(self.runs[1:], missing, strict=True):
            muted = b"".join(run.muted)
            sound += [self._silent_frame() * count + muted, (run.start + len(muted), run.stop)]
        return [self._true_tag(self.frames + sum(missing), sound), *sound]

    def _true_tag(self, frames: int, sound: list[Part]) -> bytes:
        if not self._tag_at:
            at = 4 + self.first.side_bytes
            tag = bytearray(self._silent_frame(at_least=at + 12))
            struct.pack_into(">4sII", tag, at, b"Xing", _FRAMES_ARE_THERE, frames)
            return bytes(tag)
        tag = bytearray(self.first_bytes)
        (flags,) = struct.unpack_from(">I", tag, self._tag_at + 4)
        struct.pack_into(">I", tag, self._tag_at + 8, frames)
        if flags & _BYTES_ARE_THERE:
            lengths = (len(one) if isinstance(one, bytes) else one[1] - one[0] for one in sound)
            struct.pack_into(">I", tag, self._tag_at + 12, len(tag) + sum(lengths))
        return bytes(tag)

    def _silent_frame(self, at_least: int = 0) -> bytes:
        """The smallest of this kind; all zeros behind the header is a frame without sound."""
        head = bytearray(self.first_bytes[:4])
        head[1] |= 1  # Without a checksum.
        for index in range(1, 15):
            head[2] = index << 4 | head[2] & 0x0C
            found = _header(bytes(head))
            assert found is not None
            if found.length >= max(at_least, 4 + found.side_bytes):
                return bytes(head).ljust(found.length, b"\0")
        raise AssertionError("the largest frame holds any tag")


def mp3_frames(extent: Extent) -> Mp3 | None:
    """The frames of an MP3; None where this is none, or nothing that can be counted so."""
    reader, size = _Reader(extent), extent.size
    begins_at = place = _behind_tags(reader)
    found: Mp3 | None = None
    while (start := _next_run(reader, place, size, found)) is not None:
        if found is None:
            first = _header(reader.at(start, 4))
            assert first is not None
            found = Mp3(first, reader.at(start, first.length), begins_at)
        run = _run_from(reader, start, size, found.first)
        if found.runs:
            run.muted = _muted(reader, run)
        found.runs.append(run)
        place = run.stop
        found.other = found.other or _of_another_kind(reader, place, size, found.first)
    return found


def _of_another_kind(
    reader: _Reader, place: int, size: int, first: _Header
) -> tuple[int, str] | None:
    """(place, kind) of frames that follow here, behind other bytes at most, if unlike the first."""
    start = _next_run(reader, place, size, None)
    header = None if start is None else _header(reader.at(start, 4))
    if start is None or header is None or header.goes_with(first):
        return None
    return start, header.kind


class _Reader:
    """Any bytes of a file, read in large blocks."""

    def __init__(self, extent: Extent) -> None:
        self._extent = extent
        self._start, self._block = 0, b""

    def at(self, place: int, count: int) -> bytes:
        """So many, or fewer at the end."""
        offset = place - self._start
        if offset < 0 or offset + count > len(self._block):
            self._start, offset = place, 0
            self._block = self._extent.at(place, max(count, _BLOCK_BYTES))
        return self._block[offset : offset + count]


def _behind_tags(reader: _Reader) -> int:
    """Where ID3 tags at the beginning end."""
    place = 0
    while (head := reader.at(place, 10))[:3] == b"ID3" and len(head) == 10:
        length = 0
        for seven_bits in head[6:]:
            length = length << 7 | seven_bits & 0x7F
        place += 10 + length + (10 if head[5] & 0x10 else 0)
    return place


def _next_run(reader: _Reader, place: int, size: int, found: Mp3 | None) -> int | None:
    """The next place from which frames follow each other."""
    limit = size if found is not None else min(size, place + _JUNK_BYTES)
    while place < limit:
        block, at = reader.at(place, min(_BLOCK_BYTES, limit - place)), -1
        while (at := block.find(b"\xff", at + 1)) >= 0:
            first = _header(reader.at(place + at, 4))
            if first is None or (found is not None and not first.goes_with(found.first)):
                continue
            if _run_from(reader, place + at, size, first, _SURE_FRAMES).frames == _SURE_FRAMES:
                return place + at
        place += max(1, len(block))
    return None


def _run_from(reader: _Reader, place: int, size: int, like: _Header, enough: int = 1 << 62) -> _Run:
    """The whole frames from a place on, at most `enough`."""
    run = _Run(place, place, 0)
    while run.frames != enough:
        header = _header(reader.at(run.stop, 4))
        if header is None or not header.goes_with(like) or run.stop + header.length > size:
            break
        run.stop += header.length
        run.frames += 1
    return run


def _muted(reader: _Reader, run: _Run) -> list[bytes]:
    """The first frames of a run, as far as the sound of each begins before the run.

    A frame's sound may begin up to 511 bytes before it, in the frames before. Decoded with what
    stands there instead it is a bang. What such a frame holds stays, for the next ones need it; its
    side information says that it is silent.
    """
    frames: list[bytes] = []
    place, there = run.start, 0
    while place < run.stop:
        header = _header(reader.at(place, 4))
        assert header is not None
        frame = reader.at(place, header.length)
        side = 4 if frame[1] & 1 else 6  # Behind a checksum, if there is one.
        reaches_back = int.from_bytes(frame[side : side + 2], "big")
        reaches_back >>= 7 if header.version == 3 else 8
        if reaches_back <= there:
            break
        frames.append(frame[:side] + bytes(header.side_bytes) + frame[side + header.side_bytes :])
        there += header.length - side - header.side_bytes
        place += header.length
    return frames
