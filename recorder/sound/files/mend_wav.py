"""WAV: all of its sound, wherever it lies, behind a header that says the truth."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from recorder.sound.files.decoder import NO_LENGTH_BYTES, STREAMED_BYTES
from recorder.sound.files.extent import Extent
from recorder.sound.files.mended import SHORTEST_TAIL_S, Mended, first_of_two, unclosed
from recorder.sound.files.patched import Part, PatchedFile

_HEADER_BYTES = 1 << 16
"""More than most recorders write before the sound."""
_LONGEST_HEADER_BYTES = 1 << 24
_KIND = struct.Struct("<HHIIHH")
"""Coding, channels, rate, bytes a second, bytes of a block, bits of a sample."""
_PLAIN_CODINGS = (1, 3, 0xFFFE)
"""Integers, floats, and what says so further on."""
_USUAL_BITS = (8, 16, 24, 32, 64)
_USUAL_HZ = frozenset(
    base * 2**power
    for base, most in ((8_000, 7), (11_025, 5), (12_000, 6), (15_625, 6))
    for power in range(most)
)
"""8 to 512 kHz, 11.025 to 176.4, 12 to 384, 15.625 to 500, by octaves."""
_LARGEST_32 = 0xFFFFFFFF
_ALL_ONES = b"\xff" * 4
"""A length that stands in the chunk `ds64` instead."""
_LONG = b"ds64" + (28).to_bytes(4, "little")


@dataclass(frozen=True)
class _Wav:
    """What the header of a WAV says."""

    before: bytes
    """Everything up to the data chunk."""
    claimed: int
    """Bytes of sound."""
    kind: bytes
    """How its sound is written: what the chunk `fmt ` begins with."""
    long_at: int
    """Where the lengths in a chunk `ds64` begin; 0 where there is none."""

    @property
    def data_at(self) -> int:
        return len(self.before) + 8

    @property
    def bytes_a_second(self) -> int:
        return int(_KIND.unpack(self.kind)[3])

    @property
    def block_bytes(self) -> int:
        return int(_KIND.unpack(self.kind)[4])


def mended_wav(extent: Extent) -> Mended | None:
    """A WAV or RF64 whose sound is longer than it says, or in several pieces; an RF64 that is cut
    off.

    Shorter than promised libsndfile sees a WAV for itself.
    """
    wav = _wav(_up_to_data(extent))
    if wav is None:
        return _unpadded(extent)
    if not wav.kind or not wav.block_bytes or extent.size - wav.data_at < wav.block_bytes:
        return None
    wav, contradiction = _straightened(wav)
    sound = _sound(extent, wav)
    if len(sound.pieces) <= 1 and not sound.unclosed:
        if sound.other_at:
            seconds = wav.claimed / max(1, wav.bytes_a_second)
            whole = PatchedFile(extent, [wav.before, (len(wav.before), sound.other_at)])
            mend = first_of_two(extent, sound.other_at, seconds, "WAV")
            return replace(mend, file=whole, repair=contradiction)
        promised = (sound.bytes + sound.missing) // wav.block_bytes
        whole = PatchedFile(extent, [wav.before, (len(wav.before), extent.size)])
        if wav.long_at and sound.missing:
            return Mended(whole, contradiction, promised=promised)
        return Mended(whole, contradiction) if contradiction else None
    mend = _in_one_piece(extent, wav, sound)
    return replace(mend, repair="; ".join(filter(None, (contradiction, mend.repair))))


def _straightened(wav: _Wav) -> tuple[_Wav, str]:
    """The same without the one number that the others contradict, and what is said of it.

    A decoder believes some of them, and refuses the file or reads a part as if it were all.
    """
    coding, channels, rate_hz, bytes_a_second, block_bytes, bits = _KIND.unpack(wav.kind)
    right = coding in _PLAIN_CODINGS and _consistent(
        channels, rate_hz, bytes_a_second, block_bytes, bits
    )
    if not right or (
        right == (channels, rate_hz, block_bytes, bits)
        and bytes_a_second in (0, rate_hz * block_bytes)
    ):
        return wav, ""
    words = (
        f"its header contradicts itself: {channels} channels of {bits} bits in {block_bytes} bytes "
        f"at {rate_hz} Hz, {bytes_a_second} bytes a second; "
        f"read as {right[0]} of {right[3]} in {right[2]} at {right[1]} Hz"
    )
    kind = _KIND.pack(coding, *right[:2], bytes_a_second, *right[2:])
    return replace(wav, before=wav.before.replace(wav.kind, kind, 1), kind=kind), words


def _consistent(
    channels: int, rate_hz: int, bytes_a_second: int, block_bytes: int, bits: int
) -> tuple[int, int, int, int] | None:
    """(channels, rate, block, bits) with at most one number changed; None where that is not it."""
    sample_bytes = -(-bits // 8)
    if channels * sample_bytes == block_bytes:
        told_hz = bytes_a_second // max(1, block_bytes)
        if rate_hz not in _USUAL_HZ and told_hz in _USUAL_HZ:
            rate_hz = told_hz
        return channels, rate_hz, block_bytes, bits
    if rate_hz * channels * sample_bytes == bytes_a_second:
        return channels, rate_hz, channels * sample_bytes, bits
    if rate_hz * block_bytes != bytes_a_second:
        return None
    if bits in _USUAL_BITS[1:] and block_bytes % sample_bytes == 0:
        return block_bytes // sample_bytes, rate_hz, block_bytes, bits
    if channels and block_bytes % channels == 0 and block_bytes // channels * 8 in _USUAL_BITS:
        return channels, rate_hz, block_bytes, block_bytes // channels * 8
    return None


@dataclass
class _Sound:
    """Where in a file sound lies."""

    pieces: list[tuple[int, int]]
    """Whole blocks."""
    missing: int = 0
    """Bytes that the header of the last promises, and that are not there."""
    unclosed: bool = False
    """The last goes on up to the end of the file, whatever its header says."""
    other_at: int = 0
    """Where a WAV of another kind begins, 0: nowhere."""

    @property
    def bytes(self) -> int:
        return sum(stop - start for start, stop in self.pieces)

    def add(self, start: int, length: int, block_bytes: int) -> None:
        """A piece without what is no whole block of it; an empty one is none."""
        length -= length % block_bytes
        if length > 0:
            self.pieces.append((start, start + length))


def _sound(extent: Extent, wav: _Wav) -> _Sound:
    """All sound of a WAV, and of those of its kind behind it."""
    found, block = _Sound([]), wav.block_bytes
    at, current = 0, wav
    while True:
        begin = at + current.data_at
        rest = extent.size - begin
        real = max(0, rest - rest % block)
        after = begin + current.claimed + current.claimed % 2
        behind = None if current.claimed >= real else _behind(extent, wav, after)
        is_tail = extent.size - after < SHORTEST_TAIL_S * wav.bytes_a_second
        if behind is not None or (current.claimed and current.claimed < real and is_tail):
            found.add(begin, current.claimed, block)
        else:
            found.add(begin, real, block)
            found.unclosed = current.claimed < real
        if current.claimed > rest and (wav.long_at or current.claimed < STREAMED_BYTES):
            found.missing = current.claimed - real
        if behind is None:
            return found
        for start, length in behind.chunks:
            found.add(start, min(length, extent.size - start), block)
            found.missing = max(0, start + length - extent.size)
        found.other_at = 0 if behind.later else behind.later_at
        if behind.later is None:
            return found
        at, current = behind.later_at, behind.later


@dataclass
class _Behind:
    """What the chunks behind a WAV's sound are."""

    chunks: list[tuple[int, int]]
    """(start, length) of those with more sound; the last may be cut off."""
    later_at: int = 0
    """Where another WAV begins; 0: nowhere."""
    later: _Wav | None = None
    """Its header, if it is of the same kind."""


