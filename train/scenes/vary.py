"""Waveform augmentation of one source: another individual, another place, another microphone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter

from recorder.detect.mel import SAMPLE_RATE_HZ

Samples = NDArray[np.float32]

CORNERS = 8
"""Places, evenly spaced in log frequency, at which the response of a filter is drawn."""
_LOWEST_HZ = 200.0
_ECHOES = 16
_ECHO_S = 0.8
ECHO_SAMPLES = int(_ECHO_S * SAMPLE_RATE_HZ)


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


@dataclass(frozen=True)
class Variation:
    """What is decided for one source; `varied` makes it sound, and `train.scenes.render_torch`."""

    speed: float = 1.0
    """How much faster it is played, pitch and all."""
    corners_db: tuple[float, ...] = ()
    """Its response, see `response_db`; without any it stays as it is."""
    far_db: float = 0.0
    echo: int = -1
    """Which of `echoes()` is added; below 0 none."""
    echo_gain: float = 0.0


def vary(rng: np.random.Generator, samples: Samples, config: VaryConfig) -> tuple[Samples, float]:
    """[n] samples as another individual would sound elsewhere, still [n], and how much faster."""
    variation = draw_variation(rng, config)
    return varied(samples, variation), variation.speed


def draw_variation(rng: np.random.Generator, config: VaryConfig) -> Variation:
    """Another individual, another place, another microphone."""
    speed = _drawn_speed(rng, config) if rng.random() < config.speed_chance else 1.0
    coloured = rng.random() < config.colour_chance
    echoed = rng.random() < config.echo_chance
    corners_db: tuple[float, ...] = ()
    far_db, echo, echo_gain = 0.0, -1, 0.0
    if coloured:
        corners_db = tuple(rng.normal(0.0, config.colour_db, CORNERS).tolist())
        far_db = float(rng.uniform(0.0, config.far_db))
    if echoed:
        echo = int(rng.integers(_ECHOES))
        echo_gain = 10.0 ** (rng.uniform(*config.echo_db) / 20.0)
    return Variation(speed, corners_db, far_db, echo, echo_gain)


def varied(samples: Samples, variation: Variation) -> Samples:
    """[n] samples with this variation, still [n]: what is played faster ends in silence."""
    if variation.speed != 1.0:
        samples = _resped(samples, variation.speed)
    coloured, echoed = bool(variation.corners_db), variation.echo >= 0
    if not len(samples) or not (coloured or echoed):
        return samples.astype(np.float32, copy=False)
    size = next_fast_len(len(samples) + ECHO_SAMPLES, real=True)
    response = np.ones(size // 2 + 1, np.complex64)
    if coloured:
        gain_db = response_db(len(response), variation.corners_db, variation.far_db)
        response *= np.exp(gain_db.astype(np.float32) * np.float32(math.log(10.0) / 20.0))
    if echoed:
        tail = rfft(echoes()[variation.echo], size)
        response *= np.float32(1.0) + np.float32(variation.echo_gain) * tail
    changed: Samples = irfft(rfft(samples, size) * response, size)[: len(samples)]
    return changed.astype(np.float32, copy=False)


def _drawn_speed(rng: np.random.Generator, config: VaryConfig) -> float:
    return float(rng.uniform(1.0 - config.speed, 1.0 + config.speed))


def _resped(samples: Samples, factor: float) -> Samples:
    resampled = soxr.resample(samples, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ, "MQ")
    missing = max(0, len(samples) - len(resampled))
    return np.pad(resampled, (0, missing))[: len(samples)]


def response_db(bins: int, corners_db: Sequence[float], far_db: float) -> NDArray[np.float64]:
    """[bins] from 0 Hz to half the sample rate: a line through the corners, evenly spaced in log
    frequency from 200 Hz up, and a fall towards high frequencies that ends at `-far_db`."""
    hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, bins)
    corners = np.geomspace(_LOWEST_HZ, SAMPLE_RATE_HZ / 2, CORNERS)
    gain_db = np.interp(np.log(np.maximum(hz, _LOWEST_HZ)), np.log(corners), corners_db)
    gain_db -= far_db * hz / (SAMPLE_RATE_HZ / 2)
    return gain_db


@lru_cache(maxsize=1)
def echoes() -> list[Samples]:
    """Impulse responses without their direct sound: noise that dies away, duller than white."""
    rng = np.random.default_rng(0)
    seconds = np.arange(ECHO_SAMPLES) / SAMPLE_RATE_HZ
    made = []
    for _ in range(_ECHOES):
        # 60 dB in 0.2 to 1.2 s: from an open slope to a closed forest.
        fall = np.exp(-6.9 * seconds / rng.uniform(0.2, 1.2))
        tail = lfilter([0.5], [1.0, -0.5], rng.standard_normal(len(seconds))) * fall
        tail[: int(rng.uniform(0.002, 0.02) * SAMPLE_RATE_HZ)] = 0.0
        made.append((tail / np.sqrt(np.square(tail).sum())).astype(np.float32))
    return made
