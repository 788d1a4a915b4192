"""What `birdrec listen` is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from recorder.detect.precision import check_precision
from recorder.errors import UsageError
from recorder.species.expectation import Asked
from recorder.station.schedule import ALWAYS, Schedule

KEEP_AUDIO = ("none", "clips", "all")
WHEN_LATE = ("queue", "thin")
VOICE = ("auto", "drop", "keep")
LONGEST_CONTEXT_S = 30.0
DEFAULT_OUT = Path("birdrec-station")


@dataclass(frozen=True)
class ListenOptions:
    """The command line, checked by `check` before anything is opened."""

    device: str | None = None
    """Index, name or id; None = the default input."""
    replay: Path | None = None
    speed: float | None = 1.0
    """Of a replay; None = as fast as it goes."""
    out: Path = DEFAULT_OUT
    model: Path | None = None
    precision: str = "auto"
    threshold: float | None = None
    channel: str = "1"
    rate_hz: int = 0
    """0 = the device's own."""
    bits: int = 16
    wait_s: float = 5.0
    """For a device that is not there at the start."""
    keep_audio: str = "none"
    voice: str = "auto"
    """Sound in which somebody speaks: drop it, keep it, or auto: keep it in recordings of all."""
    clip_context_s: float = 3.0
    """Of a clip, before and after the chunks in which the bird was heard."""
    clips_per_species: int = 100
    keep_days: float | None = None
    keep_gb: float | None = None
    duration_s: float | None = None
    when_late: str = "queue"
    record_only: bool = False
    min_free_mb: float = 500.0
    threads: int = 1
    spool_ram_mb: float = 0.0
    """Of the RAM disk; 0 = by the memory."""
    schedule: Schedule = ALWAYS
    """Of a microphone; a replay is heard whole."""
    expects: Asked = field(default_factory=Asked)
    """The user's species list and prior."""

    @property
    def drops_voice(self) -> bool:
        """Is sound in which somebody speaks left out of what is kept?"""
        if self.voice == "auto":
            return self.keep_audio == "clips"
        return self.voice == "drop" and self.keep_audio != "none"

    def check(self) -> None:
        """UsageError for what cannot be."""
        _one_of("--keep-audio", self.keep_audio, KEEP_AUDIO)
        _one_of("--voice", self.voice, VOICE)
        _one_of("--when-late", self.when_late, WHEN_LATE)
        check_precision(self.precision)
        self.expects.check()
        if self.device is not None and self.replay is not None:
            raise UsageError("--device and --replay exclude each other: leave one out")
        if self.threshold is not None and not 0.0 < self.threshold < 1.0:
            raise UsageError(f"--threshold {self.threshold} must lie between 0 and 1")
        if self.bits not in (16, 24):
            raise UsageError(f"--bits {self.bits}: use 16 or 24")
        if self.rate_hz and not 8_000 <= self.rate_hz <= 384_000:
            raise UsageError(f"--rate {self.rate_hz}: use 8000 to 384000 Hz, or leave it out")
        if math.isnan(self.wait_s) or self.wait_s < 0.0:
            raise UsageError(f"--wait {self.wait_s}: use 0 or more seconds, or inf")
        _positive("--duration", self.duration_s)
        _positive("--speed", self.speed)
        _positive("--keep-days", self.keep_days)
        _positive("--keep-gb", self.keep_gb)
        if not 0.0 <= self.clip_context_s <= LONGEST_CONTEXT_S:
            raise UsageError(
                f"--clip-context {self.clip_context_s}: use 0 to {LONGEST_CONTEXT_S:.0f} seconds"
            )
        if self.clips_per_species < 1:
            raise UsageError(f"--clips-per-species {self.clips_per_species}: use 1 or more")
        if not 0.0 <= self.min_free_mb < math.inf:
            raise UsageError(f"--min-free-mb {self.min_free_mb}: use 0 or more")
        if not (self.channel == "mix" or (self.channel.isdigit() and int(self.channel) >= 1)):
            raise UsageError(f"--channel {self.channel}: use a number from 1 on, or mix")


def parse_speed(text: str) -> float | None:
    """`max`, or times real time; UsageError otherwise."""
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"--speed {text}: use a number above 0, or max") from error


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} {value!r} is unknown: use {', '.join(allowed)}")


def _positive(name: str, value: float | None) -> None:
    if value is not None and not 0.0 < value < math.inf:
        raise UsageError(f"{name} {value}: use a number above 0")
