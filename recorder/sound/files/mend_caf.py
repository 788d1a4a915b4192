"""CAF, whose length is -1 while it is written: a true one in front of the sound."""

from __future__ import annotations

import struct

from recorder.sound.files.extent import Extent
from recorder.sound.files.mended import SHORTEST_TAIL_S, Mended, first_of_two, unclosed
from recorder.sound.files.patched import PatchedFile

_HEADER_BYTES = 1 << 16
"""More than recorders write before the sound."""


def mended_caf(extent: Extent) -> Mended | None:
    """A Core Audio file says -1 while it is written, and may go on saying so: libsndfile gives up,
    as it does where fewer bytes follow than promised."""
    head = extent.at(0, _HEADER_BYTES)
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
    real, after = extent.size - sound_at, sound_at + length - 4
    if length > 4 and block_bytes and rate_hz > 0 and extent.at(after, 4) == b"caff":
        return first_of_two(extent, after, (length - 4) / block_bytes / rate_hz, "CAF")
    if not block_bytes or real <= 0:
        return None
    if 4 < length <= real + 4:
        is_tail = extent.size - after < SHORTEST_TAIL_S * block_bytes * rate_hz
        if is_tail or _caf_goes_on(extent, after):
            return None
    real -= real % block_bytes
    header = head[: place + 4] + struct.pack(">q", real + 4) + head[place + 12 : sound_at]
    file = PatchedFile(extent, [header, (sound_at, sound_at + real)])
    if length > real + 4:
        return Mended(file, promised=(length - 4) // block_bytes)
    said = "" if length == -1 else unclosed(f"{max(0, length - 4)} bytes of sound", real)
    return Mended(file, said)


def _caf_goes_on(extent: Extent, place: int) -> bool:
    """With chunks (notes, a table of packets) up to its end?"""
    while place < extent.size:
        head = extent.at(place, 12)
        if len(head) < 12 or not all(32 <= one < 127 for one in head[:4]):
            return False
        place += 12 + max(0, int.from_bytes(head[4:], "big", signed=True))
    return place == extent.size
