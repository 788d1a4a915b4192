"""How much was lost where a driver only says that something was.

Reading a block is sometimes late, never early. So the earliest of several blocks tells when the
samples really were there: what it lies behind the clock after an overrun, and did not before, is
what went by unheard.
"""

from __future__ import annotations

from collections.abc import Callable

from recorder.sound.live.source import Sound

_BLOCKS = 20
"""A second of blocks, of which one at least is read in time."""
_SMALLEST_S = 0.002
"""Less than a reading's jitter is nothing."""


class OverrunGauge:
    """Holds sound back for a second after an overrun, and then says what was lost before it."""

    def __init__(self, expected_boottime_s: Callable[[int], float], sample_rate_hz: int) -> None:
        """`expected_boottime_s(frames)`: when the stream has had so many, by its own clock."""
        self._expected_s = expected_boottime_s
        self._rate_hz = sample_rate_hz
        self._held: list[Sound] = []
        self._frames = 0
        self._late_s = float("inf")

    @property
    def holding(self) -> bool:
        return bool(self._held)

    def push(self, sound: Sound, frames_before: int) -> tuple[int, list[Sound]]:
        """Take a block that comes after `frames_before` frames of the stream and those held.

        Returns (frames lost before the first of them, the blocks that are free to go on).
        """
        if not self._held and not sound.overflowed:
            return 0, [sound]
        self._held.append(sound)
        self._frames += sound.lost_frames + len(sound.frames)
        expected_s = self._expected_s(frames_before + self._frames)
        self._late_s = min(self._late_s, sound.boottime_ns / 1e9 - expected_s)
        if len(self._held) < _BLOCKS:
            return 0, []
        return self.release()

    def release(self) -> tuple[int, list[Sound]]:
        """Decide now, from what there is: the stream has ended, or there is enough."""
        held, late_s = self._held, self._late_s
        self._held, self._frames, self._late_s = [], 0, float("inf")
        lost = round(late_s * self._rate_hz) if held and late_s > _SMALLEST_S else 0
        return lost, held
