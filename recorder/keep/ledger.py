"""The account of every sample since the start: analysed, pending, or lost for a reason.

Entries lie end to end without a hole or an overlap, so that their sum is the time that has passed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

ANALYSED, PENDING, LOST = "analysed", "pending", "lost"
REASONS = ("overrun", "device", "disk", "shutdown", "decode", "thinned", "schedule")
"""Why samples are lost: the device or its driver was not read in time; the device was away; the
disk took no more while analysis was behind; birdrec was not running; the net could not decide;
left out evenly because the board was late and the user wished so; off by the user's schedule."""


@dataclass(frozen=True)
class Entry:
    """A stretch of samples with one fate."""

    start: int
    samples: int
    state: str
    reason: str = ""

    @property
    def stop(self) -> int:
        return self.start + self.samples


@dataclass(frozen=True)
class Totals:
    """How many samples have which fate; `lost` by reason."""

    analysed: int
    pending: int
    lost: dict[str, int]

    @property
    def elapsed(self) -> int:
        return self.analysed + self.pending + sum(self.lost.values())


class Ledger:
    """Append at the end, decide from the front; threads may do both at once."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """ValueError unless the entries lie end to end from 0."""
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        for entry in entries:
            if entry.start != self.end:
                raise ValueError(f"a ledger with a hole or an overlap at sample {entry.start}")
            self._append(entry.samples, entry.state, entry.reason)

    @property
    def end(self) -> int:
        """Samples since the start."""
        return self._entries[-1].stop if self._entries else 0

    def heard(self, samples: int) -> None:
        """So many more were captured."""
        with self._lock:
            self._append(samples, PENDING, "")

    def lost(self, samples: int, reason: str) -> None:
        """So many more went by unheard."""
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is no reason for a loss: {', '.join(REASONS)}")
        with self._lock:
            self._append(samples, LOST, reason)

    def analysed(self, until: int) -> None:
        """What was pending before the sample `until` has been analysed."""
        self._decide(0, until, ANALYSED, "")

    def give_up(self, start: int, stop: int, reason: str) -> None:
        """What is pending of these samples is lost after all."""
        self._decide(start, stop, LOST, reason)

    def first_pending(self) -> int:
        """Everything before this sample has its final fate."""
        with self._lock:
            return self._first_pending()

    def tail(self, since: int) -> list[Entry]:
        """The entries from the one on that holds the sample before `since`: it may have grown."""
        with self._lock:
            return [entry for entry in self._entries if entry.stop >= since]

    def totals(self) -> Totals:
        with self._lock:
            lost: dict[str, int] = {}
            sums = {ANALYSED: 0, PENDING: 0, LOST: 0}
            for entry in self._entries:
                sums[entry.state] += entry.samples
                if entry.state == LOST:
                    lost[entry.reason] = lost.get(entry.reason, 0) + entry.samples
            return Totals(sums[ANALYSED], sums[PENDING], lost)

    def _first_pending(self) -> int:
        pending = (entry.start for entry in self._entries if entry.state == PENDING)
        return next(pending, self.end)

    def _decide(self, start: int, stop: int, state: str, reason: str) -> None:
        with self._lock:
            keep = self._settled_entries(start)
            later = self._entries[keep:]
            del self._entries[keep:]
            for entry in later:
                if entry.state != PENDING:
                    self._append(entry.samples, entry.state, entry.reason)
                    continue
                first = min(max(entry.start, start), entry.stop)
                last = max(min(entry.stop, stop), first)
                self._append(first - entry.start, PENDING, "")
                self._append(last - first, state, reason)
                self._append(entry.stop - last, PENDING, "")

    def _settled_entries(self, start: int) -> int:
        """How many entries from the front cannot change: a month has many, all but a few old."""
        count = len(self._entries)
        first = max(start, self._first_pending())
        while count and self._entries[count - 1].stop > first:
            count -= 1
        return count

    def _append(self, samples: int, state: str, reason: str) -> None:
        if samples == 0:
            return
        if samples < 0:
            raise ValueError(f"{samples} samples")
        last = self._entries[-1] if self._entries else None
        if last is not None and (last.state, last.reason) == (state, reason):
            self._entries[-1] = Entry(last.start, last.samples + samples, state, reason)
        else:
            self._entries.append(Entry(self.end, samples, state, reason))
