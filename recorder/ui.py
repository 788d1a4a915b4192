"""What a person sees: progress, the table of species, the list of problems.

rich is imported late: a machine reading `--json` should not wait for it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

from recorder.keep.formats import DetectionRow, ManifestRow


class Reporter(Protocol):
    """Told what happens while files are scanned."""

    def advance(self, amount: float) -> None: ...
    def file_done(self, row: ManifestRow, detections: int) -> None: ...


class Silent:
    """For `--quiet` and `--json`: errors alone."""

    def advance(self, amount: float) -> None:
        """Nothing is shown."""

    def file_done(self, row: ManifestRow, detections: int) -> None:
        """Errors alone: what could not be analysed."""
        del detections
        if row.status == "failed":
            _say(f"birdrec: {printable(row.path)}: {printable(row.reason)}", sys.stderr)


def _say(line: str, stream: TextIO) -> None:
    """A line; where nobody reads any more (`| head`) the scan goes on without."""
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Lines:
    """One plain line a file, for logs and pipes."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._done = 0

    def advance(self, amount: float) -> None:
        """Lines come when a file is done."""

    def file_done(self, row: ManifestRow, detections: int) -> None:
        self._done += 1
        said = f"{detections} detections" if row.status != "failed" else "not analysed"
        note = f" ({row.status}: {row.reason})" if row.reason else ""
        _say(f"[{self._done}/{self._files}] {printable(row.path)}: {said}{note}", sys.stdout)


class Bar:
    """A bar with the time left, by bytes of sound; problems stay above it."""

    def __init__(self, advance: Callable[[float], None], write: Callable[[str], None]) -> None:
        self._advance, self._write = advance, write

    def advance(self, amount: float) -> None:
        self._advance(amount)

    def file_done(self, row: ManifestRow, detections: int) -> None:
        if row.reason:
            note = f"{detections} detections, {row.status}: {row.reason}"
            self._write(f"{printable(row.path)}: {note}")


_PIPED_WIDTH = 130
"""Columns where there is no terminal to ask: wide enough not to cut names."""


@dataclass(frozen=True)
class SpeciesLine:
    """A row of the table that a scan ends with."""

    common_name: str
    scientific_name: str
    chunks: int
    files: int
    best_score: float
    best_place: str


class Tally:
    """Counts the species while the rows pass by; the rows themselves are not kept."""

    def __init__(self) -> None:
        self._chunks: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._last: dict[str, str] = {}
        """The file in which a species was heard last: files come one after the other."""
        self._best: dict[str, DetectionRow] = {}

    def add(self, rows: Iterable[DetectionRow]) -> None:
        for row in rows:
            self._chunks[row.label] += 1
            if self._last.get(row.label) != row.file:
                self._last[row.label] = row.file
                self._files[row.label] += 1
            if row.label not in self._best or row.score > self._best[row.label].score:
                self._best[row.label] = row

    def lines(self) -> list[SpeciesLine]:
        """The species found, the most frequent first."""
        lines = [
            SpeciesLine(
                best.common_name,
                best.scientific_name,
                self._chunks[label],
                self._files[label],
                best.score,
                f"{printable(best.file.rpartition('/')[2])} {clock(best.start_s)}",
            )
            for label, best in self._best.items()
        ]
        return sorted(lines, key=lambda line: (-line.chunks, line.common_name))


def clock(seconds: float) -> str:
    """75 -> 1:15, 3675 -> 1:01:15."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def printable(name: str) -> str:
    """A file name that cannot move the cursor or break the line: controls as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def print_species(tally: Tally) -> None:
    """The table of species on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    lines = tally.lines()
    if not lines:
        console.print("No bird above its threshold.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("species", ""):
        table.add_column(heading, no_wrap=True)
    for heading in ("chunks", "files", "best"):
        table.add_column(heading, justify="right")
    table.add_column("heard best at", overflow="fold")
    for line in lines:
        cells = (str(line.chunks), str(line.files), f"{line.best_score:.2f}", line.best_place)
        names = Text(line.common_name), Text(line.scientific_name, style="italic")
        table.add_row(*names, *map(Text, cells))
    console.print(table)


@contextmanager
def reporter(files: int, total: float, *, quiet: bool) -> Iterator[Reporter]:
    """A bar on a terminal, plain lines elsewhere, nothing when quiet."""
    if quiet:
        yield Silent()
    elif not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Lines(files)
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        columns = (
            TextColumn("analysing"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("scan", total=max(total, 1.0))
            yield Bar(
                lambda amount: progress.advance(task, amount),
                lambda text: console.print(escape(text), highlight=False),
            )
