#!/usr/bin/env python3
"""Does a station grow? A day of sound at full speed: memory, open files, and the ledger at the end.

    .venv/bin/python bench/soak.py [--hours N]

examples/ over and over, replayed with clips kept; memory and files are read every second from the
system. The slope is that of a line through what was read from the second simulated hour on.
Writes bench/results/soak.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "bench" / "results" / "soak.json"


def make_sound(path: Path, hours: float) -> None:
    (example,) = (REPOSITORY / "examples").glob("*.flac")
    sound, rate_hz = soundfile.read(example, dtype="int16")
    left = round(hours * 3600 * rate_hz)
    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16", format="FLAC") as file:
        while left > 0:
            file.write(sound[:left])
            left -= len(sound)


def megabytes(pid: int, word: str) -> float:
    """Of a line of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(word))) / 1000


def replay(sound: Path, out: Path) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "recorder.cli", "listen", "--replay", str(sound), "--speed", "max",
        "--out", str(out), "--quiet", "--keep-audio", "clips",
    ]  # fmt: skip
    began_s = time.monotonic()
    station = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    seen: list[tuple[float, float, int]] = []
    peak_mb = 0.0
    while station.poll() is None:
        time.sleep(1.0)
        try:
            hour = heard_s(out) / 3600
            files = len(os.listdir(f"/proc/{station.pid}/fd"))
            seen.append((hour, megabytes(station.pid, "VmRSS"), files))
            peak_mb = megabytes(station.pid, "VmHWM")
        except (OSError, StopIteration, sqlite3.Error):
            # It ends, or has not begun.
            continue
    wall_s, used = time.monotonic() - began_s, os.times()
    hours, memory, files_open = np.array(seen).T
    late = hours >= 1.0
    slope, _ = np.polyfit(hours[late], memory[late], 1)
    base = sqlite3.connect(out / "station.sqlite")
    ledger = base.execute("SELECT start_sample, samples, state, reason FROM ledger").fetchall()
    return {
        "exit_code": station.returncode,
        "seconds_of_sound": soundfile.info(sound).duration,
        "ledger": ledger,
        "x_real_time": round(soundfile.info(sound).duration / wall_s, 1),
        "cpu_s": round(used.children_user + used.children_system, 1),
        "peak_rss_mb": round(peak_mb, 1),
        "rss_mb_at_hours": {
            str(hour): round(float(memory[np.argmin(np.abs(hours - hour))]), 1)
            for hour in (1, 2, 4, 8, 12, 16, 20, 24)
            if hour <= hours[-1] + 0.5
        },
        "rss_mb_an_hour": round(float(slope), 3),
        "files_open": [int(files_open[late].min()), int(files_open[late].max())],
        "rows": base.execute("SELECT count(*) FROM detections").fetchone()[0],
        "clips": len(list(out.glob("clips/*/*.flac"))),
        "clips_removed": base.execute("SELECT count(*) FROM clips WHERE removed != ''").fetchone()[
            0
        ],
    }


def heard_s(out: Path) -> float:
    """How far it is: from the last whole lines of the journal."""
    with (out / "detections.jsonl").open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - 20_000))
        lines = stream.read().splitlines()[1:-1]
    ends = [json.loads(line).get("end_s", 0.0) for line in lines]
    return max(ends, default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=24.0)
    hours = parser.parse_args().hours
    with tempfile.TemporaryDirectory(prefix="birdrec-soak-") as name:
        sound = Path(name) / "day.flac"
        make_sound(sound, hours)
        found = replay(sound, Path(name) / "out")
    found["date"] = datetime.date.today().isoformat()
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} processors"
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
