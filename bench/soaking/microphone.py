"""A microphone that is made up: as fast as the analysis, ill as the plan says.

It stands where `recorder.sound.live.microphone` stands; its `State` outlives the process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.sound.live.source import Event, Lost, Opened, Sound
from soaking.pace import Pace
from soaking.plan import Fault
from soaking.stage import (
    BEGIN,
    BOOT_S,
    CHANNELS,
    END,
    GRID,
    KILL,
    NEVER,
    OPENED,
    OVERFLOW,
    PAUSE,
    POWER,
    RATES_HZ,
    SOUND,
    STOP,
    TICKS,
    Account,
    Page,
    State,
    frame_ticks,
)

DEVICE = "usb:soak:microphone"
_BLOCK, _SHORT_BLOCK = TICKS // 2, TICKS // 20
_AHEAD, _LAST_AHEAD = 20 * TICKS, 60 * TICKS
"""So far the sound may be ahead of its analysis; and of a kill that was asked for."""
_RING = 90 * TICKS
"""Of the capture, while nobody reads it."""
_NAP = 2 * TICKS
_WAIT_S = 0.2
_LATE = TICKS
"""A fault whose time went by while the device was away does not come any more."""


class Microphone:
    """A `Source`."""

    def __init__(
        self, state: State, page: Page, account: Account, plan: list[Fault], pace: Pace,
        sounds: list[Path], end: int,
    ) -> None:  # fmt: skip
        self._state, self._page, self._account, self._plan = state, page, account, plan
        self._pace, self._end = pace, end
        self._sounds = [os.open(path, os.O_RDONLY) for path in sounds]
        self._open = False
        self._back = state.tick
        """When the device is there."""
        self._withheld = 0
        self._untold = False
        self._starved_until = self._ill_until = self._asked_at = 0
        self._ill = ""
        self._disk: tuple[int, int] | None = None
        """(the fault's number, its end)."""
        self._ring = (0, 0)
        """While nobody reads: when it is full, and until when."""
        self._began_s, self._began_tick = time.monotonic(), state.tick

    def read(self, timeout_s: float) -> Event | None:
        """The next event, when the analysis is not too far behind."""
        del timeout_s
        if not self._may_go_on():
            return None
        event = self._event()
        self._page.write(self._state)
        return event

    def close(self) -> None: ...

    def _event(self) -> Event | None:
        if not self._open:
            return self._come_back()
        self._end_faults()
        if self._asked_at == 0 and (event := self._begin_faults()) is not None:
            return event
        return self._sound()

    def _may_go_on(self) -> bool:
        """Until the station looks about for the first time, sound comes as fast as real time."""
        state, until_s = self._state, time.monotonic() + _WAIT_S
        while time.monotonic() < until_s:
            if self._asked_at and state.tick - self._asked_at > _LAST_AHEAD:
                pass
            elif self._open and state.tick >= self._end and self._may_stop():
                if not self._asked_at:
                    self._ask(STOP)
            elif not self._pace.looked:
                since = (time.monotonic() - self._began_s) * TICKS
                if not self._open or state.tick - self._began_tick < since:
                    return True
            elif state.tick < self._starved_until or self._pace.ahead() < _AHEAD:
                return True
            time.sleep(0.001)
        return False

    def _may_stop(self) -> bool:
        """So that it can end in good order: with a disk, and little left to do."""
        return self._disk is None and self._pace.ahead() < _AHEAD

    def _come_back(self) -> Event | None:
        state = self._state
        if state.now < self._back:
            state.now = min(state.now + _NAP, self._back)
            return None
        state.tick = max(state.tick, self._back)
        self._open = True
        self._began_s, self._began_tick = time.monotonic(), state.tick
        rate_hz = RATES_HZ[state.form]
        self._account.add(OPENED, state.tick, how=state.form, boot=state.boot)
        return Opened(DEVICE, "a microphone made up", rate_hz, CHANNELS[state.form])

    def _sound(self) -> Sound:
        state = self._state
        each = frame_ticks(state.form)
        full_at, until = self._ring
        if full_at <= state.tick < until:
            self._withheld += (until - state.tick) // each
        begin = state.tick + self._withheld * each
        count = (_BLOCK if self._pace.looked else _SHORT_BLOCK) // each
        lost, self._withheld = self._withheld, 0
        untold, self._untold = self._untold, False
        kind = OVERFLOW if untold else SOUND
        self._account.add(kind, begin, frames=count, lost=lost)
        frames = self._samples(begin, count)
        state.tick = begin + count * each
        state.now = max(state.now, state.tick)
        ns = round((BOOT_S + (state.tick - state.boot_tick) / TICKS) * 1e9)
        return Sound(frames, 0 if untold else lost, untold, ns)

    def _samples(self, begin: int, count: int) -> NDArray[np.int16]:
        """[frames, channels] of the sound that repeats for ever; the second channel is the first,
        softer."""
        form = self._state.form
        sound = self._sounds[form]
        size = os.fstat(sound).st_size // 2
        at = begin // frame_ticks(form) % size
        data = os.pread(sound, 2 * count, 2 * at)
        mono = np.frombuffer(data, np.int16)
        if len(mono) < count:
            rest = np.frombuffer(os.pread(sound, 2 * (count - len(mono)), 0), np.int16)
            mono = np.concatenate([mono, rest])
        mono = self._made_ill(mono)
        return np.stack([mono, mono // 2], axis=1)[:, : CHANNELS[form]].copy()

    def _made_ill(self, mono: NDArray[np.int16]) -> NDArray[np.int16]:
        if not self._ill:
            return mono
        if self._ill == "dead":
            return np.zeros_like(mono)
        if self._ill == "dc":
            return np.clip(mono.astype(np.int32) + 8_000, -32_768, 32_767).astype(np.int16)
        return np.where(mono < 0, -32_768, 32_767).astype(np.int16)

    def _begin_faults(self) -> Event | None:
        state = self._state
        while state.fault < len(self._plan) and self._plan[state.fault].at <= state.tick:
            fault = self._plan[state.fault]
            state.fault += 1
            late = state.tick - fault.at > _LATE and fault.kind != "clock"
            unset = not state.synced and state.sync_tick < NEVER
            if late or (fault.kind == "clock" and unset):
                continue
            self._account.add(BEGIN, state.tick, frames=state.fault - 1)
            event = self._begin(fault)
            if event is not None or self._asked_at:
                return event
        return None

    def _begin(self, fault: Fault) -> Event | None:
        state = self._state
        begin: dict[str, Callable[[Fault], Event | None]] = {
            "gone": self._goes,
            "other": self._goes,
            "overrun": self._loses,
            "overflow": self._loses,
            "disk": self._fills,
            "kill": lambda _: self._ask(KILL),
            "power": lambda _: self._ask(POWER),
            "stop": lambda _: self._ask(STOP) if self._may_stop() else None,
            "pause": self._pauses,
        }
        if fault.kind in begin:
            return begin[fault.kind](fault)
        if fault.kind == "clock":
            wrong = fault.amount != 0
            state.offset_s, state.synced = float(fault.amount), int(not wrong)
            state.sync_tick = NEVER if wrong else 0
        elif fault.kind == "starve":
            self._starved_until = state.tick + fault.lasts
        elif fault.kind == "ill":
            self._ill, self._ill_until = fault.word, state.tick + fault.lasts
        return None

    def _end_faults(self) -> None:
        state = self._state
        if self._disk is not None and state.tick >= self._disk[1]:
            self._account.add(END, state.tick, frames=self._disk[0])
            self._disk, state.disk, state.ram = None, 0, 0
        if self._ill and state.tick >= self._ill_until:
            self._ill = ""
        if not state.synced and state.now >= state.sync_tick:
            state.offset_s, state.synced = 0.0, 1

    def _goes(self, fault: Fault) -> Event:
        state = self._state
        self._open = False
        self._back = state.tick + fault.lasts
        state.now = max(state.now, state.tick)
        if fault.kind == "other":
            state.form = 1 - state.form
            self._back = -(-self._back // GRID) * GRID
        return Lost("the device went away (made up)")

    def _loses(self, fault: Fault) -> None:
        self._withheld += fault.amount
        self._untold = fault.kind == "overflow"

    def _fills(self, fault: Fault) -> None:
        state = self._state
        state.disk = fault.amount
        state.ram = fault.amount if fault.word == "ram" else 0
        self._disk = (state.fault - 1, state.tick + fault.lasts)

    def _pauses(self, fault: Fault) -> None:
        """The clock goes on; what the ring holds comes afterwards, the rest is lost."""
        state = self._state
        state.now = state.tick + fault.lasts
        self._ring = (state.tick + _RING, state.tick + fault.lasts)
        self._ask(PAUSE)
        self._asked_at = 0

    def _ask(self, order: int) -> None:
        """Of the parent; nothing else goes wrong until it has been done."""
        self._state.order = order
        self._state.orders += 1
        self._asked_at = self._state.tick
        self._page.write(self._state)
