"""What really happened, from the account of the microphone alone: runs, and stretches of time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from soaking.parent import Seen
from soaking.plan import Fault
from soaking.stage import (
    BEGIN,
    DOWN,
    END,
    OPENED,
    OVERFLOW,
    RATES_HZ,
    SOUND,
    STOPPED,
    TICKS,
    frame_ticks,
    read_account,
)

HEARD = "heard"
_DRAINS_S = 1200
_SEGMENT_S = 11
"""Of a spool's segment, with a block more."""


@dataclass(frozen=True)
class Stretch:
    """[begin, end) in ticks, and what became of it: heard, or the reason why not."""

    begin: int
    end: int
    fate: str


@dataclass
class Run:
    """As `recorder` counts them: one boot, one form of sound, until it is stopped in good order."""

    form: int
    boot: int
    stretches: list[Stretch] = field(default_factory=list)
    downs: list[tuple[int, int]] = field(default_factory=list)
    """(when, how) the process went."""

    @property
    def begin(self) -> int:
        return self.stretches[0].begin

    @property
    def end(self) -> int:
        return self.stretches[-1].end


@dataclass
class Truth:
    """All runs, and where what is asked of them is less."""

    runs: list[Run] = field(default_factory=list)
    upset: list[Stretch] = field(default_factory=list)
    """A fault of any kind, by its name: sound may be other, or not be there."""
    damage: list[tuple[int, int]] = field(default_factory=list)
    """Stretches of spool segments that were cut."""
    starved: list[tuple[int, int]] = field(default_factory=list)
    """The backlog may fill the RAM disk."""
    came: dict[str, int] = field(default_factory=dict)
    """Faults that came true, by kind."""


def truth_of(folder: Path, plan: list[Fault], seen: Seen) -> Truth:
    """Read the account from its first entry to its last."""
    truth = Truth()
    reader = _Reader(truth, plan, seen)
    for entry in read_account(folder / "account").tolist():
        reader.take(*entry)
    reader.close()
    return truth


class _Reader:
    def __init__(self, truth: Truth, plan: list[Fault], seen: Seen) -> None:
        self._truth, self._plan, self._seen = truth, plan, seen
        self._begun: dict[int, int] = {}
        self._reason = "device"
        self._new_run: tuple[int, int] | None = None
        self._downs = 0
        self._last = 0

    def take(self, kind: int, how: int, boot: int, frames: int, lost: int, tick: int) -> None:
        if kind == OPENED:
            run = self._truth.runs[-1] if self._truth.runs else None
            if run is None or self._reason == "new" or (run.form, run.boot) != (how, boot):
                self._new_run = how, boot
        elif kind in (SOUND, OVERFLOW):
            self._sound(frames, lost, tick)
        elif kind == BEGIN:
            self._begin(frames, tick)
        elif kind == END:
            self._end(frames, tick)
        elif kind == DOWN:
            self._down(tick, how)

    def close(self) -> None:
        for number in list(self._begun):
            self._end(number, self._last)

    def _sound(self, frames: int, lost: int, tick: int) -> None:
        if self._new_run is not None:
            self._truth.runs.append(Run(*self._new_run))
            self._new_run = None
        run = self._truth.runs[-1]
        each = frame_ticks(run.form)
        first = tick - lost * each
        if run.stretches and first > run.end:
            self._add(run, run.end, first, self._reason)
        self._add(run, first, tick, "overrun")
        self._add(run, tick, tick + frames * each, HEARD)
        self._reason, self._last = "device", tick + frames * each

    def _add(self, run: Run, begin: int, end: int, fate: str) -> None:
        if begin >= end:
            return
        last = run.stretches[-1] if run.stretches else None
        if last is not None and last.fate == fate:
            run.stretches[-1] = Stretch(last.begin, end, fate)
        else:
            run.stretches.append(Stretch(begin, end, fate))

    def _begin(self, number: int, tick: int) -> None:
        kind = self._plan[number].kind
        self._truth.came[kind] = self._truth.came.get(kind, 0) + 1
        if kind == "ill":
            end = tick + self._plan[number].lasts
            self._truth.upset.append(Stretch(tick, end, self._plan[number].word))
        elif kind == "starve":
            end = tick + self._plan[number].lasts + _DRAINS_S * TICKS
            self._truth.starved.append((tick, end))
        elif kind == "disk":
            self._begun[number] = tick

    def _end(self, number: int, tick: int) -> None:
        if number in self._begun:
            word = "disk " + self._plan[number].word
            self._truth.upset.append(Stretch(self._begun.pop(number), tick, word.strip()))

    def _down(self, tick: int, how: int) -> None:
        for number in list(self._begun):
            self._end(number, tick)
        run = self._truth.runs[-1]
        run.downs.append((tick, how))
        word, first = self._seen.damage.get(self._downs, ("", 0))
        if word == "spool":
            begin = run.begin + first * frame_ticks(run.form)
            self._truth.damage.append((begin, begin + _SEGMENT_S * TICKS))
        self._downs += 1
        self._reason = "new" if how == STOPPED else "shutdown"


def rate_hz(run: Run) -> int:
    return RATES_HZ[run.form]
