"""What a source of live sound says: opened, sound, lost, at rest; microphone and file alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.int16] | NDArray[np.int32] | NDArray[np.float32]
"""Interleaved as the device gave it, [frames, channels]; integers fill their type."""


@dataclass(frozen=True)
class Opened:
    """Sound will follow, in this form."""

    device_id: str
    name: str
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True)
class Sound:
    """The next frames of the stream that was opened last."""

    frames: Frames
    lost_frames: int
    """Dropped just before these, exact: our own ring was full..."""
    overflowed: bool
    """...or not known how many: the device or its driver was not read in time."""
    boottime_ns: int
    """CLOCK_BOOTTIME when the last of the frames had been read."""


@dataclass(frozen=True)
class Lost:
    """The stream ended; the source goes on trying to open it again, unless it is at its end."""

    reason: str
    """Empty where a file is over as it should be."""
    final: bool = False
    """A file is over, or the device is one that cannot be used at all: nothing will follow."""


@dataclass(frozen=True)
class Rest:
    """Nobody wishes to hear anything, from the last sound to this moment and on."""

    boottime_s: float
    """CLOCK_BOOTTIME of the moment."""
    reason: str
    """In words: off until when."""
    over: bool = False
    """From this moment on sound is wished for again, and is not there yet."""


Event = Opened | Sound | Lost | Rest


class Source(Protocol):
    """Live sound, whatever it comes from."""

    def read(self, timeout_s: float) -> Event | None:
        """The next event; None when nothing has come within `timeout_s`."""

    def close(self) -> None:
        """Stop; what was not read is gone."""
