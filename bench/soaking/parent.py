"""Starts the station's process, does to it what the plan asks for, and starts it again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr

from recorder.station.spools import spool_folders
from soaking.plan import Fault, load_plan, save_plan
from soaking.stage import (
    CUT,
    DOWN,
    GRID,
    KILL,
    KILLED,
    PAUSE,
    POWER,
    RATES_HZ,
    STOP,
    STOPPED,
    TICKS,
    Account,
    Page,
    State,
    ticks_of,
)

REPOSITORY = Path(__file__).resolve().parents[2]
_HANGS_S = 300.0
_SYNC = 90 * TICKS
"""After a boot without a clock that runs on, until the network knows the time."""
_HOWS = {KILL: KILLED, POWER: CUT, STOP: STOPPED}


class Broken(Exception):
    """The process ended by itself, or stands still."""


@dataclass
class Seen:
    """What the parent saw from outside."""

    printed: list[int] = field(default_factory=list)
    """Hashes of the lines that were acknowledged."""
    samples: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(process and form of sound, tick, KiB of private memory, open files)."""
    written_bytes: int = 0
    """To disks, of all processes."""
    starts: int = 0
    damage: dict[int, tuple[str, int]] = field(default_factory=dict)
    """By the number of the going down: ("tables", 0), or a spool segment's first frame."""


