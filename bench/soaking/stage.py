"""What the parent and the station share: a page of state that survives a kill, and the account.

Time is counted in ticks, of which a second has so many that each sample of both forms begins on
one. The account is the microphone's own: what it gave, and when; nobody else writes of sound there.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TICKS = 96_000
"""A second."""
GRID = 300 * TICKS
"""Runs begin on it, as the model's windows do: so two runs cut the same sound alike."""
RATES_HZ, CHANNELS = (32_000, 48_000), (1, 2)
"""Of the two forms in which the device gives sound."""
BOOT_S = 20.0
"""The machine was on for so long when a boot's first tick came."""
NEVER = 1 << 62
UTC_S = 1_792_627_200.0
"""2026-10-22: three days and a bit before clocks in Europe are set back."""

OPENED, SOUND, OVERFLOW, BEGIN, END, DOWN = 1, 2, 3, 4, 5, 6
"""Kinds of the account: form and boot; frames given, and withheld before them, told or untold;
a fault's begin and end; the process is gone."""
KILLED, CUT, STOPPED = 1, 2, 3
"""How it went: kill -9; a power cut, and another boot; in good order."""
NOTHING, KILL, POWER, PAUSE, STOP = 0, 1, 2, 3, 4
"""What the microphone asks the parent to do to its process."""

_PAGE = struct.Struct("<iiiiqqqqdiiii")
_ENTRY = np.dtype(
    [
        ("kind", "u1"),
        ("how", "u1"),
        ("boot", "u2"),
        ("frames", "u4"),
        ("lost", "u4"),
        ("tick", "i8"),
    ],
    align=False,
)


@dataclass
class State:
    """The first two are read by the C library that stands before the disk: errno, or -ms."""

    disk: int = 0
    ram: int = 0
    order: int = NOTHING
    fault: int = 0
    """The next of the plan."""
    now: int = 0
    """What the clocks show."""
    tick: int = 0
    """Where the next sample begins."""
    boot_tick: int = 0
    sync_tick: int = 0
    """When somebody who knows the time sets the clock."""
    offset_s: float = 0.0
    """Of the wall clock."""
    synced: int = 1
    form: int = 0
    boot: int = 1
    orders: int = 0
    """Given so far: an order is new when this has grown."""


class Page:
    """`State` in a file's memory, seen by both processes and the C library."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_PAGE.pack(*vars(State()).values()).ljust(4096, b"\0"))
        with path.open("r+b") as stream:
            self._memory = mmap.mmap(stream.fileno(), 4096)

    def read(self) -> State:
        return State(*_PAGE.unpack_from(self._memory))

    def write(self, state: State) -> None:
        _PAGE.pack_into(self._memory, 0, *vars(state).values())


class Account:
    """Entries of one size, each written before anybody hears what it tells of."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def add(
        self, kind: int, tick: int, *, frames: int = 0, lost: int = 0, how: int = 0, boot: int = 0
    ) -> None:
        entry = np.array([(kind, how, boot, frames, lost, tick)], _ENTRY)
        os.write(self._descriptor, entry.tobytes())

    def close(self) -> None:
        os.close(self._descriptor)


def read_account(path: Path) -> NDArray[Any]:
    """[entries] with fields kind, how, boot, frames, lost, tick."""
    whole = path.stat().st_size // _ENTRY.itemsize
    entries: NDArray[Any] = np.fromfile(path, _ENTRY, count=whole)
    return entries


def ticks_of(seconds: float) -> int:
    return round(seconds * TICKS)


def frame_ticks(form: int) -> int:
    """Of one sample."""
    return TICKS // RATES_HZ[form]
