"""List and prior on scores: the formula, and what can never happen."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from recorder.detect.decide import detected, judged
from recorder.detect.occurrence import RARE, SMALLEST, UNKNOWN, Moments, Occurrence

CLASSES = 3
SHARES = st.floats(0.0, 1.0, width=32)
TABLES = st.sampled_from([(1, 1), (48, 1), (1, 24), (48, 24)]).flatmap(
    lambda shape: arrays(np.float64, (CLASSES, *shape), elements=SHARES | st.just(math.nan))
)
SCORES = arrays(np.float32, st.tuples(st.integers(1, 6), st.just(CLASSES + 1)), elements=SHARES)
WEIGHTS = st.floats(0.0, 10.0)


def everywhere(count: int, week: int = UNKNOWN, hour: int = UNKNOWN) -> Moments:
    return Moments(np.full(count, week), np.full(count, hour))


def occurrence(table: NDArray[np.float64], weight: float = 0.5, missing: int = -1) -> Occurrence:
    return Occurrence(np.arange(len(table)) != missing, table, weight)


def by_hand(score: float, now: float, best: float, weight: float) -> float:
    logit = math.log(score / (1.0 - score))
    logit += weight * math.log((now + SMALLEST) / (max(best, RARE) + SMALLEST))
    return 1.0 / (1.0 + math.exp(-logit))


@pytest.mark.parametrize("score", [0.02, 0.3, 0.97])
@pytest.mark.parametrize("now", [0.0, 0.004, 0.2])
def test_it_is_the_formula(score: float, now: float) -> None:
    table = np.full((1, 48, 1), 0.5)
    table[0, 7] = now
    outputs = np.array([[score]], np.float32)
    found = occurrence(table, 0.7).adjusted(outputs, everywhere(1, week=7))[0, 0]
    assert found == pytest.approx(by_hand(score, now, 0.5, 0.7), rel=1e-4)


def test_what_is_never_met_is_lowered_at_any_time() -> None:
    outputs = np.array([[0.3]], np.float32)
    found = occurrence(np.zeros((1, 48, 1))).adjusted(outputs, everywhere(1, week=7))[0, 0]
    assert found == pytest.approx(by_hand(0.3, 0.0, RARE, 0.5), rel=1e-4)


@given(SCORES, TABLES, WEIGHTS, st.integers(-1, 47), st.integers(-1, 23))
def test_no_score_is_raised_or_impossible(
    outputs: NDArray[np.float32], table: NDArray[np.float64], weight: float, week: int, hour: int
) -> None:
    found = occurrence(table, weight).adjusted(outputs, everywhere(len(outputs), week, hour))
    assert (found <= outputs).all()
    assert (found >= 0.0).all()
    assert (found[:, CLASSES] == outputs[:, CLASSES]).all()
    assert found.dtype == np.float32


@given(SCORES, TABLES)
def test_without_weight_or_knowledge_scores_are_the_same_bits(
    outputs: NDArray[np.float32], table: NDArray[np.float64]
) -> None:
    when = everywhere(len(outputs), 3, 4)
    nothing = np.full_like(table, math.nan)
    for one in (occurrence(table, 0.0), occurrence(nothing, 5.0)):
        assert one.adjusted(outputs, when).tobytes() == outputs.tobytes()


@given(SCORES, WEIGHTS, st.tuples(SHARES, SHARES).map(sorted))
def test_more_often_met_is_never_a_lower_score(
    outputs: NDArray[np.float32], weight: float, shares: list[float]
) -> None:
    low, high = (np.full((CLASSES, 48, 1), 1.0) for _ in shares)
    low[:, 5], high[:, 5] = shares
    when = everywhere(len(outputs), week=5)
    lower = occurrence(low, weight).adjusted(outputs, when)
    assert (lower <= occurrence(high, weight).adjusted(outputs, when)).all()


@given(SCORES, TABLES, WEIGHTS, st.floats(0.01, 0.99), st.integers(-1, CLASSES - 1))
def test_what_is_said_and_what_is_rejected_are_what_was_heard(
    outputs: NDArray[np.float32],
    table: NDArray[np.float64],
    weight: float,
    limit: float,
    missing: int,
) -> None:
    limits = np.full(CLASSES + 1, limit, np.float32)
    place, when = occurrence(table, weight, missing), everywhere(len(outputs), 1, 2)
    heard = detected(outputs, limits, CLASSES)[:, :CLASSES]
    verdict = judged(outputs, limits, CLASSES, place, when)
    said = verdict.said[:, :CLASSES]
    assert ((said | verdict.rejected) == heard).all()
    assert not (said & verdict.rejected).any()
    if missing >= 0:
        assert not said[:, missing].any()
    # Any bird: where it passes and no species is left, whoever was heard.
    bird = (outputs[:, CLASSES] >= limits[CLASSES]) & ~said.any(axis=1)
    assert (verdict.said[:, CLASSES] == bird).all()


def test_the_mean_stands_for_what_is_not_known_of_the_time() -> None:
    table = np.full((1, 48, 24), 0.1)
    table[0, 3, :] = np.linspace(0.0, 0.8, 24)
    table[0, 3, 0] = math.nan
    place = occurrence(table)
    known = {
        (3, 23): (0.8, "in week 4, hour 23"),
        (3, UNKNOWN): (np.nanmean(table[0, 3]), "in week 4"),
        (UNKNOWN, 23): (np.nanmean(table[0, :, 23]), "in hour 23"),
        (UNKNOWN, UNKNOWN): (np.nanmean(table), "on average"),
    }
    for (week, hour), (now, words) in known.items():
        assert place.reason(0, week, hour) == f"prior: {now:.3g} {words}"
        found = place.adjusted(np.array([[0.5]], np.float32), everywhere(1, week, hour))
        assert found[0, 0] == pytest.approx(by_hand(0.5, float(now), 0.8, 0.5), rel=1e-4)


def test_the_reason_names_what_decided() -> None:
    weekly = occurrence(np.full((2, 48, 1), 0.002), missing=1)
    assert weekly.reason(0, 21, 3) == "prior: 0.002 in week 22"
    assert weekly.reason(1, 21, 3) == "not on the species list"
    assert occurrence(np.full((1, 48, 24), 0.002)).reason(0, 21, 3) == (
        "prior: 0.002 in week 22, hour 3"
    )


def test_a_score_that_is_no_number_stays_none() -> None:
    outputs = np.array([[math.nan, 0.5]], np.float32)
    found = occurrence(np.zeros((2, 1, 1))).adjusted(outputs, everywhere(1))
    assert math.isnan(found[0, 0])
    assert 0.0 < found[0, 1] < 0.5


def test_two_that_judge_the_same_are_equal_here_and_over_there() -> None:
    table = np.full((2, 48, 1), 0.25)
    place = occurrence(table)
    place.adjusted(np.ones((1, 2), np.float32), everywhere(1))
    sent = pickle.dumps(place)
    assert pickle.loads(sent) == place
    assert len(sent) < 2 * table.nbytes
    others = (occurrence(table * 0.5), occurrence(table, 0.4), occurrence(table, missing=0))
    assert all(other != place for other in others)
