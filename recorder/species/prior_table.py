"""How often each species is met, by week and hour: eBird's bar chart, or a CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recorder.detect.occurrence import HOURS, WEEKS
from recorder.errors import ConfigError
from recorder.species.bar_chart import bar_chart_rows, is_bar_chart
from recorder.species.names import Names
from recorder.species.text import NAME_COLUMNS, Row, TextFile, table_header, table_rows

_WEEKS_OF_A_MONTH = 4
_RANGES = {"week": (1, WEEKS), "month": (1, 12), "hour": (0, HOURS - 1)}
_COLUMNS = (*NAME_COLUMNS, *_RANGES, "frequency")
_BAR_CHART = "eBird bar chart"


@dataclass(frozen=True)
class PriorTable:
    """A table, as far as the model knows its names."""

    frequency: NDArray[np.float64]
    """[classes, weeks, hours], 0..1; 1 or 48 weeks, 1 or 24 hours; NaN where it says nothing."""
    form: str
    unknown: tuple[str, ...]
    """Names that mean no class of the model."""


@dataclass(frozen=True)
class _Entry:
    """A number of the table; None is any week, or any hour."""

    line: int
    names: tuple[str, ...]
    weeks: slice
    hour: int
    frequency: float


def read_prior(file: TextFile, names: Names, classes: int) -> PriorTable:
    """Read a table; ConfigError says in which line what is wrong, and what is allowed."""
    if is_bar_chart(file):
        return _gathered(file, names, _bar_chart(file), (classes, WEEKS, 1), _BAR_CHART)
    header = table_header(file)
    if header is None:
        raise ConfigError(
            f"{file.path} is neither eBird's bar chart (a line begins with `Sample Size:`) nor a "
            f"CSV whose header has one of {', '.join(NAME_COLUMNS)}, and frequency"
        )
    columns = _checked(file, *header[:2])
    shape = (
        classes,
        WEEKS if columns & {"week", "month"} else 1,
        HOURS if "hour" in columns else 1,
    )
    entries = (_entry(file, row) for row in table_rows(file, header))
    return _gathered(file, names, entries, shape, "CSV")


def _checked(file: TextFile, line: int, columns: list[str]) -> set[str]:
    strange = [one for one in columns if one not in _COLUMNS]
    if strange:
        raise file.error(line, f"unknown column {strange[0]!r}: use {', '.join(_COLUMNS)}")
    if "frequency" not in columns:
        raise file.error(line, "the column frequency is missing")
    if {"week", "month"} <= set(columns):
        raise file.error(line, "week and month exclude each other: leave one out")
    return set(columns)


def _bar_chart(file: TextFile) -> Iterator[_Entry]:
    for row in bar_chart_rows(file):
        for week, value in enumerate(row.frequencies):
            yield _Entry(row.line, row.names, slice(week, week + 1), 0, value)


def _entry(file: TextFile, row: Row) -> _Entry:
    weeks, hour = slice(0, 1), 0
    if "week" in row.cells:
        week = _whole(file, row, "week") - 1
        weeks = slice(week, week + 1)
    elif "month" in row.cells:
        first = (_whole(file, row, "month") - 1) * _WEEKS_OF_A_MONTH
        weeks = slice(first, first + _WEEKS_OF_A_MONTH)
    if "hour" in row.cells:
        hour = _whole(file, row, "hour")
    return _Entry(row.line, row.names, weeks, hour, share(file, row.line, row.cells["frequency"]))


def _whole(file: TextFile, row: Row, column: str) -> int:
    low, high = _RANGES[column]
    text = row.cells[column]
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else -1
    if not low <= value <= high:
        raise file.error(row.line, f"{column} {text!r}: use {low} to {high}")
    return value


def share(file: TextFile, line: int, text: str) -> float:
    """A frequency; ConfigError unless it is a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise file.error(line, f"frequency {text!r}: use a number from 0 to 1")
    return value


def _gathered(
    file: TextFile,
    names: Names,
    entries: Iterator[_Entry],
    shape: tuple[int, int, int],
    form: str,
) -> PriorTable:
    frequency = np.full(shape, np.nan)
    lines = np.zeros(shape, np.int64)
    unknown: dict[str, None] = {}
    for one in entries:
        found = list(names.find(one.names))
        if not found:
            unknown[one.names[0]] = None
            continue
        taken = lines[found, one.weeks, one.hour]
        if taken.any():
            raise file.error(
                one.line, f"{one.names[0]} was there in line {taken.max()} already, for this time"
            )
        lines[found, one.weeks, one.hour] = one.line
        frequency[found, one.weeks, one.hour] = one.frequency
    if not lines.any():
        raise ConfigError(_nothing(file, list(unknown)))
    return PriorTable(frequency, form, tuple(unknown))


def _nothing(file: TextFile, unknown: list[str]) -> str:
    if not unknown:
        return f"{file.path} has no row: it says nothing of any species"
    return (
        f"{file.path}: the model knows none of its {len(unknown)} species, the first is "
        f"{unknown[0]!r}: use labels, scientific or common names (`birdrec model info` lists them)"
    )
