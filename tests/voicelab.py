"""Speech that nobody said: a buzz through the formants of vowels, hisses between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float32]

_VOWELS_HZ = (
    (730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410),
    (660, 1720, 2410), (490, 1350, 1690),
)  # fmt: skip
"""First three formants of a man (Peterson and Barney 1952)."""
_WIDTHS_HZ = (80.0, 100.0, 140.0)


def speech(seconds: float, rate_hz: int = 32_000, seed: int = 0) -> Floats:
    """[samples], peak .5: four syllables a second, a pause now and then."""
    rng = np.random.default_rng(seed)
    out = np.zeros(round(seconds * rate_hz), np.float32)
    pitch_hz = float(rng.uniform(95, 210))
    taller = float(rng.uniform(1.0, 1.18))
    at = 0
    while at < len(out):
        if rng.random() < 0.12:
            at += round(rng.uniform(0.2, 0.5) * rate_hz)
        hiss = _hiss(rng, round(rng.uniform(0.03, 0.1) * rate_hz), rate_hz)
        vowel = _vowel(rng, round(rng.uniform(0.09, 0.22) * rate_hz), rate_hz, pitch_hz, taller)
        for part in (hiss, vowel):
            count = min(len(part), max(0, len(out) - at))
            out[at : at + count] += part[:count]
            at += len(part)
    return np.asarray(out * (0.5 / np.abs(out).max()), np.float32)


def _vowel(
    rng: np.random.Generator, length: int, rate_hz: int, pitch_hz: float, taller: float
) -> Floats:
    glide = np.linspace(rng.uniform(0.9, 1.25), rng.uniform(0.8, 1.1), length)
    phase = np.cumsum(pitch_hz * glide / rate_hz)
    sound = np.diff(np.floor(phase), prepend=0.0)
    # A pulse of the glottis falls by 12 dB an octave, the lips raise it by 6.
    sound = lfilter([1.0], [1.0, -0.96], sound)
    formants = _VOWELS_HZ[int(rng.integers(len(_VOWELS_HZ)))]
    for centre_hz, width_hz in zip(formants, _WIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * width_hz / rate_hz)
        angle = 2 * np.pi * centre_hz * taller / rate_hz
        sound = lfilter([1.0 - radius], [1.0, -2 * radius * np.cos(angle), radius**2], sound)
    sound = sound - sound.mean()
    shape = np.sin(np.pi * np.linspace(0, 1, length)) ** 0.5
    return np.asarray(sound / np.abs(sound).max() * shape, np.float32)


def _hiss(rng: np.random.Generator, length: int, rate_hz: int) -> Floats:
    noise = rng.standard_normal(length)
    radius, angle = 0.9, 2 * np.pi * rng.uniform(3000, 6000) / rate_hz
    noise = lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], noise)
    return np.asarray(noise / np.abs(noise).max() * 0.12 * np.hanning(length), np.float32)
