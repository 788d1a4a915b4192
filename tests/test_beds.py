"""Noise beds: any length, the level that was asked for, and only sounds that were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recorder.detect.mel import SAMPLE_RATE_HZ
from train.clips.dataset import Clip
from train.clips.recordings import Noise, Recording
from train.scenes import beds
from train.scenes.beds import NoiseBeds
from train.scenes.levels import rms


def _tone(hz: float, seconds: float = 1.0) -> NDArray[np.int16]:
    times = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (8000 * np.sin(2 * np.pi * hz * times)).astype(np.int16)


def _recording(noise: NDArray[np.int16]) -> Recording:
    """A recording of nothing but its own noise: no calls are in it."""
    quiet = np.zeros(len(noise) * 2 // 625, np.float32)
    return Recording(Clip(Path("a.ogg"), "wren"), noise, quiet, calls=np.zeros_like(noise))


@pytest.fixture(scope="module")
def made() -> NoiseBeds:
    return NoiseBeds([Noise(_tone(1000.0))], [_recording(_tone(5000.0))])


def _draw(
    made: NoiseBeds, seed: int, *, recorded: float = 1.0, own: float = 0.0, level: float = 0.1
) -> NDArray[np.float32]:
    draft = made.draw(
        np.random.default_rng(seed),
        3 * SAMPLE_RATE_HZ,
        level=level,
        recorded_chance=recorded,
        own_chance=own,
    )
    return made.render(draft)


def _share(bed: NDArray[np.float32], hz: float) -> float:
    """Of the power, how much lies within 20 Hz of `hz`."""
    power = np.abs(np.fft.rfft(bed * np.hanning(len(bed)))) ** 2
    middle = round(hz * len(bed) / SAMPLE_RATE_HZ)
    return float(power[middle - 60 : middle + 60].sum() / power.sum())


@pytest.mark.parametrize("level", [0.001, 0.1, 0.5])
def test_a_bed_has_the_length_and_the_level_that_was_asked_for(
    made: NoiseBeds, level: float
) -> None:
    for seed in range(5):
        bed = _draw(made, seed, own=0.5, level=level)
        assert bed.shape == (3 * SAMPLE_RATE_HZ,)
        assert rms(bed) == pytest.approx(level, rel=1e-3)


def test_recorded_noise_lies_in_a_bed_when_its_chance_says_so(made: NoiseBeds) -> None:
    assert min(_share(_draw(made, seed), 1000.0) for seed in range(8)) > 0.8
    assert max(_share(_draw(made, seed, recorded=0.0), 1000.0) for seed in range(8)) < 0.1


def test_the_own_noise_of_recordings_lies_in_a_bed_when_its_chance_says_so(
    made: NoiseBeds,
) -> None:
    with_own = [_share(_draw(made, seed, own=1.0), 5000.0) for seed in range(8)]
    assert min(with_own) > 0.01
    assert max(_share(_draw(made, seed), 5000.0) for seed in range(8)) < 0.001


def test_recordings_without_any_noise_of_their_own_are_no_obstacle() -> None:
    silent = NoiseBeds([Noise(_tone(1000.0))], [_recording(np.zeros(5000, np.int16))])
    assert np.isfinite(_draw(silent, 0, own=1.0)).all()


def test_without_any_recorded_noise_coloured_noise_remains() -> None:
    bed = _draw(NoiseBeds([], [_recording(np.zeros(5000, np.int16))]), 0)
    assert rms(bed) == pytest.approx(0.1, rel=1e-3)


def test_noise_shorter_than_a_bed_goes_on_from_its_start() -> None:
    places = beds._loop(3, 7, 20)
    assert len(places) == 20
    assert set(np.diff(places)) == {1, -6}


def test_long_noise_is_drawn_more_often_but_not_in_proportion() -> None:
    made = NoiseBeds([Noise(_tone(1000.0, 1.0)), Noise(_tone(3000.0, 9.0))], [])
    np.testing.assert_allclose(made._chances, [0.25, 0.75])


def test_a_bed_with_noise_that_may_hold_birds_says_so() -> None:
    mixed = NoiseBeds([Noise(_tone(1000.0)), Noise(_tone(3000.0), may_hold_birds=True)], [])
    told = []
    for seed in range(40):
        draft = mixed.draw(
            np.random.default_rng(seed), 96_000, level=0.1, recorded_chance=0.8, own_chance=0.0
        )
        assert draft.may_hold_birds == (_share(mixed.render(draft), 3000.0) > 0.015)
        told.append(draft.may_hold_birds)
    assert 0.3 < np.mean(told) < 0.7


def _octaves(noise: NDArray[np.float32]) -> NDArray[np.float64]:
    """The power from 100 to 200 Hz, from 200 to 400 Hz, ... up to 12.8 kHz."""
    power = np.abs(np.fft.rfft(noise)) ** 2
    edges = np.rint(100.0 * 2.0 ** np.arange(8) * len(noise) / SAMPLE_RATE_HZ).astype(int)
    return np.add.reduceat(power, edges)[:-1]


def test_the_first_coloured_noise_is_white() -> None:
    octaves = _octaves(beds.coloured_noise()[0])
    np.testing.assert_allclose(octaves[1:] / octaves[:-1], 2.0, rtol=0.1)


def test_the_third_that_falls_is_pink() -> None:
    octaves = _octaves(beds.coloured_noise()[3])
    np.testing.assert_allclose(octaves / octaves.mean(), 1.0, rtol=0.1)
