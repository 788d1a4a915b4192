"""Resampling: the same samples for any blocks, and from any section on."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.sound.resample import (
    StreamResampler,
    section_before,
    section_needs_from_s,
    section_start_s,
)

TO_HZ = 32_000
Floats = NDArray[np.float32]


def noise(seconds: float, rate_hz: int) -> Floats:
    samples = np.random.default_rng(1).standard_normal(round(seconds * rate_hz))
    return (0.1 * samples).astype(np.float32)


def resampled(samples: Floats, rate_hz: int, *, blocks: int, section: int = 0) -> Floats:
    resampler = StreamResampler(rate_hz, TO_HZ, section=section)
    pieces = [resampler.push(block) for block in np.array_split(samples, blocks)]
    return np.concatenate([*pieces, resampler.finish()])


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000, 96_000, 32_000])
def test_whoever_begins_at_a_section_gets_the_same_bits(rate_hz: int) -> None:
    samples = noise(620.3, rate_hz)
    whole = resampled(samples, rate_hz, blocks=97)
    for section in (1, 2):
        later = samples[section_needs_from_s(section) * rate_hz :]
        found = resampled(later, rate_hz, blocks=31, section=section)
        np.testing.assert_array_equal(found, whole[section_start_s(section) * TO_HZ :])


@pytest.mark.parametrize("rate_hz", [11_025, 44_100, 48_000])
def test_sections_are_heard_nowhere(rate_hz: int) -> None:
    """They differ from one filter over all of it by rounding alone."""
    samples = noise(301.7, rate_hz)
    expected = soxr.resample(samples, rate_hz, TO_HZ, quality="HQ")
    found = resampled(samples, rate_hz, blocks=13)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=5e-7)


@given(
    st.floats(min_value=288.5, max_value=292.5),
    st.integers(min_value=1, max_value=40),
    st.sampled_from([8_000, 22_050]),
)
def test_any_end_near_a_border_and_any_blocks_give_the_same(
    seconds: float, blocks: int, rate_hz: int
) -> None:
    samples = noise(seconds, rate_hz)
    expected = soxr.resample(samples, rate_hz, TO_HZ, quality="HQ")
    found = resampled(samples, rate_hz, blocks=blocks)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=5e-7)
    np.testing.assert_array_equal(found, resampled(samples, rate_hz, blocks=7))


def test_a_time_is_in_the_section_that_begins_before_it() -> None:
    for time_s in (0, 289.99, 290, 298.1, 589.9, 590, 10_000):
        section = section_before(time_s)
        assert section_start_s(section) <= time_s < section_start_s(section + 1)
