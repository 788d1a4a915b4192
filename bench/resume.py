#!/usr/bin/env python3
"""Kill a scan at random moments, again and again, and let it go on: are the results the same bytes?

    python bench/resume.py [--kills N]       writes bench/results/resume.json

A folder with a recording of 52 minutes, one of 26, one that is damaged, and short ones; by turns
with one process and with two. Each round is killed at random moments until it gets to its end.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

REPOSITORY = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "resume.json"
_LONGEST_S = 15.0
"""A piece of a long recording that two share takes some ten seconds: killed sooner each time, they
would never end."""
OPTIONS = ("--scores", "--formats", "csv,jsonl,raven", "--threshold", "0.05", "--quiet")


def make_folder(folder: Path) -> None:
    """Sound of the example, at several rates."""
    (example,) = (REPOSITORY / "examples").glob("*.flac")
    sound, rate_hz = soundfile.read(example, dtype="int16")
    soundfile.write(folder / "b_long.flac", np.tile(sound, 26), rate_hz)
    soundfile.write(folder / "c_other_rate.wav", np.tile(sound, 13), 22_050)
    soundfile.write(folder / "a_short.wav", sound[: 20 * rate_hz], rate_hz)
    soundfile.write(folder / "e_short.ogg", sound[: 10 * rate_hz], rate_hz)
    data = bytearray((folder / "b_long.flac").read_bytes()[: 4 << 20])
    data[1 << 20 : (1 << 20) + 20_000] = bytes(20_000)
    (folder / "d_hole.flac").write_bytes(data)


def results_of(out: Path) -> dict[str, bytes]:
    """Every file but what says how long it took."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or name.startswith(".done") or name in ("run.json", "manifest.jsonl"):
            continue
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = b"".join(arrays[key].tobytes() for key in arrays.files)
        else:
            found[name] = path.read_bytes()
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    found["manifest.jsonl"] = json.dumps([{**row, "elapsed_s": 0} for row in rows]).encode()
    return found


def started(folder: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """A scan in a group of its own, so that its workers die with it."""
    command = [sys.executable, "-m", "recorder.cli", "scan", str(folder), "--out", str(out)]
    command += [*OPTIONS, "--workers", str(workers)]
    return subprocess.Popen(command, start_new_session=True)


def round_of_kills(
    folder: Path, out: Path, workers: int, *, longest_s: float, dice: random.Random
) -> int:
    """Kill and go on until it ends; return the number of kills."""
    kills = 0
    while True:
        scan = started(folder, out, workers)
        moment_s = dice.uniform(0.1, longest_s)
        deadline_s = time.monotonic() + moment_s
        while time.monotonic() < deadline_s and scan.poll() is None:
            time.sleep(0.01)
        if scan.poll() is not None:
            return kills
        os.killpg(scan.pid, signal.SIGKILL)
        scan.wait()
        kills += 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    options = parser.parse_args()
    dice = random.Random(6)
    found: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
    }
    with tempfile.TemporaryDirectory(prefix="birdrec-resume-") as name:
        folder = Path(name, "in")
        folder.mkdir()
        make_folder(folder)
        whole = Path(name, "whole")
        started(folder, whole, 1).wait()
        expected = results_of(whole)
        kills, rounds, different = {1: 0, 2: 0}, 0, 0
        while sum(kills.values()) < options.kills:
            workers = 1 + rounds % 2
            out = Path(name, f"out{rounds}")
            kills[workers] += round_of_kills(folder, out, workers, longest_s=_LONGEST_S, dice=dice)
            different += results_of(out) != expected
            rounds += 1
    found |= {
        "kills_of_one_process": kills[1],
        "kills_of_two": kills[2],
        "rounds": rounds,
        "rounds_with_other_bytes": different,
    }
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
