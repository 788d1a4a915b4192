"""Noise beds: the backgrounds that training scenes are composed over."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft, rfftfreq

from recorder.detect.mel import SAMPLE_RATE_HZ
from train.data import Noise, Recording
from train.levels import from_db, rms

Samples = NDArray[np.float32]

_POOL_SAMPLES = 90 * SAMPLE_RATE_HZ
_PINK_DB = 10.0 * np.log10(2.0)
"""Pink noise: power as 1 / f."""


class NoiseBeds:
    """Draws backgrounds of any length from recorded noise and from the recordings' own noise."""

    def __init__(self, noise: list[Noise], recordings: list[Recording]) -> None:
        self._noise = noise
        self._recordings = recordings
        # Between one file, one vote and one second, one vote: short files are cut from few places.
        weights = np.sqrt([len(one.samples) for one in noise])
        self._chances = weights / max(weights.sum(), 1.0)
        self._coloured = _coloured_noise()

    def draw(
        self,
        rng: np.random.Generator,
        length: int,
        *,
        level: float,
        recorded_chance: float,
        own_chance: float,
    ) -> tuple[Samples, bool]:
        """[length] samples of RMS `level`, and whether they may hold birds.

        Recorded noise, sometimes two kinds, sometimes with the own noise of a recording, over
        white or pink noise.
        """
        begin = int(rng.integers(_POOL_SAMPLES - length))
        coloured = self._coloured[int(rng.integers(len(self._coloured)))]
        bed = coloured[begin : begin + length] * np.float32(from_db(rng.uniform(-40.0, -10.0)))
        recorded: list[Noise] = []
        if rng.random() < recorded_chance and self._noise:
            recorded.append(self._recorded(rng))
            bed += _normed(recorded[0].samples[_loop(rng, len(recorded[0].samples), length)])
            if rng.random() < 0.3:
                recorded.append(self._recorded(rng))
                quieter = np.float32(from_db(rng.uniform(-15, 0)))
                places = _loop(rng, len(recorded[1].samples), length)
                bed += _normed(recorded[1].samples[places]) * quieter
        if rng.random() < own_chance:
            one = self._recordings[int(rng.integers(len(self._recordings)))]
            own = one.own_noise(_loop(rng, len(one.samples), length))
            bed += _normed(own) * np.float32(from_db(rng.uniform(-15, 5)))
        unsure = any(one.may_hold_birds for one in recorded)
        return bed * np.float32(level / max(rms(bed), 1e-9)), unsure

    def _recorded(self, rng: np.random.Generator) -> Noise:
        return self._noise[int(rng.choice(len(self._noise), p=self._chances))]


def _loop(rng: np.random.Generator, count: int, length: int) -> NDArray[np.intp]:
    """[length] places from anywhere in `count` samples, from the start again at their end."""
    return (int(rng.integers(count)) + np.arange(length)) % count


def _normed(samples: NDArray[Any]) -> Samples:
    """RMS 1; silence stays silence."""
    return samples.astype(np.float32) / np.float32(max(rms(samples), 1.0))


@lru_cache(maxsize=1)
def _coloured_noise() -> list[Samples]:
    """White noise, and noise whose power falls by 1, 2, 3 (pink), 4.5 and 6 dB an octave above
    50 Hz; 90 s each, RMS 1."""
    white = np.random.default_rng(0).standard_normal(_POOL_SAMPLES, np.float32)
    spectrum = rfft(white)
    hz = np.maximum(rfftfreq(len(white), 1 / SAMPLE_RATE_HZ), 50.0)
    fallen = [
        irfft(spectrum * hz ** -(slope_db / _PINK_DB / 2), len(white))
        for slope_db in (1.0, 2.0, _PINK_DB, 4.5, 6.0)
    ]
    return [white] + [(noise / rms(noise)).astype(np.float32) for noise in fallen]
