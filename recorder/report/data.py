"""What a report says, from a scan's files or from a station's tables."""

from __future__ import annotations

import csv
import heapq
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from recorder.detect.mel import CHUNK_S
from recorder.errors import UsageError
from recorder.keep.formats import RUN, STATION_TABLES, from_cell, wall_time
from recorder.report.expected import expected_of_run, expected_of_scan

_TROUBLES = 200
"""Of files and gaps that are listed by name."""


@dataclass(frozen=True, order=True)
class Example:
    """Where a species was heard; the better ones are the larger ones."""

    score: float
    path: str
    """Of a file of sound."""
    start_s: float
    """In that file."""
    end_s: float
    when: str


@dataclass
class Species:
    """What was heard of one."""

    label: str
    scientific_name: str
    common_name: str
    chunks: int = 0
    best: list[Example] = field(default_factory=list)
    """A heap; the worst of the best first."""
    hours: Counter[int] = field(default_factory=Counter)
    """Chunks by hour of the day."""

    @property
    def name(self) -> str:
        return self.common_name or self.scientific_name or self.label


@dataclass
class Report:
    """Everything on the page."""

    title: str
    root: Path
    """Of the paths of the examples."""
    clock: str = ""
    """Whose time of day it is: UTC, the recorder's own; empty when nobody knows."""
    species: dict[str, Species] = field(default_factory=dict)
    effort: dict[int, float] = field(default_factory=lambda: dict.fromkeys(range(24), 0.0))
    """Seconds of sound analysed, by hour of the day."""
    days: Counter[str] = field(default_factory=Counter)
    """Chunks with a species, by day; every day with sound is there."""
    by_unit: dict[str, set[str]] = field(default_factory=dict)
    """The species of each day, or of each recording where no day is known, in order."""
    unit: str = "recording"
    undated: int = 0
    """Recordings of which nobody knows at what time they were made."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of sound: in all, analysed, and lost by reason."""
    statuses: Counter[str] = field(default_factory=Counter)
    troubles: list[tuple[str, str, str]] = field(default_factory=list)
    """(what, state, reason)."""
    about: list[tuple[str, str]] = field(default_factory=list)
    """Model, species list and prior, thresholds, versions."""
    rejected: int | None = None
    """Detections that list or prior took away; None where neither was used."""


def read_report(out: Path, *, recordings: Path | None, examples: int) -> Report:
    """From the folder of a scan or of a station; UsageError when it is neither."""
    if recordings is not None and not recordings.is_dir():
        raise UsageError(f"--recordings {recordings} is no folder")
    if (out / "manifest.jsonl").exists() and (out / RUN).exists():
        try:
            return _of_scan(out, recordings, examples)
        except OSError as error:
            raise UsageError(f"{error.filename} cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{out} holds no whole scan ({type(error).__name__}: {error}): its files are "
                "damaged, or of something else; scan again"
            ) from error
    if (out / STATION_TABLES).exists():
        return _of_station(out, examples)
    raise UsageError(
        f"{out} holds neither a finished scan (manifest.jsonl, run.json) nor a station "
        "(station.sqlite): name the folder that --out named"
    )


