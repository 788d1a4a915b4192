"""The machine's clocks, and times as text."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
_TIME_ERROR = 5
"""What adjtimex returns while nothing disciplines the clock."""
_TIMEX_BYTES = 256
"""More than any struct timex."""
_EARLIEST_UTC_S = 1_704_067_200.0
"""2024: a clock that says less has not been set since it was made."""


class Clock(Protocol):
    """Where time comes from."""

    def boottime_s(self) -> float:
        """Seconds since the machine was started; nothing sets it, and sleep counts."""

    def wall_s(self) -> float:
        """Seconds since 1970, as far as the machine knows."""

    def synced(self) -> bool:
        """Does somebody set the wall clock who knows the time?"""

    def boot_id(self) -> str:
        """Names this start of the machine."""


class SystemClock:
    """The clocks of this machine."""

    def boottime_s(self) -> float:
        """CLOCK_BOOTTIME, or CLOCK_MONOTONIC where there is none."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def wall_s(self) -> float:
        """CLOCK_REALTIME."""
        return time.time()

    def synced(self) -> bool:
        """Asked of the kernel, and of systemd; a clock before 2024 never is."""
        if self.wall_s() < _EARLIEST_UTC_S:
            return False
        return _SYNCHRONIZED.exists() or _kernel_is_synced()

    def boot_id(self) -> str:
        """The kernel's, or the time of the start where there is none."""
        try:
            return _BOOT_ID.read_text().strip()
        except OSError:
            return f"started-{round(self.wall_s() - self.boottime_s())}"


def _kernel_is_synced() -> bool:
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return False
    # All zero asks and sets nothing.
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    return bool(0 <= adjtimex(buffer) < _TIME_ERROR)


def utc_text(utc_s: float) -> str:
    """2026-11-26T11:43:22.123Z."""
    when = datetime.fromtimestamp(round(utc_s, 3), UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def utc_seconds(text: str) -> float:
    """Seconds since 1970 of what `utc_text` wrote; ValueError of anything else."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
