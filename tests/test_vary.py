"""Waveform augmentation: the same length, the same seed the same sound, and what each part does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.mel import SAMPLE_RATE_HZ
from train.scenes.vary import VaryConfig, vary

NOTHING = VaryConfig(speed_chance=0.0, colour_chance=0.0, echo_chance=0.0)
ALWAYS = VaryConfig(speed_chance=1.0, colour_chance=1.0, echo_chance=1.0)


def _tone(hz: float, seconds: float = 1.0) -> NDArray[np.float32]:
    times = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.sin(2 * np.pi * hz * times).astype(np.float32)


def _peak_hz(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE_HZ / len(samples))


def test_nothing_changes_when_nothing_is_asked_for() -> None:
    samples = _tone(1000.0)
    np.testing.assert_array_equal(vary(np.random.default_rng(0), samples, NOTHING)[0], samples)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2, 700, 16_000, 60_001]))
def test_any_sound_keeps_its_length_and_stays_finite(seed: int, length: int) -> None:
    samples = np.random.default_rng(seed).standard_normal(length).astype(np.float32)
    for config in (VaryConfig(), ALWAYS):
        changed = vary(np.random.default_rng(seed), samples, config)[0]
        assert changed.shape == (length,)
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()


def test_a_seed_decides_everything() -> None:
    samples = _tone(2000.0)
    first, again, other = (vary(np.random.default_rng(s), samples, ALWAYS)[0] for s in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_speed_moves_the_pitch_up_and_down_within_its_bounds() -> None:
    config = dataclasses.replace(NOTHING, speed_chance=1.0, speed=0.1)
    heard = np.array(
        [_peak_hz(vary(np.random.default_rng(s), _tone(2000.0), config)[0]) for s in range(30)]
    )
    assert 1790 < heard.min() < 1900
    assert 2100 < heard.max() < 2240


def _balance_db(seed: int, config: VaryConfig) -> float:
    """What a filter does to 9 kHz against 700 Hz; nothing may appear elsewhere."""
    both = _tone(700.0) + _tone(9000.0)
    changed = vary(np.random.default_rng(seed), both, config)[0]
    power = np.abs(np.fft.rfft(changed * np.hanning(len(changed)))) ** 2
    kept = power[690:711].sum() + power[8990:9011].sum()
    assert kept > 0.99 * power.sum()
    return float(10 * np.log10(power[9000] / power[700]))


def test_colour_weighs_frequencies_differently_and_keeps_their_places() -> None:
    config = dataclasses.replace(NOTHING, colour_chance=1.0, far_db=0.0)
    balance_db = [_balance_db(seed, config) for seed in range(30)]
    assert np.std(balance_db) > 4.0
    assert min(balance_db) < 0 < max(balance_db)


def test_distance_swallows_the_high_end_and_never_lifts_it() -> None:
    config = dataclasses.replace(NOTHING, colour_chance=1.0, colour_db=0.0, far_db=20.0)
    balance_db = [_balance_db(seed, config) for seed in range(30)]
    assert max(balance_db) <= 0.0
    assert -10.5 < min(balance_db) < -7.0  # 20 dB * 8.3 kHz / 16 kHz at the most


def test_an_echo_follows_the_sound_and_leaves_its_start_alone() -> None:
    config = dataclasses.replace(NOTHING, echo_chance=1.0, echo_db=(-6.0, -6.0))
    samples = np.zeros(SAMPLE_RATE_HZ, np.float32)
    samples[8000] = 1.0
    changed = vary(np.random.default_rng(0), samples, config)[0]
    assert np.abs(changed[:8000]).max() < 1e-4
    assert changed[8000] == pytest.approx(1.0, abs=1e-3)
    tail = np.square(changed[8001:].astype(np.float64))
    assert tail.sum() == pytest.approx(10**-0.6, rel=0.2)
    assert tail[:8000].sum() > 3 * tail[8000:].sum()
