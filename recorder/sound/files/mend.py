"""Files whose writer lost its power: what they say of their own length is put right for reading.

A recorder writes the length of a WAV into its header when it closes it. Without that the header
says 0, or all ones, or what it was some minutes ago, and decoders believe it: libsndfile reads 0
as an empty file. An Ogg stream that was cut has no last page, and may be taken for empty too.
"""

from __future__ import annotations

import re

from recorder.sound.files.extent import Extent
from recorder.sound.files.mend_big_endian import mended_aiff, mended_au
from recorder.sound.files.mend_caf import mended_caf
from recorder.sound.files.mend_coded import mended_flac, mended_mp3, mended_ogg
from recorder.sound.files.mend_wav import mended_wav
from recorder.sound.files.mended import Mended

_MAGIC_BYTES = 12
_OTHERS = (b"RIFX", b"dns.", b"riff")
"""Of these a decoder knows the length by itself."""
_JUNK_BYTES = 1 << 20
"""Further in no beginning is looked for: what is not sound at all need not be read to its end."""
_BEGINS = re.compile(
    rb"(?:RIFF|RF64)....WAVE|FORM....AIF[FC]|fLaC[\x00\x80]\x00\x00\x22|OggS\x00\x02"
    rb"|caff\x00\x01\x00\x00|riff\x2e\x91\xcf\x11|\.snd\x00\x00......\x00{3}[\x01-\x1b]\x00",
    re.DOTALL,
)
"""How files with sound in them begin. An MP3's frames are looked for one by one."""


def mended(extent: Extent) -> Mended | None:
    """How to read a recording that says something false of its length; None when it does not."""
    magic = extent.at(0, _MAGIC_BYTES)
    if magic[:4] in (b"RIFF", b"RF64") and magic[8:12] == b"WAVE":
        return mended_wav(extent)
    if magic[:4] == b"caff":
        return mended_caf(extent)
    if magic[:4] == b"FORM" and magic[8:11] == b"AIF":
        return mended_aiff(extent)
    if magic[:4] == b".snd":
        return mended_au(extent)
    if magic[:4] == b"OggS":
        return mended_ogg(extent)
    if magic[:4] == b"fLaC":
        return mended_flac(extent)
    return None if magic[:4] in _OTHERS else mended_mp3(extent)


def behind_junk(extent: Extent) -> Extent | None:
    """Where the sound begins in a file that no decoder knows by its first bytes: other files'
    bytes, or zeros, may stand in front of it. None where no such place is found."""
    begins = _BEGINS.search(extent.at(0, _JUNK_BYTES), 1)
    return None if begins is None else extent.behind(begins.start())
