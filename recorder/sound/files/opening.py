"""A decoder for whatever a file holds: as it is, mended, or from where its sound begins."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import soundfile

from recorder.errors import AudioFileError
from recorder.sound.files.decoder import Forwards, one_line
from recorder.sound.files.extent import Extent
from recorder.sound.files.mend import behind_junk, mended
from recorder.sound.files.mended import Mended
from recorder.sound.files.ogg_pages import OggStream, damaged_inside
from recorder.sound.files.patched import PatchedFile

Found = TypeVar("Found")


@dataclass(frozen=True)
class Opened:
    """A recording at its beginning."""

    decoder: Forwards
    extent: Extent
    """Where in the file it lies."""
    mend: Mended | None
    """What the decoder reads instead of the file, and why; None where it reads the file."""
    in_front: str
    """What is said of bytes before the recording."""
    ogg: OggStream | None
    """Its whole stretches, of which the decoder reads the first; None where it is not damaged."""

    def read_until(self) -> int:
        """How far the decoder has read, bytes of the extent."""
        if self.mend is None:
            return os.lseek(self.extent.descriptor, 0, os.SEEK_CUR)
        return self.mend.file.tell()


def opened(extent: Extent) -> Opened:
    """AudioFileError with the reason where no decoder takes it."""
    try:
        return _opened(extent)
    except AudioFileError:
        later = _unless_unreadable(behind_junk, extent)
        if later is None:
            raise
        return _opened(later, f"its first {later.start - extent.start} bytes are no sound")


def _unless_unreadable(look: Callable[[Extent], Found | None], extent: Extent) -> Found | None:
    """What a look at the file finds; nothing where its disk fails: what can be read is read."""
    try:
        return look(extent)
    except OSError:
        return None


def _opened(extent: Extent, in_front: str = "") -> Opened:
    mend, ogg = _unless_unreadable(mended, extent), _unless_unreadable(damaged_inside, extent)
    if ogg is not None:
        damage = ogg.damage or (mend.damage if mend else "")
        mend = Mended(ogg.stretches[0].file, damage=damage)
    if mend is None and extent.start:
        mend = Mended(PatchedFile(extent, [(0, extent.size)]))
    try:
        # By descriptor, not by name: names need not be UTF-8.
        decoder = Forwards(extent.descriptor if mend is None else mend.file, closefd=False)
    except (soundfile.SoundFileError, ValueError, TypeError, OverflowError) as error:
        raise AudioFileError(f"not audio that can be decoded ({one_line(error)})") from error
    return Opened(decoder, extent, mend, in_front, ogg)
