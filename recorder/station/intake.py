"""The thread that takes sound in: it counts, keeps time, listens to the microphone's health.

It never waits for the analysis. What is lost, and why, is in the ledger before anything else is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recorder.keep.ledger import Ledger
from recorder.sound.files.audiofile import LARGEST_SAMPLE
from recorder.sound.live.clock import Clock
from recorder.sound.live.health import HealthChange, MicrophoneHealth
from recorder.sound.live.overrun import OverrunGauge
from recorder.sound.live.source import Frames, Lost, Opened, Rest, Sound, Source
from recorder.sound.live.timeline import ClockStep, Timeline
from recorder.station.backlog import Backlog

_READ_S = 0.25
_GAP_STEP_S = 5.0
"""While a device is away, time goes on in such steps, so that what was before it settles."""
_SURE_S = 1.0
"""What has certainly gone by: the device cannot have been back for longer than this unseen."""

Floats = NDArray[np.float32]
Note = HealthChange | ClockStep | Opened | Lost
"""What the station is told besides sound."""


@dataclass(frozen=True)
class Noted:
    """A note and its place in time, in frames since the start."""

    frame: int
    note: Note


def as_floats(frames: Frames) -> tuple[Floats, int]:
    """[frames, channels] with full scale 1, and how many samples were no numbers: silence now."""
    if np.issubdtype(frames.dtype, np.integer):
        scale = np.float32(1.0 / (1 << (8 * frames.dtype.itemsize - 1)))
        return frames.astype(np.float32) * scale, 0
    floats = np.asarray(frames, np.float32)
    wrong = ~(np.abs(floats) <= np.float32(LARGEST_SAMPLE))
    if not wrong.any():
        return floats, 0
    return np.where(wrong, np.float32(0.0), floats), int(wrong.sum())


class Intake(threading.Thread):
    """Moves events of a source into the backlog until it is told to stop, or the source is over."""

    def __init__(
        self,
        source: Source,
        opened: Opened,
        *,
        ledger: Ledger,
        backlog: Backlog,
        clock: Clock | None,
        tell: Callable[[Noted], None],
        channel: str,
        limit_frames: int | None = None,
        first: Sound | None = None,
    ) -> None:
        """`clock` is None for a replay: its time is that of the file, and it can wait.

        `channel` is the one that is analysed, or `mix`: only what is used can be ill. After
        `limit_frames` more it ends, as if the source were over. `first` was read from the source
        already.
        """
        super().__init__(name="intake", daemon=True)
        self._source, self.opened = source, opened
        self.reopened: Opened | None = None
        """The source goes on in another form of sound: another run is needed..."""
        self.ahead: Sound | None = None
        """...which begins with this."""
        self._first = first
        self._limit = float("inf") if limit_frames is None else ledger.end + limit_frames
        self._ledger, self._backlog = ledger, backlog
        self._clock, self._tell = clock, tell
        self.timeline = Timeline(opened.sample_rate_hz)
        self._used = slice(None) if channel == "mix" else slice(int(channel) - 1, int(channel))
        used = len(range(opened.channels)[self._used])
        self.health = MicrophoneHealth(opened.sample_rate_hz, used)
        self._gauge = OverrunGauge(self.timeline.boottime_of, opened.sample_rate_hz)
        self._stopped = threading.Event()
        self.bad_samples = 0
        self.away = ""
        """Why no sound comes at the moment; empty when it does."""
        self._away_reason = "device"
        self._gone = False
        """It was told that the device went away, and not yet that it is back."""
        self._back: Opened | None = None
        self._last_sound_s: float | None = None
        self.failure: BaseException | None = None

    @property
    def frames(self) -> int:
        """Frames since the start, lost ones included."""
        return self._ledger.end

    @property
    def rests(self) -> bool:
        """No sound comes because none is wished for."""
        return bool(self.away) and self._away_reason == "schedule"

    def continue_from(self, boottime_s: float) -> None:
        """What was before ended at this time: up to the first sound it is lost."""
        self._last_sound_s = boottime_s
        self.away, self._away_reason = "birdrec was not running", "shutdown"
        self._keep_time(boottime_s)

    def stop(self) -> None:
        """Take nothing more in."""
        self._stopped.set()

    def run(self) -> None:
        """The thread; its failure, should it have one, is in `failure`."""
        try:
            while not self._stopped.is_set() and self._step():
                pass
            self._release()
        except BaseException as error:
            # Raised again in the main thread, which must know that no sound comes any more.
            self.failure = error
        finally:
            self._backlog.close()

    def _step(self) -> bool:
        if self._clock is None and not self._backlog.wait_for_room(_READ_S):
            return True
        event, self._first = self._first or self._source.read(_READ_S), None
        if isinstance(event, Sound):
            if self.reopened is not None:
                self._end_before(event, self.reopened.sample_rate_hz)
                return False
            self._sound(event)
            return self.frames < self._limit
        if isinstance(event, Lost):
            self._release()
            self._lose(event)
            return not event.final
        if isinstance(event, Opened):
            self._opened_again(event)
        elif isinstance(event, Rest):
            self._rest(event)
        elif self.away and self._clock is not None and self._last_sound_s is not None:
            self._pass_time(self._clock.boottime_s() - _SURE_S, at_least_s=_GAP_STEP_S)
        return self.frames < self._limit

    def _rest(self, event: Rest) -> None:
        """Time goes on unheard, as it was wished: that is no fault of the microphone."""
        if self._last_sound_s is None:
            # Nothing was heard yet: the account begins here.
            self._last_sound_s = event.boottime_s
            self._keep_time(event.boottime_s)
        if not self.rests:
            self._release()
            if self.away:
                self._pass_time(event.boottime_s, at_least_s=0.0)
            self._away_reason = "schedule"
        self.away = event.reason
        self._pass_time(event.boottime_s, at_least_s=0.0 if event.over else _GAP_STEP_S)
        if event.over:
            self._away_reason = "device"

    def _lose(self, event: Lost) -> None:
        if not self._gone and self._away_reason != "shutdown":
            self._tell(Noted(self.frames, event))
            self._gone = True
        self.away = event.reason

    def _opened_again(self, opened: Opened) -> None:
        """The same form of sound goes on; another one needs another run, from its first sound."""
        # It may be read late: how long the device was away only its first sound can tell.
        self._back = opened
        form = (opened.sample_rate_hz, opened.channels)
        same = form == (self.opened.sample_rate_hz, self.opened.channels)
        self.reopened = None if same else opened

    def _end_before(self, sound: Sound, rate_hz: int) -> None:
        """It is the next run's; what went by until its first frame is lost to this one."""
        if self._last_sound_s is not None:
            lasts_s = (sound.lost_frames + len(sound.frames)) / rate_hz
            self._pass_time(sound.boottime_ns / 1e9 - lasts_s, at_least_s=0.0)
        self._say_back()
        self.ahead = sound

    def _say_back(self) -> None:
        if self._gone and self._back is not None:
            self._tell(Noted(self.frames, self._back))
            self._gone = False

    def _sound(self, sound: Sound) -> None:
        lost, ready = self._gauge.push(sound, self.frames)
        self._lost(lost, "overrun")
        for one in ready:
            self._take(one)

    def _release(self) -> None:
        lost, held = self._gauge.release()
        self._lost(lost, "overrun")
        for one in held:
            self._take(one)

    def _take(self, sound: Sound) -> None:
        boottime_s = sound.boottime_ns / 1e9
        rate_hz = self.opened.sample_rate_hz
        if self.away and self._last_sound_s is not None:
            self._pass_time(boottime_s - len(sound.frames) / rate_hz, at_least_s=0.0)
            self.health.reset()
        self._say_back()
        self.away, self._away_reason = "", "device"
        self._lost(sound.lost_frames, "overrun")
        first = self.frames
        frames = sound.frames[: int(max(0, min(len(sound.frames), self._limit - first)))]
        self._ledger.heard(len(frames))
        # Before anybody analyses it: its rows need their time.
        self._keep_time(boottime_s)
        if not self._backlog.put_sound(first, frames):
            self._ledger.give_up(first, first + len(frames), "disk")
            self._backlog.put_lost(first, len(frames))
        self._last_sound_s = boottime_s
        floats, bad = as_floats(frames)
        self.bad_samples += bad
        for change in self.health.push(floats[:, self._used]):
            self._tell(Noted(first, change))

    def _keep_time(self, boottime_s: float) -> None:
        if self._clock is None:
            self.timeline.mark(self.frames, boottime_s, boottime_s, False)
            return
        # The block may have waited in the ring: the wall clock of when it was read is meant.
        wall_s = self._clock.wall_s() - (self._clock.boottime_s() - boottime_s)
        for step in self.timeline.mark(self.frames, boottime_s, wall_s, self._clock.synced()):
            self._tell(Noted(self.frames, step))

    def _pass_time(self, until_s: float, *, at_least_s: float) -> None:
        """The device was away until then: that much is lost."""
        assert self._last_sound_s is not None
        if until_s - self._last_sound_s < at_least_s:
            return
        gone = self.timeline.frames_between(self._last_sound_s, until_s)
        gone = int(min(gone, self._limit - self.frames))
        if gone > 0:
            self._lost(gone, self._away_reason)
            self._last_sound_s = until_s

    def _lost(self, count: int, reason: str) -> None:
        if count <= 0:
            return
        first = self.frames
        self._ledger.lost(count, reason)
        self._backlog.put_lost(first, count)
