"""What goes wrong and when, all of it from one seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from soaking.stage import ticks_of

SLOT_S = 3600.0
"""At most one mishap in so long, or several in a row: between them a station is left in peace."""
_OF_ANY_LENGTH = ("ill", "pause")
"""Shorter, they would not be what they are."""
_ENOSPC, _EIO, _EROFS = 28, 5, 30

Dice = random.Random


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong; what `amount` and `word` mean is its kind's affair."""

    kind: str
    at: int
    """Ticks."""
    lasts: int = 0
    """Ticks."""
    amount: int = 0
    word: str = ""


def make_plan(seed: int, seconds: float, *, slot_s: float = SLOT_S) -> list[Fault]:
    """In the order of time; the same for the same seed. Close mishaps are short ones."""
    dice = random.Random(seed)
    scale = min(1.0, 4 * slot_s / SLOT_S)
    faults: list[Fault] = []
    at_s = slot_s / 2
    while at_s < seconds - slot_s / 4:
        when_s = at_s + dice.uniform(0.0, slot_s / 4)
        for _ in range(1 + (dice.random() < 0.3) + (dice.random() < 0.1)):
            faults += _mishap(dice, ticks_of(when_s), scale)
            when_s += dice.uniform(30.0, 150.0)
        at_s += slot_s
    return sorted(faults, key=lambda one: one.at)


def save_plan(path: Path, plan: list[Fault]) -> None:
    path.write_text(json.dumps([asdict(one) for one in plan]))


def load_plan(path: Path) -> list[Fault]:
    return [Fault(**one) for one in json.loads(path.read_text())]


def _mishap(dice: Dice, at: int, scale: float) -> Iterator[Fault]:
    make = dice.choices(list(_MAKERS), list(_MAKERS.values()))[0]
    for fault in make(dice):
        lasts = fault.lasts if fault.kind in _OF_ANY_LENGTH else round(scale * fault.lasts)
        yield replace(fault, at=at + round(scale * fault.at), lasts=lasts)


def _gone(dice: Dice) -> list[Fault]:
    """The device is away: mostly for moments, now and then for hours."""
    lasts_s = dice.choice([dice.uniform(0.5, 20.0), dice.uniform(20.0, 600.0)])
    if dice.random() < 0.05:
        lasts_s = dice.uniform(3600.0, 3 * 3600.0)
    return [Fault("gone", 0, ticks_of(lasts_s))]


def _other(dice: Dice) -> list[Fault]:
    """It comes back in another form of sound."""
    return [Fault("other", 0, ticks_of(dice.uniform(5.0, 120.0)))]


def _overrun(dice: Dice) -> list[Fault]:
    return [Fault("overrun", 0, amount=dice.randrange(1, 400_000))]


def _overflow(dice: Dice) -> list[Fault]:
    """As an overrun, but the driver does not say how much."""
    return [Fault("overflow", 0, amount=dice.randrange(3_200, 200_000))]


def _disk(dice: Dice) -> list[Fault]:
    errno = dice.choice([_ENOSPC, _EIO, _EROFS, -dice.randrange(20, 200)])
    return [Fault("disk", 0, ticks_of(dice.uniform(20.0, 900.0)), errno)]


def _both_disks(dice: Dice) -> list[Fault]:
    """Card and RAM disk take nothing while the processor is starved: sound has to go."""
    lasts_s = dice.uniform(60.0, 400.0)
    return [
        Fault("disk", 0, ticks_of(lasts_s), _ENOSPC, "ram"),
        Fault("starve", ticks_of(5.0), ticks_of(lasts_s)),
    ]


def _starve(dice: Dice) -> list[Fault]:
    return [Fault("starve", 0, ticks_of(dice.uniform(60.0, 900.0)))]


def _clock(dice: Dice) -> list[Fault]:
    """The wall clock is set wrong, and right again."""
    step_s = dice.choice([3600, -3600, -5 * 86_400, dice.randrange(-50, 50)])
    after = ticks_of(dice.uniform(60.0, 1200.0))
    return [Fault("clock", 0, amount=step_s), Fault("clock", after)]


def _kill(dice: Dice) -> list[Fault]:
    word = dice.choice(["", "", "", "tables", "spool"])
    down_s = dice.choice([dice.uniform(1.0, 10.0), dice.uniform(10.0, 1800.0)])
    return [Fault("kill", 0, ticks_of(down_s), word=word)]


def _power(dice: Dice) -> list[Fault]:
    """Power cut: another boot, an empty RAM disk; with or without a clock that knows the time."""
    down = ticks_of(dice.uniform(30.0, 3600.0))
    return [Fault("power", 0, down, word=dice.choice(["", "rtc"]))]


def _pause(dice: Dice) -> list[Fault]:
    """SIGSTOP: the capture goes on for as long as its ring has room."""
    return [Fault("pause", 0, ticks_of(dice.choice([dice.uniform(1, 60), dice.uniform(60, 200)])))]


def _ill(dice: Dice) -> list[Fault]:
    word = dice.choice(["dead", "clipped", "dc"])
    return [Fault("ill", 0, ticks_of(dice.uniform(45.0, 240.0)), word=word)]


def _stop(dice: Dice) -> list[Fault]:
    """Somebody stops the unit and starts it again."""
    return [Fault("stop", 0, ticks_of(dice.uniform(5.0, 60.0)))]


_MAKERS: dict[Callable[[Dice], list[Fault]], float] = {
    _gone: 4, _other: 1, _overrun: 3, _overflow: 2, _disk: 5, _both_disks: 2, _starve: 2, _clock: 3,
    _kill: 4, _power: 1.5, _pause: 2, _ill: 3, _stop: 0.5,
}  # fmt: skip
