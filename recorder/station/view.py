"""What a person sees of a station: a live screen on a terminal, a line per detection elsewhere."""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from recorder.keep import journal
from recorder.keep.journal import Record
from recorder.keep.ledger import Totals
from recorder.ui import clock, printable

_SHOWN = 12
"""Detections on the screen."""
_QUIETEST_DBFS = -80.0


@dataclass(frozen=True)
class State:
    """How a station fares at one moment."""

    device: str
    sample_rate_hz: int
    totals: Totals
    lag_s: float
    """Analysis is so far behind what was heard."""
    level_dbfs: float
    peak_dbfs: float
    away: str
    """Why no sound comes; empty when it does."""
    problems: tuple[str, ...] = ()


class View(Protocol):
    """Told what happens."""

    def said(self, records: list[Record]) -> None:
        """Rows that are safe on the disk."""

    def heard(self, record: Record) -> None:
        """A live row, safe or not yet."""

    def state(self, state: State) -> None:
        """How things are, several times a second."""

    def word(self, text: str) -> None:
        """Something a person should know."""

    def close(self) -> None:
        """The station ends."""


class Quiet:
    """Words only, for `--quiet`."""

    def said(self, records: list[Record]) -> None: ...

    def heard(self, record: Record) -> None: ...

    def state(self, state: State) -> None: ...

    def word(self, text: str) -> None:
        print(f"birdrec: {printable(text)}", file=sys.stderr, flush=True)

    def close(self) -> None: ...


class Lines(Quiet):
    """A line per detection, gap and problem, when it is safe on the disk."""

    def said(self, records: list[Record]) -> None:
        for record in records:
            text = line_of(record)
            if text:
                _print(text)


class JsonLines(Quiet):
    """The journal's own lines, when they are safe on the disk."""

    def said(self, records: list[Record]) -> None:
        for record in records:
            _print(journal.line_of(record))


def _print(text: str) -> None:
    """To standard output, as long as somebody reads it: the recorder goes on without."""
    try:
        print(text, flush=True)
    except OSError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def line_of(record: Record) -> str:
    """One line for people; empty for what is for machines alone."""
    kind = record["kind"]
    when = record.get("start_utc", "")
    if kind in ("live", "settled"):
        name = f"{record['common_name']} ({record['scientific_name']})"
        return f"{when}  {kind:<7}  {record['score']:.2f}  {printable(name)}"
    if kind == "rejected":
        name = f"{record['common_name']} ({record['scientific_name']}): {record['reason']}"
        return f"{when}  reject   {record['score']:.2f}  {printable(name)}"
    if kind == "gap":
        lasted = record["end_s"] - record["start_s"]
        if record["reason"] == "schedule":
            return f"{when}  rest     {clock(lasted)} off by schedule"
        return f"{when}  gap      {lasted:.3f} s lost: {record['reason']}"
    if kind == "health":
        mark = "trouble" if record["begins"] else "well"
        return f"{when}  {mark:<7}  {record['problem']}: {printable(record['detail'])}"
    if kind == "clock":
        return f"{when}  clock    stepped by {record['step_s']:.3f} s"
    return ""


class Screen:
    """A rich live view: level, last detections, lag, ledger, health."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console()
        self._rows: deque[Record] = deque(maxlen=_SHOWN)
        self._state: State | None = None
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._live.start()

    def said(self, records: list[Record]) -> None:
        for record in records:
            if record["kind"] in ("gap", "health", "clock"):
                self.word(line_of(record))

    def heard(self, record: Record) -> None:
        self._rows.appendleft(record)

    def state(self, state: State) -> None:
        self._state = state
        self._live.update(self._drawn(state), refresh=True)

    def word(self, text: str) -> None:
        from rich.text import Text

        self._live.console.print(Text(printable(text)))

    def close(self) -> None:
        self._live.stop()

    def _drawn(self, state: State) -> Any:
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("heard at (UTC)", "species", "", "score"):
            table.add_column(heading)
        for row in self._rows:
            names = Text(row["common_name"]), Text(row["scientific_name"], style="italic")
            table.add_row(row["start_utc"][11:19], *names, f"{row['score']:.2f}")
        lines = [Text(one) for one in state_lines(state)]
        return Group(table, *lines)


def state_lines(state: State) -> list[str]:
    """The account and the health in words."""
    totals, rate_hz = state.totals, state.sample_rate_hz
    lost = sum(totals.lost.values())
    reasons = ", ".join(
        f"{reason} {samples / rate_hz:.1f} s" for reason, samples in sorted(totals.lost.items())
    )
    account = (
        f"elapsed {clock(totals.elapsed / rate_hz)} = analysed {clock(totals.analysed / rate_hz)}"
        f" + pending {clock(totals.pending / rate_hz)} + lost {lost / rate_hz:.1f} s"
    )
    sound = state.away or f"{meter(state.level_dbfs)} {state.level_dbfs:6.1f} dBFS"
    health = ", ".join(state.problems) if state.problems else "well"
    return [
        f"{state.device}: {sound}",
        account + (f" ({reasons})" if reasons else "") + f"; behind {state.lag_s:.1f} s",
        f"health: {health}",
    ]


def meter(level_dbfs: float, width: int = 24) -> str:
    """-80 to 0 dBFS as a bar."""
    share = min(1.0, max(0.0, 1.0 - level_dbfs / _QUIETEST_DBFS))
    full = round(share * width)
    return "█" * full + "·" * (width - full)
