"""Frames to the time of day: two clocks, a crystal that is off, readings that come late."""

from __future__ import annotations

import numpy as np
import pytest

from recorder.sound.live.clock import SystemClock, utc_seconds, utc_text
from recorder.sound.live.timeline import ClockStep, Timeline

WALL_S = 1_780_000_000.0


def run(
    timeline: Timeline, *, hours: float, drift: float = 0.0, jitter_s: float = 0.02, seed: int = 0
) -> float:
    """Blocks of half a second, read late by up to `jitter_s`; the largest error in seconds."""
    rng, rate_hz, worst_s = np.random.default_rng(seed), timeline.rate_hz * (1 + drift), 0.0
    for number in range(1, int(hours * 7_200)):
        frames = number * 24_000
        true_s = 100.0 + frames / rate_hz
        late_s = true_s + rng.exponential(jitter_s)
        timeline.mark(frames, late_s, WALL_S + late_s, True)
        if number > 40:
            worst_s = max(worst_s, abs(timeline.utc_s(frames) - WALL_S - true_s))
    return worst_s


@pytest.mark.parametrize("drift", [0.0, 1e-4, -1e-4])
def test_a_crystal_that_is_off_does_not_add_up(drift: float) -> None:
    assert run(Timeline(48_000), hours=6, drift=drift) < 0.05


def test_the_pace_is_measured_and_a_wrong_one_said() -> None:
    timeline = Timeline(48_000)
    run(timeline, hours=0.1, drift=47_900 / 48_000 - 1)
    assert timeline.rate_hz == pytest.approx(47_900, rel=1e-4)
    assert timeline.wrong_rate is not None
    assert "promised 48000" in timeline.wrong_rate
    well = Timeline(48_000)
    run(well, hours=0.1, drift=1e-4)
    assert well.wrong_rate is None


@pytest.mark.parametrize("late_from_s", [1, 31, 51])
def test_a_machine_too_busy_to_read_for_ten_seconds_is_no_wrong_rate(late_from_s: int) -> None:
    timeline = Timeline(48_000)
    for number in range(1, 400):
        true_s = number / 2
        late_s = 0.4 if late_from_s <= true_s < late_from_s + 11 else 0.0
        timeline.mark(number * 24_000, true_s + late_s, WALL_S + true_s + late_s, True)
        assert timeline.wrong_rate is None


def test_time_never_goes_back_with_the_frames() -> None:
    timeline = Timeline(48_000)
    run(timeline, hours=1, drift=5e-5, jitter_s=0.3, seed=1)
    frames = np.arange(0, 3_600 * 48_000, 7_777)
    times = np.array([timeline.boottime_of(int(frame)) for frame in frames])
    assert (np.diff(times) > 0).all()


def test_a_clock_that_is_set_is_a_step_and_a_slewed_one_is_followed() -> None:
    timeline = Timeline(1_000)
    assert timeline.mark(1_000, 1.0, 1_000.0, False) == []
    assert not timeline.synced
    (step,) = timeline.mark(2_000, 2.0, WALL_S, True)
    assert step == ClockStep(2_000, pytest.approx(WALL_S - 1_001.0), True)
    assert timeline.synced
    assert timeline.utc_s(2_000) == pytest.approx(WALL_S)
    (back,) = timeline.mark(3_000, 3.0, WALL_S - 3_600.0, True)
    assert back.step_s == pytest.approx(-3_601.0)
    for second in range(4, 600):
        assert timeline.mark(1_000 * second, second, WALL_S - 3_603.0 + second + 0.1, True) == []
    assert timeline.utc_s(599_000) == pytest.approx(WALL_S - 3_603.0 + 599.1, abs=0.01)


def test_a_gap_is_so_many_frames() -> None:
    timeline = Timeline(48_000)
    assert timeline.frames_between(10.0, 12.5) == 120_000
    assert timeline.frames_between(12.5, 10.0) == 0


def test_times_as_text() -> None:
    text = utc_text(1_795_693_402.1234)
    assert text == "2026-11-26T11:43:22.123Z"
    assert utc_seconds(text) == pytest.approx(1_795_693_402.123)
    assert utc_text(0.9996) == "1970-01-01T00:00:01.000Z"


def test_the_machines_own_clocks() -> None:
    clock = SystemClock()
    assert clock.boottime_s() <= clock.boottime_s()
    assert clock.wall_s() > 1.7e9
    assert clock.synced() in (True, False)
    assert clock.boot_id() == SystemClock().boot_id()