def _behind(extent: Extent, wav: _Wav, place: int) -> _Behind | None:
    """Up to the end, or to the next WAV; None where no chunks follow."""
    found = _Behind([])
    while place < extent.size:
        head = extent.at(place, 12)
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        if name in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            later = _wav(_up_to_data(extent.behind(place)))
            same = later is not None and later.kind == wav.kind
            return replace(found, later_at=place, later=later if same else None)
        if len(head) < 8 or not all(32 <= one < 127 for one in name):
            return None
        if name == b"data":
            found.chunks.append((place + 8, length))
        place += 8 + length + length % 2
    is_cut = bool(found.chunks) and sum(found.chunks[-1]) > extent.size
    return found if place <= extent.size + 1 or is_cut else None


def _in_one_piece(extent: Extent, wav: _Wav, sound: _Sound) -> Mended:
    """Behind a header that counts all of it."""
    damage = ""
    if len(sound.pieces) > 1:
        repair = f"its sound lies in {len(sound.pieces)} pieces, read one behind the other"
    else:
        said = f"{wav.claimed} bytes of sound" if wav.claimed else "no sound"
        repair = unclosed(said, sound.bytes)
    if sound.other_at:
        seconds = sound.bytes / max(1, wav.bytes_a_second)
        damage = first_of_two(extent, sound.other_at, seconds, "WAV").damage
    promised = (sound.bytes + sound.missing) // wav.block_bytes if sound.missing else 0
    header = _true_header(wav, wav.data_at + sound.bytes, sound.bytes)
    return Mended(PatchedFile(extent, [header, *sound.pieces]), repair, damage, promised)


