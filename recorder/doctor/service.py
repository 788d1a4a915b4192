"""What runs already: the unit, a station on the folder, and whether birdrec listens on a port."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from recorder.doctor.check import Check, fault, ok, unknown

UNIT = "birdrec.service"
PROC = Path("/proc")
_ASK_S = 10.0
_LISTENS = "0A"
"""A TCP socket's state in /proc/net/tcp."""
_TABLES = ("tcp", "tcp6")
_SILENT_S = 900.0
"""The account is written every five minutes of sound."""


def check_unit() -> Check:
    """What systemd says of the service."""
    tool = shutil.which("systemctl")
    if tool is None or not Path("/run/systemd/system").is_dir():
        return unknown("unit", "systemd does not run here", "start birdrec listen in another way")
    names = "LoadState,ActiveState,SubState,NRestarts,UnitFileState"
    done = subprocess.run(
        [tool, "show", UNIT, f"--property={names}"],
        capture_output=True, text=True, timeout=_ASK_S, check=False,
    )  # fmt: skip
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return judged_unit(found)


def judged_unit(found: dict[str, str]) -> Check:
    """Of systemd's properties."""
    if found.get("LoadState") != "loaded":
        advice = "firmware_config/install.sh installs it, if birdrec is to run by itself"
        return unknown("unit", f"{UNIT} is not installed", advice)
    state = f"{found.get('ActiveState')} ({found.get('SubState')})"
    restarts = f"{found.get('NRestarts', '0')} restarts"
    look = f"journalctl -u {UNIT} -n 50 says why; sudo systemctl restart {UNIT}"
    if found.get("ActiveState") != "active":
        return fault("unit", state, look)
    if found.get("UnitFileState") not in ("enabled", "enabled-runtime"):
        advice = f"it does not start with the machine: sudo systemctl enable {UNIT}"
        return fault("unit", f"{state}, {found.get('UnitFileState')}", advice)
    return ok("unit", f"{state}, {restarts}")


def holder_of(out: Path) -> int | None:
    """The process of the station that runs on this folder; None when there is none."""
    try:
        with (out / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(OSError, ValueError):
            return int((out / ".lock").read_text())
        return 0
    except OSError:
        return None
    return None


@dataclass(frozen=True)
class Station:
    """What a running one says of itself."""

    device: str
    problems: dict[str, str]
    """Those that have begun and not ended, with their details."""
    silent_s: float
    """Since its last line."""


def running_station(out: Path) -> Station:
    """From its tables; sqlite3.Error or OSError when they cannot be read."""
    uri = f"{(out / 'station.sqlite').resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as base:
        run = base.execute("SELECT run, device FROM runs ORDER BY run DESC LIMIT 1").fetchone()
        if run is None:
            return Station("no device yet", {}, 0.0)
        said = base.execute(
            "SELECT problem, begins, detail FROM health WHERE run = ? ORDER BY rowid", (run[0],)
        )
        open_ones: dict[str, str] = {}
        for problem, begins, detail in said:
            open_ones.pop(problem, None)
            if begins:
                open_ones[problem] = detail
    silent_s = time.time() - (out / "detections.jsonl").stat().st_mtime
    return Station(run[1], open_ones, silent_s)


def check_station(out: Path, process: int) -> list[Check]:
    """Device and levels, as the station says that has the microphone: nobody else can hear it."""
    name = f"birdrec (process {process})"
    try:
        station = running_station(out)
    except (sqlite3.Error, OSError) as error:
        advice = "ask as root, or as the user of the service"
        found = f"{name} has the microphone, and its tables cannot be read ({error})"
        return [unknown("device", found, advice), unknown("levels", "see the device", advice)]
    device = ok("device", f"{name} listens to {station.device}")
    if station.silent_s > _SILENT_S:
        found = f"{name} has written nothing for {station.silent_s / 60:.0f} minutes"
        device = fault("device", found, f"sudo systemctl restart {UNIT}; report this")
    if station.problems:
        words = "; ".join(f"{problem}: {said}" for problem, said in station.problems.items())
        return [device, fault("levels", words, "docs/listening.md, Health, says what each means")]
    return [device, ok("levels", f"{name} says that all is well")]


def check_ports(proc: Path = PROC) -> Check:
    """birdrec opens no port; what it never does is looked for all the same."""
    listening = dict(_listening(proc))
    ours = {pid for pid in _pids(proc) if _is_birdrec(proc / str(pid))}
    ours.discard(os.getpid())
    found, hidden = [], 0
    for pid in sorted(ours):
        try:
            found += [f"{listening[one]} (process {pid})" for one in _sockets(proc, pid, listening)]
        except PermissionError:
            hidden += 1
    if found:
        advice = "birdrec opens none: another program has its name, or somebody changed it"
        return fault("ports", f"birdrec listens on {', '.join(found)}", advice)
    if hidden:
        return unknown("ports", f"{hidden} processes of birdrec belong to others", "ask as root")
    return ok("ports", f"none is opened by birdrec ({len(ours)} other processes of it)")


def _listening(proc: Path) -> Iterator[tuple[str, str]]:
    """(inode, port) of every listening TCP socket."""
    for table in _TABLES:
        with suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS:
                    yield fields[9], f"{table} port {int(fields[1].rsplit(':', 1)[1], 16)}"


def _pids(proc: Path) -> Iterator[int]:
    return (int(one.name) for one in proc.iterdir() if one.name.isdecimal())


def _is_birdrec(process: Path) -> bool:
    """Its program is birdrec, or a module of the recorder."""
    with suppress(OSError):
        words = (process / "cmdline").read_bytes().split(b"\0")[:4]
        return any(
            word.rsplit(b"/", 1)[-1] == b"birdrec" or word.startswith(b"recorder.")
            for word in words
        )
    return False


def _sockets(proc: Path, pid: int, listening: dict[str, str]) -> Iterator[str]:
    """Inodes of the listening sockets that a process holds; PermissionError of another user's."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for link in (proc / str(pid) / "fd").iterdir():
            with suppress(FileNotFoundError):
                inode = os.readlink(link).removeprefix("socket:[").rstrip("]")
                if inode in listening:
                    yield inode
