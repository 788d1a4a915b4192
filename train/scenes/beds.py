"""Noise beds: the backgrounds that training scenes are composed over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft, rfftfreq

from recorder.detect.mel import SAMPLE_RATE_HZ
from train.clips.recordings import Noise, Recording
from train.invented.imagined import is_imagined
from train.scenes.levels import from_db, rms

Samples = NDArray[np.float32]

POOL_SAMPLES = 90 * SAMPLE_RATE_HZ
_PINK_DB = 10.0 * np.log10(2.0)
"""Pink noise: power as 1 / f."""


@dataclass(frozen=True)
class BedPart:
    """Recorded noise in a bed, from a sample on, and from its start again at its end."""

    number: int
    """Of the background, or of the recording whose own noise it is."""
    own: bool
    start: int
    gain: float
    """Relative to the loudest part."""


@dataclass(frozen=True)
class BedDraft:
    """What is decided for one bed; `NoiseBeds.render` makes it sound, and `render_torch`."""

    length: int
    level: float
    """The RMS of all of it."""
    colour: int
    """Which of `coloured_noise()` lies below everything."""
    colour_begin: int
    colour_gain: float
    parts: tuple[BedPart, ...]
    may_hold_birds: bool


class NoiseBeds:
    """Draws backgrounds of any length from recorded noise and from the recordings' own noise."""

    def __init__(self, noise: list[Noise], recordings: list[Recording]) -> None:
        self._noise = noise
        self._recordings = recordings
        # A bird that does not exist has no noise.
        self._noisy = [
            number for number, one in enumerate(recordings) if not is_imagined(one.clip.label)
        ]
        # Between one file, one vote and one second, one vote: short files are cut from few places.
        weights = np.sqrt([len(one.samples) for one in noise])
        self._chances = weights / max(weights.sum(), 1.0)

    def draw(
        self,
        rng: np.random.Generator,
        length: int,
        *,
        level: float,
        recorded_chance: float,
        own_chance: float,
    ) -> BedDraft:
        """A bed of [length] samples of RMS `level`: recorded noise, sometimes two kinds, sometimes
        with the own noise of a recording, over white or pink noise."""
        begin = int(rng.integers(POOL_SAMPLES - length))
        colour = int(rng.integers(len(coloured_noise())))
        colour_gain = from_db(rng.uniform(-40.0, -10.0))
        parts: list[BedPart] = []
        if rng.random() < recorded_chance and self._noise:
            first = self._recorded(rng)
            parts.append(BedPart(first, False, _start(rng, self._noise[first].samples), 1.0))
            if rng.random() < 0.3:
                second = self._recorded(rng)
                gain = from_db(rng.uniform(-15, 0))
                parts.append(BedPart(second, False, _start(rng, self._noise[second].samples), gain))
        may_hold_birds = any(self._noise[part.number].may_hold_birds for part in parts)
        if rng.random() < own_chance:
            number = self._noisy[int(rng.integers(len(self._noisy)))]
            start = _start(rng, self._recordings[number].samples)
            parts.append(BedPart(number, True, start, from_db(rng.uniform(-15, 5))))
        return BedDraft(length, level, colour, begin, colour_gain, tuple(parts), may_hold_birds)

    def render(self, draft: BedDraft) -> Samples:
        """[length] samples."""
        place = slice(draft.colour_begin, draft.colour_begin + draft.length)
        bed = coloured_noise()[draft.colour][place] * np.float32(draft.colour_gain)
        for part in draft.parts:
            bed += _normed(self._part(part, draft.length)) * np.float32(part.gain)
        return bed * np.float32(draft.level / max(rms(bed), 1e-9))

    def _part(self, part: BedPart, length: int) -> NDArray[Any]:
        if part.own:
            recording = self._recordings[part.number]
            return recording.own_noise(_loop(part.start, len(recording.samples), length))
        samples = self._noise[part.number].samples
        return samples[_loop(part.start, len(samples), length)]

    def _recorded(self, rng: np.random.Generator) -> int:
        return int(rng.choice(len(self._noise), p=self._chances))


def _start(rng: np.random.Generator, samples: NDArray[np.int16]) -> int:
    return int(rng.integers(len(samples)))


def _loop(start: int, count: int, length: int) -> NDArray[np.intp]:
    """[length] places from `start` on in `count` samples, from the first again at their end."""
    return (start + np.arange(length)) % count


def _normed(samples: NDArray[Any]) -> Samples:
    """RMS 1; silence stays silence."""
    return samples.astype(np.float32) / np.float32(max(rms(samples), 1.0))


@lru_cache(maxsize=1)
def coloured_noise() -> list[Samples]:
    """White noise, and noise whose power falls by 1, 2, 3 (pink), 4.5 and 6 dB an octave above
    50 Hz; 90 s each, RMS 1."""
    white = np.random.default_rng(0).standard_normal(POOL_SAMPLES, np.float32)
    spectrum = rfft(white)
    hz = np.maximum(rfftfreq(len(white), 1 / SAMPLE_RATE_HZ), 50.0)
    fallen = [
        irfft(spectrum * hz ** -(slope_db / _PINK_DB / 2), len(white))
        for slope_db in (1.0, 2.0, _PINK_DB, 4.5, 6.0)
    ]
    return [white] + [(noise / rms(noise)).astype(np.float32) for noise in fallen]
