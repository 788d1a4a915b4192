"""A microphone that is not well is said within a minute, and a quiet night is not an illness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.sound.live.health import HealthChange, MicrophoneHealth

Floats = NDArray[np.float32]
RATE_HZ = 8_000


def noise(seconds: int, dbfs: float, seed: int = 0) -> Floats:
    """As a 16-bit converter gives it, [frames, 1]."""
    rng = np.random.default_rng(seed)
    sound = rng.standard_normal(seconds * RATE_HZ) * 10 ** (dbfs / 20)
    return (np.round(sound * 32_768) / 32_768).clip(-1, 1).astype(np.float32)[:, np.newaxis]


def hum(seconds: int, mains_hz: float, dbfs: float) -> Floats:
    """A bad cable: the mains and its odd harmonics over a quiet night, [frames, 1]."""
    time_s = np.arange(seconds * RATE_HZ) / RATE_HZ
    lines = sum(np.sin(2 * np.pi * mains_hz * k * time_s + k) / k for k in (1, 3, 5, 7))
    sound = noise(seconds, -70.0)[:, 0] + lines * 10 ** (dbfs / 20)
    return np.asarray(sound, np.float32)[:, np.newaxis]


ILL = {
    "dead": np.zeros((120 * RATE_HZ, 1), np.float32),
    "deaf": noise(120, -90.0),
    "dc": noise(120, -40.0) + np.float32(0.2),
    "clipped": np.clip(noise(120, 0.0) * 4, -1, 1),
    "hum": hum(120, 50.1, -40.0),
}


@pytest.mark.parametrize("problem", ILL)
def test_it_is_said_within_a_minute_and_when_it_is_over(problem: str) -> None:
    health = MicrophoneHealth(RATE_HZ, 1)
    assert health.push(noise(60, -50.0)) == []
    (said,) = health.push(ILL[problem])
    assert (said.problem, said.begins) == (problem, True)
    assert said.at_frame <= 120 * RATE_HZ
    assert health.problems == {problem}
    (over,) = health.push(noise(60, -50.0))
    assert (over.problem, over.begins) == (problem, False)
    assert health.problems == frozenset()


@pytest.mark.parametrize("dbfs", [-70.0, -75.0, -50.0, -15.0])
def test_no_false_alarm(dbfs: float) -> None:
    health = MicrophoneHealth(RATE_HZ, 1)
    assert [change for minute in range(30) for change in health.push(noise(60, dbfs, minute))] == []
    assert health.level_dbfs == pytest.approx(dbfs, abs=1.0)
    assert health.peak_dbfs > health.level_dbfs


def test_hum_of_either_mains_and_one_too_weak_to_matter() -> None:
    for sound, problems in (
        (hum(40, 59.9, -30.0), {"hum"}),
        (hum(40, 50.0, -85.0), set()),
        (hum(40, 50.0, -55.0) + noise(40, -45.0), set()),
        (hum(40, 110.0, -40.0), set()),
    ):
        health = MicrophoneHealth(RATE_HZ, 1)
        health.push(sound)
        assert health.problems == problems


def test_wind_and_a_generator_of_low_song_are_no_hum() -> None:
    rng = np.random.default_rng(1)
    brown = np.cumsum(rng.standard_normal(60 * RATE_HZ))
    brown -= np.convolve(brown, np.ones(RATE_HZ) / RATE_HZ, "same")
    wind = (0.05 * brown / np.abs(brown).max()).astype(np.float32)[:, np.newaxis]
    time_s = np.arange(60 * RATE_HZ) / RATE_HZ
    owl = 0.05 * np.sin(2 * np.pi * 340 * time_s) * (np.sin(2 * np.pi * 0.3 * time_s) > 0)
    for sound in (wind, owl.astype(np.float32)[:, np.newaxis] + noise(60, -65.0)):
        health = MicrophoneHealth(RATE_HZ, 1)
        assert health.push(sound) == []


def test_one_dead_channel_is_named() -> None:
    health = MicrophoneHealth(RATE_HZ, 2)
    (said,) = health.push(np.hstack([noise(40, -50.0), ILL["dead"][: 40 * RATE_HZ]]))
    assert (said.problem, said.begins) == ("dead", True)
    assert said.detail.startswith("channel 2 of the microphone: one constant value")
    assert health.level_dbfs == pytest.approx(-50.0, abs=1.0)


@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=6))
def test_blocks_of_any_size_say_the_same(sizes: list[int]) -> None:
    sound = np.concatenate([noise(10, -50.0), ILL["dead"][: 45 * RATE_HZ], noise(40, -50.0)])
    expected = MicrophoneHealth(RATE_HZ, 1).push(sound)
    health, place = MicrophoneHealth(RATE_HZ, 1), 0
    found: list[HealthChange] = []
    while place < len(sound):
        for size in sizes:
            found += health.push(sound[place : place + size])
            place += size
    assert found == expected
    assert len(found) == 2


def test_a_moment_is_no_illness_and_a_new_device_begins_anew() -> None:
    health = MicrophoneHealth(RATE_HZ, 1)
    assert health.push(np.concatenate([ILL["dead"][: 20 * RATE_HZ], noise(60, -50.0)])) == []
    health.push(ILL["dead"][: 25 * RATE_HZ])
    health.reset()
    assert health.push(ILL["dead"][: 25 * RATE_HZ]) == []
