"""Formats in which a frame lies where its number says: what a failing disk or card cannot read of
them has its place, and silence stands there."""

from __future__ import annotations

import soundfile

from recorder.sound.files.decoder import Forwards
from recorder.sound.files.extent import Extent
from recorder.sound.files.patched import PatchedFile

_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"})
_SUBTYPES = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
)
_SILENCES = {"PCM_U8": b"\x80", "ULAW": b"\xff", "ALAW": b"\xd5"}
"""What other subtypes say with zeros."""


def is_plain(decoder: Forwards) -> bool:
    """Does a frame lie where its number says?"""
    return decoder.format in _FORMATS and decoder.subtype in _SUBTYPES


def silence_of(decoder: Forwards) -> bytes:
    """The byte of which silence consists."""
    return _SILENCES.get(decoder.subtype, b"\0")


def around_bad_sectors(
    extent: Extent, decoder: Forwards, frame: int
) -> tuple[Forwards, PatchedFile] | None:
    """A decoder that goes on at a frame and takes what cannot be read for silence, and what it
    reads; None where that does not help."""
    around = PatchedFile(extent, [(0, extent.size)])
    around.silence = silence_of(decoder)
    try:
        again = Forwards(around, closefd=False)
        again.seek(frame)
    except (soundfile.SoundFileError, RuntimeError, OSError):
        return None
    return again, around
