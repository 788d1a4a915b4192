"""Levels: what is loud for birds is not what holds the most power."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from recorder.detect.mel import SAMPLE_RATE_HZ
from train.scenes.levels import from_db, limited, loud_level, rms, steady_level


def _tone(hz: float, amplitude: float, seconds: float = 2.0) -> NDArray[np.float32]:
    times = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (amplitude * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def test_rumble_does_not_set_the_level_of_a_call() -> None:
    call = _tone(4000.0, 0.1)
    assert loud_level(call + _tone(60.0, 0.3)) == pytest.approx(loud_level(call), rel=0.1)
    assert steady_level(_tone(60.0, 0.3)) < 0.2 * steady_level(_tone(4000.0, 0.3))


def test_the_loud_level_is_that_of_the_calls_and_not_of_the_pauses() -> None:
    call = _tone(4000.0, 0.1)
    mostly_silent = np.concatenate((np.zeros(8 * len(call), np.float32), call))
    assert loud_level(mostly_silent) == pytest.approx(loud_level(call), rel=0.05)


@pytest.mark.parametrize("length", [0, 1, 2, 639, 641])
def test_levels_of_next_to_nothing_are_above_zero(length: int) -> None:
    silence = np.zeros(length, np.float32)
    assert 0.0 < loud_level(silence) < 1e-5
    assert 0.0 < steady_level(silence) < 1e-5


def test_decibels_are_of_amplitude() -> None:
    assert from_db(0.0) == 1.0
    assert from_db(20.0) == pytest.approx(10.0)
    assert from_db(-6.0206) == pytest.approx(0.5, rel=1e-4)


def test_a_mix_above_full_scale_is_turned_down_as_a_whole_and_others_are_left_alone() -> None:
    loud = _tone(1000.0, 3.0)
    assert np.abs(limited(loud)).max() == pytest.approx(0.98)
    np.testing.assert_allclose(limited(loud) / loud.max(), loud * 0.98 / loud.max() ** 2, atol=1e-6)
    quiet = _tone(1000.0, 0.5)
    assert limited(quiet) is quiet


def test_rms_of_integers_does_not_overflow() -> None:
    assert rms(np.full(10, 30_000, np.int16)) == pytest.approx(30_000)
    assert rms(np.zeros(0)) == 0.0


def test_digital_silence_around_a_short_call_does_not_raise_it_without_end() -> None:
    call = _tone(4000.0, 0.1, 0.1)
    alone = np.concatenate((np.zeros(5 * SAMPLE_RATE_HZ, np.float32), call))
    assert loud_level(alone) == pytest.approx(0.01 * loud_level(call), rel=0.05)
