"""Waveform augmentation of one source: another individual, another place, another microphone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter

from recorder.detect.mel import SAMPLE_RATE_HZ

Samples = NDArray[np.float32]

_CORNERS = 8
"""Places, evenly spaced in log frequency, at which the response of a filter is drawn."""
_LOWEST_HZ = 200.0
_ECHOES = 16
_ECHO_S = 0.8


@dataclass(frozen=True)
class VaryConfig:
    """How far sources are changed; levels in dB, times in seconds."""

    speed_chance: float = 0.6
    speed: float = 0.1
    """Up to this share faster or slower, pitch and all."""
    colour_chance: float = 0.5
    colour_db: float = 5.0
    """Standard deviation of a smooth random frequency response."""
    far_db: float = 20.0
    """Up to this much less at 16 kHz than at 0 Hz: air and leaves swallow the high end."""
    echo_chance: float = 0.25
    echo_db: tuple[float, float] = (-20.0, -3.0)
    """The level of the reverberation, relative to the direct sound."""
    own_noise_chance: float = 0.5
    """How often a source is mixed with only a random share of its recording's own noise."""


def vary(rng: np.random.Generator, samples: Samples, config: VaryConfig) -> tuple[Samples, float]:
    """[n] samples as another individual would sound elsewhere, still [n], and how much faster."""
    speed = 1.0
    if rng.random() < config.speed_chance:
        speed = _drawn_speed(rng, config)
        samples = _resped(samples, speed)
    coloured = rng.random() < config.colour_chance
    echoed = rng.random() < config.echo_chance
    if not len(samples) or not (coloured or echoed):
        return samples.astype(np.float32, copy=False), speed
    size = next_fast_len(len(samples) + int(_ECHO_S * SAMPLE_RATE_HZ), real=True)
    response = np.ones(size // 2 + 1, np.complex64)
    if coloured:
        response *= _colour(rng, len(response), config)
    if echoed:
        echo = _echoes()[int(rng.integers(_ECHOES))]
        level = 10.0 ** (rng.uniform(*config.echo_db) / 20.0)
        response *= np.float32(1.0) + np.float32(level) * rfft(echo, size)
    changed: Samples = irfft(rfft(samples, size) * response, size)[: len(samples)]
    return changed.astype(np.float32, copy=False), speed


def _drawn_speed(rng: np.random.Generator, config: VaryConfig) -> float:
    return float(rng.uniform(1.0 - config.speed, 1.0 + config.speed))


def _resped(samples: Samples, factor: float) -> Samples:
    resampled = soxr.resample(samples, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ, "MQ")
    missing = max(0, len(samples) - len(resampled))
    return np.pad(resampled, (0, missing))[: len(samples)]


def _colour(rng: np.random.Generator, bins: int, config: VaryConfig) -> Samples:
    """A smooth random response and a fall towards high frequencies, as factors [bins]."""
    hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, bins)
    corners = np.geomspace(_LOWEST_HZ, SAMPLE_RATE_HZ / 2, _CORNERS)
    drawn = rng.normal(0.0, config.colour_db, _CORNERS)
    gain_db = np.interp(np.log(np.maximum(hz, _LOWEST_HZ)), np.log(corners), drawn)
    gain_db -= rng.uniform(0.0, config.far_db) * hz / (SAMPLE_RATE_HZ / 2)
    return np.asarray(10.0 ** (gain_db / 20.0), np.float32)


@lru_cache(maxsize=1)
def _echoes() -> list[Samples]:
    """Impulse responses without their direct sound: noise that dies away, duller than white."""
    rng = np.random.default_rng(0)
    seconds = np.arange(int(_ECHO_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    made = []
    for _ in range(_ECHOES):
        # 60 dB in 0.2 to 1.2 s: from an open slope to a closed forest.
        fall = np.exp(-6.9 * seconds / rng.uniform(0.2, 1.2))
        tail = lfilter([0.5], [1.0, -0.5], rng.standard_normal(len(seconds))) * fall
        tail[: int(rng.uniform(0.002, 0.02) * SAMPLE_RATE_HZ)] = 0.0
        made.append((tail / np.sqrt(np.square(tail).sum())).astype(np.float32))
    return made
