"""Bird soundscapes without any recorded audio: calls sung from contours, over wind and rain.

Two uses: the example that the project ships, and data sets small enough to train a net in a test.
Everything is a pure function of its `rng`; only `write_toy_dataset` writes files.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

Floats = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]
Rng = np.random.Generator

CHUNK_S = 5.0
PEAK = 0.65
BED_RMS = 0.012
LOUD = 10 ** (-10 / 20)  # a call's loud part lies within 10 dB of its loudest 20 ms
AUDIBLE = 10 ** (-25 / 20)  # an event starts and ends here
SMOOTH_S = 0.02
LEAST_GAP_S = 0.25  # between two calls of one individual
FLUTTER = 0.12  # of a ridge's amplitude: the breath in a whistle
FLUTTER_HZ = 90.0


@dataclass(frozen=True)
class Contour:
    """A call as numbers: what `train.contours` measures and `render_call` sings."""

    step_s: float
    ridges: tuple[tuple[Floats, Floats], ...]
    """(frequency_hz, amplitude), both `[steps]`; amplitude 0 where the ridge is silent."""
    noise: tuple[tuple[float, float, Floats], ...] = ()
    """(low_hz, high_hz, rms `[steps]`): the breath and buzz between the ridges."""


@dataclass(frozen=True)
class Event:
    """One call in a soundscape."""

    start_s: float
    end_s: float
    label: str
    snr_db: float
    """The call's loud part against the bed, in the call's own band."""


def load_contours(path: Path) -> dict[str, list[Contour]]:
    """Reads what `train.contours` wrote, by label."""
    species = json.loads(path.read_text("utf-8"))["species"]
    return {
        label: [_parsed(entry) for entry in one["contours"]] for label, one in species.items()
    }


def _parsed(entry: Mapping[str, Any]) -> Contour:
    numbers = np.asarray
    ridges = ((numbers(r["frequency_hz"], float), r["amplitude"]) for r in entry["ridges"])
    noise = ((n["low_hz"], n["high_hz"], n["rms"]) for n in entry["noise"])
    return Contour(
        step_s=entry["step_s"],
        ridges=tuple((hz, numbers(amplitude, float)) for hz, amplitude in ridges),
        noise=tuple((low_hz, high_hz, numbers(rms, float)) for low_hz, high_hz, rms in noise),
    )


def render_call(
    contour: Contour, sample_rate_hz: int, *, rng: Rng, reverb_s: float = 0.0
) -> Samples:
    """Sings a contour once: `[samples]` with peak 1, `reverb_s` of tail behind it.

    Pitch and tempo differ by a percent or two between renderings, as a bird's do.
    """
    pitch, step_s = rng.uniform(0.99, 1.01), contour.step_s * rng.uniform(0.98, 1.02)
    steps = max(levels.size for *_, levels in (*contour.ridges, *contour.noise))
    # Step k sounds at time (k + 1) steps: the call begins and ends in silence.
    at_step = np.arange(int((steps + 1) * step_s * sample_rate_hz)) / (step_s * sample_rate_hz)
    call = np.zeros(at_step.size)
    for frequency_hz, amplitude in contour.ridges:
        cycles_hz = frequency_hz * pitch / sample_rate_hz
        call += _whistle(cycles_hz, amplitude, at_step, rng=rng)
    call *= 1 + FLUTTER * _noise(call.size, sample_rate_hz, lambda hz: hz < FLUTTER_HZ, rng=rng)
    for low_hz, high_hz, rms in contour.noise:
        breath = _noise(call.size, sample_rate_hz, _band(low_hz, high_hz), rng=rng)
        call += breath * np.interp(at_step, np.arange(steps + 2), np.pad(rms, 1))
    if reverb_s:
        call = _with_reverb(call, int(reverb_s * sample_rate_hz), rng=rng)
    return (call / max(float(np.abs(call).max()), 1e-12)).astype(np.float32)


def _whistle(cycles: Floats, amplitude: Floats, at_step: Floats, *, rng: Rng) -> Floats:
    """One ridge, note by note, so that pitch never glides across a silence. Phase-continuous."""
    sound = np.zeros(at_step.size)
    edges = np.flatnonzero(np.diff(np.pad(amplitude > 0, 1).astype(int)))
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        here = slice(*np.searchsorted(at_step, (first, after + 1)))
        level = np.interp(
            at_step[here], np.arange(first, after + 2), np.pad(amplitude[first:after], 1)
        )
        speed = np.interp(at_step[here], np.arange(first + 1, after + 1), cycles[first:after])
        phase = 2 * np.pi * (rng.uniform() + np.cumsum(speed))
        sound[here] += np.where(speed < 0.45, level * np.sin(phase), 0.0)
    return sound


def _with_reverb(call: Floats, tail_samples: int, *, rng: Rng) -> Floats:
    """The call and, 18 dB below it, an exponential tail that falls 60 dB."""
    fall = np.exp(-6.9 * np.arange(tail_samples) / tail_samples)
    tail = rng.standard_normal(tail_samples) * fall
    room = np.concatenate([[1.0], 0.125 * tail / np.linalg.norm(tail)])
    count = call.size + tail_samples
    return np.fft.irfft(np.fft.rfft(call, count) * np.fft.rfft(room, count), count)


def _noise(
    count: int, sample_rate_hz: int, gain: Callable[[Floats], npt.NDArray[Any]], *, rng: Rng
) -> Floats:
    """Gaussian noise `[count]` of unit RMS with the spectrum `gain(hz)`."""
    hz = np.fft.rfftfreq(count, 1 / sample_rate_hz)
    sound = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * gain(hz), count)
    return sound / max(float(np.sqrt(np.mean(sound**2))), 1e-12)


def _band(low_hz: float, high_hz: float) -> Callable[[Floats], npt.NDArray[np.bool_]]:
    return lambda hz: (hz >= low_hz) & (hz < high_hz)


def wind(samples: int, sample_rate_hz: int, *, rng: Rng) -> Floats:
    """Gusty wind `[samples]` of unit RMS: a rumble, and leaves that answer the gusts."""
    gust = np.exp(0.6 * _noise(samples, sample_rate_hz, lambda hz: hz < 0.25, rng=rng))
    rumble = _noise(samples, sample_rate_hz, lambda hz: hz / 40 / (1 + (hz / 140) ** 3), rng=rng)
    leaves = _noise(
        samples, sample_rate_hz, lambda hz: np.exp(-(np.log2((hz + 1) / 2500) ** 2)), rng=rng
    )
    sound = rumble * gust + 0.08 * leaves * gust**2
    return sound / np.sqrt(np.mean(sound**2))


def rain(samples: int, sample_rate_hz: int, *, rng: Rng) -> Floats:
    """Rain `[samples]` of unit RMS: a pinkish hiss and single drops that ring for a few ms."""
    sound = _noise(samples, sample_rate_hz, lambda hz: (hz > 200) / np.sqrt(hz + 1), rng=rng)
    seconds = np.arange(int(0.03 * sample_rate_hz)) / sample_rate_hz
    for ring_hz in rng.uniform(1200, 6000, 6):
        drops = np.where(rng.random(samples) < 4 / sample_rate_hz, rng.lognormal(size=samples), 0)
        ring = np.sin(2 * np.pi * ring_hz * seconds) * np.exp(-seconds / 0.004)
        count = samples + ring.size
        rung = np.fft.irfft(np.fft.rfft(drops, count) * np.fft.rfft(ring, count), count)
        sound += 2.0 * rung[:samples]
    return sound / np.sqrt(np.mean(sound**2))


def _bed(samples: int, sample_rate_hz: int, *, rng: Rng) -> Floats:
    """Wind, passing showers and the faint hum of a landscape `[samples]`."""
    shower = np.exp(_noise(samples, sample_rate_hz, lambda hz: hz < 0.05, rng=rng) - 1.5)
    hum = _noise(samples, sample_rate_hz, lambda hz: (hz > 100) / np.sqrt(hz + 1), rng=rng)
    bed = wind(samples, sample_rate_hz, rng=rng) + 0.15 * hum
    bed += 0.4 * np.minimum(shower, 1.0) * rain(samples, sample_rate_hz, rng=rng)
    return bed * BED_RMS / np.sqrt(np.mean(bed**2))
