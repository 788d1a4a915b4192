"""A recording that is heard as a microphone settles to exactly what a scan says of it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadCsv, ReadLines

RATE_HZ = 32_000


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> Path:
    """More than a window: 11 minutes and a bit, at another rate than the model's."""
    path = tmp_path_factory.mktemp("night") / "night.flac"
    soundfile.write(path, np.tile(birdlike(67.0, 48_000, seed=1), 10), 48_000)
    return path


def ledger(out: Path) -> list[tuple[int, int, str, str]]:
    base = sqlite3.connect(out / "station.sqlite")
    rows = base.execute("SELECT start_sample, samples, state, reason FROM ledger ORDER BY 1")
    return list(rows.fetchall())


def test_a_replay_settles_to_what_scan_writes(
    birdrec: Birdrec, read_csv: ReadCsv, read_lines: ReadLines, night: Path, tmp_path: Path
) -> None:
    heard, scanned = tmp_path / "heard", tmp_path / "scanned"
    done = birdrec("listen", "--replay", night, "--speed", "max", "--out", heard)
    assert done.returncode == 0, done.stderr
    assert birdrec("scan", night, "--out", scanned).returncode == 0
    settled = {
        (row["start_s"], row["label"]): row["score"]
        for row in read_lines(heard / "detections.jsonl")
        if row["kind"] == "settled"
    }
    expected = {
        (float(row["start_s"]), row["label"]): float(row["score"])
        for row in read_csv(scanned / "detections.csv")
    }
    assert settled.keys() == expected.keys()
    assert len(settled) > 10
    assert max(abs(settled[key] - expected[key]) for key in expected) < 1e-4 + 5e-5
    assert ledger(heard) == [(0, 670 * 48_000, "analysed", "")]
    lines = [line for line in done.stdout.splitlines() if "  settled  " in line]
    assert len(lines) == len(settled)


def test_a_second_run_goes_on_in_the_ledger_and_says_the_same(
    birdrec: Birdrec, read_lines: ReadLines, tmp_path: Path, birdlike: MakeSound
) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(21.0, seed=2), RATE_HZ)
    for _ in range(2):
        done = birdrec(
            "listen", "--replay", tmp_path / "a.wav", "--speed", "max", "--out", tmp_path / "out"
        )
        assert done.returncode == 0, done.stderr
    rows = [one for one in read_lines(tmp_path / "out" / "detections.jsonl") if "label" in one]
    first, second = ([one for one in rows if one["run"] == run] for run in (1, 2))
    assert [{**one, "run": 0} for one in first] == [{**one, "run": 0} for one in second]
    assert ledger(tmp_path / "out") == [
        (0, 21 * RATE_HZ, "analysed", ""),
        (21 * RATE_HZ, 21 * RATE_HZ, "analysed", ""),
    ]


