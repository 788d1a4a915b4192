#!/usr/bin/env python3
"""What survives when a station is killed or loses its power; what its log costs a card.

    sudo .venv/bin/python bench/crash.py [--kills N] [--cuts N] [--only kill,write,power,wear]

Needs root (loop images), strace, e2fsprogs and eatmydata. Each part hears examples/ over and over
and holds what `birdrec listen --json` printed against what is in detections.jsonl afterwards:
a printed row is an acknowledged one. A power cut is a copy of a running file system's image.
The control runs the same with a library that makes fsync do nothing: it must lose rows.
Writes bench/results/crash.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from recorder.keep.station_log import StationLog

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "bench" / "results" / "crash.json"
WRITES = ("pwrite64", "fdatasync", "fsync", "ftruncate")
DAYS = (("silence", 0, 180), ("a row in 5 s", 120, 180), ("dawn all day", 120, 0))
EATMYDATA = "libeatmydata.so"


class Station:
    """`birdrec listen --replay` as a program; what it prints is what it acknowledged."""

    def __init__(
        self,
        out: Path,
        sound: Path,
        *more: str,
        before: tuple[str, ...] = (),
        preload: str = "",
        threshold: float = 0.03,
    ) -> None:
        command = [
            *before, sys.executable, "-m", "recorder.cli", "listen", "--replay", str(sound),
            "--out", str(out), "--json", "--threshold", str(threshold), "--min-free-mb", "1", *more,
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if preload:
            environment["LD_PRELOAD"] = preload
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.printed: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.printed.append(line)

    def end(self, number: int) -> None:
        """Send a signal, and read the rest of what was printed."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait()
        self._reader.join()


def missing(printed: list[str], journal: Path) -> int:
    """Rows that were printed and are not in the journal, in their order."""
    kept = iter(journal.read_text().splitlines(keepends=True) if journal.exists() else [])
    return sum(not any(line == one for one in kept) for line in printed)


def check_tables(out: Path) -> int:
    """Open the folder as the next start does; how far the ledger is from lying end to end."""
    StationLog(out, lambda _: None).close()
    base = sqlite3.connect(out / "station.sqlite")
    if base.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
        return 1
    place = wrong = 0
    for start, samples in base.execute("SELECT start_sample, samples FROM ledger ORDER BY 1"):
        wrong += start != place
        place = start + samples
    base.close()
    return wrong


def random_kills(folder: Path, sound: Path, count: int) -> dict[str, Any]:
    """kill -9 at moments of a uniform distribution over the program's life."""
    dice = random.Random(1)
    printed: list[str] = []
    wrong = torn = 0
    out = folder / "kills"
    for _ in range(count):
        station = Station(out, sound, "--speed", "max")
        time.sleep(dice.uniform(0.3, 6.0))
        station.end(signal.SIGKILL)
        printed += station.printed
        journal = out / "detections.jsonl"
        torn += journal.exists() and not journal.read_bytes().endswith(b"\n")
        wrong += check_tables(out) if journal.exists() else 0
    lost = missing(printed, out / "detections.jsonl")
    return {
        "kills": count,
        "rows_printed": len(printed),
        "rows_lost": lost,
        "torn_tails": torn,
        "holes_in_the_ledger": wrong,
    }


def kills_at_writes(folder: Path, sound: Path) -> dict[str, Any]:
    """kill -9 at the first, second, ... call of each kind that changes a file."""
    found: dict[str, Any] = {}
    for call in WRITES:
        points = lost = wrong = rows = 0
        while True:
            out = folder / f"{call}-{points}"
            strace = (
                "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                "-e", f"inject={call}:signal=KILL:when={points + 1}",
            )  # fmt: skip
            station = Station(out, sound, "--speed", "max", "--duration", "30", before=strace)
            station.process.wait()
            ended_well = station.process.returncode == 0
            station.end(signal.SIGKILL)
            rows += len(station.printed)
            if (out / "detections.jsonl").exists():
                lost += missing(station.printed, out / "detections.jsonl")
                wrong += check_tables(out)
            shutil.rmtree(out, ignore_errors=True)
            if ended_well:
                break
            points += 1
        found[call] = {
            "points": points,
            "rows_printed": rows,
            "rows_lost": lost,
            "holes_in_the_ledger": wrong,
        }
    return found


@contextmanager
def loop_image(folder: Path, megabytes: int) -> Iterator[tuple[Path, Path]]:
    """(image, where it is mounted): an ext4 card."""
    image, mounted = folder / "card.img", folder / "card"
    with image.open("wb") as stream:
        stream.truncate(megabytes << 20)
    # Whole at once: what the kernel would write later on is not ours.
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    mounted.mkdir()
    run("mount", "-o", "loop", image, mounted)
    try:
        yield image, mounted
    finally:
        run("umount", mounted)
        mounted.rmdir()
        image.unlink()


