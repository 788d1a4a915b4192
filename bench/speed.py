#!/usr/bin/env python3
"""What a scan costs as a whole process: an hour of sound, a 3-second file, the installed size.

    python bench/speed.py [--runs N] [--hour-runs N]     writes bench/results/speed.json
    python bench/speed.py --day                          writes bench/results/day.json

The hour is synthesised wind and rain, 32 kHz, 16 bit; the day is the example in `examples/` again
and again, so that there are as many detections as in a good morning. CPU seconds are the operating
system's own (user + system of the finished process); wall times carry whatever else the machine
was doing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from export.bench import processor
from train.invented.synth import rain, wind

RATE_HZ = 32_000
HOUR_S = 3600
DAY_S = 24 * HOUR_S
EXAMPLES = Path(__file__).parent.parent / "examples"


def make_wav(path: Path, seconds: int, seed: int = 0) -> None:
    """Wind and rain; a minute of it, repeated: the work does not depend on what is heard."""
    rng = np.random.default_rng(seed)
    minute = wind(60 * RATE_HZ, RATE_HZ, rng=rng) + rain(60 * RATE_HZ, RATE_HZ, rng=rng)
    minute *= 0.05 / np.abs(minute).std()
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as sound:
        for start in range(0, seconds, 60):
            sound.write(minute[: min(60, seconds - start) * RATE_HZ])


def make_day(path: Path) -> None:
    """The example for 24 hours; 5.5 GB, which only RF64 can say."""
    (example,) = EXAMPLES.glob("*.flac")
    samples, rate_hz = soundfile.read(example, dtype="int16")
    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16", format="RF64") as sound:
        for start in range(0, DAY_S * rate_hz, len(samples)):
            sound.write(samples[: DAY_S * rate_hz - start])


_STARTER = """
import json, os, sys, time
started = time.monotonic()
pid = os.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(json.dumps({
    "status": status, "wall_s": time.monotonic() - started,
    "cpu_s": usage.ru_utime + usage.ru_stime, "peak_rss_mb": usage.ru_maxrss / 1000,
}))
"""
"""A process inherits the peak of the one that starts it: a small one starts it."""


def measure(recording: Path, out: Path, precision: str = "auto") -> dict[str, float]:
    """One `birdrec scan` from start to exit."""
    command = [sys.executable, "-m", "recorder.cli", "scan", str(recording), "--out", str(out)]
    command += ["--no-resume", "--quiet", "--precision", precision]
    done = subprocess.run(
        [sys.executable, "-c", _STARTER, *command], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    if found.pop("status") != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return found


def summary(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "min": round(min(run[name] for run in runs), 3),
            "median": round(statistics.median(run[name] for run in runs), 3),
        }
        for name in runs[0]
    }


def hours(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of scans of an hour, with how many times faster than the sound each was by its CPU time."""
    found = summary(runs)
    found["x_real_time_by_cpu"] = {
        name: round(HOUR_S / value, 1) for name, value in found["cpu_s"].items()
    }
    return found


def conditions() -> dict[str, object]:
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {processor()}",
        "load_before": os.getloadavg()[0],
        "command": " ".join(sys.argv),
        "openblas_kernels": os.environ.get("OPENBLAS_CORETYPE", "its own choice"),
    }


def write(name: str, results: dict[str, object]) -> None:
    place = Path(__file__).parent / "results" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def day() -> None:
    """24 hours in floats and in integers."""
    with tempfile.TemporaryDirectory() as folder:
        recording, out = Path(folder, "day.wav"), Path(folder, "o")
        make_day(recording)
        results = conditions()
        for precision in ("fp32", "int8"):
            found = measure(recording, out, precision)
            with (out / "detections.csv").open(encoding="utf-8") as rows:
                detections = sum(1 for _ in rows) - 1
            results[precision] = {
                **{name: round(value, 1) for name, value in found.items()},
                "detections": detections,
            }
    write("day.json", results)


def packages_mb() -> float:
    """Everything in this environment's site-packages."""
    folder = Path(sysconfig.get_paths()["purelib"])
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--hour-runs", type=int, default=3)
    arguments.add_argument("--day", action="store_true")
    options = arguments.parse_args()
    if options.day:
        day()
        return
    runs = range(options.hour_runs)
    with tempfile.TemporaryDirectory() as folder:
        hour, short, out = Path(folder, "hour.wav"), Path(folder, "short.wav"), Path(folder, "o")
        make_wav(hour, HOUR_S)
        make_wav(short, 3)
        results = {
            **conditions(),
            **{
                f"one_hour_{precision}": hours([measure(hour, out, precision) for _ in runs])
                for precision in ("fp32", "int8")
            },
            "three_seconds": summary([measure(short, out) for _ in range(options.runs)]),
            "site_packages_mb": round(packages_mb()),
        }
    write("speed.json", results)


if __name__ == "__main__":
    main()
