"""The board: disk, clock, temperature, power. Files of the kernel are read, and one is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from recorder.doctor.check import Check, fault, ok, unknown
from recorder.sound.live.clock import Clock, utc_text

SYS = Path("/sys")
_TRIAL_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20
_SLOWEST_MB_S = 2.0
"""A stereo recording of 192 kHz and 24 bits brings 1.2 MB a second, uncompressed."""
_HOT_C = 80.0
"""A Raspberry Pi slows itself down from here on."""
_EARLIEST_UTC_S = 1_704_067_200.0
_RTC_AGREES_S = 5.0
_ASK_S = 10.0
_THROTTLED = {
    0: "under-voltage now",
    1: "slowed down now",
    2: "throttled now",
    16: "under-voltage since the start",
    18: "throttled since the start",
}
"""Bits of the firmware's answer; heat alone is in the temperature's line."""


def check_disk(out: Path, min_free_mb: float) -> Check:
    """Room and speed of the disk on which the results lie."""
    folder = _nearest(out)
    free = shutil.disk_usage(folder)
    room = f"{free.free / 1e9:.1f} of {free.total / 1e9:.1f} GB free at {folder}"
    if free.free < min_free_mb * 1e6 + _TRIAL_BYTES:
        advice = f"keep.min_free_mb is {min_free_mb:g}: make room, or take a larger card"
        return fault("disk", room, advice)
    try:
        speed_mb_s, sync_ms = _tried(folder)
    except OSError as error:
        found = f"{folder} cannot be written to ({error.strerror or error})"
        return fault("disk", found, f"give this user the folder: sudo chown $USER {folder}")
    said = f"{room}; writes {speed_mb_s:.0f} MB/s, a row is safe in {sync_ms:.0f} ms"
    if speed_mb_s < _SLOWEST_MB_S:
        return fault("disk", said, "the card is too slow, or dying: take another one")
    return ok("disk", said)


def _nearest(out: Path) -> Path:
    """The folder, or what is there of the way to it."""
    folder = Path(os.path.abspath(out))
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _tried(folder: Path) -> tuple[float, float]:
    """(MB a second, milliseconds until 4 KiB are safe); OSError. Nothing of it stays."""
    path = folder / f".birdrec-doctor-{os.getpid()}"
    block = os.urandom(_BLOCK_BYTES)
    try:
        with path.open("wb", buffering=0) as stream:
            began_s = time.monotonic()
            for _ in range(_TRIAL_BYTES // _BLOCK_BYTES):
                stream.write(block)
            os.fsync(stream.fileno())
            written_s = time.monotonic()
            stream.write(block[:4096])
            os.fsync(stream.fileno())
            safe_s = time.monotonic()
    finally:
        path.unlink(missing_ok=True)
    return _TRIAL_BYTES / 1e6 / (written_s - began_s), 1e3 * (safe_s - written_s)


def check_clock(clock: Clock, *, sys: Path = SYS) -> Check:
    """Is the time of day right, as far as anybody here knows?"""
    now_s = clock.wall_s()
    says = f"it says {utc_text(now_s)}, local time {datetime.fromtimestamp(now_s):%H:%M}"
    advice = "connect a network once (chrony or systemd-timesyncd), or fit an RTC or a GNSS"
    if now_s < _EARLIEST_UTC_S:
        return fault("clock", f"{says}: it was never set", advice)
    if clock.synced():
        return ok("clock", f"{says}; synchronised")
    rtc_s = _number(sys / "class/rtc/rtc0/since_epoch")
    if rtc_s is not None and abs(rtc_s - now_s) < _RTC_AGREES_S:
        return ok("clock", f"{says}; not synchronised, but a real-time clock says so too")
    return fault("clock", f"{says}; nobody who knows the time has set it", advice)


def check_temperature(*, sys: Path = SYS) -> Check:
    """The hottest sensor of the processor."""
    zones = sorted((sys / "class/thermal").glob("thermal_zone*/temp"))
    found = [value for value in map(_number, zones) if value is not None]
    if not found:
        return unknown("temperature", "no sensor is here", "nothing to do on this machine")
    hottest_c = max(found) / 1000.0
    if hottest_c >= _HOT_C:
        return fault(
            "temperature", f"{hottest_c:.0f} °C", "shade and air for the box; it slows down"
        )
    return ok("temperature", f"{hottest_c:.0f} °C")


def check_power(*, sys: Path = SYS) -> Check:
    """Has the supply been too weak since the board was started?"""
    bits = _throttled(sys)
    alarms = [_number(path) for path in _supply_alarms(sys)]
    if bits is None and not alarms:
        found = "neither vcgencmd nor /sys says anything"
        return unknown("power", found, "nothing to do, unless this is a Raspberry Pi")
    bad = [words for bit, words in _THROTTLED.items() if (bits or 0) >> bit & 1]
    if any(alarms) and not bad:
        bad = ["under-voltage now"]
    if not bad:
        return ok("power", "no under-voltage since the start")
    advice = "a stronger supply, a shorter and thicker cable; then start the board again"
    return fault("power", ", ".join(bad), advice)


def _throttled(sys: Path) -> int | None:
    """The firmware's own bits, from the kernel or from vcgencmd."""
    for path in (sys / "devices/platform/soc").glob("soc:firmware/get_throttled"):
        with suppress(OSError, ValueError):
            return int(path.read_text().strip(), 16)
    tool = shutil.which("vcgencmd")
    if tool is None:
        return None
    with suppress(OSError, ValueError, IndexError, subprocess.SubprocessError):
        done = subprocess.run(
            [tool, "get_throttled"], capture_output=True, text=True, timeout=_ASK_S, check=True
        )
        return int(done.stdout.strip().split("=")[1], 16)
    return None


def _supply_alarms(sys: Path) -> Iterator[Path]:
    for name in sorted((sys / "class/hwmon").glob("hwmon*/name")):
        with suppress(OSError):
            if name.read_text().strip() == "rpi_volt":
                yield name.with_name("in0_lcrit_alarm")


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text().strip())
    except (OSError, ValueError):
        return None
