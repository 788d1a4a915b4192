"""Birds that do not exist: random species to learn from what all song has in common.

A few recordings a species teach a net that species' recordings by heart. Imagined species cost
nothing: whistles, trills, warbles, buzzes and stacks of harmonics in random songs, a little
different in each recording, as individuals are. Trained as classes beside the real ones, or
before them, they teach which differences matter; for the output for any bird they are birds that
nobody has heard. Not in the paper (procedural pre-training; METHOD.md "What later winners do").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import FRAMES_PER_TOKEN, SAMPLE_RATE_HZ, TOKEN_SAMPLES
from train.clips.dataset import Clip
from train.clips.recordings import Recording
from train.invented.synth import Contour, render_call

Floats = NDArray[np.float64]
Rng = np.random.Generator

LABEL = "imagined"
"""The labels are `imagined_000`, `imagined_001`, ..."""

_STEP_S = 0.004
_KINDS = ("whistle", "warble", "stack", "buzz", "chip")
_KIND_CHANCES = (0.35, 0.2, 0.2, 0.12, 0.13)
_PEAK = 0.5
_HISS_DB = (-60.0, -40.0)
"""Own noise of a recording, below full scale."""
_QUIET_DB, _LOUD_DB = -30.0, -12.0
"""Frames go from loudness 0 to 1 between these, below the loudest one of the recording."""


@dataclass(frozen=True)
class _Syllable:
    kind: str
    hz: tuple[float, float, float]
    """The lowest ridge at the start, in the middle and at the end."""
    seconds: float
    harmonics: int
    wave_hz: float
    """Of a warble's pitch or a buzz's loudness."""
    depth: float
    repeats: int
    gap_s: float


@dataclass(frozen=True)
class Species:
    """What an imagined bird sings."""

    syllables: tuple[_Syllable, ...]
    pause_s: float
    """Between two songs."""


def is_imagined(label: str) -> bool:
    """Whether a label is that of a bird that does not exist."""
    return label.startswith(f"{LABEL}_")


def imagine(rng: Rng) -> Species:
    """A species of one to four kinds of syllables in a pitch range of its own."""
    centre_hz = float(np.exp(rng.uniform(np.log(900.0), np.log(8000.0))))
    count = int(rng.choice(4, p=(0.35, 0.3, 0.2, 0.15))) + 1
    syllables = tuple(_syllable(rng, centre_hz) for _ in range(count))
    return Species(syllables, float(rng.uniform(0.4, 4.0)))


def recording_of(species: Species, label: str, number: int, seconds: float, rng: Rng) -> Recording:
    """One individual of a species singing for so many seconds over a little hiss.

    `calls` and `loudness` of the recording are exact, not measured.
    """
    pitch, tempo = np.exp(rng.normal(0.0, 0.03)), np.exp(rng.normal(0.0, 0.07))
    length = int(seconds * SAMPLE_RATE_HZ)
    calls = np.zeros(length, np.float32)
    begin = int(rng.uniform(0.0, 1.0) * SAMPLE_RATE_HZ)
    while begin < length:
        song = render_call(_song(species, pitch, tempo, rng), SAMPLE_RATE_HZ, rng=rng)
        part = song[: length - begin]
        calls[begin : begin + len(part)] += part * np.float32(rng.uniform(0.5, 1.0))
        pause_s = species.pause_s * rng.uniform(0.6, 1.6)
        begin += len(song) + int(pause_s * SAMPLE_RATE_HZ)
    calls *= np.float32(_PEAK * 32767)
    hiss = rng.standard_normal(length) * 32767 * 10.0 ** (rng.uniform(*_HISS_DB) / 20.0)
    samples = np.clip(calls + hiss, -32767, 32767).astype(np.int16)
    clip = Clip(Path(f"{label}_{number}"), label, session=f"{label} {number}")
    return Recording(clip, samples, _loudness(calls), calls.astype(np.int16))


def imagined_recordings(species: int, each: int, seed: int) -> list[Recording]:
    """`each` recordings of 6 to 12 s of that many species; the same ones for the same seed."""
    recordings = []
    for number in range(species):
        rng = np.random.default_rng((seed, number))
        bird, label = imagine(rng), f"{LABEL}_{number:03d}"
        recordings += [
            recording_of(bird, label, one, rng.uniform(6.0, 12.0), rng) for one in range(each)
        ]
    return recordings


def _syllable(rng: Rng, centre_hz: float) -> _Syllable:
    kind = str(rng.choice(_KINDS, p=_KIND_CHANCES))
    low_hz, high_hz = (250.0, 3000.0) if kind == "stack" else (500.0, 12_000.0)
    places = centre_hz * np.exp(rng.normal(0.0, 0.25, 3))
    if kind == "stack":
        places = places / 3.0
    if rng.random() < 0.3:
        places[:] = places[0]  # a steady pitch
    start_hz, middle_hz, end_hz = np.clip(places, low_hz, high_hz).tolist()
    longest_s = 0.05 if kind == "chip" else 0.8
    shortest_s = 0.01 if kind == "chip" else 0.04
    return _Syllable(
        kind,
        (start_hz, middle_hz, end_hz),
        float(np.exp(rng.uniform(np.log(shortest_s), np.log(longest_s)))),
        int(rng.integers(2, 9)) if kind == "stack" else int(rng.choice((1, 1, 2, 3))),
        float(np.exp(rng.uniform(np.log(8.0), np.log(80.0)))),
        float(rng.uniform(0.03, 0.25)),
        int(rng.choice((1, 1, 2, 3, 5, 8, 14))),
        float(np.exp(rng.uniform(np.log(0.015), np.log(0.3)))),
    )


def _song(species: Species, pitch: float, tempo: float, rng: Rng) -> Contour:
    """One song as a contour; sometimes a syllable is left out, or sung more or less often."""
    chosen = [one for one in species.syllables if rng.random() > 0.15] or [species.syllables[0]]
    sung: list[tuple[_Syllable, Floats, Floats]] = []
    for syllable in chosen:
        repeats = max(1, round(syllable.repeats * np.exp(rng.normal(0.0, 0.25))))
        sung += [(syllable, *_note(syllable, pitch, rng)) for _ in range(repeats)]
    most = max(syllable.harmonics for syllable, *_ in sung)
    ridges = tuple(
        (
            _line([(one, hz * harmonic) for one, hz, _ in sung]),
            _line([(one, level * _share(one, harmonic)) for one, _, level in sung]),
        )
        for harmonic in range(1, most + 1)
    )
    noise = tuple(
        (
            min(buzz.hz) * pitch,
            max(buzz.hz) * pitch * (1.3 + buzz.depth),
            _line([(one, level * (one is buzz)) for one, _, level in sung]),
        )
        for buzz in chosen
        if buzz.kind == "buzz"
    )
    return Contour(_STEP_S * tempo, ridges, noise)


def _line(parts: list[tuple[_Syllable, Floats]]) -> Floats:
    """The values of syllables one after the other, each followed by its gap of zeros."""
    return np.concatenate(
        [np.pad(values, (0, max(1, round(one.gap_s / _STEP_S)))) for one, values in parts]
    )


def _note(syllable: _Syllable, pitch: float, rng: Rng) -> tuple[Floats, Floats]:
    """(frequency_hz, amplitude) of one syllable's lowest ridge, [steps] each."""
    steps = max(3, round(syllable.seconds / _STEP_S))
    place = np.linspace(0.0, 1.0, steps)
    bend = np.exp(rng.normal(0.0, 0.015, 3))
    hz = pitch * np.interp(place, (0.0, 0.5, 1.0), np.asarray(syllable.hz) * bend)
    wave = np.sin(2 * np.pi * syllable.wave_hz * place * syllable.seconds)
    amplitude = np.sqrt(np.sin(np.pi * (np.arange(steps) + 0.5) / steps))
    if syllable.kind == "warble":
        hz = hz * (1.0 + syllable.depth * wave)
    elif syllable.kind == "buzz":
        amplitude = amplitude * (0.6 + 0.4 * wave)
    return hz, amplitude


def _share(syllable: _Syllable, harmonic: int) -> float:
    """How loud a harmonic is; a buzz has none."""
    if syllable.kind == "buzz" or harmonic > syllable.harmonics:
        return 0.0
    return float(0.7 ** (harmonic - 1)) if syllable.kind == "stack" else 0.3 ** (harmonic - 1)


def _loudness(calls: NDArray[np.float32]) -> NDArray[np.float32]:
    """[frames]: 0 quiet, 1 loud, by the power of the calls alone."""
    frames = len(calls) * FRAMES_PER_TOKEN // TOKEN_SAMPLES
    begins = np.arange(frames + 1) * TOKEN_SAMPLES // FRAMES_PER_TOKEN
    power = np.add.reduceat(np.square(calls, dtype=np.float64), begins[:-1])
    level_db = 10.0 * np.log10(power / max(float(power.max()), 1e-9) + 1e-9)
    share = (level_db - _QUIET_DB) / (_LOUD_DB - _QUIET_DB)
    return share.clip(0.0, 1.0).astype(np.float32)
