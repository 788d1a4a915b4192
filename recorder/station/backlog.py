"""Sound between the thread that takes it in and the one that analyses it.

The newest is held in memory; what does not fit there waits in the spool, and only where neither has
room is it lost. Whoever takes it in never waits for whoever analyses, nor for a slow disk for
longer than the capture's own ring lasts.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from recorder.keep.spool import Spool, SpoolFull, SpoolGap
from recorder.sound.live.source import Frames


@dataclass(frozen=True)
class Piece:
    """Sound from `first` on, or that much of nothing, in frames of the device."""

    first: int
    count: int
    frames: Frames | None
    """[count, channels]; None when it was lost."""

    @property
    def stop(self) -> int:
        return self.first + self.count


@dataclass(frozen=True)
class _Waiting:
    first: int
    count: int
    frames: Frames | None
    lost: bool


class Backlog:
    """A queue in the order of time, with room for a month."""

    def __init__(self, spool: Spool | None, *, memory_frames: int) -> None:
        self._spool = spool
        self._memory_frames = memory_frames
        self._in_memory = 0
        self._behind = 0
        self._pieces: deque[_Waiting] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self.disk_trouble = ""
        """Why the spool takes nothing; empty when it does."""

    @property
    def frames(self) -> int:
        """How far analysis is behind."""
        return self._behind

    def put_sound(self, first: int, frames: Frames) -> bool:
        """Add what was heard; False when there was no room for it: then it is lost."""
        spooled = self._to_spool(first, frames)
        with self._ready:
            fits = self._in_memory + len(frames) <= self._memory_frames
            if not fits and not spooled:
                return False
            self._in_memory += len(frames) * fits
            held = frames if fits else None
            self._append(_Waiting(first, len(frames), held, lost=False))
        return True

    def put_lost(self, first: int, count: int) -> None:
        """Add a gap."""
        with self._ready:
            self._append(_Waiting(first, count, None, lost=True))

    def close(self) -> None:
        """Nothing will follow."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def get(self, timeout_s: float) -> Piece | None:
        """The oldest piece; None when none came in time. EOFError after the last."""
        with self._ready:
            if not self._pieces and not self._closed:
                self._ready.wait(timeout_s)
            if not self._pieces:
                if self._closed:
                    raise EOFError
                return None
            piece = self._pieces.popleft()
            self._behind -= piece.count
            if piece.frames is not None:
                self._in_memory -= piece.count
            self._ready.notify_all()
        return Piece(piece.first, piece.count, self._frames_of(piece))

    def wait_for_room(self, timeout_s: float) -> bool:
        """For a source that can wait: is there room for more in memory?"""
        with self._ready:
            if self._in_memory * 2 > self._memory_frames:
                self._ready.wait(timeout_s)
            return self._in_memory * 2 <= self._memory_frames

    def _append(self, piece: _Waiting) -> None:
        self._pieces.append(piece)
        self._behind += piece.count
        self._ready.notify_all()

    def _to_spool(self, first: int, frames: Frames) -> bool:
        if self._spool is None:
            return False
        try:
            self._spool.append(first, frames)
        except SpoolFull as error:
            self.disk_trouble = str(error)
            return False
        self.disk_trouble = ""
        return True

    def _frames_of(self, piece: _Waiting) -> Frames | None:
        if piece.lost or piece.frames is not None or self._spool is None:
            return piece.frames
        try:
            frames: Frames = self._spool.read(piece.first, piece.count)
        except (SpoolGap, OSError):
            return None
        return frames
