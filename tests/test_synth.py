"""Synthesised soundscapes: what is said to be there is there, at the level and pitch stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import butter, sosfiltfilt, welch

from train.invented.synth import (
    Contour,
    Event,
    compose,
    load_contours,
    rain,
    render_call,
    wind,
)
from train.invented.toys import TOYS, birds_in_chunk, toy_species

RATE_HZ = 32000
ROOT = Path(__file__).parents[1]
CONTOURS = ROOT / "examples" / "contours.json"
Floats = npt.NDArray[np.floating]


def scene(label: str, snr_db: float, *, seed: int = 1) -> tuple[Floats, list[Event]]:
    rng = np.random.default_rng(seed)
    calls = {label: toy_species(len(TOYS), rng=rng)[label]}
    samples, events = compose(
        calls,
        duration_s=40.0,
        sample_rate_hz=RATE_HZ,
        rng=rng,
        snr_db=(snr_db, snr_db),
        calls_per_minute=15,
        nocall_fraction=0.5,
    )
    return samples.astype(float), events


def own_band(sound: Floats) -> tuple[float, float]:
    hz, power = welch(sound, RATE_HZ, nperseg=2048)
    share = np.cumsum(power) / power.sum()
    low, high = np.searchsorted(share, [0.025, 0.975])
    return float(hz[low]), float(hz[high])


def in_band(sound: Floats, band_hz: tuple[float, float]) -> Floats:
    return np.asarray(sosfiltfilt(butter(4, band_hz, "bandpass", fs=RATE_HZ, output="sos"), sound))


def rms(sound: Floats) -> float:
    return float(np.sqrt(np.mean(sound**2)))


def loud_rms(call: Floats) -> float:
    """Of the 20-ms blocks within 10 dB of the loudest: the definition, the slow way."""
    blocks = call[: call.size // 640 * 640].reshape(-1, 640)
    power = np.mean(blocks**2, axis=1)
    return float(np.sqrt(np.mean(power[power >= power.max() / 10])))


def test_the_same_seed_gives_the_same_soundscape() -> None:
    first, first_events = scene("toy_trill", 12.0)
    second, second_events = scene("toy_trill", 12.0)
    other, _ = scene("toy_trill", 12.0, seed=2)
    assert np.array_equal(first, second)
    assert first_events == second_events
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("label", TOYS)
def test_a_call_has_the_stated_level_and_lies_where_its_event_says(label: str) -> None:
    # The same seed 200 dB lower is the bed alone; what remains of the difference is the calls.
    sound, events = scene(label, 12.0)
    bed, _ = scene(label, -200.0)
    calls = sound - bed
    assert np.abs(sound).max() < 0.7
    assert events == sorted(events, key=lambda event: event.start_s)
    outside = np.ones(calls.size, bool)
    for event in events:
        start, end = round(event.start_s * RATE_HZ), round(event.end_s * RATE_HZ)
        outside[start:end] = False
        low_hz, high_hz = own_band(calls[start:end])
        band_hz = (0.9 * low_hz, 1.1 * high_hz)
        around = bed[max(0, start - RATE_HZ // 2) : end + RATE_HZ // 2]
        measured_db = 20 * np.log10(loud_rms(calls[start:end]) / rms(in_band(around, band_hz)))
        assert event.label == label
        assert measured_db == pytest.approx(event.snr_db, abs=1.5)
    assert np.sum(calls[outside] ** 2) < 0.02 * np.sum(calls**2)


def test_whole_chunks_stay_quiet_and_every_label_is_heard() -> None:
    rng = np.random.default_rng(5)
    calls = toy_species(6, rng=rng)
    _, events = compose(
        calls,
        duration_s=120.0,
        sample_rate_hz=RATE_HZ,
        rng=rng,
        snr_db=(8.0, 20.0),
        calls_per_minute=20,
        nocall_fraction=0.5,
    )
    chunks = [birds_in_chunk(events, start_s) for start_s in np.arange(0.0, 120.0, 5.0)]
    assert 0.5 <= chunks.count("nocall") / len(chunks) <= 0.65
    assert {event.label for event in events} == set(calls)
    assert all(8.0 <= event.snr_db <= 20.0 for event in events)


@pytest.mark.parametrize("label", TOYS)
def test_a_toy_sings_in_its_own_band(label: str) -> None:
    rng = np.random.default_rng(0)
    contour = toy_species(len(TOYS), rng=rng)[label][0]
    call = render_call(contour, RATE_HZ, rng=rng)
    ends_hz = TOYS[label][:2]
    margin_hz = 1000 if contour.noise else 150
    low_hz, high_hz = own_band(call)
    assert min(ends_hz) * 0.95 - margin_hz <= low_hz
    assert high_hz <= max(ends_hz) * 1.05 + margin_hz
    assert call.dtype == np.float32
    assert np.abs(call).max() == pytest.approx(1.0)


def test_a_measured_call_keeps_its_band_and_length() -> None:
    rng = np.random.default_rng(0)
    for contours in load_contours(CONTOURS).values():
        for contour in contours:
            call = render_call(contour, RATE_HZ, rng=rng)
            voiced = np.concatenate([hz[level > 0] for hz, level in contour.ridges])
            edges = [edge for low, high, _ in contour.noise for edge in (low, high)]
            low_hz, high_hz = own_band(call)
            assert min([*voiced, *edges]) * 0.97 - 100 <= low_hz
            assert high_hz <= max([*voiced, *edges]) * 1.03 + 100
            steps = contour.ridges[0][0].size
            assert call.size / RATE_HZ == pytest.approx(steps * contour.step_s, rel=0.05)


def test_pitch_does_not_glide_across_a_silence() -> None:
    hz = np.repeat(np.array([1000.0, 0.0, 5000.0], np.float64), 20)
    level = np.asarray(hz > 0, np.float64)
    contour = Contour(0.01, ((hz, level),))
    call = render_call(contour, RATE_HZ, rng=np.random.default_rng(0))
    assert rms(in_band(call, (1800.0, 4200.0))) < 0.03 * rms(call)


def test_a_ridge_above_the_sample_rate_s_reach_is_left_out() -> None:
    contour = Contour(0.01, ((np.full(20, 9000.0), np.ones(20)),))
    assert not render_call(contour, 16000, rng=np.random.default_rng(0)).any()


def test_wind_rumbles_and_rain_hisses_in_drops() -> None:
    rng = np.random.default_rng(0)
    windy, rainy = (bed(10 * RATE_HZ, RATE_HZ, rng=rng) for bed in (wind, rain))
    assert rms(windy) == pytest.approx(1.0)
    assert rms(rainy) == pytest.approx(1.0)
    assert own_band(windy)[1] < 1000
    assert own_band(rainy)[1] > 5000
    assert np.abs(rainy).max() > np.abs(windy).max()


def test_a_chunk_names_the_birds_that_sound_in_it_long_enough() -> None:
    events = [Event(4.0, 5.2, "b", 9.0), Event(5.9, 6.0, "a", 9.0), Event(8.0, 10.3, "c", 9.0)]
    assert birds_in_chunk(events, 0.0) == "b"
    assert birds_in_chunk(events, 5.0) == "a c"
    assert birds_in_chunk(events, 10.0) == "c"
    assert birds_in_chunk(events, 15.0) == "nocall"
