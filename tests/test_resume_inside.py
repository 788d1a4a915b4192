"""A long recording whose analysis was killed goes on inside, with the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound
from numpy.typing import NDArray

from recorder.detect.inference import Networks
from recorder.detect.pipeline import Pipeline
from recorder.detect.window import settled_before, window_plan
from recorder.keep.part_file import PartFile

RATE_HZ = 32_000
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def long_sound(birdlike: MakeSound) -> Floats:
    """26 minutes and a bit: three windows, and a last one that ends with it."""
    return np.tile(birdlike(53.7, seed=3), 30)[: 26 * 60 * RATE_HZ + 12_345]


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory, long_sound: Floats) -> Path:
    path = tmp_path_factory.mktemp("long") / "in" / "long.flac"
    path.parent.mkdir()
    soundfile.write(path, long_sound, RATE_HZ)
    return path


def test_a_pipeline_that_begins_at_a_later_window_says_the_same(
    networks: Networks, long_sound: Floats
) -> None:
    bundle = networks.bundle
    blocks = np.array_split(long_sound, 157)
    whole = Pipeline(networks)
    expected = [one for block in blocks for one in whole.push(block)] + whole.finish()
    for window in (1, 3):
        pipeline = Pipeline(networks, first_window=window)
        found = [one for block in blocks for one in pipeline.push(block)] + pipeline.finish()
        first = settled_before(window, bundle.window_tokens, bundle.hop_tokens)
        assert [one.index for one in found] == list(range(first, len(expected)))
        for one, other in zip(found, expected[first:], strict=True):
            np.testing.assert_array_equal(one.scores, other.scores)
            np.testing.assert_array_equal(one.token_scores, other.token_scores)


def test_what_is_settled_when_a_window_opens_is_what_the_plan_says() -> None:
    for window, (_, first, _) in enumerate(window_plan(9 * 960, 1920, 960)):
        assert settled_before(window, 1920, 960) == first


def test_after_kill_9_the_results_are_the_same_bytes(
    long_file: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    options = ("--formats", "csv,jsonl", "--scores", "--threshold", "0.05", "--quiet")
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert birdrec("scan", long_file, "--out", whole, *options).returncode == 0
    command = [sys.executable, "-m", "recorder.cli", "scan", str(long_file), "--out", str(out)]
    child = subprocess.Popen([*command, *options])
    kill_when_it_has_kept_something(child, out)
    assert not (out / "manifest.jsonl").exists()
    (part,) = out.glob(".done/*.part")
    # A torn row, as a power cut leaves it.
    with part.open("ab") as stream:
        stream.write(b"\1\2\3")
    assert birdrec("scan", long_file, "--out", out, *options).returncode == 0
    for path in whole.rglob("*"):
        if path.suffix in (".csv", ".npz") or path.name == "detections.jsonl":
            again = out / path.relative_to(whole)
            if path.suffix == ".npz":
                with np.load(path) as a, np.load(again) as b:
                    for name in a.files:
                        np.testing.assert_array_equal(a[name], b[name])
            else:
                assert path.read_bytes() == again.read_bytes()
    rows = [json.loads((one / "manifest.jsonl").read_text()) for one in (whole, out)]
    assert [{**row, "elapsed_s": 0} for row in rows] == [{**rows[0], "elapsed_s": 0}] * 2
    assert not list(out.glob(".done/*.part"))


def kill_when_it_has_kept_something(child: subprocess.Popen[bytes], out: Path) -> None:
    deadline_s = time.monotonic() + 60
    while not any(part.stat().st_size for part in out.glob(".done/*.part")):
        assert time.monotonic() < deadline_s
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()


def test_what_was_kept_is_not_made_again(long_file: Path, birdrec: Birdrec, tmp_path: Path) -> None:
    """What lies in the part is believed: so the time that was spent on it is saved."""
    out, options = tmp_path / "out", ("--scores", "--quiet")
    child = subprocess.Popen(
        [sys.executable, "-m", "recorder.cli", "scan", str(long_file), "--out", str(out), *options]
    )
    kill_when_it_has_kept_something(child, out)
    (part,) = out.glob(".done/*.part")
    marked = np.fromfile(part, "<f4")
    marked[0] = 0.123
    marked.tofile(part)
    assert birdrec("scan", long_file, "--out", out, *options).returncode == 0
    with np.load(out / "scores" / "long.flac.npz") as kept:
        assert kept["scores"][0, 0] == np.float32(0.123)
    assert birdrec("scan", long_file, "--out", out, *options, "--no-resume").returncode == 0
    with np.load(out / "scores" / "long.flac.npz") as made:
        assert made["scores"][0, 0] != np.float32(0.123)


def test_a_part_takes_rows_and_forgets_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.part"
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    part = PartFile(path, 3)
    assert part.read().shape == (0, 3)
    part.append(rows[:3])
    part.append(rows[:0])
    path.write_bytes(path.read_bytes()[:-5])
    again = PartFile(path, 3)
    np.testing.assert_array_equal(again.read(), rows[:2])
    again.cut(1)
    again.append(rows[1:])
    np.testing.assert_array_equal(PartFile(path, 3).read(), rows)
    nowhere = PartFile(None, 3)
    nowhere.append(rows)
    assert nowhere.read().shape == (0, 3)


def test_a_disk_without_room_only_costs_the_resumption(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    part = PartFile(tmp_path / "file" / "x.part", 3)
    part.append(np.zeros((1, 3), np.float32))
    assert part.read().shape == (0, 3)
