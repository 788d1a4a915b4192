#!/usr/bin/env python3
"""What a microphone's sound goes through, and what of it the ledger knows, to the sample.

    sudo .venv/bin/python bench/microphone.py [--only NAME,...]

Noise is played into a virtual microphone (a private PulseAudio server; PortAudio is the real one)
while `birdrec listen --keep-audio all` hears it and something is done to it. Then the ledger is
added up, and what was kept is searched for in what was played: `kept_bit_by_bit` samples in one
stretch, each at the place that the ledger gives it. Needs root (CPU quota) and strace beside what
`scripts/setup dev` installs. Writes bench/results/microphone.json.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from pulselab import PulseLab  # noqa: E402

RESULTS = REPOSITORY / "bench" / "results" / "microphone.json"
RATE_HZ = 32_000
PLAYED_S = 75
SETTLE_S = 5.0
CGROUP = Path("/sys/fs/cgroup/cpu/birdrec-bench")
QUOTA_PERCENT = 10


@dataclass
class Scene:
    """A station that listens, and the microphone that it listens to."""

    lab: PulseLab
    station: subprocess.Popen[bytes]
    played: Path

    @property
    def analysis(self) -> int:
        """The process that analyses: strace, where it is there, is its parent."""
        pid = self.station.pid
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if name == "strace" else pid


def nothing(_scene: Scene) -> None:
    """The control."""


def stop_analysis(scene: Scene) -> None:
    os.kill(scene.analysis, signal.SIGSTOP)
    time.sleep(20.0)
    os.kill(scene.analysis, signal.SIGCONT)


def kill_server(scene: Scene) -> None:
    scene.lab.kill()
    time.sleep(5.0)
    scene.lab.start()
    time.sleep(5.0)
    scene.lab.play(scene.played)


def pull_out(scene: Scene) -> None:
    scene.lab.unload_sink()
    time.sleep(5.0)
    scene.lab.load_sink()
    time.sleep(5.0)
    scene.lab.play(scene.played)


def starve(scene: Scene) -> None:
    """A tenth of one processor for all of it, as on a board that is far too slow."""
    CGROUP.mkdir(exist_ok=True)
    (CGROUP / "cpu.cfs_period_us").write_text("100000")
    (CGROUP / "cpu.cfs_quota_us").write_text(str(QUOTA_PERCENT * 1_000))
    children = Path(f"/proc/{scene.analysis}/task/{scene.analysis}/children").read_text().split()
    for pid in (str(scene.analysis), *children):
        (CGROUP / "cgroup.procs").write_text(pid)


def end_starving() -> None:
    for pid in (CGROUP / "cgroup.procs").read_text().split():
        (CGROUP.parent / "cgroup.procs").write_text(pid)
    CGROUP.rmdir()


STALL = (
    "strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync,pwrite64",
    "-e", "inject=fdatasync:delay_enter=10s:when=4",
    "-e", "inject=pwrite64:delay_enter=10s:when=90",
)  # fmt: skip
"""The fourth sync and the 90th write of each thread take 10 s."""

CASES: dict[str, tuple[Callable[[Scene], None], tuple[str, ...]]] = {
    "nothing": (nothing, ()),
    "disk stalls for 10 s, twice": (nothing, STALL),
    "analysis stopped for 20 s": (stop_analysis, ()),
    "sound server killed, back after 5 s": (kill_server, ()),
    "device unloaded, back after 5 s": (pull_out, ()),
    f"{QUOTA_PERCENT} % of a processor": (starve, ()),
}


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Play, disturb, end in good order, and add up."""
    disturb, before = CASES[name]
    played, out = folder / "played.wav", folder / "out"
    noise = np.random.default_rng(1).integers(-3_000, 3_000, PLAYED_S * RATE_HZ).astype(np.int16)
    soundfile.write(played, noise, RATE_HZ)
    with PulseLab(folder / "lab", rate_hz=RATE_HZ) as lab:
        station = subprocess.Popen(
            [
                *before, sys.executable, "-m", "recorder.cli", "listen", "--device", "pulse",
                "--rate", str(RATE_HZ), "--keep-audio", "all", "--out", str(out), "--quiet",
                "--threshold", "0.001", "--min-free-mb", "1",
            ],
            env={**os.environ, **lab.environment, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        scene = Scene(lab, station, played)
        try:
            wait_for(lambda: list(out.glob("recordings/*/*")), 60)
            began_s = time.monotonic()
            player = lab.play(played)
            time.sleep(10.0)
            disturb(scene)
            if disturb in (kill_server, pull_out):
                # The first player has lost its server; the second one plays on.
                time.sleep(40.0)
            else:
                player.wait()
                time.sleep(SETTLE_S)
            if CGROUP.exists():
                end_starving()
            os.kill(scene.analysis, signal.SIGTERM)
            elapsed_s = time.monotonic() - began_s
            station.wait(60)
        finally:
            station.kill()
            station.wait()
            if CGROUP.exists():
                end_starving()
    return added_up(out, noise, elapsed_s)


def added_up(out: Path, noise: NDArray[np.int16], elapsed_s: float) -> dict[str, Any]:
    """The ledger, what was kept, and where of what was played it lies."""
    base = sqlite3.connect(out / "station.sqlite")
    ledger = base.execute("SELECT start_sample, samples, state, reason FROM ledger ORDER BY 1")
    rows = ledger.fetchall()
    holes = sum(a[0] + a[1] != b[0] for a, b in itertools.pairwise(rows))
    heard = [(start, count) for start, count, state, _ in rows if state == "analysed"]
    kept = [soundfile.read(path, dtype="int16")[0] for path in sorted(out.glob("recordings/*/*"))]
    whole = np.concatenate(kept)
    found = [stretch(sound, noise) for sound in kept]
    return {
        "elapsed_samples": sum(row[1] for row in rows),
        "elapsed_by_clock_s": round(elapsed_s, 1),
        "analysed": sum(count for _, count in heard),
        "lost": {reason: count for _, count, state, reason in rows if state == "lost"},
        "pending": sum(row[1] for row in rows if row[2] == "pending"),
        "holes": holes,
        "kept_less_analysed": len(whole) - sum(count for _, count in heard),
        "played": len(noise),
        "kept_bit_by_bit": found,
        "said": [
            f"{at:.1f} s: {problem} {'begins' if begins else 'ends'} ({detail})"
            for problem, begins, at, detail in base.execute(
                "SELECT problem, begins, start_s, detail FROM health"
            )
        ],
    }


def stretch(kept: NDArray[np.int16], noise: NDArray[np.int16]) -> int:
    """How many samples in a row of what was played are in what was kept, from its first on."""
    sounding = np.flatnonzero(kept)
    if not len(sounding):
        return 0
    # A sample of noise may be 0, and the first ones may be missing: look from a bit later on.
    start = int(sounding[0]) + 64
    probe = kept[start : start + 64].tobytes()
    place = noise.tobytes().find(probe)
    while place % 2 and place >= 0:
        place = noise.tobytes().find(probe, place + 1)
    if place < 0:
        return 0
    at = place // 2
    count = min(len(kept) - start, len(noise) - at)
    differ = np.flatnonzero(kept[start : start + count] != noise[at : at + count])
    return int(differ[0]) if len(differ) else count


def wait_for(done: Callable[[], object], seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline_s:
            raise SystemExit("the station does not begin")
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", help=f"of: {'; '.join(CASES)}")
    options = parser.parse_args()
    wanted = options.only.split(";") if options.only else list(CASES)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["date"] = datetime.date.today().isoformat()
    results["machine"] = f"{platform.machine()}, {os.cpu_count()} processors"
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="birdrec-microphone-") as folder:
            results[name] = measure(name, Path(folder))
        print(name, json.dumps(results[name], indent=1), flush=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
