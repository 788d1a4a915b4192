"""Every readable second of a folder full of trouble is analysed, and each file has its row."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from conftest import Birdrec, MakeSound, ReadLines
from zoo import Animal, make_zoo


@pytest.fixture(scope="module")
def zoo(
    tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound
) -> tuple[Path, dict[str, Animal]]:
    folder = tmp_path_factory.mktemp("zoo") / "in"
    return folder, make_zoo(folder, birdlike(6.0))


def test_the_zoo(
    zoo: tuple[Path, dict[str, Animal]], birdrec: Birdrec, read_lines: ReadLines, tmp_path: Path
) -> None:
    folder, animals = zoo
    assert len(animals) >= 40
    done = birdrec("scan", folder, "--out", tmp_path, "--formats", "csv,jsonl,raven,audacity")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    rows = {row["path"]: row for row in read_lines(tmp_path / "manifest.jsonl")}
    assert rows.keys() == animals.keys()
    for name, animal in animals.items():
        row, (least_s, most_s) = rows[name], animal.seconds
        assert row["status"] == animal.status, (name, row)
        assert least_s - 0.01 <= row["seconds_analysed"] <= most_s + 0.1, (name, row)
        assert animal.word in row["reason"], (name, row)
        assert bool(row["reason"]) == (animal.status != "analysed"), (name, row)
        if animal.status in ("analysed", "repaired"):
            assert row["seconds_analysed"] == row["seconds_in_file"], (name, row)


def test_lossless_animals_are_heard_alike(
    zoo: tuple[Path, dict[str, Animal]], birdrec: Birdrec, tmp_path: Path
) -> None:
    """Whatever the container, and whatever its header says: the same chunks, the same birds."""
    folder, _ = zoo
    names = [
        "PCM_16.wav", "whole.flac", "whole.aiff", "whole.rf64", "whole.w64", "whole.caf",
        "whole.au", "zero.wav", "zero-data.wav", "riff-zero.wav", "stale.wav", "ones.wav",
        "zero-rf64.wav", "notes.wav", "8channels.wav",
    ]  # fmt: skip
    done = birdrec(
        "scan", *(folder / name for name in names), "--out", tmp_path, "--threshold", "0.05"
    )
    assert done.returncode == 0, done.stderr
    heard: dict[str, set[tuple[str, str]]] = {name: set() for name in names}
    with (tmp_path / "detections.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            heard[row["file"]].add((row["start_s"], row["label"]))
    assert heard["PCM_16.wav"]
    assert all(found == heard["PCM_16.wav"] for found in heard.values())


def test_nothing_of_a_name_reaches_the_terminal_or_a_formula(
    zoo: tuple[Path, dict[str, Animal]], birdrec: Birdrec, tmp_path: Path
) -> None:
    folder, _ = zoo
    names = [folder / "=cmd()|calc.wav", folder / "\x1b[31mred.wav"]
    done = birdrec("scan", *names, "--out", tmp_path, "--threshold", "0.02")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    with (tmp_path / "chunks.csv").open(newline="") as stream:
        for row in csv.reader(stream):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
