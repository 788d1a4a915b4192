"""Ogg, FLAC and MP3: streams whose end, or whose length, a decoder would not find."""

from __future__ import annotations

from recorder.sound.files.decoder import bridged
from recorder.sound.files.extent import Extent
from recorder.sound.files.flac_frames import begins_again, goes_on_after
from recorder.sound.files.mended import Mended, first_of_two, unclosed
from recorder.sound.files.mp3_frames import Mp3, mp3_frames
from recorder.sound.files.ogg_pages import as_last, granule_of, is_last, page_at
from recorder.sound.files.patched import PatchedFile

_FLAC_HEADER_BYTES = 42
_FLAC_RATE_AT = 18
"""Where 20 bits begin that are its rate."""
_FLAC_LENGTH_AT, _FLAC_LENGTH = 21, (1 << 36) - 1
"""Where five bytes begin, whose last 36 bits are the number of samples (RFC 9639, 8.2)."""
_OGG_TAIL_BYTES = 1 << 18
"""Two pages of the largest size, and more."""


def mended_ogg(extent: Extent) -> Mended | None:
    """A stream is cut after its last whole page, which is marked as the last."""
    start = max(0, extent.size - _OGG_TAIL_BYTES)
    tail = extent.at(start, _OGG_TAIL_BYTES)
    place = len(tail)
    while (place := tail.rfind(b"OggS", 0, place)) >= 0:
        page = page_at(tail, place)
        if page is None:
            continue
        stop = start + place + len(page)
        if is_last(page):
            # What stands behind it is no page.
            return None if stop == extent.size else Mended(PatchedFile(extent, [(0, stop)]))
        if granule_of(page) <= 0:
            continue
        return Mended(
            PatchedFile(extent, [(0, start + place), as_last(page)]),
            damage="the stream ends before its last page",
        )
    return None


def mended_flac(extent: Extent) -> Mended | None:
    """Without a length a decoder goes on to the end; with one it stops there."""
    head = extent.at(0, _FLAC_HEADER_BYTES)
    if len(head) < _FLAC_HEADER_BYTES:
        return None
    promised = int.from_bytes(head[_FLAC_LENGTH_AT : _FLAC_LENGTH_AT + 5], "big") & _FLAC_LENGTH
    if not promised or not goes_on_after(extent, promised):
        return None
    second_at = begins_again(extent)
    if second_at:
        rate_hz = int.from_bytes(head[_FLAC_RATE_AT : _FLAC_RATE_AT + 3], "big") >> 4
        return first_of_two(extent, second_at, promised / max(1, rate_hz), "FLAC")
    unknown = bytes([head[_FLAC_LENGTH_AT] & 0xF0, 0, 0, 0, 0])
    rest = (_FLAC_LENGTH_AT + 5, extent.size)
    return Mended(
        PatchedFile(extent, [head[:_FLAC_LENGTH_AT] + unknown, rest]),
        unclosed(f"{promised} samples", "more"),
    )


def mended_mp3(extent: Extent) -> Mended | None:
    """With a true count of frames in front, and with silence where bytes are none."""
    mp3 = mp3_frames(extent)
    if mp3 is None:
        return None
    missing = sum(count for _, count in mp3.holes)
    promised, frames = mp3.tagged_frames, mp3.frames + missing
    damage, repair = _mp3_damage(mp3), ""
    if promised is not None:
        if promised >= frames and not damage:
            return None
        if promised < mp3.frames:
            # Of those that are there: how many a hole had is reckoned.
            repair = unclosed(f"{promised} frames of MP3", mp3.frames)
        elif promised > frames:
            late_s = (promised - frames) * mp3.first.samples / mp3.first.rate_hz
            damage += f"; the header promises {late_s:.2f} s more"
    return Mended(
        PatchedFile(extent, mp3.parts()),
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
    if mp3.other:
        place, kind = mp3.other
        words.append(
            f"from byte {place} on it is MP3 of another kind ({kind} instead of {mp3.first.kind}), "
            "which is not read: cut the file there"
        )
    return "; ".join(words)
