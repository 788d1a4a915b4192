"""eBird's bar chart as it is downloaded: how many lists have a species, by quarters of months.

Tab-separated text: some lines about the place, one `Sample Size:` with 48 numbers of lists, then a
line a species, `Common name (<em class="sci">Scientific name</em>)` and 48 shares of the lists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from recorder.detect.occurrence import WEEKS
from recorder.species.text import TextFile

_SAMPLES = "sample size:"
_NAME = re.compile(
    r'"?(?P<common>.*\S)\s*\(\s*(?:<em[^>]*>)?(?P<scientific>[^()<>]+?)(?:</em>)?\s*\)"?'
)


@dataclass(frozen=True)
class BarChartRow:
    """A species."""

    line: int
    names: tuple[str, ...]
    """Scientific and common, as far as they are there."""
    frequencies: tuple[float, ...]
    """48 shares, 0..1; NaN where nobody wrote a list."""


def is_bar_chart(file: TextFile) -> bool:
    """Has it the line that no table has?"""
    return any(_is_samples(line) for line in file.text.splitlines())


def bar_chart_rows(file: TextFile) -> Iterator[BarChartRow]:
    """The species; ConfigError when a line has not 48 numbers in range."""
    samples: list[float] | None = None
    for line, text in enumerate(file.text.splitlines(), 1):
        if not text.strip():
            continue
        if _is_samples(text):
            samples = _numbers(file, line, text, highest=math.inf)
        elif samples is not None:
            shares = _numbers(file, line, text, highest=1.0)
            known = (
                share if lists > 0.0 else math.nan
                for share, lists in zip(shares, samples, strict=True)
            )
            yield BarChartRow(line, _names(text.split("\t", 1)[0]), tuple(known))


def _is_samples(line: str) -> bool:
    return line.strip().casefold().startswith(_SAMPLES)


def _names(cell: str) -> tuple[str, ...]:
    found = _NAME.fullmatch(cell.strip())
    if found is None:
        return (cell.strip(),)
    return found["scientific"].strip(), found["common"].strip()


def _numbers(file: TextFile, line: int, text: str, *, highest: float) -> list[float]:
    name, *cells = text.rstrip().split("\t")
    if len(cells) != WEEKS:
        raise file.error(line, f"{name!r} has {len(cells)} numbers: a bar chart has {WEEKS}")
    values = [_number(cell) for cell in cells]
    for cell, value in zip(cells, values, strict=True):
        if not 0.0 <= value <= highest or value == math.inf:
            allowed = "0 or more" if highest == math.inf else f"0 to {highest:g}"
            raise file.error(line, f"{name!r} has {cell!r}: use numbers from {allowed}")
    return values


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
