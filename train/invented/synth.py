"""Bird soundscapes without any recorded audio: calls sung from contours, over wind and rain.

Two uses: the example that the project ships, and the toy data sets of `train.invented.toys`.
Everything is a pure function of its `rng`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len

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
RUMBLE_HZ = 150.0
LEAVES_HZ = 2500.0
DROPS_PER_S = 24
HIGHEST = 0.45  # of the sample rate; a ridge above it would alias


@dataclass(frozen=True)
class Contour:
    """A call as numbers: what `train.invented.contours` measures and `render_call` sings."""

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
    """Reads what `train.invented.contours` wrote, by label."""
    species = json.loads(path.read_text("utf-8"))["species"]
    return {label: [_parsed(entry) for entry in one["contours"]] for label, one in species.items()}


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
    levels = [amplitude for _, amplitude in contour.ridges] + [rms for *_, rms in contour.noise]
    steps = max(level.size for level in levels)
    # Step k sounds at time (k + 1) steps: the call begins and ends in silence.
    at_step = np.arange(int((steps + 1) * step_s * sample_rate_hz)) / (step_s * sample_rate_hz)
    call = np.zeros(at_step.size)
    for frequency_hz, amplitude in contour.ridges:
        cycles_hz = frequency_hz * pitch / sample_rate_hz
        call += _whistle(cycles_hz, amplitude, at_step, rng=rng)
    call *= 1 + FLUTTER * _noise(call.size, sample_rate_hz, _band(0.0, FLUTTER_HZ), rng=rng)
    for low_hz, high_hz, rms in contour.noise:
        breath = _noise(call.size, sample_rate_hz, _soft_band(low_hz, high_hz), rng=rng)
        call += breath * np.interp(at_step, np.arange(steps + 2), np.pad(rms, 1))
    if reverb_s:
        call = _with_reverb(call, int(reverb_s * sample_rate_hz), rng=rng)
    return (call / max(float(np.abs(call).max()), 1e-12)).astype(np.float32)


def _whistle(cycles: Floats, amplitude: Floats, at_step: Floats, *, rng: Rng) -> Floats:
    """One ridge, note by note: pitch never glides across a silence, phase never jumps."""
    sound = np.zeros(at_step.size)
    edges = np.flatnonzero(np.diff(np.pad(amplitude > 0, 1).astype(int)))
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        here = slice(*np.searchsorted(at_step, (first, after + 1)))
        level = np.interp(
            at_step[here], np.arange(first, after + 2), np.pad(amplitude[first:after], 1)
        )
        speed = np.interp(at_step[here], np.arange(first + 1, after + 1), cycles[first:after])
        phase = 2 * np.pi * (rng.uniform() + np.cumsum(speed))
        sound[here] += np.where(speed < HIGHEST, level * np.sin(phase), 0.0)
    return sound


def _with_reverb(call: Floats, tail_samples: int, *, rng: Rng) -> Floats:
    """The call and, 18 dB below it, an exponential tail that falls 60 dB."""
    fall = np.exp(-6.9 * np.arange(tail_samples) / tail_samples)
    tail = rng.standard_normal(tail_samples) * fall
    room = np.concatenate([[1.0], 0.125 * tail / np.linalg.norm(tail)])
    return _convolved(call, room)


def _convolved(sound: Floats, response: Floats) -> Floats:
    count = sound.size + response.size - 1
    fast = next_fast_len(count, real=True)
    both = np.fft.rfft(sound, fast) * np.fft.rfft(response, fast)
    return np.asarray(np.fft.irfft(both, fast)[:count], float)


def _noise(
    count: int, sample_rate_hz: int, gain: Callable[[Floats], npt.NDArray[Any]], *, rng: Rng
) -> Floats:
    """Gaussian noise `[count]` of unit RMS with the spectrum `gain(hz)`."""
    fast = next_fast_len(count, real=True)
    hz = np.fft.rfftfreq(fast, 1 / sample_rate_hz).astype(float)
    spectrum = np.fft.rfft(rng.standard_normal(fast)) * gain(hz)
    return _unit_rms(np.fft.irfft(spectrum, fast)[:count])


def _unit_rms(sound: npt.NDArray[np.floating[Any]]) -> Floats:
    return np.asarray(sound / max(float(np.sqrt(np.mean(sound**2))), 1e-12), float)


def _band(low_hz: float, high_hz: float) -> Callable[[Floats], npt.NDArray[np.bool_]]:
    return lambda hz: (hz >= low_hz) & (hz < high_hz)


def _soft_band(low_hz: float, high_hz: float) -> Callable[[Floats], Floats]:
    """Slopes instead of edges, so that neighbouring bands of breath melt into one."""
    centre_hz, half_hz = (low_hz + high_hz) / 2, (high_hz - low_hz) / 2
    return lambda hz: np.asarray(np.exp(-(((hz - centre_hz) / (1.1 * half_hz)) ** 4)), float)


def _pinkish(hz: Floats) -> Floats:
    return (hz > RUMBLE_HZ) / np.sqrt(hz + 1)


def _leafy(hz: Floats) -> Floats:
    return np.asarray(np.exp(-(np.log2((hz + 1) / LEAVES_HZ) ** 2)), float)


def wind(samples: int, sample_rate_hz: int, *, rng: Rng) -> Floats:
    """Gusty wind `[samples]` of unit RMS: a rumble, and leaves that answer the gusts."""
    gust = np.exp(0.5 * _noise(samples, sample_rate_hz, _band(0.0, 0.25), rng=rng))
    rumble = _noise(samples, sample_rate_hz, lambda hz: hz / (1 + (hz / 140) ** 3), rng=rng)
    leaves = _noise(samples, sample_rate_hz, _leafy, rng=rng)
    return _unit_rms(rumble * gust + 0.08 * leaves * gust**1.5)


def rain(samples: int, sample_rate_hz: int, *, rng: Rng) -> Floats:
    """Rain `[samples]` of unit RMS: a pinkish hiss and single drops that ring for a few ms."""
    sound = _noise(samples, sample_rate_hz, _pinkish, rng=rng)
    seconds = np.arange(int(0.03 * sample_rate_hz)) / sample_rate_hz
    at = np.flatnonzero(rng.random(samples - seconds.size) < DROPS_PER_S / sample_rate_hz)
    ring_hz, loudness = rng.uniform(1200, 6000, at.size), rng.lognormal(size=at.size)
    rings = np.sin(2 * np.pi * ring_hz[:, None] * seconds) * np.exp(-seconds / 0.004)
    np.add.at(sound, at[:, None] + np.arange(seconds.size), 2 * loudness[:, None] * rings)
    return _unit_rms(sound)


def _bed(samples: int, sample_rate_hz: int, *, rng: Rng) -> Floats:
    """Wind, passing showers and the faint hum of a landscape `[samples]`."""
    shower = np.exp(_noise(samples, sample_rate_hz, _band(0.0, 0.05), rng=rng) - 1.5)
    hum = _noise(samples, sample_rate_hz, _pinkish, rng=rng)
    bed = wind(samples, sample_rate_hz, rng=rng) + 0.15 * hum
    bed += 0.4 * np.minimum(shower, 1.0) * rain(samples, sample_rate_hz, rng=rng)
    return BED_RMS * _unit_rms(bed)


def compose(
    calls: Mapping[str, Sequence[Contour]],
    *,
    duration_s: float,
    sample_rate_hz: int,
    rng: Rng,
    snr_db: tuple[float, float],
    calls_per_minute: float,
    nocall_fraction: float,
) -> tuple[Samples, list[Event]]:
    """A soundscape `[samples]` and its calls in order of time.

    Individuals call in bouts of a few chunks of 5 s; `nocall_fraction` of the chunks lie
    outside every bout. All labels are heard if two bouts in each busy stretch suffice for it.
    """
    bed = _bed(round(duration_s * sample_rate_hz), sample_rate_hz, rng=rng)
    sound, events = bed.copy(), list[Event]()
    stretches = _busy_stretches(duration_s, nocall_fraction, rng=rng)
    labels = rng.permutation(sorted(calls))
    bouts = max(len(stretches), min(labels.size, 2 * len(stretches)))
    turns = max(1, round(calls_per_minute * duration_s / 60 / bouts))
    for bout in range(bouts):
        label, stretch_s = str(labels[bout % labels.size]), stretches[bout % len(stretches)]
        level_db = rng.uniform(*snr_db)
        for at, call in _bout(calls[label], stretch_s, turns, sample_rate_hz, rng=rng):
            call_db = float(np.clip(level_db + rng.normal(), *snr_db))
            begin, end = _add_call(sound, bed, call, sample_rate_hz, at=at, snr_db=call_db)
            events.append(Event(begin / sample_rate_hz, end / sample_rate_hz, label, call_db))
    sound *= min(1.0, PEAK / np.abs(sound).max())
    return sound.astype(np.float32), sorted(events, key=lambda event: event.start_s)


def _busy_stretches(
    duration_s: float, nocall_fraction: float, *, rng: Rng
) -> list[tuple[float, float]]:
    """Stretches of whole chunks, about 10 s long, with random quiet between them."""
    chunks = max(1, int(duration_s // CHUNK_S))
    busy = max(1, round((1 - nocall_fraction) * chunks))
    count = max(1, round(busy / 2))
    lengths = 1 + rng.multinomial(busy - count, np.full(count, 1 / count))
    quiet = rng.multinomial(chunks - busy, np.full(count + 1, 1 / (count + 1)))
    ends = np.cumsum(lengths + quiet[:-1]) * CHUNK_S
    starts = ends - lengths * CHUNK_S
    return [(float(start), float(end)) for start, end in zip(starts, ends, strict=True)]


def _bout(
    contours: Sequence[Contour],
    stretch_s: tuple[float, float],
    turns: int,
    sample_rate_hz: int,
    *,
    rng: Rng,
) -> Iterator[tuple[int, Samples]]:
    """One individual's calls, and where each begins; it knows two of the contours."""
    begin, end = (round(second * sample_rate_hz) for second in stretch_s)
    known = rng.integers(len(contours), size=2)
    period, free = (end - begin) / turns, begin
    for turn in range(turns):
        contour, reverb_s = contours[rng.choice(known)], rng.uniform(0.1, 0.4)
        call = render_call(contour, sample_rate_hz, rng=rng, reverb_s=reverb_s)
        slack = max(period - call.size, 0.0)
        at = max(free, int(begin + turn * period + rng.uniform() * slack))
        if turn and at + call.size > end:
            return
        yield at, call
        free = at + call.size + int(LEAST_GAP_S * sample_rate_hz)