def _unpadded(extent: Extent) -> Mended | None:
    """A chunk of odd length before the sound, behind which the byte is missing that makes it even:
    from there on nothing is where it is looked for."""
    head, place = extent.at(0, _HEADER_BYTES), 12
    while place + 8 <= len(head):
        length = int.from_bytes(head[place + 4 : place + 8], "little")
        name, end = head[place : place + 4], place + 8 + length
        if length % 2 and head[end : end + 4] in (b"fmt ", b"fact", b"LIST", b"data"):
            parts: list[Part] = [(0, end), b"\0", (end, extent.size)]
            words = f"its chunk {name.decode('latin-1')!r} lacks the byte that makes it even"
            return Mended(PatchedFile(extent, parts), repair=words)
        place = end + length % 2
    return None


def _up_to_data(extent: Extent) -> bytes:
    """The beginning of a WAV with the head of its data chunk, wherever that is."""
    head, place = extent.at(0, _HEADER_BYTES), 12
    while place + 8 <= len(head) and head[place : place + 4] != b"data":
        length = int.from_bytes(head[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
        if len(head) < place + 8 <= _LONGEST_HEADER_BYTES:
            head = extent.at(0, place + _HEADER_BYTES)
    return head


def _wav(head: bytes) -> _Wav | None:
    place, kind, long_at = 12, b"", 0
    while place + 8 <= len(head):
        name = head[place : place + 4]
        length = int.from_bytes(head[place + 4 : place + 8], "little")
        if name == b"data":
            if long_at and length == _LARGEST_32:
                length = int.from_bytes(head[long_at + 8 : long_at + 16], "little")
                # All ones here too, say: a length that no file has tells nothing.
                length = length if length < NO_LENGTH_BYTES else 0
            return _Wav(head[:place], length, kind, long_at)
        if name == b"fmt " and place + 24 <= len(head):
            kind = head[place + 8 : place + 8 + _KIND.size]
        if name == b"ds64":
            long_at = place + 8
        place += 8 + length + length % 2
    return None


def _true_header(wav: _Wav, size: int, real: int) -> bytes:
    """What stands before the sound, with true lengths. What RIFF cannot say, RF64 can."""
    before = wav.before
    lengths = struct.pack("<QQQ", size - 8, real, real // wav.block_bytes)
    if wav.long_at:
        chunks = before[8 : wav.long_at] + lengths + before[wav.long_at + 24 :]
    elif size > _LARGEST_32:
        chunks = before[8:12] + _LONG + lengths + bytes(4) + before[12:]
    else:
        riff = before[:4] + struct.pack("<I", size - 8) + before[8:]
        return riff + b"data" + struct.pack("<I", real)
    return b"RF64" + _ALL_ONES + chunks + b"data" + _ALL_ONES
