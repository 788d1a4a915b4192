"""How faint a call may be: recall against the signal-to-noise ratio of each event."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import CHUNK_S
from train.judging.evaluate import LabelledScan

EVENTS = "train_soundscape_events.csv"

_COLUMNS = ("file", "start_s", "end_s", "label", "snr_db")
_BIN_DB = 3.0
_OVERLAP_S = 0.25


@dataclass(frozen=True)
class Event:
    """A call of one species, placed or marked in a soundscape."""

    file: str
    start_s: float
    end_s: float
    label: str
    snr_db: float


@dataclass(frozen=True)
class SnrBin:
    """The events between two signal-to-noise ratios."""

    low_db: float
    high_db: float
    events: int
    found: int
    recall: float
    """NaN without an event."""


@dataclass(frozen=True)
class SnrRecall:
    """Recall by signal-to-noise ratio, or the reason why there is none."""

    bins: list[SnrBin]
    left_out: int
    """Events of other species, of other files, behind the last label, or without an SNR."""
    missing: str = ""


def recall_by_snr(scan: LabelledScan, dataset: Path) -> SnrRecall:
    """An event is found when a chunk that it is heard in has its species over the threshold.

    It is heard in a chunk that it overlaps by 0.25 s, or by half of itself when it is shorter.
    """
    path = dataset / EVENTS
    if not path.is_file():
        return SnrRecall([], 0, f"there is no {EVENTS}")
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    absent = [name for name in _COLUMNS if rows and name not in rows[0]]
    if absent:
        return SnrRecall([], 0, f"{EVENTS} has no column {', '.join(absent)}")
    judged = _judged(scan, [_event(row) for row in rows])
    if not judged:
        return SnrRecall([], len(rows), f"{EVENTS} has no event of the model's species")
    return SnrRecall(_bins(judged), len(rows) - len(judged))


def _event(row: dict[str, str]) -> Event:
    try:
        snr_db = float(row["snr_db"])
    except ValueError:
        snr_db = float("nan")
    return Event(row["file"], float(row["start_s"]), float(row["end_s"]), row["label"], snr_db)


def heard_in(event: Event, chunks: int) -> list[int]:
    """The chunks, of so many, that the event counts in."""
    enough_s = min(_OVERLAP_S, (event.end_s - event.start_s) / 2)
    near = range(
        max(0, math.floor(event.start_s / CHUNK_S)),
        min(chunks, math.ceil(event.end_s / CHUNK_S)),
    )

    def overlap_s(chunk: int) -> float:
        return min(event.end_s, (chunk + 1) * CHUNK_S) - max(event.start_s, chunk * CHUNK_S)

    # Times have three decimals: an overlap that is exactly enough must not fail by rounding.
    return [chunk for chunk in near if overlap_s(chunk) >= enough_s - 1e-6]


def _judged(scan: LabelledScan, events: list[Event]) -> list[tuple[float, bool]]:
    """(SNR in dB, found) of each event that can be judged."""
    ends = np.cumsum([len(scores) for scores in scan.each])
    decided = np.split(scan.shifted >= 0.0, ends[:-1])
    files: dict[str, NDArray[np.bool_]] = {
        one.path.name: predicted for one, predicted in zip(scan.soundscapes, decided, strict=True)
    }
    column = {label: index for index, label in enumerate(scan.labels)}
    result = []
    for event in events:
        if event.file in files and event.label in column and math.isfinite(event.snr_db):
            predicted = files[event.file]
            chunks = heard_in(event, len(predicted))
            if chunks:
                found = bool(predicted[chunks, column[event.label]].any())
                result.append((event.snr_db, found))
    return result


def _bins(judged: list[tuple[float, bool]]) -> list[SnrBin]:
    """Bins of 3 dB from the faintest event to the loudest."""
    inside: dict[int, list[bool]] = {}
    for snr_db, found in judged:
        inside.setdefault(math.floor(snr_db / _BIN_DB), []).append(found)
    result = []
    for number in range(min(inside), max(inside) + 1):
        found_here = inside.get(number, [])
        events, hits = len(found_here), sum(found_here)
        recall = hits / events if events else float("nan")
        result.append(SnrBin(number * _BIN_DB, (number + 1) * _BIN_DB, events, hits, recall))
    return result
