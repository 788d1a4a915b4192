"""AIFF and AU, whose numbers are big-endian: true lengths in front of the sound."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from recorder.sound.files.decoder import LARGEST_CHANNELS, STREAMED_BYTES
from recorder.sound.files.extent import Extent
from recorder.sound.files.mended import SHORTEST_TAIL_S, Mended, first_of_two, unclosed
from recorder.sound.files.patched import Part, PatchedFile

_HEADER_BYTES = 1 << 16
"""More than recorders write before the sound."""
_LARGEST_32 = 0xFFFFFFFF
_AU_SAMPLE_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
"""By encoding: mu-law, integers of 8 to 32 bits, floats, doubles, A-law."""
_PLAIN = frozenset(
    {b"NONE", b"twos", b"sowt", b"raw ", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64"}
)
_ONE_BYTE = frozenset({b"ulaw", b"ULAW", b"alaw", b"ALAW"})
"""Kinds of AIFC whose samples are as long as its COMM says; and those of one byte, that say two."""
_LONG_NOTES_BYTES = 4096
"""libsndfile refuses an AIFF with notes of more than 8 KB."""
_SSND_HEAD_BYTES = 8
"""An offset and a block size, counted with the chunk."""
_AU_HEAD_BYTES = 24
_AU_SOUND_AT = (24, 28, 32)
"""Where the sound of most begins: without a note, or with an empty one."""
_LARGEST_BLOCK = 8 * LARGEST_CHANNELS
"""Bytes: of doubles."""


@dataclass(frozen=True)
class _Aiff:
    """What the header of an AIFF says."""

    before: bytes
    """Everything up to the head of the chunk with the sound."""
    chunk_bytes: int
    """As long that chunk says it is."""
    offset: int
    """Bytes between the chunk's head and its sound."""
    channels_at: int
    """Where the chunk `COMM` begins to say how the sound is written."""
    channels: int
    frames: int
    bits: int
    sample_bytes: int
    """0: coded in another way."""
    rate_hz: float

    @property
    def block_bytes(self) -> int:
        return self.channels * self.sample_bytes

    @property
    def claimed(self) -> int:
        """Bytes of sound."""
        return max(0, self.chunk_bytes - _SSND_HEAD_BYTES - self.offset)

    @property
    def frames_at(self) -> int:
        return self.channels_at + 2

    @property
    def sound_at(self) -> int:
        return len(self.before) + 8 + _SSND_HEAD_BYTES + self.offset