def _of_scan(out: Path, recordings: Path | None, examples: int) -> Report:
    run = json.loads((out / RUN).read_text(encoding="utf-8"))
    manifest = {row["path"]: row for row in _json_lines(out / "manifest.jsonl")}
    starts = {name: str(row.get("start", "")) for name, row in manifest.items()}
    root = recordings or Path(run.get("recordings", "."))
    report = Report(f"{len(manifest)} recordings of {root.name or root}", root)
    if not run.get("complete", True):
        left = run["totals"]["found"] - len(manifest)
        why = "the scan was stopped: the same command ends it"
        report.troubles.append((f"{left} recordings", "not analysed yet", why))
    report.clock = _clock_of([start for start in starts.values() if start])
    heard_at = [starts[name] for name, row in manifest.items() if row["seconds_analysed"]]
    report.undated = heard_at.count("")
    if heard_at and not report.undated:
        report.unit = "day"
    totals = run["totals"]
    report.seconds = {
        "in all files": totals["seconds_in_files"], "analysed": totals["seconds_analysed"],
    }  # fmt: skip
    for name, row in manifest.items():
        report.statuses[row["status"]] += 1
        if row["status"] != "analysed" and len(report.troubles) < _TROUBLES:
            report.troubles.append((name, row["status"], row["reason"]))
        _listened(report, name, starts[name], float(row["seconds_analysed"]))
    with (out / "detections.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as f:
        for row in csv.DictReader(f):
            name, start_s = from_cell(row["file"]), float(row["start_s"])
            when = wall_time(starts.get(name, ""), start_s)
            heard = Example(float(row["score"]), name, start_s, float(row["end_s"]), when)
            _heard(
                report, {key: from_cell(str(value)) for key, value in row.items()}, heard, examples
            )
    model, expected = run["model"], run.get("expected", {})
    report.rejected = expected.get("rejected")
    report.about = [
        ("model", f"{model['name']} ({model['precision']}), sha256 {model['sha256'][:16]}"),
        ("birdrec", run["birdrec"]),
        ("command", run["command"]),
        ("thresholds", _thresholds(run["thresholds"])),
        *expected_of_scan(expected),
        *((name, str(value)) for name, value in run["machine"].items()),
    ]
    return report


def _of_station(out: Path, examples: int) -> Report:
    """Settled rows; the sound of the examples is that of the clips."""
    uri = f"{(out / 'station.sqlite').resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as base:
            base.row_factory = sqlite3.Row
            return _of_tables(out, base, examples)
    except sqlite3.DatabaseError as error:
        raise UsageError(
            f"{out / 'station.sqlite'} cannot be read ({error}): `birdrec listen` makes it anew"
        ) from error


def _of_tables(out: Path, base: sqlite3.Connection, examples: int) -> Report:
    runs = base.execute("SELECT * FROM runs ORDER BY run").fetchall()
    report = Report(f"A station: {out.resolve().name}", out, clock="UTC", unit="day")
    rates = {row["run"]: row["sample_rate"] for row in runs}
    sums: Counter[str] = Counter()
    for row in base.execute("SELECT * FROM ledger ORDER BY start_sample"):
        seconds = row["samples"] / rates.get(row["run"], 1)
        lost = row["state"] == "lost"
        resting = lost and row["reason"] == "schedule"
        state = "off by schedule" if resting else row["state"]
        sums[f"lost ({row['reason']})" if lost and not resting else state] += seconds
        if lost and not resting and len(report.troubles) < _TROUBLES:
            report.troubles.append((row["start_utc"], f"{seconds:.2f} s lost", row["reason"]))
        if not lost:
            _listened(report, row["start_utc"][:10], row["start_utc"], seconds)
    report.seconds = {"in all": sum(sums.values()), **dict(sums)}
    for row in base.execute("SELECT * FROM health WHERE begins = 1 ORDER BY start_utc"):
        if len(report.troubles) < _TROUBLES:
            report.troubles.append((row["start_utc"], row["problem"], row["detail"]))
    clips = _clips(base)
    for row in base.execute("SELECT * FROM detections WHERE kind = 'settled' ORDER BY start_utc"):
        clip = clips.get((row["run"], row["chunk"], row["label"]))
        path, start_s = clip if clip is not None else ("", 0.0)
        heard = Example(row["score"], path, start_s, start_s + CHUNK_S, row["start_utc"])
        _heard(report, dict(row), heard, examples)
    report.about = [
        (
            f"run {row['run']}",
            f"from {row['start_utc']} ({row['time_quality']}), {row['device']}, "
            f"{row['sample_rate']} Hz, model {row['model']}" + expected_of_run(row["details"]),
        )
        for row in runs
    ]
    if any(expected_of_run(row["details"]) for row in runs):
        report.rejected = base.execute("SELECT count(*) FROM rejected").fetchone()[0]
    return report


def _clips(base: sqlite3.Connection) -> dict[tuple[int, int, str], tuple[str, float]]:
    """(path, where the chunk begins in it) of each chunk of which there is a clip."""
    found = {}
    for row in base.execute("SELECT * FROM clips WHERE removed = ''"):
        for chunk in range(row["chunk"], row["chunk"] + row["chunks"]):
            begin_s = chunk * CHUNK_S - row["start_s"]
            found[row["run"], chunk, row["label"]] = (row["path"], begin_s)
    return found


def _heard(report: Report, row: dict[str, Any], example: Example, examples: int) -> None:
    label = str(row["label"])
    species = report.species.get(label)
    if species is None:
        names = str(row["scientific_name"]), str(row["common_name"])
        species = report.species[label] = Species(label, *names)
    species.chunks += 1
    if examples:
        keep = heapq.heappush if len(species.best) < examples else heapq.heappushpop
        keep(species.best, example)
    if example.when:
        species.hours[int(example.when[11:13])] += 1
        report.days[example.when[:10]] += 1
    unit = example.when[:10] if report.unit == "day" else example.path
    report.by_unit.setdefault(unit, set()).add(label)


def _listened(report: Report, name: str, start: str, seconds: float) -> None:
    """Count the sound by hour and by day, from the time of its start."""
    if report.unit != "day":
        report.by_unit.setdefault(name, set())
    if not start:
        return
    time, left = datetime.fromisoformat(start.replace("Z", "+00:00")), seconds
    while left > 0:
        following = time.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        within = min(left, (following - time).total_seconds())
        report.effort[time.hour] += within
        day = time.date().isoformat()
        report.days[day] += 0
        if report.unit == "day":
            report.by_unit.setdefault(day, set())
        time, left = following, left - within


def _clock_of(starts: list[str]) -> str:
    if not starts:
        return ""
    if all(start.endswith("Z") for start in starts):
        return "UTC"
    return "the recorder's own"


def _thresholds(limits: dict[str, float]) -> str:
    """In words; by value where species share one."""
    groups: dict[float, list[str]] = defaultdict(list)
    for label, limit in limits.items():
        groups[limit].append(label)
    if len(groups) == 1:
        return f"{next(iter(groups)):g} for every species"
    return "; ".join(f"{limit:g}: {', '.join(names)}" for limit, names in sorted(groups.items()))


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)
