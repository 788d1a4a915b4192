"""Is the microphone well? Rules on seconds of sound; no clock, no files.

What costs most in the field is a microphone that gives nothing, and nobody notices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_BEGINS_S, _ENDS_S = 30, 30
"""A problem is said when it has lasted so long, and over when it has been gone so long."""
_DEAF_DBFS = -85.0
"""A quiet night has -70; what is below is the noise of a converter without a microphone."""
_DC_SHARE = 0.05
_CLIPPED_SHARE = 0.01
_FULL_SCALE = 0.999
_SILENT_DBFS = -120.0
_MAINS_HZ = (50, 60)
_HARMONICS = 8
_LINE_HZ = 2
"""A line of the mains and the window's width around it."""
_HUM_SHARE = 0.8
_HUM_DBFS = -70.0
"""Hum below it hides no bird."""

_ADVICE = {
    "dead": "one constant value: check the plug, the cable, the mute switch",
    "deaf": "only the noise of the converter: check the microphone's capsule and the gain",
    "dc": "a large constant offset: check the cable, or the power of the microphone",
    "clipped": "more than one sample in a hundred is at full scale: turn the gain down",
    "hum": "little but the hum of the mains: check the shield, the ground, the power supply",
}


@dataclass(frozen=True)
class HealthChange:
    """A problem begins or ends."""

    at_frame: int
    """Frames since the start."""
    problem: str
    begins: bool
    detail: str


class MicrophoneHealth:
    """Frames in, changes out; the same for blocks of any size."""

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        self._second = sample_rate_hz
        self._channels = channels
        self._pending: Floats = np.empty((0, channels), np.float32)
        self._frames = 0
        self._lasted = dict.fromkeys(_ADVICE, 0)
        """Seconds that a problem has been there, or been gone (negative)."""
        self._open: set[str] = set()
        self._window = np.hanning(sample_rate_hz).astype(np.float32)
        self._lines = [_mains_lines(sample_rate_hz, mains_hz) for mains_hz in _MAINS_HZ]
        self.level_dbfs = _SILENT_DBFS
        """RMS of the last second, without its mean; of the loudest channel."""
        self.peak_dbfs = _SILENT_DBFS

    @property
    def problems(self) -> frozenset[str]:
        """Those that have begun and not ended."""
        return frozenset(self._open)

    def push(self, frames: Floats) -> list[HealthChange]:
        """Take [frames, channels], full scale 1."""
        self._pending = np.concatenate([self._pending, frames])
        changes: list[HealthChange] = []
        while len(self._pending) >= self._second:
            second, self._pending = self._pending[: self._second], self._pending[self._second :]
            self._frames += self._second
            changes += self._judge(second)
        return changes

    def reset(self) -> None:
        """The device was away: what it gave before says nothing of what it gives now."""
        self._pending = self._pending[:0]
        self._lasted = dict.fromkeys(_ADVICE, 0)

    def look(self, second: Floats) -> dict[str, str]:
        """What is wrong in one second [frames, channels], with advice: nobody waits if it lasts."""
        ills = self._ills(second)
        channels = {name: [at for at, is_ill in enumerate(ill, 1) if is_ill] for name, ill in ills}
        return {name: self._advice(name, ill) for name, ill in channels.items() if ill}

    def _judge(self, second: Floats) -> list[HealthChange]:
        return [change for name, ill in self._ills(second) for change in self._count(name, ill)]

    def _ills(self, second: Floats) -> list[tuple[str, Sequence[bool] | NDArray[np.bool_]]]:
        """Which channels have which problem."""
        centred = second - second.mean(axis=0)
        levels = [_dbfs(float(rms)) for rms in np.sqrt(np.square(centred).mean(axis=0))]
        self.level_dbfs = max(levels)
        self.peak_dbfs = _dbfs(float(np.abs(second).max()))
        dead = (second == second[0]).all(axis=0)
        hum = [
            level > _HUM_DBFS and self._hums(centred[:, channel])
            for channel, level in enumerate(levels)
        ]
        return [
            ("dead", dead),
            ("deaf", ~dead & (np.array(levels) < _DEAF_DBFS)),
            ("dc", ~dead & (np.abs(second.mean(axis=0)) > _DC_SHARE)),
            ("clipped", (np.abs(second) >= _FULL_SCALE).mean(axis=0) > _CLIPPED_SHARE),
            ("hum", hum),
        ]

    def _hums(self, second: Floats) -> bool:
        """Is most of the energy in the lines of a mains?"""
        power = np.square(np.abs(np.fft.rfft(second * self._window)))
        total = float(power.sum())
        return any(float(power[lines].sum()) > _HUM_SHARE * total for lines in self._lines)

    def _count(self, name: str, ill: Sequence[bool] | NDArray[np.bool_]) -> list[HealthChange]:
        """A problem is there when any channel has it."""
        channels = [channel for channel, is_ill in enumerate(ill, 1) if is_ill]
        lasted = self._lasted[name]
        self._lasted[name] = max(1, lasted + 1) if channels else min(-1, lasted - 1)
        if self._lasted[name] == _BEGINS_S and name not in self._open:
            self._open.add(name)
            return [HealthChange(self._frames, name, True, self._advice(name, channels))]
        if self._lasted[name] == -_ENDS_S and name in self._open:
            self._open.remove(name)
            return [HealthChange(self._frames, name, False, "over")]
        return []

    def _advice(self, name: str, channels: list[int]) -> str:
        if self._channels == 1:
            return f"the microphone gives {_ADVICE[name]}"
        listed = " and ".join(map(str, channels))
        return f"channel {listed} of the microphone: {_ADVICE[name]}"


def _mains_lines(sample_rate_hz: int, mains_hz: int) -> NDArray[np.int64]:
    """Bins of a second's spectrum (1 Hz each) at the mains and its harmonics."""
    centres = mains_hz * np.arange(1, _HARMONICS + 1)
    bins = np.add.outer(centres, np.arange(-_LINE_HZ, _LINE_HZ + 1)).ravel()
    return bins[bins <= sample_rate_hz // 2]


def _dbfs(value: float) -> float:
    return _SILENT_DBFS if value <= 1e-6 else 20.0 * float(np.log10(value))