def mended_aiff(extent: Extent) -> Mended | None:
    """An AIFF whose sound is longer than it says, behind which much else follows, or whose header
    contradicts itself. Shorter than promised libsndfile sees for itself."""
    aiff = _aiff(extent.at(0, _HEADER_BYTES))
    if aiff is None or not aiff.sample_bytes:
        return None
    straight = _straightened(aiff, extent.size)
    if straight != aiff:
        return Mended(PatchedFile(extent, _parts(straight, extent)), _contradiction(aiff, straight))
    if not aiff.block_bytes:
        return None
    real = extent.size - aiff.sound_at
    real -= real % aiff.block_bytes
    after = aiff.sound_at + aiff.claimed + aiff.claimed % 2
    if real <= aiff.claimed:
        return None
    bytes_a_second = aiff.block_bytes * aiff.rate_hz
    if aiff.claimed and bytes_a_second:
        if extent.at(after, 4) == b"FORM":
            return first_of_two(extent, after, aiff.claimed / bytes_a_second, "AIFF")
        if extent.size - after < SHORTEST_TAIL_S * bytes_a_second:
            return None
    if _is_chunks(extent, after):
        many = extent.size - after > _LONG_NOTES_BYTES
        return Mended(PatchedFile(extent, [(0, after)])) if many else None
    said = f"{aiff.claimed} bytes of sound" if aiff.claimed else "no sound"
    repair, damage = unclosed(said, real), ""
    end = aiff.sound_at + real
    if end - 8 > _LARGEST_32:
        end = _LARGEST_32 - _LARGEST_32 % aiff.block_bytes
        end -= aiff.block_bytes - aiff.sound_at % aiff.block_bytes
        damage = f"an AIFF cannot hold more than 4 GiB: what follows after {end} bytes is not read"
    chunk_bytes = end - len(aiff.before) - 8
    header = bytearray(aiff.before)
    struct.pack_into(">I", header, 4, end - 8)
    struct.pack_into(">I", header, aiff.frames_at, (end - aiff.sound_at) // aiff.block_bytes)
    head = bytes(header) + b"SSND" + struct.pack(">I", chunk_bytes)
    return Mended(PatchedFile(extent, [head, (len(head), end)]), repair, damage)


def _straightened(aiff: _Aiff, size: int) -> _Aiff:
    """The same without the one number that the others contradict: a decoder believes it, and reads
    a part as if it were all."""
    in_chunk = aiff.chunk_bytes - _SSND_HEAD_BYTES
    is_whole = 0 < in_chunk <= size + 1 - len(aiff.before) - 8 - _SSND_HEAD_BYTES
    if not is_whole or not aiff.frames or aiff.frames * aiff.block_bytes == aiff.claimed:
        return aiff
    if aiff.offset and aiff.frames * aiff.block_bytes == in_chunk:
        return replace(aiff, offset=0)
    real_block = in_chunk // aiff.frames
    if aiff.offset or real_block * aiff.frames != in_chunk or not 0 < real_block <= _LARGEST_BLOCK:
        return aiff
    if aiff.bits % 8 == 0 and real_block % aiff.sample_bytes == 0:
        return replace(aiff, channels=real_block // aiff.sample_bytes)
    sample_bytes, rest = divmod(real_block, max(1, aiff.channels))
    if rest == 0 and sample_bytes <= 4:
        return replace(aiff, sample_bytes=sample_bytes, bits=8 * sample_bytes)
    return aiff


def _contradiction(aiff: _Aiff, straight: _Aiff) -> str:
    return (
        f"its header contradicts itself: {aiff.frames} samples of {aiff.channels} channels of "
        f"{aiff.bits} bits in {aiff.chunk_bytes - _SSND_HEAD_BYTES} bytes, {aiff.offset} bytes on; "
        f"read as {straight.channels} of {straight.bits}, {straight.offset} bytes on"
    )


def _parts(aiff: _Aiff, extent: Extent) -> list[Part]:
    """The file with what is said here in the place of what its header says."""
    header = bytearray(aiff.before)
    struct.pack_into(">H", header, aiff.channels_at, aiff.channels)
    struct.pack_into(">H", header, aiff.channels_at + 6, aiff.bits)
    head = bytes(header) + b"SSND" + struct.pack(">II", aiff.chunk_bytes, aiff.offset)
    return [head, (len(head), extent.size)]


def _is_chunks(extent: Extent, place: int) -> bool:
    """Does it go on with chunks (notes, markers) up to its end?"""
    while place < extent.size:
        head = extent.at(place, 8)
        if len(head) < 8 or not all(32 <= one < 127 for one in head[:4]):
            return False
        length = int.from_bytes(head[4:], "big")
        place += 8 + length + length % 2
    return place <= extent.size + 1


def _aiff(head: bytes) -> _Aiff | None:
    place, found = 12, None
    compressed = head[8:12] == b"AIFC"
    while place + 8 <= len(head):
        name = head[place : place + 4]
        (length,) = struct.unpack_from(">I", head, place + 4)
        if name == b"SSND":
            if place + 16 > len(head) or found is None:
                return None
            (offset,) = struct.unpack_from(">I", head, place + 8)
            return replace(found, before=head[:place], chunk_bytes=length, offset=offset)
        if name == b"COMM" and place + 30 <= len(head):
            channels, frames, bits = struct.unpack_from(">HIH", head, place + 8)
            kind = head[place + 26 : place + 30] if compressed else b"NONE"
            sample_bytes = 1 if kind in _ONE_BYTE else -(-bits // 8) if kind in _PLAIN else 0
            rate_hz = _extended(head[place + 16 : place + 26])
            found = _Aiff(b"", 0, 0, place + 8, channels, frames, bits, sample_bytes, rate_hz)
        place += 8 + length + length % 2
    return None


def _extended(ten_bytes: bytes) -> float:
    """A positive number in the 80 bits of the 68881, as AIFF has its rate."""
    exponent, mantissa = struct.unpack(">HQ", ten_bytes)
    power = exponent - 16383 - 63
    return float(mantissa) * 2.0**power if -128 < power < 64 else 0.0


def mended_au(extent: Extent) -> Mended | None:
    """An AU whose sound is longer than it says, or whose length was never known: libsndfile takes
    all ones for 'to the end', and other large numbers for no sound at all."""
    head = extent.at(0, _AU_HEAD_BYTES)
    if len(head) < _AU_HEAD_BYTES:
        return None
    sound_at, claimed, encoding, rate_hz, channels = struct.unpack(">5I", head[4:])
    block_bytes = _AU_SAMPLE_BYTES.get(encoding, 0) * channels
    if not block_bytes or claimed == _LARGEST_32:
        return None
    true_at = extent.size - claimed
    if true_at in _AU_SOUND_AT and true_at < sound_at:
        said = f"the header says that its {claimed} bytes of sound begin at byte {sound_at}"
        header = head[:4] + struct.pack(">I", true_at) + head[8:]
        whole = PatchedFile(extent, [header, (_AU_HEAD_BYTES, extent.size)])
        return Mended(whole, repair=f"{said}: at byte {true_at} as many begin")
    real = extent.size - sound_at
    real -= real % block_bytes
    if real <= claimed < STREAMED_BYTES:
        return None
    if 0 < claimed < real and rate_hz:
        bytes_a_second = block_bytes * rate_hz
        if extent.at(sound_at + claimed, 4) == b".snd":
            seconds = claimed / bytes_a_second
            return first_of_two(extent, sound_at + claimed, seconds, "AU")
        if real - claimed < SHORTEST_TAIL_S * bytes_a_second:
            return None
    said = f"{claimed} bytes of sound" if claimed else "no sound"
    header = head[:8] + struct.pack(">I", _LARGEST_32) + head[12:]
    return Mended(
        PatchedFile(extent, [header, (_AU_HEAD_BYTES, sound_at + real)]),
        repair=unclosed(said, real),
    )
