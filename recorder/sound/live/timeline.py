"""Samples to the time of day: a counter that two clocks discipline.

A block is read when its last frame is there, or later, never earlier. So the earliest of many
readings tells when frames really were heard, and a line through such readings of the last minutes
is the crystal's pace and place against CLOCK_BOOTTIME, which nothing sets. From there to the time
of day it is one offset, which follows a clock that is slewed, and steps with one that is set.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BUCKET_S = 10.0
"""The earliest reading of so long counts."""
_BUCKETS = 60
_KNOWN_BUCKETS = 6
"""From a minute on, the crystal's own pace is known better than the nominal one."""
_WRONG_SHARE = 0.002
_STEP_S = 0.5
_SLEW_SHARE = 0.0005
"""How fast the offset follows a wall clock that is not set but drifts."""
_CATCH_UP_S = 30.0
"""An error of the line is taken back over so long, so that time never jumps."""
_KNOTS = 400


@dataclass(frozen=True)
class ClockStep:
    """The wall clock was set."""

    at_frame: int
    step_s: float
    """Forwards if positive."""
    synced: bool
    """Is it set by somebody who knows the time?"""


class Timeline:
    """Of one run of a device, in frames since its start, gaps included."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._nominal_hz = sample_rate_hz
        self._earliest: deque[tuple[int, float]] = deque(maxlen=_BUCKETS)
        """(frame, boottime) of the earliest reading of each bucket."""
        self._bucket: tuple[int, float] | None = None
        self._bucket_ends_s = 0.0
        self._knots: deque[tuple[int, float]] = deque(maxlen=_KNOTS)
        """What was said of the past stays said: (frame, boottime), from which the line goes on."""
        self._frame_s = 1.0 / sample_rate_hz
        """Of the line after the last knot."""
        self._rate_hz = float(sample_rate_hz)
        self._offset_s: float | None = None
        self._offset_at_s = 0.0
        self.synced = False
        """Was the wall clock, when it was read last, that of somebody who knows the time?"""

    @property
    def rate_hz(self) -> float:
        """Measured over the last ten minutes; the nominal one in the first minute."""
        return self._rate_hz

    @property
    def wrong_rate(self) -> str | None:
        """What is wrong with the device's pace; None when nothing is."""
        if len(self._earliest) < _KNOWN_BUCKETS:
            return None
        share = self._rate_hz / self._nominal_hz - 1.0
        if abs(share) <= _WRONG_SHARE:
            return None
        return (
            f"the device gives {self._rate_hz:.0f} samples a second and promised "
            f"{self._nominal_hz}: its times and pitches are {100 * share:+.2f} % off; choose "
            "another --rate, or another device"
        )

    def mark(
        self, frames_total: int, boottime_s: float, wall_s: float, synced: bool
    ) -> list[ClockStep]:
        """A block was read: so many frames there are, at this moment of both clocks."""
        if not self._knots:
            self._knots.append((frames_total, boottime_s))
            self._bucket_ends_s = boottime_s + _BUCKET_S
        self._gather(frames_total, boottime_s)
        return self._follow_wall(frames_total, wall_s - boottime_s, boottime_s, synced)

    def boottime_of(self, frame: int) -> float:
        """CLOCK_BOOTTIME in seconds at which a frame was heard."""
        if not self._knots:
            return 0.0
        place = bisect_right(self._knots, (frame, float("inf")))
        if place == len(self._knots):
            knot, at_s = self._knots[-1]
            return at_s + (frame - knot) * self._frame_s
        if place == 0:
            knot, at_s = self._knots[0]
            return at_s + (frame - knot) / self._nominal_hz
        (first, first_s), (last, last_s) = self._knots[place - 1], self._knots[place]
        return first_s + (frame - first) * (last_s - first_s) / (last - first)

    def utc_s(self, frame: int) -> float:
        """Seconds since 1970 at which a frame was heard, as far as the wall clock knows."""
        return self.boottime_of(frame) + (self._offset_s or 0.0)

    def frames_between(self, boottime_a_s: float, boottime_b_s: float) -> int:
        """How many frames go by between two moments, at the device's own pace."""
        trusted = abs(self._rate_hz / self._nominal_hz - 1.0) <= _WRONG_SHARE
        rate_hz = self._rate_hz if trusted else self._nominal_hz
        return max(0, round((boottime_b_s - boottime_a_s) * rate_hz))

    def _gather(self, frames: int, boottime_s: float) -> None:
        late_s = boottime_s - frames / self._nominal_hz
        if self._bucket is None or late_s < self._bucket[1] - self._bucket[0] / self._nominal_hz:
            self._bucket = (frames, boottime_s)
        if len(self._earliest) < _KNOWN_BUCKETS:
            # Until the pace is known the earliest reading so far is the place of the line.
            self._hurry(frames, boottime_s)
        if boottime_s >= self._bucket_ends_s:
            self._earliest.append(self._bucket)
            self._bucket, self._bucket_ends_s = None, boottime_s + _BUCKET_S
            self._bend(frames)

    def _hurry(self, frames: int, boottime_s: float) -> None:
        if boottime_s < self.boottime_of(frames) and len(self._knots) == 1:
            self._knots[0] = (frames, boottime_s)

    def _bend(self, frames: int) -> None:
        """A new knot, from which the line runs to where the readings say that it should be."""
        if len(self._earliest) < _KNOWN_BUCKETS:
            return
        origin, origin_s = self._earliest[0]
        found = np.array([(one - origin, at_s - origin_s) for one, at_s in self._earliest])
        slope, place = _line_through(found[:, 0], found[:, 1])
        self._rate_hz = float(1.0 / slope) if slope > 0 else float(self._nominal_hz)
        now_s = self.boottime_of(frames)
        ahead = round(_CATCH_UP_S * self._nominal_hz)
        target_s = origin_s + place + slope * (frames + ahead - origin)
        # Never backwards, and never more than a tenth off the nominal pace.
        pace_s = (target_s - now_s) / ahead * self._nominal_hz
        self._frame_s = min(1.1, max(0.9, float(pace_s))) / self._nominal_hz
        self._knots.append((frames, now_s))

    def _follow_wall(
        self, frame: int, offset_s: float, boottime_s: float, synced: bool
    ) -> list[ClockStep]:
        before_s, since_s = self._offset_s, boottime_s - self._offset_at_s
        self._offset_at_s, self.synced = boottime_s, synced
        if before_s is None:
            self._offset_s = offset_s
            return []
        change_s = offset_s - before_s
        if abs(change_s) > _STEP_S:
            self._offset_s = offset_s
            return [ClockStep(frame, change_s, synced)]
        most_s = _SLEW_SHARE * max(0.0, since_s)
        self._offset_s = before_s + min(most_s, max(-most_s, change_s))
        return []


def _line_through(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """(slope, place at 0) by the median of all pairs' slopes (Theil and Sen).

    A machine that was too busy for ten seconds to read in time bends a least-squares line.
    """
    first, second = np.triu_indices(len(x), 1)
    slope = float(np.median((y[second] - y[first]) / (x[second] - x[first])))
    return slope, float(np.median(y - slope * x))