def test_duration_ends_to_the_sample_and_all_is_kept_bit_by_bit(
    birdrec: Birdrec, tmp_path: Path, birdlike: MakeSound
) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(21.0, seed=2), RATE_HZ)
    out = tmp_path / "out"
    done = birdrec(
        "listen", "--replay", tmp_path / "a.wav", "--speed", "max", "--out", out,
        "--duration", "7.3", "--keep-audio", "all", "--quiet",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert ledger(out) == [(0, 233_600, "analysed", "")]
    kept, rate_hz = soundfile.read(out / "recordings/1970-01-01/19700101T000000.000Z.flac")
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(kept, soundfile.read(tmp_path / "a.wav")[0][:233_600])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(night: Path, tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "recorder.cli", "listen", "--replay", str(night)]
    child = subprocess.Popen([*command, "--speed", "20", "--out", str(tmp_path / "out")])
    deadline_s = time.monotonic() + 60
    while not (tmp_path / "out/station.sqlite").exists() or not _heard(tmp_path / "out"):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    child.send_signal(number)
    assert child.wait(15) == 0
    rows = ledger(tmp_path / "out")
    assert [row[2] for row in rows] == ["analysed"]
    assert 0 < rows[0][1] < 670 * 48_000


def _heard(out: Path) -> bool:
    return any(json.loads(line)["kind"] == "live" for line in (out / "detections.jsonl").open())


def test_what_was_printed_survives_kill_9(night: Path, tmp_path: Path) -> None:
    """Kills at moments spread over the run; each printed line is in the file, as it was."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "recorder.cli", "listen", "--replay", str(night)]
    printed: list[str] = []
    for seed in range(6):
        child = subprocess.Popen(
            [*command, "--speed", "max", "--out", str(out), "--json"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for _ in range(2 + 9 * seed):
            line = child.stdout.readline()
            if line.endswith("\n"):
                printed.append(line)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    kept = [line for line in (out / "detections.jsonl").open() if line.endswith("\n")]
    place = 0
    for row in printed:
        place = kept.index(row, place) + 1
    assert len(printed) > 100
    # Each start closed the account of the run before it: nothing is pending but of the last.
    rows = ledger(out)
    stops = [start + samples for start, samples, *_ in rows]
    assert [row[0] for row in rows] == [0, *stops[:-1]][: len(rows)]


def test_a_second_instance_and_a_wrong_start_say_so(
    birdrec: Birdrec, night: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for arguments, code, words in (
        (("--replay", tmp_path / "no.wav"), 1, "no.wav"),
        (("--replay", night, "--device", "1"), 2, "exclude each other"),
        (("--device", "no such card"), 4, ""),
        (("--wait", "-1"), 2, "0 or more seconds, or inf"),
        (("--rate", "7"), 2, "8000 to 384000 Hz"),
        (("--bits", "8"), 2, "16 or 24"),
        (("--replay", night, "--speed", "fast"), 2, "a number above 0, or max"),
        (("--replay", night, "--keep-audio", "some"), 2, "use none, clips, all"),
        (("--replay", night, "--clip-context", "99"), 2, "use 0 to 30 seconds"),
        (("--replay", night, "--clips-per-species", "0"), 2, "use 1 or more"),
        (("--replay", night, "--keep-days", "0"), 2, "--keep-days 0"),
        (("--replay", night, "--keep-gb", "-1"), 2, "--keep-gb -1"),
        (("--replay", night, "--channel", "left"), 2, "a number from 1 on, or mix"),
        (("--replay", night, "--channel", "2"), 2, "the device has 1"),
        (("--replay", night, "--duration", "0"), 2, "--duration 0"),
        (("--replay", night, "--model", tmp_path), 5, "--record-only"),
    ):
        done = birdrec("listen", *arguments, "--out", out)
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
    holder = subprocess.Popen(
        [sys.executable, "-m", "recorder.cli", "listen", "--replay", str(night), "--out", str(out)],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + 60
        while (out / ".lock").read_text().strip() != str(holder.pid):
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        done = birdrec("listen", "--replay", night, "--out", out)
        assert done.returncode == 2
        assert "in use by another birdrec" in done.stderr
    finally:
        holder.terminate()
        assert holder.wait(15) == 0


def test_record_only_counts_and_keeps(birdrec: Birdrec, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(3 * RATE_HZ, np.float32), RATE_HZ)
    done = birdrec(
        "listen", "--replay", tmp_path / "a.wav", "--speed", "max", "--record-only",
        "--out", tmp_path / "out", "--model", tmp_path / "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ledger(tmp_path / "out") == [(0, 3 * RATE_HZ, "pending", "")]
    assert len(list((tmp_path / "out/recordings").glob("*/*.flac"))) == 1


def test_a_damaged_recording_is_said(
    birdrec: Birdrec, read_lines: ReadLines, tmp_path: Path, birdlike: MakeSound
) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(9.0, seed=2), RATE_HZ)
    os.truncate(tmp_path / "a.wav", 44 + 2 * 7 * RATE_HZ)
    out = tmp_path / "out"
    done = birdrec("listen", "--replay", tmp_path / "a.wav", "--speed", "max", "--out", out)
    assert done.returncode == 0, done.stderr
    (said,) = [one for one in read_lines(out / "detections.jsonl") if one["kind"] == "health"]
    assert (said["problem"], said["begins"]) == ("source", True)
    assert "the header promises" in said["detail"]
    assert ledger(out) == [(0, 7 * RATE_HZ, "analysed", "")]


def test_nobody_who_reads_its_output_stops_nothing(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = subprocess.Popen(
        [
            sys.executable, "-m", "recorder.cli", "listen", "--replay", str(night), "--speed",
            "max", "--out", str(out), "--json",
        ],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(60) == 0
    assert ledger(out) == [(0, 670 * 48_000, "analysed", "")]


def test_the_screen_shows_level_account_and_detections(night: Path, tmp_path: Path) -> None:
    """On a real terminal; what it drew is read back as text."""
    leader, follower = os.openpty()
    child = subprocess.Popen(
        [
            sys.executable, "-m", "recorder.cli", "listen", "--replay", str(night), "--speed",
            "400", "--duration", "120", "--out", str(tmp_path / "out"),
        ],
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )  # fmt: skip
    os.close(follower)
    drawn = b""
    while True:
        try:
            drawn += os.read(leader, 4096)
        except OSError:
            break
    os.close(leader)
    assert child.wait(60) == 0
    text = drawn.decode("utf-8", "replace")
    assert "night.flac: " in text
    assert " dBFS" in text
    assert "elapsed 2:00 = analysed" in text
    assert "health: well" in text
    assert "heard at (UTC)" in text
