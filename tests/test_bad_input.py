"""What can go wrong with recordings: each problem is named, and the good ones are analysed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

Birdrec = Callable[..., subprocess.CompletedProcess[str]]
MakeSound = Callable[..., NDArray[np.float32]]
ReadCsv = Callable[[Path], list[dict[str, str]]]
ReadLines = Callable[[Path], list[dict[str, Any]]]

EXPECTED = {
    # name: (status, a word of the reason)
    "._good1.wav": ("skipped", "shadow"),
    "broken.wav": ("failed", "decoded"),
    "empty.wav": ("failed", "empty"),
    "fifo.wav": ("failed", "regular"),
    "good1.wav": ("analysed", ""),
    "header-only.wav": ("failed", "no samples"),
    "nan.wav": ("repaired", "100 samples"),
    "nowhere.wav": ("failed", "nowhere"),
    "short.flac": ("partial", ""),
    "short.wav": ("partial", ""),
    "text.mp3": ("failed", ""),
    "z/good2.flac": ("analysed", ""),
}


@pytest.fixture
def mixed(tmp_path: Path, birdlike: MakeSound) -> Path:
    """Good recordings beside every kind of bad one."""
    folder = tmp_path / "in"
    (folder / "z").mkdir(parents=True)
    sound = birdlike(6.0)
    soundfile.write(folder / "good1.wav", sound, 32_000)
    soundfile.write(folder / "z" / "good2.flac", sound, 32_000)
    soundfile.write(folder / "header-only.wav", np.empty(0, np.float32), 32_000)
    (folder / "empty.wav").touch()
    (folder / "broken.wav").write_bytes(b"RIFF\x10\x00\x00\x00WAVEfmt ")
    (folder / "text.mp3").write_text("no birds today\n" * 100)
    (folder / "._good1.wav").write_bytes(b"\x00\x05\x16\x07")
    (folder / "nowhere.wav").symlink_to(folder / "gone.wav")
    os.mkfifo(folder / "fifo.wav")
    spoilt = sound.copy()
    spoilt[1_000:1_100] = np.nan
    soundfile.write(folder / "nan.wav", spoilt, 32_000, subtype="FLOAT")
    for name in ("short.flac", "short.wav"):
        soundfile.write(folder / name, sound, 32_000)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 2 // 3])
    return folder


def test_each_bad_file_is_named_with_its_reason_and_the_good_ones_are_analysed(
    mixed: Path, birdrec: Birdrec, read_csv: ReadCsv, read_lines: ReadLines, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = birdrec("scan", mixed, "--out", out)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    rows = {row["path"]: row for row in read_lines(out / "manifest.jsonl")}
    assert list(rows) == sorted(EXPECTED)
    got = {name: row["status"] for name, row in rows.items()}
    assert got == {name: status for name, (status, _) in EXPECTED.items()}
    for name, (status, word) in EXPECTED.items():
        assert word in rows[name]["reason"]
        assert bool(rows[name]["reason"]) == (status != "analysed")
    analysed = {row["file"] for row in read_csv(out / "chunks.csv")}
    assert analysed == {"good1.wav", "nan.wav", "short.flac", "short.wav", "z/good2.flac"}
    for name in ("short.flac", "short.wav"):
        assert rows[name]["seconds_in_file"] == 6.0
        assert 3.0 < rows[name]["seconds_analysed"] < 4.5
    totals = json.loads((out / "run.json").read_text())["totals"]
    assert (totals["files"], totals["failed"], totals["partial"]) == (12, 6, 2)
    for name in ("empty.wav", "text.mp3", "short.flac"):
        assert name in done.stdout + done.stderr


def test_good_files_are_not_moved_by_bad_neighbours(
    mixed: Path, birdrec: Birdrec, read_csv: ReadCsv, tmp_path: Path
) -> None:
    options = ("--quiet", "--threshold", "0.02")
    assert birdrec("scan", mixed, "--out", tmp_path / "all", *options).returncode == 1
    alone = birdrec("scan", mixed / "good1.wav", "--out", tmp_path / "one", *options)
    assert alone.returncode == 0
    for name in ("detections.csv", "chunks.csv", "events.csv"):
        rows = [row for row in read_csv(tmp_path / "all" / name) if row["file"] == "good1.wav"]
        assert rows == read_csv(tmp_path / "one" / name)


def test_workers_account_for_bad_files_too(
    mixed: Path, birdrec: Birdrec, read_lines: ReadLines, tmp_path: Path
) -> None:
    done = birdrec("scan", mixed, "--out", tmp_path / "out", "--workers", 2, "--quiet")
    assert done.returncode == 1, done.stderr
    names = [row["path"] for row in read_lines(tmp_path / "out" / "manifest.jsonl")]
    assert names == sorted(EXPECTED)


def test_strict_stops_at_the_first_failure(
    mixed: Path, birdrec: Birdrec, read_lines: ReadLines, tmp_path: Path
) -> None:
    done = birdrec("scan", mixed, "--out", tmp_path / "out", "--strict", "--quiet")
    assert done.returncode == 1
    names = [row["path"] for row in read_lines(tmp_path / "out" / "manifest.jsonl")]
    assert names == ["._good1.wav", "broken.wav"]


def test_a_failed_file_is_tried_again(
    birdrec: Birdrec, birdlike: MakeSound, read_lines: ReadLines, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.wav").touch()
    soundfile.write(folder / "b.wav", birdlike(1.0), 32_000)
    assert birdrec("scan", folder, "--out", out, "--quiet").returncode == 1
    soundfile.write(folder / "a.wav", birdlike(1.0), 32_000)
    assert birdrec("scan", folder, "--out", out, "--quiet").returncode == 0
    assert [row["status"] for row in read_lines(out / "manifest.jsonl")] == ["analysed"] * 2


def test_a_missing_file_beside_a_good_one(
    birdrec: Birdrec, birdlike: MakeSound, read_lines: ReadLines, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(1.0), 32_000)
    paths = (tmp_path / "a.wav", tmp_path / "gone.wav")
    done = birdrec("scan", *paths, "--out", tmp_path / "out", "--quiet")
    assert done.returncode == 1
    rows = read_lines(tmp_path / "out" / "manifest.jsonl")
    assert [row["status"] for row in rows] == ["analysed", "failed"]
    assert "no such file" in rows[1]["reason"]


def test_an_empty_folder_is_exit_code_6(birdrec: Birdrec, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = birdrec("scan", tmp_path / "in", "--out", tmp_path / "out")
    assert done.returncode == 6
    assert "no audio found" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_is_not_there_is_exit_code_6(birdrec: Birdrec, tmp_path: Path) -> None:
    done = birdrec("scan", tmp_path / "gone", "--out", tmp_path / "out")
    assert done.returncode == 6
    assert "no such file or folder" in done.stderr


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_an_out_that_cannot_be_a_folder_is_exit_code_2(
    birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path, out: str
) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(1.0), 32_000)
    (tmp_path / "taken").write_text("a file")
    done = birdrec("scan", tmp_path / "a.wav", "--out", tmp_path / out)
    assert done.returncode == 2
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "taken").read_text() == "a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_out_that_may_not_be_written_is_exit_code_2(
    birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(1.0), 32_000)
    (tmp_path / "out").mkdir(mode=0o500)
    done = birdrec("scan", tmp_path / "a.wav", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_that_would_spoil_a_table_do_not(
    birdrec: Birdrec, birdlike: MakeSound, read_lines: ReadLines, tmp_path: Path
) -> None:
    names = ['comma, "quote".wav', "line\nbreak.wav", os.fsdecode(b"p\xe4jaro.wav"), "ü 鳥.wav"]
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    soundfile.write(tmp_path / "x.wav", birdlike(1.0), 32_000)
    for name in names:
        try:
            (folder / name).write_bytes((tmp_path / "x.wav").read_bytes())
        except OSError:
            pytest.skip("this file system does not take every name")
    formats = ("--formats", "csv,jsonl,raven,audacity", "--scores", "--threshold", "0.02")
    done = birdrec("scan", folder, "--out", out, *formats)
    assert done.returncode == 0, done.stderr
    # In the order of the names' bytes; JSON escapes what is not UTF-8, and reads it back.
    expected = sorted(names, key=os.fsencode)
    assert [row["path"] for row in read_lines(out / "manifest.jsonl")] == expected
    text = (out / "chunks.csv").read_bytes()
    assert b"p\xe4jaro.wav" in text
    assert b'"comma, ""quote"".wav"' in text
    assert len(list(out.glob("scores/*.npz"))) == len(names)