def power_cuts(folder: Path, sound: Path, count: int, *, preload: str = "") -> dict[str, Any]:
    """Stop the program, copy the image that is mounted, go on: the copy is a card after a cut."""
    dice = random.Random(2)
    rows = lost = wrong = cuts = cuts_with_loss = 0
    with loop_image(folder, 96) as (image, card):
        printed: list[str] = []
        while cuts < count:
            station = Station(card / "out", sound, "--speed", "30", preload=preload)
            while cuts < count and station.process.poll() is None:
                time.sleep(dice.uniform(0.2, 0.9))
                before = len(station.printed)
                os.kill(station.process.pid, signal.SIGSTOP)
                said = [*printed, *station.printed[:before]]
                copy = folder / "copy.img"
                run("cp", "--sparse=always", image, copy)
                os.kill(station.process.pid, signal.SIGCONT)
                gone, holes = after_the_cut(folder, copy, said)
                cuts += 1
                rows, lost, wrong = len(said), lost + gone, wrong + holes
                cuts_with_loss += gone > 0
            station.end(signal.SIGTERM)
            printed += station.printed
    return {
        "cuts": cuts,
        "rows_printed_at_the_last": rows,
        "cuts_with_loss": cuts_with_loss,
        "rows_lost_in_all": lost,
        "holes_in_the_ledger": wrong,
    }


def after_the_cut(folder: Path, image: Path, said: list[str]) -> tuple[int, int]:
    """(rows lost, holes in the ledger) on a card that was pulled."""
    subprocess.run(["e2fsck", "-fy", image], capture_output=True, check=False)
    mounted = folder / "copy"
    mounted.mkdir(exist_ok=True)
    run("mount", "-o", "loop", image, mounted)
    try:
        journal = mounted / "out" / "detections.jsonl"
        if not journal.exists():
            return len(said), 0
        return missing(said, journal), check_tables(mounted / "out")
    finally:
        run("umount", mounted)
        image.unlink()


def wear(folder: Path, sound: Path) -> dict[str, Any]:
    """MiB that reach the card in a day of nothing but such sound."""
    with loop_image(folder, 96) as (image, card):
        listed = subprocess.run(
            ["losetup", "-j", image, "-O", "NAME", "-n"], capture_output=True, text=True, check=True
        )
        statistics = Path("/sys/block") / Path(listed.stdout.strip()).name / "stat"
        os.sync()
        before = int(statistics.read_text().split()[6])
        station = Station(card / "out", sound, "--speed", "max", threshold=0.085)
        station.process.wait()
        station.end(signal.SIGTERM)
        os.sync()
        mib = (int(statistics.read_text().split()[6]) - before) / 2048
    seconds = soundfile.info(sound).duration
    rows = sum('"label"' in line for line in station.printed)
    return {
        "hours": round(seconds / 3600, 1),
        "rows_a_day": round(rows * 86_400 / seconds),
        "mib_a_day": round(mib * 86_400 / seconds, 1),
    }


def make_day(path: Path, *, bird_s: int, quiet_s: int, hours: int) -> Path:
    """The example's first seconds, then none but a microphone's own noise, again and again."""
    (example,) = (REPOSITORY / "examples").glob("*.flac")
    birds, rate_hz = soundfile.read(example, dtype="int16")
    noise = np.random.default_rng(0).standard_normal(quiet_s * rate_hz) * 10
    piece = np.concatenate([birds[: bird_s * rate_hz], noise.astype(np.int16)])
    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16", format="FLAC") as file:
        for _ in range(hours * 3600 // (bird_s + quiet_s)):
            file.write(piece)
    return path


def run(*command: object) -> None:
    subprocess.run([str(one) for one in command], check=True)


def make_sound(path: Path, repeats: int) -> Path:
    """The example again and again."""
    (example,) = (REPOSITORY / "examples").glob("*.flac")
    sound, rate_hz = soundfile.read(example, dtype="int16")
    soundfile.write(path, np.tile(sound, repeats), rate_hz)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--only", default="kill,write,power,wear")
    options = parser.parse_args()
    wanted = options.only.split(",")
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found["date"] = datetime.date.today().isoformat()
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} processors, {platform.release()}"
    with tempfile.TemporaryDirectory(prefix="birdrec-crash-") as name:
        folder = Path(name)
        sound = make_sound(folder / "dawn.flac", 6)
        if "kill" in wanted:
            found["kill_9_at_random"] = random_kills(folder, sound, options.kills)
        if "write" in wanted:
            found["kill_9_at_each_write"] = kills_at_writes(folder, sound)
        if "power" in wanted:
            found["power_cuts"] = power_cuts(folder, sound, options.cuts)
            control = power_cuts(folder, sound, max(5, options.cuts // 5), preload=EATMYDATA)
            found["power_cuts_without_fsync"] = control
        if "wear" in wanted:
            found["wear"] = {}
            for sounds, bird_s, quiet_s in DAYS:
                day = make_day(folder / "day.flac", bird_s=bird_s, quiet_s=quiet_s, hours=3)
                found["wear"][sounds] = wear(folder, day)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
