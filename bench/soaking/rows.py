"""Rows: none twice, none lost that was acknowledged, none missing where nothing went wrong."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recorder.detect.bundle import ANY_BIRD
from recorder.keep.station_log import StationLog
from soaking.stage import TICKS
from soaking.truth import HEARD, Stretch, Truth

CHUNK_S = 5
_REACH = 605 * TICKS
"""A chunk's scores depend on ten minutes to either side, and no more."""
_NEAR = 0.01
"""Of a score, where the sound is shifted by less than a sample against the reference."""
_NO_MATTER = ("disk", "disk ram")
_SURE = 0.25
"""Over its threshold: a bird that is there whatever else the window holds."""

Rows = dict[int, dict[str, float]]
"""[chunk of the period][label] -> score over its threshold."""


def reference(out: Path, period_s: int) -> Rows:
    """The settled rows of the fault-free run, from its third window on, for one period."""
    base = sqlite3.connect(out / "station.sqlite")
    found: Rows = {}
    first = 600 // CHUNK_S
    for chunk, label, over in base.execute(
        "SELECT chunk, label, score - threshold FROM detections WHERE kind = 'settled' "
        "AND chunk >= ? AND chunk < ?",
        (first, first + period_s // CHUNK_S),
    ):
        found.setdefault(chunk % (period_s // CHUNK_S), {})[label] = over
    return found


def judge_rows(
    out: Path, truth: Truth, gone: list[Stretch], references: dict[int, Rows], period_s: int
) -> dict[str, Any]:
    """Counts, and what is wrong in words; `gone` was heard and lost after all."""
    base = sqlite3.connect(out / "station.sqlite")
    twice = base.execute(
        "SELECT count(*) FROM (SELECT 1 FROM detections GROUP BY kind, run, chunk, label "
        "HAVING count(*) > 1)"
    ).fetchone()[0]
    found: dict[str, Any] = {"rows_twice": twice, "chunks_in_peace": 0, "chunks_heard": 0}
    wrong: list[str] = []
    settled: dict[int, Rows] = {}
    for run, chunk, label, over in base.execute(
        "SELECT run, chunk, label, score - threshold FROM detections WHERE kind = 'settled'"
    ):
        settled.setdefault(run, {}).setdefault(chunk, {})[label] = over
    for number, run in enumerate(truth.runs, 1):
        expected = references.get(run.form)
        if expected is None:
            continue
        heard = _whole(run.stretches, [*_matters(truth.upset), *gone])
        for chunk in range((run.end - run.begin) // (CHUNK_S * TICKS)):
            begin = run.begin + chunk * CHUNK_S * TICKS
            place = round(begin / (CHUNK_S * TICKS)) % (period_s // CHUNK_S)
            wanted, has = expected.get(place, {}), settled.get(number, {}).get(chunk, {})
            in_peace = _inside(heard, begin - _REACH, begin + _REACH)
            if in_peace:
                found["chunks_in_peace"] += 1
                wrong += _differences(wanted, has, number, chunk)
            elif _inside(heard, begin - TICKS, begin + (CHUNK_S + 1) * TICKS):
                found["chunks_heard"] += 1
                sure = {label for label, over in wanted.items() if over > _SURE}
                wrong += [
                    f"run {number}, chunk {chunk}: {label} is missing"
                    for label in sorted(sure - has.keys())
                ]
    found["rows_wrong"] = len(wrong)
    found["wrong"] = wrong[:20]
    found["rows_settled"] = sum(len(one) for rows in settled.values() for one in rows.values())
    return found


def _differences(
    wanted: dict[str, float], has: dict[str, float], number: int, chunk: int
) -> Iterator[str]:
    for label in sorted(wanted.keys() | has.keys()):
        one, other = wanted.get(label), has.get(label)
        if one is not None and other is not None:
            if abs(one - other) > _NEAR:
                yield f"run {number}, chunk {chunk}: {label} has {other - one:+.4f}"
        elif label == ANY_BIRD[0] and any(
            over <= _NEAR for over in (has if one else wanted).values()
        ):
            # A species passes by a hair there and not here: where one does, no more is said of a
            # bird.
            continue
        elif (one or 0.0) + (other or 0.0) > _NEAR:
            yield f"run {number}, chunk {chunk}: {label} is {'missing' if one else 'too much'}"


def _matters(upset: list[Stretch]) -> list[Stretch]:
    """A full disk changes no row in the end."""
    return [one for one in upset if one.fate not in _NO_MATTER]


def _whole(stretches: list[Stretch], upset: list[Stretch]) -> list[tuple[int, int]]:
    """Where sound came unbroken and was as it should be."""
    ills = sorted((one.begin, one.end) for one in upset)
    whole: list[tuple[int, int]] = []
    for one in stretches:
        if one.fate != HEARD:
            continue
        begin = one.begin
        for first, stop in ills:
            if stop <= begin or first >= one.end:
                continue
            if first > begin:
                whole.append((begin, first))
            begin = max(begin, stop)
        if begin < one.end:
            whole.append((begin, one.end))
    return whole


def _inside(whole: list[tuple[int, int]], begin: int, end: int) -> bool:
    return any(first <= begin and end <= stop for first, stop in whole)


def acknowledged_lost(printed: list[int], journal: Path) -> int:
    """Lines that were printed and are not in the journal, in their order."""
    with journal.open("rb") as stream:
        kept = iter([hash(line) for line in stream])
    return sum(not any(line == one for one in kept) for line in printed)


def tables_made_again(out: Path) -> list[str]:
    """Tables that differ from those that the journal alone gives."""
    kinds = ("runs", "detections", "ledger", "health", "clock", "clips")
    with tempfile.TemporaryDirectory(prefix="birdrec-soak-") as name:
        shutil.copy(out / "detections.jsonl", name)
        StationLog(Path(name), lambda _: None).close()
        old, new = (sqlite3.connect(one / "station.sqlite") for one in (out, Path(name)))
        return [kind for kind in kinds if _content(old, kind) != _content(new, kind)]


def _content(base: sqlite3.Connection, table: str) -> list[Any]:
    return sorted(base.execute(f"SELECT * FROM {table}"), key=repr)


def ills_said(out: Path, truth: Truth) -> tuple[int, int]:
    """(of a microphone's ills that lasted, those that were said within a minute)."""
    lines = [json.loads(line) for line in (out / "detections.jsonl").open()]
    begun = [one for one in lines if one["kind"] == "health" and one["begins"]]
    lasted = said = 0
    for ill in _matters(truth.upset):
        for number, run in enumerate(truth.runs, 1):
            if not _inside(_whole(run.stretches, []), ill.begin, ill.begin + 45 * TICKS):
                continue
            first_s = (ill.begin - run.begin) / TICKS
            lasted += 1
            said += any(
                one["run"] == number and one["problem"] == ill.fate
                and first_s <= one["start_s"] <= first_s + 60.0
                for one in begun
            )  # fmt: skip
    return lasted, said
