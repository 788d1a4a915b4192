"""WAV and CAF, where sound is not coded: true lengths in front of it."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from recorder.sound.mended import SHORTEST_TAIL_S, Mended, first_of_two, is_chunks, unclosed
from recorder.sound.patched import Part, PatchedFile

_HEADER_BYTES = 1 << 16
"""More than most recorders write before the sound."""
_LONGEST_HEADER_BYTES = 1 << 24
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
    block_bytes: int
    bytes_a_second: int
    long_at: int
    """Where the lengths in a chunk `ds64` begin; 0 where there is none."""

    @property
    def data_at(self) -> int:
        return len(self.before) + 8


def mended_wav(descriptor: int, size: int) -> Mended | None:
    """A WAV or RF64 whose sound is longer than it says; an RF64 that is cut off; two in one file.

    Shorter than promised libsndfile sees a WAV for itself.
    """
    wav = _wav(_up_to_data(descriptor))
    if wav is None:
        return _unpadded(descriptor, size)
    if not wav.block_bytes:
        return None
    rest = size - wav.data_at
    real = rest - rest % wav.block_bytes
    if real <= 0:
        return None
    if wav.claimed >= real:
        short = wav.long_at and wav.claimed > rest
        whole = PatchedFile(descriptor, [(0, size)])
        return Mended(whole, promised=wav.claimed // wav.block_bytes) if short else None
    after = wav.data_at + wav.claimed + wav.claimed % 2
    if wav.claimed and os.pread(descriptor, 4, after) in (b"RIFF", b"RF64"):
        return first_of_two(descriptor, after, wav.claimed / max(1, wav.bytes_a_second), "WAV")
    is_sound = not wav.claimed or size - after >= SHORTEST_TAIL_S * wav.bytes_a_second
    if not is_sound or is_chunks(descriptor, after, size, "little"):
        return None
    said = f"{wav.claimed} bytes of sound" if wav.claimed else "no sound"
    return Mended(
        PatchedFile(descriptor, [_true_header(wav, size, real), (wav.data_at, wav.data_at + real)]),
        repair=unclosed(said, real),
    )


def _unpadded(descriptor: int, size: int) -> Mended | None:
    """A chunk of odd length before the sound, behind which the byte is missing that makes it even:
    from there on nothing is where it is looked for."""
    head, place = os.pread(descriptor, _HEADER_BYTES, 0), 12
    while place + 8 <= len(head):
        length = int.from_bytes(head[place + 4 : place + 8], "little")
        name, end = head[place : place + 4], place + 8 + length
        if length % 2 and head[end : end + 4] in (b"fmt ", b"fact", b"LIST", b"data"):
            parts: list[Part] = [(0, end), b"\0", (end, size)]
            words = f"its chunk {name.decode('latin-1')!r} lacks the byte that makes it even"
            return Mended(PatchedFile(descriptor, parts), repair=words)
        place = end + length % 2
    return None


def _up_to_data(descriptor: int) -> bytes:
    """The beginning of a WAV with the head of its data chunk, wherever that is."""
    head, place = os.pread(descriptor, _HEADER_BYTES, 0), 12
    while place + 8 <= len(head) and head[place : place + 4] != b"data":
        length = int.from_bytes(head[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
        if len(head) < place + 8 <= _LONGEST_HEADER_BYTES:
            head = os.pread(descriptor, place + _HEADER_BYTES, 0)
    return head


def _wav(head: bytes) -> _Wav | None:
    place, block_bytes, bytes_a_second, long_at = 12, 0, 0, 0
    while place + 8 <= len(head):
        name = head[place : place + 4]
        length = int.from_bytes(head[place + 4 : place + 8], "little")
        if name == b"data":
            if long_at and length == _LARGEST_32:
                length = int.from_bytes(head[long_at + 8 : long_at + 16], "little")
            return _Wav(head[:place], length, block_bytes, bytes_a_second, long_at)
        if name == b"fmt " and place + 24 <= len(head):
            bytes_a_second, block_bytes = struct.unpack_from("<IH", head, place + 16)
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


def mended_caf(descriptor: int, size: int) -> Mended | None:
    """A Core Audio file says -1 while it is written, and may go on saying so: libsndfile gives up,
    as it does where fewer bytes follow than promised."""
    head = os.pread(descriptor, _HEADER_BYTES, 0)
    place, block_bytes, rate_hz = 8, 0, 0.0
    while place + 12 <= len(head):
        name = head[place : place + 4]
        (length,) = struct.unpack_from(">q", head, place + 4)
        if name == b"data":
            break
        if name == b"desc" and place + 32 <= len(head):
            (rate_hz,) = struct.unpack_from(">d", head, place + 12)
            (block_bytes,) = struct.unpack_from(">I", head, place + 28)
        if length < 0:
            return None
        place += 12 + length
    else:
        return None
    sound_at = place + 16
    # Behind a count of edits, which belongs to the chunk.
    real, after = size - sound_at, sound_at + length - 4
    if length > 4 and block_bytes and rate_hz > 0 and os.pread(descriptor, 4, after) == b"caff":
        return first_of_two(descriptor, after, (length - 4) / block_bytes / rate_hz, "CAF")
    if not block_bytes or real <= 0 or 4 < length <= real + 4:
        return None
    real -= real % block_bytes
    header = head[: place + 4] + struct.pack(">q", real + 4) + head[place + 12 : sound_at]
    file = PatchedFile(descriptor, [header, (sound_at, sound_at + real)])
    if length > real + 4:
        return Mended(file, promised=(length - 4) // block_bytes)
    said = "" if length == -1 else unclosed(f"{max(0, length - 4)} bytes of sound", real)
    return Mended(file, said)
