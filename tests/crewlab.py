"""A folder for a crew to scan, and how to look at what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from conftest import MakeSound

OPTIONS = ("--scores", "--formats", "csv,jsonl", "--threshold", "0.05")


def make_folder(folder: Path, birdlike: MakeSound) -> Path:
    """A recording that is worth sharing out, one more with a hole, short ones, and no sound."""
    minutes = np.tile(birdlike(61.3, 16_000, seed=3), 51)
    soundfile.write(folder / "b_long.flac", minutes, 16_000)
    data = bytearray((folder / "b_long.flac").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 30_000] = bytes(30_000)
    (folder / "c_hole.flac").write_bytes(data)
    soundfile.write(folder / "a_short.wav", birdlike(31.0, seed=4), 32_000)
    (folder / "d_none.wav").write_bytes(b"not sound at all" * 10)
    soundfile.write(folder / "e_short.ogg", birdlike(12.0, 48_000, seed=5), 48_000)
    return folder


def results_of(out: Path) -> dict[str, bytes]:
    """Everything in a scan's results but the times that it took."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if name.startswith(".done") or path.is_dir() or name == "run.json":
            continue
        if name == "manifest.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = json.dumps([{**row, "elapsed_s": 0} for row in rows]).encode()
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = b"".join(arrays[key].tobytes() for key in arrays.files)
        else:
            found[name] = path.read_bytes()
    return found


def started(folder: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """A scan that runs."""
    command = [sys.executable, "-m", "recorder.cli", "scan", str(folder), "--out", str(out)]
    return subprocess.Popen(
        [*command, *OPTIONS, *options], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 120.0) -> None:
    """Until it is true; AssertionError after a while."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Processes that a scan has started to analyse, oldest first."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def cpu_s(pid: int) -> float:
    """Of a process, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def is_alive(pid: int) -> bool:
    """Does a process run? One that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"
