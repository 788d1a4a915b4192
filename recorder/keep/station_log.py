"""What a station writes down: journal and tables together, acknowledged when it is safe.

A line is acknowledged (printed, counted on) after it has reached the disk. Each time costs a card
some 16 KiB (an estimate: a data block and the file system's journal), so there is an allowance for
a day: while it lasts, every row is safe at once; in a dawn chorus without an end, several rows wait
for one another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from recorder.keep.formats import STATION_TABLES
from recorder.keep.journal import LEDGER, Journal, Record
from recorder.keep.store import Store

_DAY_S = 86_400.0
_BURST = 40
"""Times that may follow each other at once."""

Acknowledge = Callable[[list[Record]], None]


class Allowance:
    """How often the disk may be written to: so many times at once, so many a day."""

    def __init__(self, times_a_day: float) -> None:
        self._per_s = times_a_day / _DAY_S
        self._left = float(_BURST)
        self._now_s = 0.0

    def take(self, now_s: float) -> bool:
        """May it be now? Time is that of the sound, so that a fast replay is like a slow one."""
        self._left = min(_BURST, self._left + max(0.0, now_s - self._now_s) * self._per_s)
        self._now_s = max(self._now_s, now_s)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class StationLog:
    """The journal and the tables of one folder; to be used by one thread.

    A disk that is full or read-only stops nothing: rows wait in memory until it takes them.
    """

    def __init__(self, folder: Path, acknowledge: Acknowledge, *, times_a_day: float = 250) -> None:
        """Open what is there or make it; OSError when the folder cannot be used."""
        self.journal = Journal(folder / "detections.jsonl")
        self.store = Store(folder / STATION_TABLES, self.journal)
        self._acknowledge = acknowledge
        self._allowance = Allowance(times_a_day)
        self._waiting: list[Record] = []
        self._appended: list[Record] = []
        self._journal_trouble = self._table_trouble = ""

    @property
    def trouble(self) -> str:
        """Why the disk takes no rows at the moment; empty when it does."""
        return self._journal_trouble or self._table_trouble

    @property
    def safe(self) -> bool:
        """Did the journal take all that it was given last?"""
        return not self._journal_trouble

    @property
    def waiting(self) -> int:
        """Rows that are not acknowledged yet."""
        return len(self._waiting) + len(self._appended)

    def add(self, records: list[Record], now_s: float) -> None:
        """Write rows down; they are acknowledged as soon as the allowance lets them."""
        self._waiting += records
        if self.waiting and self._allowance.take(now_s):
            self.flush(tables=False)
        else:
            self._append()

    def commit(self, records: list[Record], ledger: Record, *, tables: bool = True) -> None:
        """Write rows that belong together and the ledger that closes them, and make all safe."""
        self._waiting += [*records, {"kind": LEDGER, **ledger}]
        self.flush(tables=tables)

    def flush(self, *, tables: bool) -> bool:
        """Make safe what was written; False when the disk takes nothing, `trouble` says why.

        The journal is enough for that. The tables follow when they are asked to: they cost a card
        as much again each time, and what they do not know yet is read from the journal.
        """
        if not self._append():
            return False
        try:
            self.journal.sync()
        except OSError as error:
            self._journal_trouble = _words(error)
            return False
        done, self._appended = self._appended, []
        self._journal_trouble = ""
        if tables:
            self._catch_up()
        self._acknowledge(done)
        return not self.trouble

    def _catch_up(self) -> None:
        """The rows are safe in the journal: the tables follow when they can, and damaged ones are
        made again at the next start."""
        try:
            self.store.catch_up(self.journal)
            self._table_trouble = ""
        except (OSError, sqlite3.DatabaseError) as error:
            self._table_trouble = f"{self.store.path.name}: {error}"

    def close(self) -> None:
        self.store.close()
        self.journal.close()

    def _append(self) -> bool:
        """At once and unsynced: this much survives a kill."""
        try:
            self.journal.append(self._waiting)
        except OSError as error:
            self._journal_trouble = _words(error)
            return False
        self._appended += self._waiting
        self._waiting = []
        return True


def _words(error: OSError) -> str:
    return error.strerror or str(error)
