#!/usr/bin/env python3
"""What a species list and a prior do, and what they cost, by scans as a user would make them.

    python bench/prior.py DATASET          writes bench/results/prior.json

`clips`: a table by hours (`by_month`: by months) is counted from the times of the training
recordings (`split` train of `split_by_session.csv`), and each recording of the split val is scanned
with its own time (`--start`) and several weights. A pair is a 5-s chunk and a species; the
recording's own species is taken for true in all of its chunks (silent ones count as missed),
secondary ones as unknown. A prior also says less, as a higher threshold does: what that alone would
give stands beside it.
`soundscapes`: the labelled soundscapes with a list of the species that occur in them, and with the
table: their time of day is not known, so that its mean over the day is all that counts.
`cost`: the example, repeated to an hour, with and without.
"""

from __future__ import annotations

import argparse
import ast
import csv
import datetime
import json
import platform
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder.detect.bundle import DEFAULT_BUNDLE, read_bundle
from recorder.detect.metrics import pooled_f1, row_wise_f1
from recorder.scan import ScanOptions, run_scan
from recorder.species.counted import frequencies
from recorder.species.expectation import Asked
from train.clips.soundscapes import read_soundscapes, stacked

REPOSITORY = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "prior.json"
TWIN = Path(__file__).parent / "models" / "puerto_rico_twin"
"""The packaged model has heard the recordings of the split val; its twin has not."""
WEIGHTS = {"hour": (0.0, 0.25, 0.5, 1.0, 2.0), "month": (0.0, 0.5, 1.0)}
SIZES = {"hour": 24, "month": 12}
DOUBT = 5.0
"""Recordings."""
LABELS = [one.label for one in read_bundle(DEFAULT_BUNDLE).labels]

Rows = list[dict[str, str]]
Bools = NDArray[np.bool_]


