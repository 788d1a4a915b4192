"""Files whose writer lost its power: what they say of their own length is put right for reading.

A recorder writes the length of a WAV into its header when it closes it. Without that the header
says 0, or all ones, or what it was some minutes ago, and decoders believe it: libsndfile reads 0
as an empty file. An Ogg stream that was cut has no last page, and may be taken for empty too.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass

from recorder.sound.patched import Part, PatchedFile

_HEADER_BYTES = 1 << 16
"""More than any recorder writes before the sound."""
_SHORTEST_TAIL_S = 1.0
"""A shorter tail that is no chunk may be anything: a tag, or a pad."""
_LARGEST_32 = 0xFFFFFFFF
_OGG_TAIL_BYTES = 1 << 18
"""Two pages of the largest size, and more."""
_OGG_HEADER = struct.Struct("<4sBBqIIIB")
_OGG_END = 4
_REVERSED = bytes(int(f"{one:08b}"[::-1], 2) for one in range(256))


@dataclass(frozen=True)
class Mended:
    """What to read instead of the file, and what was wrong with it."""

    file: PatchedFile
    repair: str = ""
    """Nothing is missing after this."""
    damage: str = ""
    """Something is."""


def mended(descriptor: int, size: int) -> Mended | None:
    """How to read a file that says something false of its length; None when it does not."""
    head = os.pread(descriptor, _HEADER_BYTES, 0)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _wav(descriptor, size, head)
    if head[:4] == b"OggS":
        return _ogg(descriptor, size)
    return None


def _wav(descriptor: int, size: int, head: bytes) -> Mended | None:
    place, block_bytes, bytes_a_second, long_at = 12, 0, 0, 0
    while place + 8 <= len(head):
        name, length = (
            head[place : place + 4],
            int.from_bytes(head[place + 4 : place + 8], "little"),
        )
        if name == b"data":
            break
        if name == b"fmt " and place + 24 <= len(head):
            bytes_a_second, block_bytes = struct.unpack_from("<IH", head, place + 16)
        if name == b"ds64":
            long_at = place + 8
        place += 8 + length + length % 2
    else:
        return None
    data_at, rest = place + 8, size - place - 8
    claimed = length
    if long_at and length == _LARGEST_32:
        claimed = int.from_bytes(head[long_at + 8 : long_at + 16], "little")
    real = rest - rest % max(1, block_bytes)
    if real <= 0 or not block_bytes or claimed >= real:
        # Shorter than promised is what libsndfile sees for itself.
        return None
    after = data_at + claimed + claimed % 2
    is_sound = claimed == 0 or size - after >= _SHORTEST_TAIL_S * bytes_a_second
    if not is_sound or _is_chunks(descriptor, after, size):
        return None
    parts: list[Part] = [
        head[:4] + min(size - 8, _LARGEST_32).to_bytes(4, "little") + head[8 : data_at - 4],
        min(real, _LARGEST_32).to_bytes(4, "little"),
        (data_at, data_at + real),
    ]
    if long_at:
        lengths = struct.pack("<QQQ", size - 8, real, real // block_bytes)
        parts[0] = (
            head[:4] + b"\xff" * 4 + head[8:long_at] + lengths + head[long_at + 24 : data_at - 4]
        )
        parts[1] = b"\xff" * 4
    said = "no sound" if claimed == 0 else f"{claimed} bytes of sound"
    return Mended(
        PatchedFile(descriptor, parts),
        repair=f"the header promises {said}, the file holds {real}: its recorder did not close it",
    )


def _is_chunks(descriptor: int, place: int, size: int) -> bool:
    """Does a file go on with chunks (notes, markers) up to its end?"""
    while place < size:
        head = os.pread(descriptor, 8, place)
        if len(head) < 8 or not all(32 <= one < 127 for one in head[:4]):
            return False
        length = int.from_bytes(head[4:], "little")
        place += 8 + length + length % 2
    return place <= size + 1


def _ogg(descriptor: int, size: int) -> Mended | None:
    """A stream is cut after its last whole page, which is marked as the last."""
    start = max(0, size - _OGG_TAIL_BYTES)
    tail = os.pread(descriptor, size - start, start)
    place = len(tail)
    while (place := tail.rfind(b"OggS", 0, place)) >= 0:
        page = _ogg_page(tail, place)
        if page is None:
            continue
        _, _, flags, granule, *_ = _OGG_HEADER.unpack_from(page)
        whole = start + place + len(page) == size
        if whole and flags & _OGG_END:
            return None
        if granule <= 0:
            continue
        last = bytearray(page)
        last[5] |= _OGG_END
        last[22:26] = b"\0" * 4
        last[22:26] = _ogg_checksum(bytes(last)).to_bytes(4, "little")
        return Mended(
            PatchedFile(descriptor, [(0, start + place), bytes(last)]),
            damage="the stream ends before its last page",
        )
    return None


def _ogg_page(data: bytes, place: int) -> bytes | None:
    """The page that begins there, if it is whole and its checksum is right."""
    if place + _OGG_HEADER.size > len(data):
        return None
    *_, checksum, segments = _OGG_HEADER.unpack_from(data, place)
    table = data[place + _OGG_HEADER.size : place + _OGG_HEADER.size + segments]
    page = data[place : place + _OGG_HEADER.size + segments + sum(table)]
    if len(table) < segments or len(page) < _OGG_HEADER.size + segments + sum(table):
        return None
    blank = page[:22] + b"\0" * 4 + page[26:]
    return page if _ogg_checksum(blank) == checksum else None


def _ogg_checksum(page: bytes) -> int:
    """Ogg's CRC is that of zlib with all bits the other way round, and without its inversions."""
    mirrored = zlib.crc32(page.translate(_REVERSED), _LARGEST_32) ^ _LARGEST_32
    return int(f"{mirrored:032b}"[::-1], 2)
