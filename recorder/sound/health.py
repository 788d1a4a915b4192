"""Is the microphone well? Rules on seconds of sound; no clock, no files.

What costs most in the field is a microphone that gives nothing, and nobody notices.
"""

from __future__ import annotations

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

_ADVICE = {
    "dead": "the microphone gives one constant value: check the plug, the cable, the mute switch",
    "deaf": "the microphone gives only the noise of its converter: check its capsule and gain",
    "dc": "the sound has a large constant offset: check the cable, or the power of the microphone",
    "clipped": "more than one sample in a hundred is at full scale: turn the gain down",
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
        self._pending: Floats = np.empty((0, channels), np.float32)
        self._frames = 0
        self._lasted = dict.fromkeys(_ADVICE, 0)
        """Seconds that a problem has been there, or been gone (negative)."""
        self._open: set[str] = set()
        self.level_dbfs = _SILENT_DBFS
        """RMS of the last second, without its mean."""
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

    def _judge(self, second: Floats) -> list[HealthChange]:
        mean = second.mean(axis=0)
        rms = float(np.sqrt(np.mean(np.square(second - mean))))
        self.level_dbfs = _dbfs(rms)
        self.peak_dbfs = _dbfs(float(np.abs(second).max()))
        constant = bool((second == second[0]).all())
        found = {
            "dead": constant,
            "deaf": not constant and self.level_dbfs < _DEAF_DBFS,
            "dc": bool((np.abs(mean) > _DC_SHARE).any()) and not constant,
            "clipped": float((np.abs(second) >= _FULL_SCALE).mean()) > _CLIPPED_SHARE,
        }
        return [
            change for name, is_there in found.items() for change in self._count(name, is_there)
        ]

    def _count(self, name: str, is_there: bool) -> list[HealthChange]:
        lasted = self._lasted[name]
        self._lasted[name] = max(1, lasted + 1) if is_there else min(-1, lasted - 1)
        if self._lasted[name] == _BEGINS_S and name not in self._open:
            self._open.add(name)
            return [HealthChange(self._frames, name, True, _ADVICE[name])]
        if self._lasted[name] == -_ENDS_S and name in self._open:
            self._open.remove(name)
            return [HealthChange(self._frames, name, False, "over")]
        return []


def _dbfs(value: float) -> float:
    return _SILENT_DBFS if value <= 1e-6 else 20.0 * float(np.log10(value))
