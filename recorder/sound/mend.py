"""Files whose writer lost its power: what they say of their own length is put right for reading.

A recorder writes the length of a WAV into its header when it closes it. Without that the header
says 0, or all ones, or what it was some minutes ago, and decoders believe it: libsndfile reads 0
as an empty file. An Ogg stream that was cut has no last page, and may be taken for empty too.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from recorder.sound.decoder import bridged
from recorder.sound.mp3_frames import Mp3, mp3_frames
from recorder.sound.ogg_pages import as_last, granule_of, is_last, page_at
from recorder.sound.patched import PatchedFile

_HEADER_BYTES = 1 << 16
"""More than most recorders write before the sound."""
_LONGEST_HEADER_BYTES = 1 << 24
_SHORTEST_TAIL_S = 1.0
"""A shorter tail that is no chunk may be anything: a tag, or a pad."""
_LARGEST_32 = 0xFFFFFFFF
_ALL_ONES = b"\xff" * 4
"""A length that stands in the chunk `ds64` instead."""
_LONG = b"ds64" + (28).to_bytes(4, "little")
_OTHERS = (b"fLaC", b"FORM", b"RIFX", b".snd", b"dns.", b"riff")
"""Of these a decoder knows the length by itself."""
_OGG_TAIL_BYTES = 1 << 18
"""Two pages of the largest size, and more."""


@dataclass(frozen=True)
class Mended:
    """What to read instead of the file, and what was wrong with it."""

    file: PatchedFile
    repair: str = ""
    """Nothing is missing after this."""
    damage: str = ""
    """Something is."""
    promised: int = 0
    """Frames that the header speaks of, where a decoder would not say; 0: it does."""
    silence: int = 0
    """Samples of silence that were put where something is missing."""


def mended(descriptor: int, size: int) -> Mended | None:
    """How to read a file that says something false of its length; None when it does not."""
    head = os.pread(descriptor, _HEADER_BYTES, 0)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _wav(descriptor, size, _up_to_data(descriptor, head))
    if head[:4] == b"caff":
        return _caf(descriptor, size, head)
    if head[:4] == b"OggS":
        return _ogg(descriptor, size)
    if head[:4] not in _OTHERS:
        return _mp3(descriptor, size)
    return None


def _up_to_data(descriptor: int, head: bytes) -> bytes:
    """The beginning of a WAV with the head of its data chunk, wherever that is."""
    place = 12
    while place + 8 <= len(head) < _LONGEST_HEADER_BYTES and head[place : place + 4] != b"data":
        length = int.from_bytes(head[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
        if len(head) < place + 8 <= _LONGEST_HEADER_BYTES:
            longer = os.pread(descriptor, place + _HEADER_BYTES, 0)
            if len(longer) == len(head):
                break
            head = longer
    return head


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
    header = _header(head[: data_at - 8], long_at, size=size, real=real, frames=real // block_bytes)
    said = "no sound" if claimed == 0 else f"{claimed} bytes of sound"
    return Mended(
        PatchedFile(descriptor, [header, (data_at, data_at + real)]),
        repair=_unclosed(said, real),
    )


def _header(before: bytes, long_at: int, *, size: int, real: int, frames: int) -> bytes:
    """What stands before the sound, `before` and the data chunk's head, with true lengths.

    `long_at` is where those of the chunk `ds64` begin, or 0. What RIFF cannot say, RF64 can.
    """
    lengths = struct.pack("<QQQ", size - 8, real, frames)
    if long_at:
        chunks = before[8:long_at] + lengths + before[long_at + 24 :]
    elif size > _LARGEST_32:
        chunks = before[8:12] + _LONG + lengths + bytes(4) + before[12:]
    else:
        return (
            before[:4]
            + struct.pack("<I", size - 8)
            + before[8:]
            + b"data"
            + struct.pack("<I", real)
        )
    return b"RF64" + _ALL_ONES + chunks + b"data" + _ALL_ONES


def _caf(descriptor: int, size: int, head: bytes) -> Mended | None:
    """A Core Audio file says -1 while it is written, and may go on saying so: libsndfile gives up,
    as it does where fewer bytes follow than promised."""
    place, block_bytes = 8, 0
    while place + 12 <= len(head):
        name = head[place : place + 4]
        (length,) = struct.unpack_from(">q", head, place + 4)
        if name == b"data":
            break
        if name == b"desc" and place + 32 <= len(head):
            (block_bytes,) = struct.unpack_from(">I", head, place + 28)
        if length < 0:
            return None
        place += 12 + length
    else:
        return None
    sound_at = place + 16
    # Behind a count of edits, which belongs to the chunk.
    real = size - sound_at
    if not block_bytes or real <= 0 or 4 < length <= real + 4:
        return None
    real -= real % block_bytes
    header = head[: place + 4] + struct.pack(">q", real + 4) + head[place + 12 : sound_at]
    file = PatchedFile(descriptor, [header, (sound_at, sound_at + real)])
    if length > real + 4:
        return Mended(file, promised=(length - 4) // block_bytes)
    said = "" if length == -1 else _unclosed(f"{max(0, length - 4)} bytes of sound", real)
    return Mended(file, said)


def _unclosed(said: str, real: int) -> str:
    return f"the header promises {said}, the file holds {real}: its recorder did not close it"


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
        page = page_at(tail, place)
        if page is None:
            continue
        whole = start + place + len(page) == size
        if whole and is_last(page):
            return None
        if granule_of(page) <= 0:
            continue
        return Mended(
            PatchedFile(descriptor, [(0, start + place), as_last(page)]),
            damage="the stream ends before its last page",
        )
    return None


def _mp3(descriptor: int, size: int) -> Mended | None:
    """With a true count of frames in front, and with silence where bytes are none."""
    mp3 = mp3_frames(descriptor, size)
    if mp3 is None:
        return None
    missing = sum(count for _, count in mp3.holes)
    promised, frames = mp3.tagged_frames, mp3.frames + missing
    damage, repair = _mp3_damage(mp3), ""
    if promised is not None:
        if promised >= frames and not damage:
            return None
        if promised < frames:
            repair = _unclosed(f"{promised} frames of MP3", frames)
        elif promised > frames:
            late_s = (promised - frames) * mp3.first.samples / mp3.first.rate_hz
            damage += f"; the header promises {late_s:.2f} s more"
    return Mended(
        PatchedFile(descriptor, mp3.parts()),
        repair,
        damage,
        silence=mp3.silent_frames * mp3.first.samples,
    )


def _mp3_damage(mp3: Mp3) -> str:
    words = []
    if mp3.junk_bytes:
        words.append(f"its first {mp3.junk_bytes} bytes are no MP3")
    frame_s = mp3.first.samples / mp3.first.rate_hz
    if mp3.holes:
        each = [f"about {n * frame_s:.3g} s at {at * frame_s:.2f} s" for at, n in mp3.holes]
        words.append(bridged(each))
    return "; ".join(words)
