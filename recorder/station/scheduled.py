"""A microphone that sleeps outside the windows of a schedule.

The device is opened a little before a window begins, so that its first sample is there; what it
gives before is dropped unheard. Whether sound is wished for is asked of the time at which it was
heard, not of the time at which it is read: a late reader loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from recorder.sound.live.clock import Clock
from recorder.sound.live.source import Event, Opened, Rest, Sound, Source
from recorder.station.schedule import Schedule

_LEAD_S = 20.0
"""A small board needs so long to start the process that captures."""
_EDGE_S = 0.001
"""A block that reaches so little over the edge of a window is within it."""
_LATE_S = 60.0
"""No schedule changes twice within a minute."""


class Sleeper(Source, Protocol):
    """A source that can sleep."""

    def rest(self) -> None:
        """Let the device sleep until the next `read`."""


class Scheduled:
    """A `Source`: `Rest` outside the windows, and what the microphone says within them.

    At the start the device is opened whatever the hour, so that its form is known, and what is
    wrong with it is said while somebody is there.
    """

    def __init__(
        self,
        source: Sleeper,
        schedule: Schedule,
        clock: Clock,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source, self._schedule, self._clock = source, schedule, clock
        self._sleep = sleep
        self._rate_hz = 0
        """Of the device, when it was open last; 0 before it was the first time."""
        self._resting = self._asleep = False
        self._held: Event | None = None
        """What came with the end of a rest, for the next read."""
        self._valid = (0.0, 0.0)
        """From when to when what `_on` says holds."""
        self._on = True

    def read(self, timeout_s: float) -> Event | None:
        """The next event; outside the windows always a `Rest`."""
        held, self._held = self._held, None
        if held is not None:
            return held
        if self._may_sleep():
            return self._asleep_until(timeout_s)
        event = self._source.read(timeout_s)
        if isinstance(event, Opened):
            self._rate_hz = event.sample_rate_hz
            return event
        return self._awake(event) if self._rate_hz else event

    def close(self) -> None:
        """Stop."""
        self._source.close()

    def _may_sleep(self) -> bool:
        """At rest, and for longer than it takes to open the device."""
        if not self._resting:
            return False
        now_s = self._clock.wall_s()
        return not (self._wished(now_s) or self._schedule.is_on(now_s + _LEAD_S))

    def _asleep_until(self, timeout_s: float) -> Rest:
        if not self._asleep:
            self._source.rest()
            self._asleep = True
        self._sleep(timeout_s)
        return self._rest(self._clock.boottime_s())

    def _awake(self, event: Event | None) -> Event | None:
        """What the open device said, or that nothing of it was wished for."""
        self._asleep = False
        now_s, lasts_s = self._clock.boottime_s(), 0.0
        if isinstance(event, Sound):
            now_s, lasts_s = event.boottime_ns / 1e9, len(event.frames) / self._rate_hz
        first_s = self._wall_of(now_s - max(0.0, lasts_s - _EDGE_S))
        last_s = self._wall_of(now_s - min(lasts_s, _EDGE_S))
        if self._wished(first_s) and self._wished(last_s):
            return self._wished_for(event, now_s)
        self._resting = True
        return self._rest(now_s)

    def _wished_for(self, event: Event | None, boottime_s: float) -> Event | None:
        """Within a window; what ends a rest is told apart from the rest itself."""
        if not self._resting:
            return event
        if isinstance(event, Sound):
            self._resting = False
            # What its own ring could not hold before was not wished for.
            return replace(event, lost_frames=0, overflowed=False)
        self._resting, self._held = False, event
        return Rest(boottime_s, "the window has begun, and the microphone is not open yet", True)

    def _rest(self, boottime_s: float) -> Rest:
        change_s = self._valid[1]
        until = ""
        if change_s < float("inf"):
            until = f" until {datetime.fromtimestamp(change_s, UTC):%Y-%m-%d %H:%M} UTC"
        return Rest(boottime_s, f"off by schedule{until}")

    def _wall_of(self, boottime_s: float) -> float:
        return self._clock.wall_s() - (self._clock.boottime_s() - boottime_s)

    def _wished(self, utc_s: float) -> bool:
        begin_s, end_s = self._valid
        if not begin_s <= utc_s < end_s:
            self._on = self._schedule.is_on(utc_s)
            change_s = self._schedule.next_change(utc_s)
            # Just after a change, blocks that were heard between it and now may still come.
            begin_s = end_s if end_s <= utc_s < end_s + _LATE_S else utc_s
            self._valid = (begin_s, float("inf") if change_s is None else change_s)
        return self._on
