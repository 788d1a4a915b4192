"""A recording without its own noise: the calls stay, the noise goes, and the rest is the noise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from recorder.detect.mel import SAMPLE_RATE_HZ
from train.clips.denoise import denoised

BURSTS_S = ((1.0, 1.3), (3.0, 3.4), (5.5, 5.8))
SECONDS = 8.0


def _tone() -> NDArray[np.float64]:
    seconds = np.arange(int(SECONDS * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    heard = np.any([(seconds >= begin) & (seconds < end) for begin, end in BURSTS_S], axis=0)
    return np.asarray(heard * 6000.0 * np.sin(2 * np.pi * 3000.0 * seconds))


def _power_db(samples: NDArray[np.generic], begin_s: float, end_s: float) -> float:
    part = samples[int(begin_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)].astype(np.float64)
    return float(10 * np.log10(np.square(part).mean() + 1e-9))


@pytest.fixture(scope="module")
def noisy() -> NDArray[np.int16]:
    hiss = np.random.default_rng(0).normal(0.0, 400.0, int(SECONDS * SAMPLE_RATE_HZ))
    return np.asarray(_tone() + hiss, np.int16)


def test_the_noise_between_the_calls_goes(noisy: NDArray[np.int16]) -> None:
    assert _power_db(denoised(noisy), 1.6, 2.8) < _power_db(noisy, 1.6, 2.8) - 12.0


def test_the_calls_stay_as_loud_as_they_were(noisy: NDArray[np.int16]) -> None:
    clean = denoised(noisy)
    for begin, end in BURSTS_S:
        assert _power_db(clean, begin, end) == pytest.approx(
            _power_db(_tone(), begin, end), abs=0.5
        )


def test_what_was_taken_out_does_not_hold_the_calls(noisy: NDArray[np.int16]) -> None:
    taken = noisy.astype(np.int32) - denoised(noisy)
    quiet = _power_db(taken, 1.6, 2.8)
    for begin, end in BURSTS_S:
        assert _power_db(taken, begin + 0.05, end - 0.05) < quiet + 1.0


@pytest.mark.parametrize("length", [1, 2, 511, 1024, 5000, 32_001])
def test_a_recording_of_any_length_keeps_its_length(length: int) -> None:
    samples = np.random.default_rng(length).integers(-9000, 9000, length, np.int16)
    clean = denoised(samples)
    assert clean.dtype == np.int16
    assert clean.shape == (length,)


def test_silence_stays_silence_and_calls_in_silence_stay_untouched() -> None:
    assert not denoised(np.zeros(40_000, np.int16)).any()
    tone = _tone().astype(np.int16)
    np.testing.assert_allclose(denoised(tone), tone, atol=60)


def test_full_scale_does_not_wrap_around() -> None:
    square = np.where(np.arange(64_000) // 40 % 2, 32767, -32768).astype(np.int16)
    square[:40_000] = 0
    assert np.abs(denoised(square).astype(np.int32) - square).max() < 40_000