class Stage:
    """One folder and one plan, from the first tick to the last."""

    def __init__(
        self, folder: Path, plan: list[Fault], end_s: float, *,
        seed: int, stop: threading.Event | None = None,
    ) -> None:  # fmt: skip
        """When `stop` is set it ends where it is, in good order."""
        self.folder, self.end = folder, ticks_of(end_s)
        self.seen = Seen()
        self._dice = random.Random(seed)
        folder.mkdir(parents=True, exist_ok=True)
        save_plan(folder / "plan.json", plan)
        self._page = Page(folder / "page")
        self._account = Account(folder / "account")
        self._folders = spool_folders(folder / "out", 0)
        self._environment = self._make_environment()
        self._downs = 0
        self._stop = stop or threading.Event()

    def run(self) -> None:
        """Until the end of the plan; Broken."""
        while True:
            how, order = self._one_process()
            state = self._page.read()
            self._account.add(DOWN, state.now, how=_HOWS[order])
            self._downs += 1
            if state.tick >= self.end or (self._stop.is_set() and order == STOP):
                return
            if how < 0 and -how != signal.SIGKILL:
                raise Broken(f"it ended by signal {-how}")
            self._restart(state, load_plan(self.folder / "plan.json")[state.fault - 1], order)

    def _one_process(self) -> tuple[int, int]:
        """(exit code, the order that ended it)."""
        command = [sys.executable, "-m", "soaking.station", str(self.folder), str(self.end)]
        with (self.folder / "stderr").open("ab") as errors:
            child = subprocess.Popen(
                command, env=self._environment, stdout=subprocess.PIPE, stderr=errors
            )
        self.seen.starts += 1
        reader = threading.Thread(target=self._read, args=(child,), daemon=True)
        reader.start()
        try:
            return self._watch(child)
        finally:
            child.kill()
            child.wait()
            reader.join()

    def _watch(self, child: subprocess.Popen[bytes]) -> tuple[int, int]:
        orders = self._page.read().orders
        looked_s = moved_s = time.monotonic()
        last, written = 0, 0
        while child.poll() is None:
            time.sleep(0.005)
            state, now_s = self._page.read(), time.monotonic()
            if self._stop.is_set():
                return self._end(child, STOP), STOP
            if state.orders > orders:
                orders = state.orders
                if state.order != PAUSE:
                    return self._end(child, state.order), state.order
                self._pause(child)
            if now_s - looked_s >= 1.0:
                looked_s = now_s
                written = self._look(child.pid, state, written)
            if state.now != last:
                last, moved_s = state.now, now_s
            if now_s - moved_s > _HANGS_S:
                raise Broken(f"nothing moves at {state.now / TICKS:.1f} s")
        raise Broken(f"it ended by itself, exit code {child.returncode}")

    def _end(self, child: subprocess.Popen[bytes], order: int) -> int:
        if order == STOP:
            child.terminate()
            code = child.wait(120)
            if code != 0:
                raise Broken(f"it was told to stop, exit code {code}")
            return code
        time.sleep(self._dice.uniform(0.0, 0.05))
        child.kill()
        return child.wait()

    def _pause(self, child: subprocess.Popen[bytes]) -> None:
        child.send_signal(signal.SIGSTOP)
        time.sleep(self._dice.uniform(0.05, 0.3))
        child.send_signal(signal.SIGCONT)

    def _restart(self, state: State, fault: Fault, order: int) -> None:
        """The state of the world at the next start."""
        state.disk = state.ram = 0
        begin = state.now + max(1, fault.lasts)
        if order != KILL:
            begin = -(-begin // GRID) * GRID
        if order == POWER:
            self._new_boot(state, begin, knows_time=fault.word == "rtc")
        elif order == KILL and fault.word:
            self._damage(fault.word)
        state.now = state.tick = begin
        self._page.write(state)

    def _new_boot(self, state: State, begin: int, *, knows_time: bool) -> None:
        for path in self._folders[0].path.glob("*"):
            if len(self._folders) > 1:
                path.unlink()
        off_s = (begin - state.now) / TICKS
        state.boot, state.boot_tick = state.boot + 1, begin
        state.offset_s, state.synced = (0.0, 1) if knows_time else (-off_s, 0)
        state.sync_tick = begin + _SYNC

    def _damage(self, word: str) -> None:
        if word == "tables":
            path = self.folder / "out" / "station.sqlite"
            pages = path.stat().st_size // 4096
            with path.open("r+b") as stream:
                stream.seek(4096 * self._dice.randrange(pages))
                stream.write(self._dice.randbytes(4096))
            self.seen.damage[self._downs] = ("tables", 0)
            return
        found = [path for one in self._folders for path in sorted(one.path.glob("*.spool"))]
        if not found:
            return
        path = self._dice.choice(found)
        self.seen.damage[self._downs] = ("spool", int(path.name[:15]))
        os.truncate(path, self._dice.randrange(path.stat().st_size))

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            if line.endswith(b"\n"):
                self.seen.printed.append(hash(line))

    def _look(self, process: int, state: State, written: int) -> int:
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            private = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            files = len(os.listdir(f"/proc/{process}/fd"))
            lines = Path(f"/proc/{process}/io").read_text().splitlines()
            total = next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
        except (OSError, StopIteration):
            return written
        self.seen.samples.append((2 * self.seen.starts + state.form, state.now, private, files))
        self.seen.written_bytes += total - written
        return total

    def _make_environment(self) -> dict[str, str]:
        library = self.folder / "disk.so"
        if not library.exists():
            source = Path(__file__).with_name("disk.c")
            subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "bench")])
        return {
            **os.environ,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
            "TZ": "Europe/Helsinki",
            "LD_PRELOAD": str(library),
            "SOAK_PAGE": str(self.folder / "page"),
            "SOAK_OUT": str((self.folder / "out").resolve()),
            "SOAK_RAM": str(self._folders[0].path),
        }


def make_sounds(folder: Path, period_s: int) -> None:
    """Half an hour of a forest, or less, for each form: minutes from near silence to dawn."""
    folder.mkdir(parents=True, exist_ok=True)
    (example,) = (REPOSITORY / "examples").glob("*.flac")
    sound, rate_hz = soundfile.read(example, dtype="float32")
    dice = np.random.default_rng(0)
    mono = np.resize(sound, period_s * rate_hz)
    gains = np.repeat(dice.choice([0.0, 0.1, 0.5, 1.0], -(-period_s // 20)), 20 * rate_hz)
    mono = mono * gains[: len(mono)] + 0.0005 * dice.standard_normal(len(mono))
    for wanted_hz in RATES_HZ:
        made = soxr.resample(mono, rate_hz, wanted_hz)
        np.clip(made * 32_768, -32_768, 32_767).astype(np.int16).tofile(
            folder / f"sound.{wanted_hz}"
        )


def save_seen(path: Path, seen: Seen) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
        json.dump({"samples": seen.samples, "damage": seen.damage}, stream)
    Path(stream.name).rename(path)
