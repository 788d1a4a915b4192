"""What `birdrec scan` leaves behind: files, columns, the same bytes twice, resuming."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle

Birdrec = Callable[..., subprocess.CompletedProcess[str]]
MakeSound = Callable[..., NDArray[np.float32]]
ReadCsv = Callable[[Path], list[dict[str, str]]]
ReadLines = Callable[[Path], list[dict[str, Any]]]

COLUMNS = {
    "detections.csv": "file,start_s,end_s,label,scientific_name,common_name,score,threshold",
    "chunks.csv": "row_id,file,start_s,end_s,birds",
    "events.csv": "file,start_s,end_s,label,score",
}
MANIFEST = (
    "path status reason seconds_in_file seconds_analysed sample_rate channels sha256 model "
    "birdrec elapsed_s start start_from recorder gain temperature_c battery_v"
)
LOW = ("--threshold", "0.02")
"""So low that any model detects something: what is heard is not this file's matter."""


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [folder, *sorted(folder.rglob("*"))]
    }


@pytest.fixture(scope="module")
def scanned(recordings: Path, birdrec: Birdrec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one scan with every output there is."""
    out = tmp_path_factory.mktemp("scanned") / "new" / "results"
    formats = ("--formats", "csv,raven,audacity,jsonl")
    before = snapshot(recordings)
    done = birdrec("scan", recordings, "--out", out, "--scores", *LOW, *formats, cwd=out.parents[1])
    assert done.returncode == 0, done.stderr
    assert snapshot(recordings) == before, "the recordings' folder was written to"
    return out


def results(out: Path) -> dict[str, bytes]:
    """Everything that promises to be the same in every run."""
    names = [*COLUMNS, *sorted(str(path.relative_to(out)) for path in out.glob("scores/**/*.npz"))]
    return {name: (out / name).read_bytes() for name in names}


def test_each_csv_has_the_columns_it_promises(scanned: Path, read_csv: ReadCsv) -> None:
    for name, columns in COLUMNS.items():
        assert (scanned / name).read_text(encoding="utf-8").splitlines()[0] == columns
        assert read_csv(scanned / name), name


def test_every_chunk_of_every_file_is_there_in_order(scanned: Path, read_csv: ReadCsv) -> None:
    rows = [(row["file"], float(row["start_s"])) for row in read_csv(scanned / "chunks.csv")]
    assert rows == [
        ("90100_CMP_20140301.wav", 0.0),
        ("90100_CMP_20140301.wav", 5.0),
        ("90100_CMP_20140301.wav", 10.0),
        ("b/café, wet.wav", 0.0),
        ("b/stereo.flac", 0.0),
        ("b/stereo.flac", 5.0),
        ("z_2014.ogg", 0.0),
    ]


def test_row_ids_lose_a_date_at_the_end_and_nothing_else(scanned: Path, read_csv: ReadCsv) -> None:
    ids = [row["row_id"] for row in read_csv(scanned / "chunks.csv")]
    assert ids[:3] == ["90100_CMP_5", "90100_CMP_10", "90100_CMP_15"]
    assert ids[3:] == ["café, wet_5", "stereo_5", "stereo_10", "z_2014_5"]


def test_the_tables_agree_with_each_other(scanned: Path, read_csv: ReadCsv, bundle: Bundle) -> None:
    names = {label.label: label for label in bundle.labels}
    detected: dict[tuple[str, str], list[str]] = {}
    rows = read_csv(scanned / "detections.csv")
    for row in rows:
        assert float(row["score"]) >= float(row["threshold"]) == 0.02
        assert row["scientific_name"] == names[row["label"]].scientific_name
        assert row["common_name"] == names[row["label"]].common_name
        detected.setdefault((row["file"], row["end_s"]), []).append(row["label"])
    keys = [(os.fsencode(row["file"]), float(row["start_s"]), row["label"]) for row in rows]
    assert keys == sorted(keys)
    for row in read_csv(scanned / "chunks.csv"):
        expected = " ".join(detected.get((row["file"], row["end_s"]), ["nocall"]))
        assert row["birds"] == expected


def test_events_lie_within_their_recordings(
    scanned: Path, read_csv: ReadCsv, read_lines: ReadLines
) -> None:
    manifest = read_lines(scanned / "manifest.jsonl")
    seconds = {row["path"]: row["seconds_analysed"] for row in manifest}
    events = read_csv(scanned / "events.csv")
    for row in events:
        start_s, end_s = float(row["start_s"]), float(row["end_s"])
        assert 0 <= start_s < end_s <= seconds[row["file"]]
        assert start_s / 0.3125 == pytest.approx(round(start_s / 0.3125), abs=1e-3)
    keys = [(os.fsencode(row["file"]), float(row["start_s"]), row["label"]) for row in events]
    assert keys == sorted(keys)
    heard = {(row["file"], row["label"]) for row in read_csv(scanned / "detections.csv")}
    assert {(row["file"], row["label"]) for row in events} == heard


def test_the_manifest_accounts_for_every_second(scanned: Path, read_lines: ReadLines) -> None:
    rows = read_lines(scanned / "manifest.jsonl")
    assert [row["seconds_in_file"] for row in rows] == [12.0, 3.0, 7.0, 5.0]
    for row in rows:
        assert list(row) == MANIFEST.split()
        assert (row["status"], row["reason"]) == ("analysed", "")
        assert row["seconds_analysed"] == row["seconds_in_file"]
        assert len(row["sha256"]) == 64
        assert row["elapsed_s"] > 0


def test_the_run_is_recorded(scanned: Path, bundle: Bundle) -> None:
    run = json.loads((scanned / "run.json").read_text(encoding="utf-8"))
    assert run["command"].startswith("birdrec scan")
    assert run["model"]["sha256"] == bundle.sha256
    assert run["thresholds"] == {label.label: 0.02 for label in bundle.labels}
    assert run["totals"]["files"] == run["totals"]["analysed"] == 4
    assert run["totals"]["chunks"] == 7
    assert run["totals"]["seconds_in_files"] == run["totals"]["seconds_analysed"] == 27.0
    assert run["x_real_time"] > 0
    assert run["machine"]["onnxruntime"]


def test_the_scores_hold_every_class_of_every_chunk(
    scanned: Path, bundle: Bundle, read_csv: ReadCsv
) -> None:
    with np.load(scanned / "scores" / "90100_CMP_20140301.wav.npz") as content:
        scores, ends = content["scores"], content["chunk_end_s"]
        labels = content["labels"].tolist()
    assert scores.shape == (3, len(bundle.labels))
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    assert ends.tolist() == [5.0, 10.0, 15.0]
    assert labels == [label.label for label in bundle.labels]
    rows = [
        row
        for row in read_csv(scanned / "detections.csv")
        if row["file"] == "90100_CMP_20140301.wav"
    ]
    assert len(rows) == (scores >= np.float32(0.02)).sum()
    for row in rows:
        score = scores[int(float(row["end_s"])) // 5 - 1, labels.index(row["label"])]
        assert float(row["score"]) == pytest.approx(score, abs=5e-5)
    names = sorted(str(path.relative_to(scanned)) for path in scanned.glob("scores/**/*.npz"))
    assert names == [
        "scores/90100_CMP_20140301.wav.npz",
        "scores/b/café, wet.wav.npz",
        "scores/b/stereo.flac.npz",
        "scores/z_2014.ogg.npz",
    ]


def test_the_json_lines_are_the_detections(
    scanned: Path, read_csv: ReadCsv, read_lines: ReadLines
) -> None:
    lines, rows = read_lines(scanned / "detections.jsonl"), read_csv(scanned / "detections.csv")
    columns = [*COLUMNS["detections.csv"].split(","), "start_time"]
    assert [list(line) for line in lines] == [columns] * len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert (line["file"], line["label"]) == (row["file"], row["label"])
        assert line["start_s"] == float(row["start_s"])
        assert line["score"] == pytest.approx(float(row["score"]), abs=5e-5)


def test_raven_gets_a_selection_table_for_each_file(scanned: Path, read_csv: ReadCsv) -> None:
    table = scanned / "raven" / "b" / "stereo.flac.selections.txt"
    header, *rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    assert header[:7] == [
        "Selection",
        "View",
        "Channel",
        "Begin Time (s)",
        "End Time (s)",
        "Low Freq (Hz)",
        "High Freq (Hz)",
    ]
    expected = [
        row for row in read_csv(scanned / "detections.csv") if row["file"] == "b/stereo.flac"
    ]
    assert [row[0] for row in rows] == [str(number + 1) for number in range(len(expected))]
    for row, detection in zip(rows, expected, strict=True):
        assert len(row) == len(header)
        assert float(row[3]) == float(detection["start_s"])
        assert float(row[4]) == float(detection["end_s"])
        assert float(row[5]) < float(row[6])
        assert row[header.index("Species")] == detection["label"]


def test_audacity_gets_a_label_track_for_each_file(scanned: Path, read_csv: ReadCsv) -> None:
    tracks = sorted(str(path.relative_to(scanned)) for path in scanned.glob("audacity/**/*.txt"))
    assert len(tracks) == 4
    rows = []
    for track in tracks:
        for line in (scanned / track).read_text(encoding="utf-8").splitlines():
            start_s, end_s, label = line.split("\t")
            assert float(end_s) == float(start_s) + 5.0
            assert label
            rows.append(label)
    assert len(rows) == len(read_csv(scanned / "detections.csv"))


def test_nothing_half_written_is_left(scanned: Path) -> None:
    assert list(scanned.rglob("*.tmp")) == []


def test_a_second_run_and_two_workers_give_the_same_bytes(
    recordings: Path, scanned: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    first = results(scanned)
    again = ("scan", recordings, "--scores", "--no-resume", *LOW)
    assert birdrec(*again, "--out", scanned, cwd=tmp_path).returncode == 0
    assert results(scanned) == first
    out = tmp_path / "two"
    assert birdrec(*again, "--out", out, "--workers", 2, cwd=tmp_path).returncode == 0
    assert results(out) == first


def test_resuming_keeps_what_is_done_and_redoes_what_changed(
    recordings: Path, birdrec: Birdrec, birdlike: MakeSound, read_lines: ReadLines, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(recordings, tmp_path / "in"))
    out = tmp_path / "out"
    command = ("scan", source, "--out", out, "--scores", "--quiet", *LOW)
    assert birdrec(*command).returncode == 0
    before, bytes_before = read_lines(out / "manifest.jsonl"), results(out)
    assert birdrec(*command).returncode == 0
    assert read_lines(out / "manifest.jsonl") == before  # elapsed_s too: nothing was done again
    assert results(out) == bytes_before
    soundfile.write(source / "z_2014.ogg", birdlike(9.0, seed=9), 32_000)
    assert birdrec(*command).returncode == 0
    after = read_lines(out / "manifest.jsonl")
    assert after[:3] == before[:3]
    assert (after[3]["path"], after[3]["seconds_analysed"]) == ("z_2014.ogg", 9.0)
    assert after[3]["sha256"] != before[3]["sha256"]


def test_resuming_with_another_threshold_is_another_scan(
    recordings: Path, birdrec: Birdrec, read_csv: ReadCsv, tmp_path: Path
) -> None:
    """And a lower threshold never loses a detection."""
    found = []
    for threshold in (0.5, 0.1, 0.02):
        command = ("scan", recordings / "b", "--out", tmp_path, "--threshold", threshold)
        assert birdrec(*command).returncode == 0
        # A bird of no species has a threshold of its own, and goes where a species is named.
        rows = [row for row in read_csv(tmp_path / "detections.csv") if row["label"] != "bird"]
        assert all(float(row["threshold"]) == threshold for row in rows)
        found.append({(row["file"], row["start_s"], row["label"], row["score"]) for row in rows})
    assert found[0] <= found[1] <= found[2]
    assert found[2]


def test_a_named_model_gives_what_the_default_gives(
    recordings: Path, scanned: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    bundle = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "copy")
    out = tmp_path / "out"
    done = birdrec("scan", recordings, "--out", out, "--scores", "--model", bundle, *LOW)
    assert done.returncode == 0
    assert results(out) == results(scanned)
