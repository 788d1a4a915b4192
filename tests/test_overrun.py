"""After an overrun the clock says how much was lost, however late single readings are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.sound.live.overrun import OverrunGauge
from recorder.sound.live.source import Sound

RATE_HZ, BLOCK = 48_000, 2_400


def block(at_s: float, *, overflowed: bool = False) -> Sound:
    return Sound(np.zeros((BLOCK, 1), np.int16), 0, overflowed, round(at_s * 1e9))


@given(st.integers(0, 100_000), st.integers(0, 50))
def test_the_earliest_reading_counts(lost: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gauge = OverrunGauge(lambda frames: frames / RATE_HZ, RATE_HZ)
    released: list[Sound] = []
    found, heard = 0, 0
    for number in range(1, 41):
        late_s = 0.0 if number % 5 == 0 else float(rng.exponential(0.05))
        gone = lost if number > 10 else 0
        sound = block((BLOCK * number + gone) / RATE_HZ + late_s, overflowed=number == 11)
        more, ready = gauge.push(sound, heard + found)
        found += more
        released += ready
        heard += BLOCK * len(ready)
    assert len(released) == 40
    assert found == (pytest.approx(lost, abs=2) if lost > 0.002 * RATE_HZ else 0)


def test_an_end_in_between_decides_at_once() -> None:
    gauge = OverrunGauge(lambda frames: frames / RATE_HZ, RATE_HZ)
    assert gauge.push(block(0.15, overflowed=True), 0) == (0, [])
    assert gauge.holding
    lost, held = gauge.release()
    assert lost == round(0.1 * RATE_HZ)
    assert len(held) == 1
    assert gauge.release() == (0, [])
