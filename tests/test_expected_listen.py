"""`listen --species --prior`: as a scan says it, in the journal and in the tables."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadCsv, ReadLines

from recorder.detect.bundle import Bundle
from recorder.detect.decide import thresholds
from recorder.detect.occurrence import Occurrence
from recorder.detect.pipeline import ChunkResult
from recorder.keep.journal import Journal
from recorder.species.expectation import Expectation
from recorder.station.rows import FixedTimes, RowMaker, RunInfo

LOW = ("--threshold", "0.02")
RATE_HZ = 48_000
SAME = ("label", "scientific_name", "common_name", "reason")


@pytest.fixture
def recording(tmp_path: Path, birdlike: MakeSound) -> Path:
    path = tmp_path / "site_20260614_035930.flac"
    soundfile.write(path, birdlike(62.0, seed=1), 32_000)
    return path


def test_a_replay_rejects_what_a_scan_rejects(
    recording: Path, birdrec: Birdrec, read_csv: ReadCsv, read_lines: ReadLines, tmp_path: Path
) -> None:
    raw, scanned, station = tmp_path / "raw", tmp_path / "scanned", tmp_path / "station"
    assert birdrec("scan", recording, "--out", raw, *LOW).returncode == 0
    labels = [row["label"] for row in read_csv(raw / "detections.csv") if row["label"] != "bird"]
    often, *others = sorted(set(labels), key=lambda one: -labels.count(one))
    rows = [f"{often},{hour},{0.0 if hour == 4 else 0.5}" for hour in range(24)]
    (tmp_path / "prior.csv").write_text("\n".join(["label,hour,frequency", *rows]))
    (tmp_path / "birds.txt").write_text("\n".join([often, *others[1:]]))
    config = tmp_path / "birdrec.toml"
    config.write_text(
        f"[site]\nspecies = '{tmp_path}/birds.txt'\nprior = '{tmp_path}/prior.csv'\n"
        "prior_weight = 10\n[analysis]\nthreshold = 0.02\n"
    )
    options = ("--species", tmp_path / "birds.txt", "--prior", tmp_path / "prior.csv")
    done = birdrec("scan", recording, "--out", scanned, *LOW, *options, "--prior-weight", "10")
    assert done.returncode == 0, done.stderr
    replay = ("--config", config, "--replay", recording, "--speed", "max", "--out", station)
    done = birdrec("listen", *replay)
    assert done.returncode == 0, done.stderr

    expected = read_csv(scanned / "rejected.csv")
    lines = read_lines(station / "detections.jsonl")
    found = [row for row in lines if row["kind"] == "rejected"]
    assert {row["reason"] for row in found} == {"not on the species list", "prior: 0 in hour 4"}
    assert [tuple(row[name] for name in SAME) for row in found] == [
        tuple(row[name] for name in SAME) for row in expected
    ]
    for row, other in zip(found, expected, strict=True):
        assert row["start_s"] == float(other["start_s"])
        for name in ("score", "adjusted", "threshold"):
            assert row[name] == pytest.approx(float(other[name]), abs=2e-4)
    settled = [(row["start_s"], row["label"]) for row in lines if row["kind"] == "settled"]
    assert settled == [
        (float(row["start_s"]), row["label"]) for row in read_csv(scanned / "detections.csv")
    ]
    taken = {(row["chunk"], row["label"]) for row in found}
    assert not taken & {(row["chunk"], row["label"]) for row in lines if row["kind"] == "live"}
    with closing(sqlite3.connect(station / "station.sqlite")) as base:
        table = base.execute("SELECT start_s, label, score, adjusted, reason FROM rejected")
        assert table.fetchall() == [
            tuple(row[name] for name in ("start_s", "label", "score", "adjusted", "reason"))
            for row in found
        ]
    run = next(row for row in lines if row["kind"] == "run")
    assert "species birds.txt (sha256 " in run["expected"]
    assert "prior prior.csv (sha256 " in run["expected"]
    assert done.stdout.count("  reject   ") == len(found)
    assert birdrec("report", station).returncode == 0
    page = (station / "report.html").read_text()
    assert f"{len(found)} detections rejected" in page
    assert "birds.txt" in page


@pytest.mark.parametrize(
    ("start_utc_s", "reasons"),
    [
        (1_777_611_595.0, ["prior: 0.02 in week 17, hour 0", "prior: 0 in week 17, hour 1"]),
        (0.0, ["prior: 0.0208 on average"] * 2),
    ],
)
def test_a_microphone_is_judged_by_the_clock_of_the_site(
    bundle: Bundle, start_utc_s: float, reasons: list[str]
) -> None:
    table = np.full((len(bundle.labels), 48, 24), 0.02)
    table[0, 0, 0], table[0, 16, 1] = 1.0, 0.0
    occurrence = Occurrence(np.ones(len(bundle.labels), bool), table, 10.0)
    times = FixedTimes(0, start_utc_s, RATE_HZ, synced=True)
    info = RunInfo(1, "boot", 0, RATE_HZ, 1, "int16", "mic", "net", "", "synced")
    rows = RowMaker(info, times, Expectation(occurrence, "America/Puerto_Rico"))
    scores = np.zeros(bundle.outputs, np.float32)
    scores[0] = 0.5
    tokens = np.zeros((16, bundle.outputs), np.float32)
    heard = [ChunkResult(index, scores, tokens) for index in range(2)]
    said, rejected = rows.detections("settled", heard, bundle, thresholds(bundle, 0.3))
    assert said == []
    assert [row["reason"] for row in rejected] == reasons
    assert [row["kind"] for row in rejected] == ["rejected", "rejected"]


def test_a_wrong_list_is_said_before_anything_is_heard(
    recording: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    (tmp_path / "birds.txt").write_text("no such bird\n")
    options = ("--replay", recording, "--out", tmp_path / "out")
    done = birdrec("listen", *options, "--species", tmp_path / "birds.txt")
    assert done.returncode == 3
    assert "birds.txt: the model knows none of its 1 names" in done.stderr
    assert not (tmp_path / "out" / "detections.jsonl").exists()


def test_rejected_rows_without_their_ledger_line_are_cut_with_the_batch(tmp_path: Path) -> None:
    path = tmp_path / "detections.jsonl"
    kinds = ("run", "ledger", "settled", "rejected", "rejected")
    path.write_text("".join(json.dumps({"kind": kind}) + "\n" for kind in kinds))
    journal = Journal(path)
    assert [record["kind"] for record, _ in journal.read()] == ["run", "ledger"]
    journal.close()
