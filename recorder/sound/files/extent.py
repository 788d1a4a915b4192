"""A file, or the part of one that is a recording: other bytes may stand in front of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Extent:
    """Bytes of an open file; the descriptor stays the caller's. Places count from `start`."""

    descriptor: int
    start: int
    stop: int
    """One past the last."""

    @classmethod
    def whole(cls, descriptor: int) -> Self:
        """All that the file holds now: of what it grows by later nothing is seen."""
        return cls(descriptor, 0, os.fstat(descriptor).st_size)

    @property
    def size(self) -> int:
        return self.stop - self.start

    def at(self, place: int, count: int) -> bytes:
        """So many bytes from a place on, or fewer at the end."""
        first = self.start + place
        return os.pread(self.descriptor, max(0, min(count, self.stop - first)), first)

    def behind(self, place: int) -> Extent:
        """Without what stands before a place."""
        return Extent(self.descriptor, self.start + place, self.stop)
