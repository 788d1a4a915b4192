"""Measures call contours from recordings: `python -m train.invented.contours DATASET OUT.json`.

A contour is what the ear follows in a call: a few spectral ridges (frequency and amplitude
every 6 ms) and, for buzzes and harsh notes, the noise left between them in a few bands.
`train.invented.synth` sings it again. Numbers leave the recording, its audio never does.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import ShortTimeFFT

from recorder.errors import UsageError

Floats = npt.NDArray[np.float64]

STEP_S = 0.006
WINDOW_S = 0.010  # short: a warbler's trill sweeps 3 kHz in 50 ms
MAX_RIDGES = 4
PEAKS_PER_FRAME = 8
RANGE_DB = 32.0  # what lies deeper below the call's loudest frame is left out
FLOOR_QUANTILE = 0.25  # of a clip's frames: the hum between its calls
QUANTILE_OF_MEAN = 0.288  # an exponential variable's lower quartile, in units of its mean
SWITCH_COST_DB = 6.0
JUMP_COST_DB_PER_KHZ = 8.0
MAX_JUMP_HZ = 800.0  # per frame; a wider leap is another note
HALF_WIDTH_HZ = 220.0  # of a steady ridge; a sweeping one is wider
LEAST_NOTE_STEPS = 4
SURROUND_HZ = 900.0
MIN_PURITY = 0.6  # a ridge's share of the power around it; white noise would have a quarter
BAND_EDGES_HZ = np.geomspace(700.0, 14000.0, 17)
MIN_SHARE = 0.004  # of the call's energy, for a ridge or a noise band to be worth its bytes

ABOUT = (
    "Numbers measured by `python -m train.invented.contours` from xeno-canto recordings: no audio. "
    "Every contour names its recording, author and licence."
)


@dataclass(frozen=True)
class Take:
    """One hand-picked call: where it lies, in seconds, and the band that it keeps to, in Hz."""

    label: str
    recording: str
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float


TAKES = (
    Take("antrostomus_noctitherus", "XC173680", 72.3, 73.6, 900, 2800),
    Take("antrostomus_noctitherus", "XC308517", 5.4, 6.3, 1000, 4000),
    Take("antrostomus_noctitherus", "XC32245", 130.7, 131.9, 900, 3500),
    Take("chlorophonia_musica", "XC173675", 63.6, 64.6, 3000, 12000),
    Take("chlorophonia_musica", "XC173675", 71.6, 72.4, 3000, 12000),
    Take("coccyzus_vieilloti", "XC48509", 3.6, 5.6, 700, 12000),
    Take("elaenia_martinica", "XC308515", 7.85, 8.5, 2000, 12000),
    Take("elaenia_martinica", "XC32091", 4.9, 5.3, 2000, 12000),
    Take("elaenia_martinica", "XC794001", 18.6, 20.7, 2000, 12000),
    Take("icterus_portoricensis", "XC805336", 15.3, 18.2, 1800, 7500),
    Take("icterus_portoricensis", "XC682525", 0.9, 2.8, 1800, 12000),
    Take("melopyrrha_portoricensis", "XC682522", 2.3, 4.4, 1000, 12000),
    Take("melopyrrha_portoricensis", "XC48508", 10.0, 11.9, 1000, 13000),
    Take("melopyrrha_portoricensis", "XC737278", 0.2, 2.3, 1000, 13000),
    Take("myiarchus_antillarum", "XC173625", 0.1, 0.8, 3000, 12000),
    Take("myiarchus_antillarum", "XC308529", 0.3, 1.0, 2500, 12000),
    Take("myiarchus_antillarum", "XC32244", 40.8, 41.8, 2500, 6000),
    Take("setophaga_adelaidae", "XC173620", 50.1, 52.9, 2000, 9000),
    Take("setophaga_adelaidae", "XC308510", 0.5, 3.2, 2000, 12000),
    Take("tyrannus_dominicensis", "XC173443", 11.8, 12.5, 3500, 12000),
    Take("tyrannus_dominicensis", "XC173642", 7.5, 8.0, 3300, 12000),
    Take("vireo_altiloquus", "XC173662", 4.6, 5.9, 2000, 7000),
    Take("vireo_altiloquus", "XC173666", 27.2, 28.6, 2000, 7000),
    Take("vireo_altiloquus", "XC32090", 42.5, 43.3, 2000, 7000),
    Take("vireo_latimeri", "XC805338", 1.8, 2.9, 1500, 6500),
    Take("vireo_latimeri", "XC308505", 5.1, 6.2, 1500, 6500),
    Take("vireo_latimeri", "XC9424", 13.45, 14.25, 2000, 5500),
)


def main() -> None:
    """Reads the recordings in TAKES from a BirdCLEF-shaped folder; writes their contours."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("dataset", type=Path, help="folder with train_metadata.csv")
    parser.add_argument("out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    arguments.out.write_text(_to_json(measure_takes(arguments.dataset, TAKES)), "utf-8")


def measure_takes(dataset: Path, takes: tuple[Take, ...]) -> dict[str, dict[str, object]]:
    """Measures every take, by label, with its source and licence.

    Raises UsageError for a recording that is not in the train split: the example is heard by
    models that are judged on the others.
    """
    metadata = _rows_by_filename(dataset / "train_metadata.csv")
    split = _rows_by_filename(dataset / "split_by_session.csv")
    species: dict[str, dict[str, object]] = {}
    contours: dict[str, list[object]] = {}
    for take in takes:
        filename = f"{take.recording}.ogg"
        if split[filename]["split"] != "train":
            raise UsageError(f"{take.recording} is not in the train split: choose another take")
        row = metadata[filename]
        samples, rate_hz = soundfile.read(dataset / "train_short_audio" / take.label / filename)
        names = {key: row[key] for key in ("scientific_name", "common_name")}
        contours.setdefault(take.label, []).append(
            _source(take, row) | measure_call(samples, rate_hz, take=take)
        )
        species[take.label] = {**names, "contours": contours[take.label]}
    return species


def measure_call(samples: Floats, rate_hz: int, *, take: Take) -> dict[str, object]:
    """Measures one call in a clip `[samples]`: step_s, ridges and noise bands, rounded.

    Amplitudes are in thousandths of the loudest ridge's: a ridge's is its sinusoid's peak, a
    band's its RMS.
    """
    power, frequency_hz = _clean_power(samples, rate_hz, take=take)
    unfollowed = power.copy()
    ridges = []
    for _ in range(MAX_RIDGES):
        path = _follow(_peaks(unfollowed, frequency_hz), power.shape[1])
        ridge = _tonal(path, unfollowed, frequency_hz)
        _take_energy(unfollowed, _near(path, frequency_hz))
        mean_square = _take_energy(power, _near(ridge, frequency_hz))
        ridges.append((ridge, np.sqrt(2.0 * mean_square)))
    bands = [
        (low_hz, high_hz, np.sqrt(_band(power, frequency_hz, low_hz, high_hz).sum(axis=0)))
        for low_hz, high_hz in pairwise(BAND_EDGES_HZ)
    ]
    return _rounded(ridges, bands)


def _clean_power(samples: Floats, rate_hz: int, *, take: Take) -> tuple[Floats, Floats]:
    """Mean-square power `[bins, frames]` of the take above the clip's noise, and bins in Hz."""
    step_samples = round(STEP_S * rate_hz)
    window = np.hanning(round(WINDOW_S * rate_hz))
    fft = ShortTimeFFT(window, hop=step_samples, fs=rate_hz, mfft=2048)
    spectrum = np.abs(fft.stft(samples)[:, -fft.p_min :]) ** 2
    power = spectrum * 2.0 / (fft.mfft * np.sum(window**2))
    floor = np.quantile(power, FLOOR_QUANTILE, axis=1, keepdims=True) / QUANTILE_OF_MEAN
    frames = slice(round(take.start_s / STEP_S), round(take.end_s / STEP_S))
    inside = (fft.f >= take.low_hz) & (fft.f <= take.high_hz)
    clean = np.maximum(power[:, frames] - 2.0 * floor, 0.0)
    return np.where(inside[:, None], clean, 0.0), fft.f


def _peaks(power: Floats, frequency_hz: Floats) -> list[tuple[Floats, Floats]]:
    """The strongest local maxima of every frame: Hz, and dB above the range's foot."""
    foot = power.max() * 10 ** (-RANGE_DB / 10) + 1e-20
    return [_peaks_of_frame(frame, frequency_hz, foot) for frame in power.T]


def _peaks_of_frame(frame: Floats, frequency_hz: Floats, foot: float) -> tuple[Floats, Floats]:
    middle = frame[1:-1]
    at = 1 + np.flatnonzero((middle > foot) & (middle >= frame[:-2]) & (middle > frame[2:]))
    at = at[np.argsort(frame[at])[::-1][:PEAKS_PER_FRAME]]
    decibels = 10 * np.log10(frame + foot * 1e-3)
    left, centre, right = decibels[at - 1], decibels[at], decibels[at + 1]
    # A parabola through the three decibel values places the peak between the bins.
    offset = 0.5 * (left - right) / np.minimum(left - 2 * centre + right, -1e-9)
    hz = frequency_hz[at] + np.clip(offset, -0.5, 0.5) * (frequency_hz[1] - frequency_hz[0])
    return hz, centre - 10 * np.log10(foot)


def _follow(peaks: list[tuple[Floats, Floats]], frames: int) -> Floats:
    """The best path through the peaks (Viterbi) `[frames]` in Hz; 0 where it is silent."""
    hz, score = np.zeros(1), np.zeros(1)  # state 0 is silence
    steps: list[tuple[Floats, npt.NDArray[np.intp]]] = []
    for peak_hz, peak_db in peaks:
        next_hz = np.concatenate([[0.0], peak_hz])
        total = score[:, None] - _move_cost_db(hz, next_hz)
        steps.append((next_hz, total.argmax(axis=0)))
        score = total.max(axis=0) + np.concatenate([[0.0], peak_db])
        hz = next_hz
    path = np.zeros(frames)
    state = int(score.argmax())
    for frame in range(frames - 1, -1, -1):
        path[frame] = steps[frame][0][state]
        state = int(steps[frame][1][state])
    return path


def _move_cost_db(hz: Floats, next_hz: Floats) -> Floats:
    """The price `[states, next states]` of a step: a leap costs, a wide one is forbidden."""
    jump_hz = np.abs(next_hz[None, :] - hz[:, None])
    cost = np.where(jump_hz > MAX_JUMP_HZ, np.inf, jump_hz * JUMP_COST_DB_PER_KHZ / 1000)
    silent = (hz[:, None] == 0) | (next_hz[None, :] == 0)
    switch = (hz[:, None] == 0) != (next_hz[None, :] == 0)
    return np.where(silent, SWITCH_COST_DB * switch, cost)


def _tonal(path: Floats, power: Floats, frequency_hz: Floats) -> Floats:
    """The path `[frames]` without what is too short, or no purer than the noise around it."""
    near = _near(path, frequency_hz)
    around = (np.abs(frequency_hz[:, None] - path) <= SURROUND_HZ) & (path > 0)
    share = (power * near).sum(axis=0) / np.maximum((power * around).sum(axis=0), 1e-20)
    steady_share = np.median(sliding_window_view(np.pad(share, 2, "edge"), 5), axis=1)
    pure = np.where(steady_share > MIN_PURITY, path, 0.0)
    breaks = (np.diff(pure > 0)) | (np.abs(np.diff(pure)) > MAX_JUMP_HZ)
    notes = np.split(pure, 1 + np.flatnonzero(breaks))
    return np.concatenate([note * (note.size >= LEAST_NOTE_STEPS) for note in notes])


def _near(path: Floats, frequency_hz: Floats) -> npt.NDArray[np.bool_]:
    """Which of `[bins, frames]` belong to the ridge: more when it sweeps within a window."""
    bend = np.where((path > 0) & (np.roll(path, 1) > 0) & (np.roll(path, -1) > 0), 1.0, 0.0)
    half_hz = HALF_WIDTH_HZ + 0.5 * np.minimum(bend * np.abs(np.gradient(path)), MAX_JUMP_HZ)
    near: npt.NDArray[np.bool_] = np.abs(frequency_hz[:, None] - path) <= half_hz
    return near & (path > 0)


def _take_energy(power: Floats, near: npt.NDArray[np.bool_]) -> Floats:
    """Moves the power of a ridge out of `power [bins, frames]`; its sum for every frame."""
    energy: Floats = np.where(near, power, 0.0).sum(axis=0)
    power[near] = 0.0
    return energy


def _band(power: Floats, frequency_hz: Floats, low_hz: float, high_hz: float) -> Floats:
    return power[(frequency_hz >= low_hz) & (frequency_hz < high_hz)]


def _rounded(
    ridges: list[tuple[Floats, Floats]], bands: list[tuple[float, float, Floats]]
) -> dict[str, object]:
    """What is loud enough to matter, as integers."""
    ridge_energies = [float(np.sum(amplitude**2)) / 2 for _, amplitude in ridges]
    band_energies = [float(np.sum(rms**2)) for _, _, rms in bands]
    least = MIN_SHARE * (sum(ridge_energies) + sum(band_energies))
    scale = 1000 / max(float(amplitude.max()) for _, amplitude in ridges)
    return {
        "step_s": STEP_S,
        "ridges": [
            {"frequency_hz": _whole(hz), "amplitude": _whole(scale * amplitude)}
            for (hz, amplitude), energy in zip(ridges, ridge_energies, strict=True)
            if energy >= least
        ],
        "noise": [
            {"low_hz": round(low), "high_hz": round(high), "rms": _whole(scale * rms)}
            for (low, high, rms), energy in zip(bands, band_energies, strict=True)
            if energy >= least
        ],
    }


def _whole(values: Floats) -> list[int]:
    return [int(value) for value in np.rint(values)]


def _source(take: Take, row: dict[str, str]) -> dict[str, object]:
    source = {key: row[key] for key in ("author", "license", "url")}
    return {"recording": take.recording, **source, "start_s": take.start_s, "end_s": take.end_s}


def _rows_by_filename(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["filename"]: row for row in csv.DictReader(file)}


def _to_json(species: dict[str, dict[str, object]]) -> str:
    """Indented, but every list of numbers on a line of its own: small, and fit for a diff."""
    document = {"about": ABOUT, "species": species}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    number_list = re.compile(r"\[\s+(\d[\d,\s]*?)\s+\]")
    return number_list.sub(lambda found: "[" + re.sub(r"\s+", "", found[1]) + "]", text) + "\n"


if __name__ == "__main__":
    main()
