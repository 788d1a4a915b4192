"""Files whose writer lost its power: what they say of their own length is put right for reading.

A recorder writes the length of a WAV into its header when it closes it. Without that the header
says 0, or all ones, or what it was some minutes ago, and decoders believe it: libsndfile reads 0
as an empty file. An Ogg stream that was cut has no last page, and may be taken for empty too.
"""

from __future__ import annotations

import os

from recorder.sound.mend_coded import mended_flac, mended_mp3, mended_ogg
from recorder.sound.mend_plain import mended_caf, mended_wav
from recorder.sound.mended import Mended

_MAGIC_BYTES = 12
_OTHERS = (b"FORM", b"RIFX", b".snd", b"dns.", b"riff")
"""Of these a decoder knows the length by itself."""


def mended(descriptor: int, size: int) -> Mended | None:
    """How to read a file that says something false of its length; None when it does not."""
    magic = os.pread(descriptor, _MAGIC_BYTES, 0)
    if magic[:4] in (b"RIFF", b"RF64") and magic[8:12] == b"WAVE":
        return mended_wav(descriptor, size)
    if magic[:4] == b"caff":
        return mended_caf(descriptor, size)
    if magic[:4] == b"OggS":
        return mended_ogg(descriptor, size)
    if magic[:4] == b"fLaC":
        return mended_flac(descriptor, size)
    return None if magic[:4] in _OTHERS else mended_mp3(descriptor, size)
