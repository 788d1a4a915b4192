"""Noise beds: the backgrounds that training scenes are composed over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from recorder.detect.mel import SAMPLE_RATE_HZ
from train.data import Noise
from train.levels import from_db, rms

Samples = NDArray[np.float32]

_POOL_SAMPLES = 90 * SAMPLE_RATE_HZ


class NoiseBeds:
    """Draws backgrounds of any length from recorded noise and from the recordings' own noise."""

    def __init__(self, noise: list[Noise], own_noise: list[NDArray[np.int16]]) -> None:
        self._noise = noise
        self._own_noise = own_noise
        # Between one file, one vote and one second, one vote: short files are cut from few places.
        weights = np.sqrt([len(one.samples) for one in noise])
        self._chances = weights / weights.sum()
        self._coloured = _coloured_noise(np.random.default_rng(0))

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
        if rng.random() < recorded_chance:
            recorded.append(self._recorded(rng))
            bed += _looped(rng, recorded[0].samples, length)
            if rng.random() < 0.3:
                recorded.append(self._recorded(rng))
                quieter = np.float32(from_db(rng.uniform(-15, 0)))
                bed += _looped(rng, recorded[1].samples, length) * quieter
        if self._own_noise and rng.random() < own_chance:
            own = self._own_noise[int(rng.integers(len(self._own_noise)))]
            bed += _looped(rng, own, length) * np.float32(from_db(rng.uniform(-15, 5)))
        unsure = any(one.may_hold_birds for one in recorded)
        return bed * np.float32(level / max(rms(bed), 1e-9)), unsure

    def _recorded(self, rng: np.random.Generator) -> Noise:
        return self._noise[int(rng.choice(len(self._noise), p=self._chances))]


def _looped(rng: np.random.Generator, noise: NDArray[np.int16], length: int) -> Samples:
    """[length] samples from anywhere in `noise`, from its start again where it ends; RMS 1."""
    begin = int(rng.integers(len(noise)))
    looped = noise[(begin + np.arange(length)) % len(noise)].astype(np.float32)
    return looped / np.float32(max(rms(looped), 1.0))


def _coloured_noise(rng: np.random.Generator) -> list[Samples]:
    """White noise, and noise that falls towards high frequencies; 90 s each, RMS 1."""
    white = rng.standard_normal(_POOL_SAMPLES, np.float32)
    fallen = [lfilter([1.0], [1.0, -pole], white) for pole in (0.5, 0.7, 0.8, 0.9, 0.95)]
    return [white] + [(noise / rms(noise)).astype(np.float32) for noise in fallen]