def read_csv(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def hour_of(recording: dict[str, str]) -> int:
    """-1 where nobody wrote it down."""
    hour = recording["time"].partition(":")[0]
    return int(hour) if hour.isdecimal() else -1


def month_of(recording: dict[str, str]) -> int:
    """From 0."""
    return int(recording["date"].split("-")[1]) - 1


def write_table(recordings: Rows, path: Path, by: str) -> None:
    """Of all recordings of an hour, or of a month, the share that is of a species."""
    size = SIZES[by]
    counts, effort = np.zeros((len(LABELS), size)), np.zeros(size)
    for one in recordings:
        place = hour_of(one) if by == "hour" else month_of(one)
        if place >= 0:
            effort[place] += 1.0
            if one["primary_label"] in LABELS:
                counts[LABELS.index(one["primary_label"]), place] += 1.0
    shares = frequencies(counts, effort, doubt=DOUBT)
    lines = [
        f"{label},{place + (by == 'month')},{shares[index, place]:.6f}"
        for index, label in enumerate(LABELS)
        for place in range(size)
    ]
    path.write_text("\n".join([f"label,{by},frequency", *lines]) + "\n", encoding="utf-8")


def scanned(path: Path, out: Path, *, start: str = "", expects: Asked | None = None) -> Rows:
    """The detections of species; what was rejected is beside them."""
    options = ScanOptions(
        (path,), out, start=start, expects=expects or Asked(), resume=False, model=TWIN
    )
    run_scan(options, quiet=True)
    return [row for row in read_csv(out / "detections.csv") if row["label"] in LABELS]


def of_clips(dataset: Path, table: Path, out: Path, *, by: str) -> dict[str, Any]:
    """By weight: F1 over pairs, precision, recall, and whether what was rejected was wrong."""
    split = {row["filename"]: row for row in read_csv(dataset / "split_by_session.csv")}
    recordings = read_csv(dataset / "train_metadata.csv")
    training = [one for one in recordings if split[one["filename"]]["split"] == "train"]
    write_table(training, table, by)
    names = {one["scientific_name"]: one["primary_label"] for one in recordings}
    judged = [
        one
        for one in recordings
        if split[one["filename"]]["split"] == "val" and one["primary_label"] in LABELS
    ]
    figures: dict[str, Any] = {"recordings": len(judged), "counted_from": len(training)}
    heard: list[tuple[float, bool]] = []
    for weight in WEIGHTS[by]:
        totals = dict.fromkeys(("true", "false", "missed", "rejected_true", "rejected_false"), 0)
        for one in judged:
            path = dataset / "train_short_audio" / one["primary_label"] / one["filename"]
            hour = hour_of(one)
            minute = one["time"].partition(":")[2][:2]
            start = f"{one['date']}T{hour:02d}:{minute}:00" if hour >= 0 else ""
            said = scanned(path, out, start=start, expects=Asked(prior=table, weight=weight))
            chunks = len(read_csv(out / "chunks.csv"))
            also = {names.get(name, name) for name in ast.literal_eval(one["secondary_labels"])}
            own = one["primary_label"]
            true = sum(row["label"] == own for row in said)
            totals["true"] += true
            totals["missed"] += chunks - true
            counted = [row for row in said if row["label"] == own or row["label"] not in also]
            totals["false"] += len(counted) - true
            if not weight:
                heard += [(float(row["score"]), row["label"] == own) for row in counted]
            for row in read_csv(out / "rejected.csv"):
                totals["rejected_true"] += row["label"] == own
                totals["rejected_false"] += row["label"] not in also | {own}
        found, wrong = totals["true"], totals["false"]
        f1 = 2 * found / (2 * found + wrong + totals["missed"])
        figures[f"weight {weight:g}"] = {
            "f1": round(f1, 3),
            "precision": round(found / (found + wrong), 3),
            "recall": round(found / (found + totals["missed"]), 3),
            **totals,
            "f1_of_a_threshold_that_says_as_much": round(f1_of_best(heard, totals), 3),
        }
    return figures


def f1_of_best(heard: list[tuple[float, bool]], totals: dict[str, int]) -> float:
    """What a higher threshold would give that says as many pairs, without a prior."""
    said = totals["true"] + totals["false"]
    true = sum(is_true for _, is_true in sorted(heard, reverse=True)[:said])
    return 2 * true / (said + totals["true"] + totals["missed"])


def of_soundscapes(dataset: Path, table: Path, out: Path) -> dict[str, Any]:
    """Without anything, with a list of those that occur, with the table."""
    soundscapes = read_soundscapes(dataset, LABELS)
    truth, known = stacked(soundscapes)
    present = [label for label, rows in zip(LABELS, truth.T, strict=True) if rows.any()]
    birds = table.with_name("present.txt")
    birds.write_text("\n".join(present) + "\n", encoding="utf-8")
    ways = {
        "nothing": Asked(),
        "list": Asked(species=birds),
        "prior": Asked(prior=table),
    }
    figures: dict[str, Any] = {"rows": len(truth), "present": len(present)}
    before: Rows = []
    for name, asked in ways.items():
        said = scanned(dataset / "train_soundscapes", out, expects=asked)
        before = before or said
        rejected = read_csv(out / "rejected.csv") if name != "nothing" else []
        predicted = predictions(said, [one.path.name for one in soundscapes], truth.shape)
        kept = [row for row in before if row["label"] in present] if name == "list" else before
        figures[name] = {
            "row_f1": round(row_wise_f1(predicted, truth, known), 4),
            "pooled_f1": round(pooled_f1(predicted, truth, known), 4),
            "said": len(said),
            "rejected": len(rejected),
            "said_and_rejected_are_what_was_heard": len(said) + len(rejected) == len(before),
            "rows_of_those_present_are_the_same": said == kept,
        }
    return figures


def predictions(said: Rows, names: list[str], shape: tuple[int, ...]) -> Bools:
    """[rows, classes], the soundscapes one after the other."""
    predicted = np.zeros(shape, bool)
    each = shape[0] // len(names)
    for row in said:
        place = names.index(row["file"]) * each + int(float(row["start_s"]) / 5)
        predicted[place, LABELS.index(row["label"])] = True
    return predicted


def cost(table: Path, folder: Path, out: Path) -> dict[str, Any]:
    """CPU seconds of an hour, three times each by turns, the least of them."""
    (example,) = (REPOSITORY / "examples").glob("*.flac")
    sound, rate_hz = soundfile.read(example, dtype="int16")
    soundfile.write(folder / "hour.flac", np.tile(sound, 30), rate_hz)
    birds = table.with_name("one.txt")
    birds.write_text(LABELS[0], encoding="utf-8")
    ways = {"without": Asked(), "with": Asked(birds, table)}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, asked in ways.items():
            before_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            scanned(folder / "hour.flac", out, start="2026-05-01T06:00:00-04:00", expects=asked)
            spent[name].append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before_s)
    return {f"cpu_s_of_an_hour_{name}": round(min(each), 2) for name, each in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    dataset = parser.parse_args().dataset
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        table, out = folder / "prior.csv", folder / "out"
        results = {
            "command": "python bench/prior.py DATASET",
            "date": datetime.date.today().isoformat(),
            "machine": platform.machine(),
            "model": read_bundle(DEFAULT_BUNDLE).sha256[:12],
            "by_month": of_clips(dataset, table, out, by="month"),
            "clips": of_clips(dataset, table, out, by="hour"),
            "soundscapes": of_soundscapes(dataset, table, out),
            "cost": cost(table, folder, out),
        }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
