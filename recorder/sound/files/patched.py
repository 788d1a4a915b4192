"""A file with some of its bytes in another place or replaced, without writing to it."""

from __future__ import annotations

import errno
import io
import os
from bisect import bisect_right
from collections.abc import Sequence

from recorder.sound.files.extent import Extent

_PAGE_BYTES = 4096
_GIVE_UP_BYTES = 4 << 20
"""A card of which more cannot be read is not asked any longer: each answer may take seconds."""
Part = bytes | tuple[int, int]
"""Bytes of one's own, or a stretch (first byte, one past the last) of the extent."""


class PatchedFile(io.RawIOBase):
    """What a decoder reads instead of a damaged file."""

    def __init__(self, extent: Extent, parts: Sequence[Part]) -> None:
        super().__init__()
        self._extent, self._parts = extent, list(parts)
        self._starts = [0]
        for part in self._parts:
            length = len(part) if isinstance(part, bytes) else part[1] - part[0]
            self._starts.append(self._starts[-1] + length)
        self._place = 0
        self.silence = b"\0"
        """In the place of each byte that a disk cannot read: an error here would not get through
        the decoder."""
        self.bad_bytes = 0
        """So many had to be replaced."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._starts[-1]}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer from where the place is; fewer bytes only at the end."""
        done, wanted = 0, len(buffer)
        while done < wanted and self._place < self._starts[-1]:
            number = bisect_right(self._starts, self._place) - 1
            count = min(wanted - done, self._starts[number + 1] - self._place)
            data = self._bytes(self._parts[number], self._place - self._starts[number], count)
            if not data:
                break
            buffer[done : done + len(data)] = data
            done += len(data)
            self._place += len(data)
        return done

    def _bytes(self, part: Part, offset: int, count: int) -> bytes:
        if isinstance(part, bytes):
            return part[offset : offset + count]
        try:
            return self._extent.at(part[0] + offset, count)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        return self._around_bad_pages(part[0] + offset, count)

    def _around_bad_pages(self, first: int, count: int) -> bytes:
        """Page by page: the pages before and behind a bad one can be read."""
        found = b""
        while len(found) < count and self.bad_bytes < _GIVE_UP_BYTES:
            place = first + len(found)
            wanted = min(_PAGE_BYTES - place % _PAGE_BYTES, count - len(found))
            try:
                page = self._extent.at(place, wanted)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                page = self.silence * wanted
                self.bad_bytes += wanted
            if not page:
                break
            found += page
        return found
