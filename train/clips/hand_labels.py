"""Hand labels: where a person speaks in a clip, and where nothing calls (§2.2, Table 1).

    row_id,human_voice,nocall,t_range
    bcnher/XC545676.ogg,0,1,"[[1.5,7]]"
    whiwre1/XC518092.ogg,1,0,"[[25,1000]]"

`row_id` is LABEL/FILE, `t_range` a list of [from, to] in seconds; `to` may lie beyond the end. A
clip may have a row for either mark.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder.errors import ConfigError
from train.clips.dataset import read_table

HAND_LABELS = "hand_labels.csv"
COLUMNS = ("row_id", "human_voice", "nocall", "t_range")

Ranges = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class HandLabel:
    """What somebody heard in a clip; ranges in seconds."""

    voice_s: Ranges = ()
    nocall_s: Ranges = ()


def read_hand_labels(path: Path) -> dict[str, HandLabel]:
    """The label of each clip in the table, by LABEL/FILE; nothing when there is no table.

    ConfigError names the row that cannot be understood.
    """
    if not path.is_file():
        return {}
    labels: dict[str, HandLabel] = {}
    for row in read_table(path, COLUMNS):
        marks = [row[name].strip() for name in ("human_voice", "nocall")]
        if any(mark not in ("0", "1") for mark in marks) or marks == ["0", "0"]:
            raise ConfigError(
                f"{path}: {row['row_id']} has human_voice {marks[0]!r} and nocall {marks[1]!r}; "
                "each must be 0 or 1, and one of them 1"
            )
        ranges, old = _ranges(path, row), labels.get(row["row_id"], HandLabel())
        labels[row["row_id"]] = HandLabel(
            old.voice_s + (ranges if marks[0] == "1" else ()),
            old.nocall_s + (ranges if marks[1] == "1" else ()),
        )
    return labels


def without_voice(
    samples: NDArray[np.float32], label: HandLabel, sample_rate_hz: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The clip without its voice ranges, and for each sample left whether it is marked nocall."""
    nocall = _inside(label.nocall_s, len(samples), sample_rate_hz)
    kept = ~_inside(label.voice_s, len(samples), sample_rate_hz)
    return samples[kept], nocall[kept]


def _inside(ranges: Ranges, count: int, sample_rate_hz: int) -> NDArray[np.bool_]:
    marked = np.zeros(count, bool)
    for begin_s, end_s in ranges:
        first, last = (round(edge_s * sample_rate_hz) for edge_s in (begin_s, end_s))
        marked[max(0, first) : max(0, last)] = True
    return marked


def _ranges(path: Path, row: dict[str, str]) -> Ranges:
    try:
        value: Any = ast.literal_eval(row["t_range"])
        ranges = tuple((float(begin), float(end)) for begin, end in value)
    except (ValueError, SyntaxError, TypeError) as error:
        raise _wrong(path, row) from error
    if not ranges or any(not 0.0 <= begin < end for begin, end in ranges):
        raise _wrong(path, row)
    return ranges


def _wrong(path: Path, row: dict[str, str]) -> ConfigError:
    return ConfigError(
        f"{path}: t_range of {row['row_id']} is {row['t_range']!r}; it must be a list of "
        "[from, to] in seconds, such as [[1.5,7]], each with 0 <= from < to"
    )
