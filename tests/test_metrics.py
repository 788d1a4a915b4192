"""The figures of an evaluation, by hand and by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.metrics import (
    any_bird_auc,
    any_bird_threshold,
    average_precision,
    best_threshold,
    evaluate,
    nocall_share,
    per_class,
    pooled_f1,
    roc_auc,
    row_f1_at_nocall_share,
    row_wise_f1,
)

Bools = NDArray[np.bool_]

scored_rows = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25)
"""(score, truth) pairs with many ties."""


def bools(*rows: str) -> Bools:
    """`bools("10", "01")` is [[True, False], [False, True]]."""
    return np.array([[mark == "1" for mark in row] for row in rows])


def all_known(truth: Bools) -> Bools:
    return np.ones_like(truth)


def random_case(seed: int, rows: int = 40) -> tuple[NDArray[np.float64], Bools, Bools]:
    generator = np.random.default_rng(seed)
    scores = generator.random((rows, 4))
    return scores, generator.random((rows, 4)) < 0.3, generator.random((rows, 4)) < 0.8


def test_row_wise_f1_by_hand() -> None:
    truth = bools("110", "000", "000", "100", "010")
    predicted = bools("100", "000", "001", "000", "011")
    # 2/3; silence found: 1; a false bird in silence: 0; a bird missed: 0; one of two right: 2/3.
    expected = (2 / 3 + 1 + 0 + 0 + 2 / 3) / 5
    assert row_wise_f1(predicted, truth, all_known(truth)) == pytest.approx(expected)


def test_pooled_f1_by_hand() -> None:
    truth = bools("110", "000", "000", "100", "010")
    predicted = bools("100", "000", "001", "000", "011")
    # 2 hits, 4 predicted, 4 true.
    assert pooled_f1(predicted, truth, all_known(truth)) == pytest.approx(2 * 2 / (4 + 4))


def test_pooled_f1_of_nothing_is_0() -> None:
    silence = bools("00", "00")
    assert pooled_f1(silence, silence, all_known(silence)) == 0.0


@given(st.integers(0, 500))
def test_always_nocall_scores_the_share_of_silent_rows(seed: int) -> None:
    _, truth, known = random_case(seed)
    share = nocall_share(truth, known)
    assert row_wise_f1(np.zeros_like(truth), truth, known) == pytest.approx(share)


@given(st.integers(0, 500))
def test_the_truth_itself_scores_1(seed: int) -> None:
    _, truth, known = random_case(seed)
    assert row_wise_f1(truth, truth, known) == 1.0
    assert pooled_f1(truth, truth, known) == 1.0


@given(st.integers(0, 500))
def test_unknown_pairs_change_nothing(seed: int) -> None:
    scores, truth, known = random_case(seed)
    generator = np.random.default_rng(seed + 1)
    other_scores = np.where(known, scores, generator.random(scores.shape))
    other_truth = np.where(known, truth, generator.random(truth.shape) < 0.5)
    assert evaluate(scores, truth, known, 0.6) == evaluate(other_scores, other_truth, known, 0.6)
    assert best_threshold(scores, truth, known) == best_threshold(other_scores, other_truth, known)


@given(scored_rows)
def test_average_precision_is_the_mean_precision_at_each_true_row(
    rows: list[tuple[int, bool]],
) -> None:
    scores = np.array([score for score, _ in rows], np.float64)
    truth = np.array([true for _, true in rows])
    precisions = []
    for score, true in rows:
        if true:
            taken = [other_true for other, other_true in rows if other >= score]
            precisions.append(sum(taken) / len(taken))
    expected = sum(precisions) / len(precisions) if precisions else math.nan
    assert average_precision(scores, truth) == pytest.approx(expected, nan_ok=True)


@given(scored_rows)
def test_roc_auc_is_the_share_of_pairs_in_order_with_ties_half(
    rows: list[tuple[int, bool]],
) -> None:
    scores = np.array([score for score, _ in rows], np.float64)
    truth = np.array([true for _, true in rows])
    pairs = [
        (good > bad) + 0.5 * (good == bad)
        for good, is_good in rows
        if is_good
        for bad, is_bad in rows
        if not is_bad
    ]
    expected = sum(pairs) / len(pairs) if pairs else math.nan
    assert roc_auc(scores, truth) == pytest.approx(expected, nan_ok=True)


def test_one_score_for_all_rows_gains_nothing() -> None:
    scores, truth = np.zeros(10), np.arange(10) < 3
    assert roc_auc(scores, truth) == 0.5
    assert average_precision(scores, truth) == pytest.approx(0.3)


def test_classes_without_a_true_row_do_not_count() -> None:
    scores = np.array([[0.9, 0.2], [0.1, 0.7]])
    truth = bools("10", "00")
    precision, auc = per_class(scores, truth, all_known(truth))
    assert precision[0] == auc[0] == 1.0
    assert np.isnan(precision[1])
    assert np.isnan(auc[1])
    result = evaluate(scores, truth, all_known(truth), 0.8)
    assert (result.row_f1, result.pooled_f1, result.cmap, result.macro_auc) == (1, 1, 1, 1)
    assert "row-wise F1 1.000" in str(result)


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.7), (0.93, 0.97), (0.992, 0.996)])
def test_best_threshold_parts_what_can_be_parted(low: float, high: float) -> None:
    truth = np.random.default_rng(0).random((50, 3)) < 0.3
    scores = np.where(truth, high, low)
    threshold = best_threshold(scores, truth, all_known(truth))
    assert low < threshold <= high


def test_any_bird_is_judged_by_rows_with_a_call_and_rows_surely_without() -> None:
    truth = np.array([[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]], bool)
    known = np.array([[1, 1], [0, 1], [1, 1], [1, 1], [0, 1]], bool)
    # The last row may hold a call: its high score is no mistake.
    scores = np.array([0.9, 0.5, 0.6, 0.1, 1.0], np.float32)
    silent = ~truth.any(axis=1)
    assert any_bird_auc(scores, silent, truth, known) == pytest.approx(0.75)
    # The silent row that scores .1 was the call of another class after all.
    silent[3] = False
    assert any_bird_auc(scores, silent, truth, known) == pytest.approx(1 / 3)


def test_the_threshold_for_any_bird_lets_one_silent_row_in_a_hundred_pass() -> None:
    scores = np.linspace(0.0, 0.9, 1001, dtype=np.float32)
    truth = np.zeros((1001, 1), bool)
    known, silent = np.ones_like(truth), np.ones(1001, bool)
    assert any_bird_threshold(scores, silent, truth, known) == pytest.approx(0.891, abs=1e-3)
    assert any_bird_threshold(scores / 2, silent, truth, known) == 0.5
    assert any_bird_threshold(scores, ~silent, ~truth, known) == 0.5


def test_row_wise_f1_at_another_share_of_nocall_reweighs_the_rows() -> None:
    truth = np.array([[1, 0], [1, 0], [0, 0], [0, 0]], bool)
    predicted = np.array([[1, 0], [0, 0], [0, 0], [0, 1]], bool)
    known = np.ones_like(truth)
    # One of two calls is found; one of two silent rows stays silent.
    assert row_f1_at_nocall_share(predicted, truth, known, 0.5) == pytest.approx(
        row_wise_f1(predicted, truth, known)
    )
    all_right = np.array([[1, 0], [0, 0], [0, 0], [0, 0]], bool)
    assert row_f1_at_nocall_share(all_right, truth, known, 0.9) == pytest.approx(0.95)
    assert np.isnan(row_f1_at_nocall_share(predicted[:2], truth[:2], known[:2], 0.5))


def test_rows_of_which_nothing_is_known_count_neither_way() -> None:
    truth = np.zeros((10, 2), bool)
    truth[:2, 0] = True
    known = np.zeros_like(truth)
    known[:3] = True
    silent = np.zeros_like(truth)
    assert row_wise_f1(silent, truth, known) == pytest.approx(1 / 3)
    assert nocall_share(truth, known) == pytest.approx(1 / 3)
    assert row_f1_at_nocall_share(silent, truth, known, 0.5) == pytest.approx(0.5)
    assert best_threshold(truth * 0.5, truth, known) <= 0.5
    assert np.isnan(row_wise_f1(silent, truth, np.zeros_like(truth)))
    assert nocall_share(truth, np.zeros_like(truth)) == 0.0
