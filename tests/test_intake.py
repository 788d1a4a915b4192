"""The account of a device that went away is that of its sound, however late it is read."""

from __future__ import annotations

import numpy as np
import pytest

from recorder.keep.ledger import LOST, PENDING, Ledger
from recorder.sound.live.source import Event, Lost, Opened, Sound
from recorder.station.backlog import Backlog
from recorder.station.intake import Intake, Noted

RATE_HZ = 1_000
OPENED = Opened("usb:1", "one", RATE_HZ, 1)
OTHER = Opened("usb:1", "one", 2 * RATE_HZ, 2)


class Clock:
    now_s = 0.0

    def boottime_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1_795_000_000.0 + self.now_s

    def synced(self) -> bool:
        return True

    def boot_id(self) -> str:
        return "this"


class Script:
    """What the source says, and when it is read."""

    def __init__(self, clock: Clock, events: list[tuple[float, Event | None]]) -> None:
        self._clock, self._events = clock, events

    def read(self, timeout_s: float) -> Event | None:
        del timeout_s
        if not self._events:
            return Lost("", final=True)
        self._clock.now_s, event = self._events.pop(0)
        return event

    def close(self) -> None: ...


def sound(end_s: float, opened: Opened = OPENED) -> Sound:
    frames = np.ones((opened.sample_rate_hz // 2, opened.channels), np.int16)
    return Sound(frames, 0, False, round(end_s * 1e9))


def taken(events: list[tuple[float, Event | None]]) -> tuple[Intake, Ledger, list[Noted]]:
    clock, ledger, notes = Clock(), Ledger(), list[Noted]()
    backlog = Backlog(None, memory_frames=1_000_000)
    intake = Intake(
        Script(clock, events), OPENED, ledger=ledger, backlog=backlog, clock=clock,
        tell=notes.append, channel="1",
    )  # fmt: skip
    intake.run()
    assert intake.failure is None
    ends = [one for one in notes if isinstance(one.note, Lost) and one.note.final]
    return intake, ledger, [one for one in notes if one not in ends]


def entries(ledger: Ledger) -> list[tuple[str, int]]:
    return [(one.state + one.reason, one.samples) for one in ledger.tail(0)]


@pytest.mark.parametrize("read_s", [11.6, 40.0])
def test_a_return_that_is_read_late_is_no_longer_gap(read_s: float) -> None:
    """Sound of ten seconds and more waited in the ring while this process was stopped."""
    intake, ledger, notes = taken(
        [
            (1.0, sound(1.0)),
            (1.1, Lost("pulled")),
            (read_s, OPENED),
            *((read_s, sound(11.5 + half / 2)) for half in range(20)),
        ]
    )
    assert entries(ledger) == [(PENDING, 500), (LOST + "device", 10_000), (PENDING, 10_000)]
    assert [(one.frame, type(one.note)) for one in notes] == [(500, Lost), (10_500, Opened)]
    assert intake.ahead is None


def test_a_device_that_opens_and_gives_nothing_is_not_back() -> None:
    _, ledger, notes = taken(
        [
            (1.0, sound(1.0)),
            (1.1, Lost("pulled")),
            (3.0, OPENED),
            (4.0, Lost("no sound")),
            (6.0, OPENED),
            (6.6, sound(6.5)),
        ]
    )
    assert entries(ledger) == [(PENDING, 500), (LOST + "device", 5_000), (PENDING, 500)]
    assert [type(one.note) for one in notes] == [Lost, Opened]


def test_another_form_of_sound_ends_the_run_where_it_begins() -> None:
    intake, ledger, notes = taken(
        [
            (1.0, sound(1.0)),
            (1.1, Lost("pulled")),
            (8.0, None),
            (9.0, OTHER),
            (9.3, None),
            (10.0, sound(9.75, OTHER)),
            (10.5, sound(10.25, OTHER)),
        ]
    )
    assert entries(ledger) == [(PENDING, 500), (LOST + "device", 8_250)]
    assert intake.reopened == OTHER
    assert intake.ahead is not None
    assert intake.ahead.boottime_ns == 9_750_000_000
    assert [(one.frame, type(one.note)) for one in notes] == [(500, Lost), (8_750, Opened)]
