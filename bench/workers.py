#!/usr/bin/env python3
"""How much faster two workers are than one: `scan --workers` and `scan --cluster` (Dask).

    python bench/workers.py [--hours N] [--rounds N]     writes bench/results/workers.json

The same wind and rain as in bench/speed.py lies once in files of half an hour and once in one
file. Every round takes each of them with one worker and with two, one after the other, so that
what else the machine does meets all alike. Scheduler and workers of Dask run before the clock
does, but have done no task. What two workers could be at best is measured beside them: two
scans at once, of one worker each, against one alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from speed import conditions, make_wav, write

FILE_S = 1800
WORKERS = (1, 2)
TAKEN_IN = "Registered to:"
"""What a worker of Dask writes when its scheduler knows it."""


def scan(recording: Path, out: Path, *how: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "recorder.cli", "scan", str(recording), "--out", str(out)]
    return subprocess.Popen([*command, "--no-resume", "--quiet", *how])


def wall_s(*scans: tuple[Path, Path, tuple[str, ...]]) -> float:
    """From the start of all these scans, at once, to the end of the last one."""
    started = time.monotonic()
    running = [scan(recording, out, *how) for recording, out, how in scans]
    if sum(one.wait() != 0 for one in running):
        raise SystemExit("a scan failed: see above")
    return time.monotonic() - started


@contextlib.contextmanager
def cluster(workers: int, home: Path) -> Iterator[str]:
    """A scheduler with so many workers of one thread; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    commands = [["scheduler", "--port", port, "--no-jupyter"]]
    commands += [["worker", address, "--nthreads", "1", "--no-nanny"]] * workers
    running, logs = [], []
    for number, (what, *arguments) in enumerate(commands):
        logs.append(home / f"{number}.log")
        with logs[-1].open("wb") as log:
            command = [sys.executable, "-m", "dask", what, *arguments]
            running.append(
                subprocess.Popen(
                    [*command, "--host", "127.0.0.1", "--no-dashboard"],
                    cwd=home,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
            )
    try:
        while not all(TAKEN_IN in log.read_text(encoding="utf-8") for log in logs[1:]):
            if any(one.poll() is not None for one in running):
                raise SystemExit("".join(log.read_text(encoding="utf-8") for log in logs))
            time.sleep(0.1)
        yield address
    finally:
        for one in running:
            # Asked politely a worker looks for its scheduler first, for minutes.
            one.kill()
            one.wait()


def one_round(shapes: dict[str, Path], folder: Path) -> dict[str, float]:
    """Wall seconds of each way to scan, by its name."""
    out = folder / "out"
    took: dict[str, float] = {}
    for shape, recording in shapes.items():
        for workers in WORKERS:
            how = ("--workers", str(workers))
            took[f"{shape}, local, {workers}"] = wall_s((recording, out, how))
        for workers in WORKERS:
            with cluster(workers, folder) as address:
                how = ("--cluster", address)
                took[f"{shape}, Dask, {workers}"] = wall_s((recording, out, how))
    alone = ("--workers", "1")
    whole, other = shapes["one file"], folder / "other"
    took["two commands at once"] = wall_s((whole, out, alone), (whole, other, alone))
    return took


def ratios(rounds: list[dict[str, float]]) -> dict[str, dict[str, float | list[float]]]:
    """How many times as fast two workers were, for each way: round by round, and their median."""
    found: dict[str, list[float]] = {}
    for took in rounds:
        for name in took:
            if name.endswith(", 1"):
                way = name.removesuffix(", 1")
                found.setdefault(way, []).append(took[name] / took[f"{way}, 2"])
        best = 2 * took["one file, local, 1"] / took["two commands at once"]
        found.setdefault("two commands at once (what the machine gives)", []).append(best)
    return {
        way: {
            "median": round(statistics.median(each), 2),
            "rounds": [round(one, 2) for one in each],
        }
        for way, each in found.items()
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--hours", type=int, default=4)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "many").mkdir()
        for number in range(options.hours * 3600 // FILE_S):
            make_wav(folder / "many" / f"{number}.wav", FILE_S, seed=number)
        make_wav(folder / "one.wav", options.hours * 3600)
        shapes = {"many files": folder / "many", "one file": folder / "one.wav"}
        before = conditions()
        rounds = [one_round(shapes, folder) for _ in range(options.rounds)]
    results = {
        **before,
        "sound_h": options.hours,
        "two_workers_are_times_as_fast": ratios(rounds),
        "wall_s": [{name: round(s, 1) for name, s in one.items()} for one in rounds],
    }
    write("workers.json", results)


if __name__ == "__main__":
    main()