def _add_call(
    sound: Floats, bed: Floats, call: Samples, sample_rate_hz: int, *, at: int, snr_db: float
) -> tuple[int, int]:
    """Adds a call to `sound [samples]`, `snr_db` above the bed; its audible begin and end."""
    call = call[: sound.size - at]
    width = int(SMOOTH_S * sample_rate_hz)
    energy = np.cumsum(np.pad(call.astype(float) ** 2, (width - width // 2, width // 2)))
    level = np.sqrt(np.maximum(energy[width:] - energy[:-width], 0.0))
    loud_rms = np.sqrt(np.mean(call[level >= LOUD * level.max()].astype(float) ** 2))
    # A second of bed at least, so that short calls meet a fair share of it.
    margin = sample_rate_hz // 2
    around = bed[max(0, at - margin) : at + call.size + margin]
    bed_rms = _band_rms(around, sample_rate_hz, _own_band(call, sample_rate_hz))
    sound[at : at + call.size] += 10 ** (snr_db / 20) * bed_rms / loud_rms * call
    audible = at + np.flatnonzero(level >= AUDIBLE * level.max())
    return int(audible[0]), int(audible[-1]) + 1


def _own_band(call: Samples, sample_rate_hz: int) -> tuple[float, float]:
    """The band in Hz that holds the middle 95 % of the call's energy, and 10 % either side.

    The ear hears a pure tone in a band about that wide: its own width would be next to nothing.
    """
    fast = next_fast_len(call.size, real=True)
    share = np.cumsum(np.abs(np.fft.rfft(call, fast)) ** 2)
    low, high = np.searchsorted(share, share[-1] * np.array([0.025, 0.975]))
    hz_per_bin = sample_rate_hz / fast
    return float(0.9 * low * hz_per_bin), float(1.1 * high * hz_per_bin)


def _band_rms(sound: Floats, sample_rate_hz: int, band_hz: tuple[float, float]) -> float:
    # The window keeps the wind's rumble from leaking into a high call's band.
    window = np.hanning(sound.size)
    power = np.abs(np.fft.rfft(sound * window)) ** 2
    inside = _band(*band_hz)(np.fft.rfftfreq(sound.size, 1 / sample_rate_hz).astype(float))
    return float(np.sqrt(2 * power[inside].sum() / sound.size / np.sum(window**2)))
