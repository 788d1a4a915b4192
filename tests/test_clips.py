"""Clips: the right sound at the right time, the best kept, a full disk survived."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadLines

from recorder.keep.kept_files import remove
from recorder.station.clips import events, folder_of

RATE_HZ = 48_000


@pytest.fixture(scope="module")
def dawn(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> Path:
    path = tmp_path_factory.mktemp("dawn") / "dawn.wav"
    soundfile.write(path, birdlike(61.0, RATE_HZ, seed=4), RATE_HZ)
    return path


def listen(birdrec: Birdrec, dawn: Path, out: Path, *more: object) -> None:
    done = birdrec(
        "listen", "--replay", dawn, "--speed", "max", "--out", out, "--keep-audio", "clips",
        "--threshold", "0.01", "--min-free-mb", "1", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def clip_rows(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in lines if one["kind"] == "clip"]


def test_a_clip_is_the_sound_of_its_time(
    birdrec: Birdrec, read_lines: ReadLines, dawn: Path, tmp_path: Path
) -> None:
    listen(birdrec, dawn, tmp_path, "--clip-context", "2.5")
    lines = read_lines(tmp_path / "detections.jsonl")
    rows = clip_rows(lines)
    assert len(rows) > 5
    sound, _ = soundfile.read(dawn)
    for row in rows:
        kept, rate_hz = soundfile.read(tmp_path / row["path"])
        assert rate_hz == RATE_HZ
        first = max(0, round((row["chunk"] * 5 - 2.5) * RATE_HZ))
        stop = min(len(sound), round(((row["chunk"] + row["chunks"]) * 5 + 2.5) * RATE_HZ))
        assert (row["start_sample"], row["samples"]) == (first, stop - first)
        np.testing.assert_array_equal(kept, sound[first:stop])
    # Each settled row lies in a clip of its species, and no clip is without one.
    settled = {(one["label"], one["chunk"]) for one in lines if one["kind"] == "settled"}
    covered = [
        (row["label"], chunk)
        for row in rows
        for chunk in range(row["chunk"], row["chunk"] + row["chunks"])
    ]
    assert sorted(covered) == sorted(settled)
    assert max(row["chunks"] for row in rows) <= 6
    on_disk = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("clips/*/*")}
    assert on_disk == {row["path"] for row in rows}
    table = sqlite3.connect(tmp_path / "station.sqlite").execute("SELECT path, bytes FROM clips")
    assert dict(table.fetchall()) == {path: os.stat(tmp_path / path).st_size for path in on_disk}


def test_a_clip_says_what_it_is(
    birdrec: Birdrec, read_lines: ReadLines, dawn: Path, tmp_path: Path
) -> None:
    listen(birdrec, dawn, tmp_path)
    row = clip_rows(read_lines(tmp_path / "detections.jsonl"))[0]
    with soundfile.SoundFile(tmp_path / row["path"]) as file:
        said = file.copy_metadata()
    assert said["date"] == row["start_utc"]
    assert said["software"].startswith("birdrec ")
    assert said["title"] == f"{row['common_name']}, score {row['score']:.2f}"
    guano = dict(line.split(": ", 1) for line in said["comment"].splitlines())
    assert guano["GUANO|Version"] == "1.0"
    assert guano["Timestamp"] == row["start_utc"]
    assert guano["Species Auto ID"] == row["scientific_name"]
    assert guano["birdrec|Time Quality"] == "unsynced"
    assert float(guano["birdrec|Score"]) == row["score"]
    assert float(guano["birdrec|Chunk Start"]) == row["chunk"] * 5 - row["start_s"]


def test_the_best_stay_the_locked_too_and_the_tables_know(
    birdrec: Birdrec, read_lines: ReadLines, dawn: Path, tmp_path: Path
) -> None:
    listen(birdrec, dawn, tmp_path)
    before = clip_rows(read_lines(tmp_path / "detections.jsonl"))
    by_label: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(before, key=lambda row: (-row["score"], -row["start_s"])):
        by_label.setdefault(row["label"], []).append(row)
    label = max(by_label, key=lambda label: len(by_label[label]))
    ranked = by_label[label]
    assert len(ranked) > 3
    worst = min(ranked[1:], key=lambda row: row["start_s"])
    (tmp_path / f"{worst['path']}.keep").touch()
    # The second run hears the same again, so each species has two clips too many.
    listen(birdrec, dawn, tmp_path, "--clips-per-species", "1")
    base = sqlite3.connect(tmp_path / "station.sqlite")
    for path, removed in base.execute("SELECT path, removed FROM clips").fetchall():
        assert (tmp_path / path).exists() == (removed == "")
        assert removed in ("", "enough better ones")
    left = base.execute("SELECT path FROM clips WHERE removed = '' AND label = ?", (label,))
    paths = {row[0] for row in left.fetchall()}
    newest = max(ranked, key=lambda row: row["start_s"])["path"]
    assert paths == {ranked[0]["path"], newest, worst["path"]}
    gone = [one for one in read_lines(tmp_path / "detections.jsonl") if one["kind"] == "removed"]
    assert {one["path"] for one in gone} == {
        path for (path,) in base.execute("SELECT path FROM clips WHERE removed != ''")
    }


def test_a_disk_without_room_stops_clips_alone(
    birdrec: Birdrec, read_lines: ReadLines, dawn: Path, tmp_path: Path
) -> None:
    free = os.statvfs(tmp_path)
    more_than_free_mb = free.f_bavail * free.f_frsize // 1_000_000
    done = birdrec(
        "listen", "--replay", dawn, "--speed", "max", "--out", tmp_path, "--keep-audio", "clips",
        "--threshold", "0.01", "--min-free-mb", more_than_free_mb,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = read_lines(tmp_path / "detections.jsonl")
    assert not clip_rows(lines)
    assert len([one for one in lines if one["kind"] == "settled"]) > 5
    (trouble,) = [one for one in lines if one["kind"] == "health" and one["problem"] == "clips"]
    assert "would be left free" in trouble["detail"]
    ledger = sqlite3.connect(tmp_path / "station.sqlite").execute("SELECT * FROM ledger").fetchall()
    assert [row[1:3] for row in ledger] == [(61 * RATE_HZ, "analysed")]


def test_a_clip_that_was_half_written_is_gone_at_the_next_start(
    birdrec: Birdrec, dawn: Path, tmp_path: Path
) -> None:
    torn = tmp_path / "clips" / "some_bird" / "x.flac.part"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"fLaC")
    listen(birdrec, dawn, tmp_path, "--duration", "5")
    assert not torn.exists()


def test_nothing_outside_is_removed(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "clips").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "mine.flac").touch()
    (out / "clips" / "bird").symlink_to(elsewhere)
    for path in ("clips/bird/mine.flac", "clips/../../elsewhere/mine.flac"):
        with pytest.raises(OSError, match="leads out of"):
            remove(out, path)
    assert (elsewhere / "mine.flac").exists()
    remove(out, "clips/is_gone_already.flac")


def test_events_end_at_half_a_minute_and_at_holes() -> None:
    rows = [{"label": "a", "chunk": i, "score": i / 20} for i in (0, 1, 2, 3, 4, 5, 6, 7, 9)]
    rows.insert(3, {"label": "b", "chunk": 2, "score": 0.5})
    found = [(one.record["label"], one.chunk, one.chunks) for one in events(rows)]
    assert found == [("a", 0, 6), ("a", 6, 2), ("a", 9, 1), ("b", 2, 1)]
    assert [one.record["chunk"] for one in events(rows)] == [5, 7, 9, 2]


def test_a_label_makes_a_folder() -> None:
    assert folder_of("turdus_plumbeus") == "turdus_plumbeus"
    assert folder_of("../../etc") == "______etc"
    assert folder_of("Grünspecht / Picus") == "Grünspecht___Picus"
    assert len(folder_of("x" * 300)) == 100


def test_recordings_go_by_size_oldest_first_and_stop_where_no_room_is(
    birdrec: Birdrec, read_lines: ReadLines, dawn: Path, tmp_path: Path
) -> None:
    command = ["listen", "--replay", dawn, "--speed", "max", "--keep-audio", "all", "--out"]
    for _ in range(3):
        assert birdrec(*command, tmp_path, "--min-free-mb", "1").returncode == 0
    files = sorted(tmp_path.glob("recordings/*/*.flac"))
    assert len(files) == 3
    files[0].with_name(files[0].name + ".keep").touch()
    gigabytes = files[0].stat().st_size * 2.5e-9
    soundfile.write(tmp_path / "long.flac", np.tile(soundfile.read(dawn)[0], 11), RATE_HZ)
    done = birdrec(
        "listen", "--replay", tmp_path / "long.flac", "--speed", "max", "--keep-audio", "all",
        "--min-free-mb", "1", "--keep-gb", gigabytes, "--out", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [path.exists() for path in files] == [True, False, False]
    gone = [one for one in read_lines(tmp_path / "detections.jsonl") if one["kind"] == "removed"]
    assert {one["reason"] for one in gone} == {"size"}
    free = os.statvfs(tmp_path)
    full = tmp_path / "full"
    done = birdrec(*command, full, "--min-free-mb", free.f_bavail * free.f_frsize // 1_000_000 + 9)
    assert done.returncode == 0
    assert not list(full.glob("recordings/*/*.flac"))
    (said,) = [one for one in read_lines(full / "detections.jsonl") if one["kind"] == "health"]
    assert (said["problem"], said["begins"]) == ("audio", True)
    assert "would be left free" in said["detail"]


def test_a_kill_among_clips_leaves_each_row_its_clip(
    birdrec: Birdrec, dawn: Path, tmp_path: Path
) -> None:
    """What the journal says was kept is there, whole."""
    out = tmp_path / "out"
    for lines in (3, 8, 20):
        child = subprocess.Popen(
            [
                sys.executable, "-m", "recorder.cli", "listen", "--replay", str(dawn), "--speed",
                "max", "--out", str(out), "--keep-audio", "clips", "--threshold", "0.01",
                "--min-free-mb", "1", "--json",
            ],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.kill()
        child.wait()
        child.stdout.close()
    listen(birdrec, dawn, out, "--duration", "5")
    rows = clip_rows([json.loads(line) for line in (out / "detections.jsonl").open()])
    for row in rows:
        assert soundfile.info(out / row["path"]).frames == row["samples"]
    on_disk = {path.relative_to(out).as_posix() for path in out.glob("clips/*/*")}
    assert on_disk >= {row["path"] for row in rows}
