"""Aggregation and the sliding window against their formulas in slow float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.postprocess import (
    aggregate,
    chunk_and_between,
    chunk_probabilities,
    global_correction,
    power_average,
    recurrent,
    sigmoid,
    sliding_window,
)

Floats = NDArray[np.float32]


def logits_of(tokens: int, classes: int = 3, seed: int = 0, spread: float = 4.0) -> Floats:
    values = np.random.default_rng(seed).normal(-2.0, spread, (tokens, classes))
    return values.astype(np.float32)


def slow_aggregate(column: Floats, r: float) -> float:
    return math.log(sum(math.exp(r * float(s)) for s in column) / len(column)) / r


def slow_probability(column: Floats) -> float:
    return 1.0 / (1.0 + math.exp(-slow_aggregate(column, 5.0)))


def slow_chunk_probabilities(logits: Floats) -> NDArray[np.float64]:
    """§2.5(3) with a loop over chunks: missing neighbours leave the mean."""
    chunks, classes = len(logits) // 16, logits.shape[1]
    result = np.empty((chunks, classes))
    for chunk in range(chunks):
        for index in range(classes):
            total = weight = 0.0
            for offset, share in ((-8, 0.25), (0, 0.5), (8, 0.25)):
                first = chunk * 16 + offset
                if first >= 0 and first + 16 <= chunks * 16:
                    total += share * slow_probability(logits[first : first + 16, index])
                    weight += share
            result[chunk, index] = total / weight
    return result


@pytest.mark.parametrize("r", [5.0, -1.0])
@given(st.integers(1, 40), st.integers(0, 99))
def test_aggregate_is_log_mean_exp(r: float, tokens: int, seed: int) -> None:
    logits = logits_of(tokens, seed=seed)
    expected = [slow_aggregate(logits[:, index], r) for index in range(3)]
    np.testing.assert_allclose(aggregate(logits, r), expected, atol=1e-5)


def test_r_5_is_the_default_and_batches_are_taken_apart() -> None:
    logits = logits_of(64).reshape(4, 16, 3)
    rows = np.stack([aggregate(chunk, 5.0) for chunk in logits])
    np.testing.assert_array_equal(aggregate(logits), rows)


@pytest.mark.parametrize("r", [5.0, -1.0])
def test_equal_tokens_aggregate_to_themselves(r: float) -> None:
    np.testing.assert_allclose(aggregate(np.full((16, 2), -3.0, np.float32), r), -3.0, atol=1e-6)


@pytest.mark.parametrize("r", [5.0, -1.0])
@pytest.mark.parametrize("level", [-200.0, 200.0])
def test_logits_of_200_do_not_overflow(r: float, level: float) -> None:
    logits = np.zeros((16, 2), np.float32)
    logits[3], logits[:, 1] = level, level
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = aggregate(logits, r)
        probabilities = chunk_probabilities(logits)
    assert result[1] == pytest.approx(level)
    assert np.isfinite(result).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_one_loud_token_of_sixteen_moves_the_soft_maximum_by_log_16_over_5() -> None:
    logits = np.full((16, 1), -50.0, np.float32)
    logits[7] = 3.0
    assert aggregate(logits)[0] == pytest.approx(3.0 - math.log(16) / 5, abs=1e-5)


def test_sigmoid_is_exact_in_the_middle_and_bounded_at_the_ends() -> None:
    values = np.array([-200.0, -5.0, 0.0, 5.0, 200.0], np.float32)
    expected = [0.0, 1 / (1 + math.exp(5)), 0.5, 1 / (1 + math.exp(-5)), 1.0]
    np.testing.assert_allclose(sigmoid(values), expected, atol=1e-7)


@pytest.mark.parametrize("chunks", [1, 2, 3, 25])
def test_the_sliding_window_is_the_loop_over_chunks(chunks: int) -> None:
    logits = logits_of(chunks * 16, classes=4, seed=chunks)
    np.testing.assert_allclose(
        chunk_probabilities(logits), slow_chunk_probabilities(logits), atol=1e-6
    )


def test_a_lone_chunk_is_its_own_probability() -> None:
    logits = logits_of(16)
    np.testing.assert_allclose(chunk_probabilities(logits)[0], sigmoid(aggregate(logits)))


def test_certainty_stays_certainty_at_the_edges() -> None:
    for chunks in (1, 2, 5):
        certain = chunk_probabilities(np.full((chunks * 16, 1), 100.0, np.float32))
        np.testing.assert_allclose(certain, 1.0)


def test_tokens_beyond_the_last_whole_chunk_change_nothing() -> None:
    logits = logits_of(3 * 16 + 5)
    np.testing.assert_array_equal(chunk_probabilities(logits), chunk_probabilities(logits[:48]))


def test_the_chunks_between_start_half_a_chunk_later() -> None:
    logits = logits_of(4 * 16 + 3)
    own, between = chunk_and_between(logits)
    assert (own.shape, between.shape) == ((4, 3), (3, 3))
    np.testing.assert_allclose(between[1], sigmoid(aggregate(logits[24:40])))
    np.testing.assert_array_equal(sliding_window(own, between), chunk_probabilities(logits))


def test_the_global_correction_lifts_a_class_that_is_certain_somewhere_and_no_other() -> None:
    record = np.array([[0.6, 0.5, 0.9], [0.2, 0.1, 0.0]], np.float32)
    expected = [[0.78, 0.5, 1.0], [0.26, 0.1, 0.0]]
    np.testing.assert_allclose(global_correction(record), expected, atol=1e-6)
    np.testing.assert_allclose(
        global_correction(record, factor=2.0, certain=0.7), [[0.6, 0.5, 1.0], [0.2, 0.1, 0.0]]
    )


def test_the_power_average_is_the_root_of_the_mean_square() -> None:
    each = [np.array([[0.0, 0.6]], np.float32), np.array([[1.0, 0.8]], np.float32)]
    np.testing.assert_allclose(power_average(each), [[math.sqrt(0.5)] * 2], atol=1e-6)
    weighted = [[math.sqrt(0.3), math.sqrt(0.7 * 0.36 + 0.3 * 0.64)]]
    np.testing.assert_allclose(power_average(each, [0.7, 0.3]), weighted, atol=1e-6)
    np.testing.assert_allclose(power_average(each, [7, 3]), weighted, atol=1e-6)


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [1.0, -1.0]])
def test_weights_that_mean_nothing_are_refused(weights: list[float]) -> None:
    each = [np.zeros((1, 1), np.float32)] * 2
    with pytest.raises(ValueError, match="2 models with the weights"):
        power_average(each, weights)


def test_the_whole_order_is_pinned() -> None:
    """tokens -> aggregation -> sliding window -> global correction -> power average (§2.5).

    The numbers come from a calculation by hand (plain floats) of four chunks of one class: the
    segmenter's tokens are all alike within half a chunk, the classifier's are its chunks' scores.
    """
    halves = np.array([-2.0, -2.0, 2.0, 2.0, -2.0, -2.0, -2.0, -2.0], np.float32)
    segmenter = chunk_probabilities(np.repeat(halves, 8)[:, np.newaxis])
    own = np.array([[0.1], [0.7], [0.1], [0.1]], np.float32)
    between = np.array([[0.4], [0.4], [0.1]], np.float32)
    smoothed = sliding_window(own, between)
    np.testing.assert_allclose(smoothed[:, 0], [0.2, 0.55, 0.175, 0.1], atol=1e-6)
    classifier = global_correction(smoothed)
    np.testing.assert_allclose(classifier[:, 0], [0.26, 0.715, 0.2275, 0.13], atol=1e-6)
    np.testing.assert_allclose(segmenter[:, 0], [0.367954, 0.873127, 0.305766, 0.119203], atol=1e-5)
    both = power_average([segmenter, classifier], [0.7, 0.3])
    np.testing.assert_allclose(both[:, 0], [0.339195, 0.828862, 0.284556, 0.122542], atol=1e-5)


def test_what_is_clear_once_in_a_window_is_lifted_above_what_is_nowhere_clear() -> None:
    window = np.array([[0.2, 0.2, 0.9], [0.81, 0.25, 0.4]], np.float32)
    found = recurrent(window, 2, 0.5)
    np.testing.assert_allclose(found, [[0.18, 0.1, 0.9], [0.729, 0.125, 0.4]], atol=1e-6)
    np.testing.assert_array_equal(recurrent(window, 2, 0.0), window)
    assert recurrent(window[:0], 2, 0.5).shape == (0, 3)
    assert window[0, 0] == np.float32(0.2)


def test_the_share_of_a_chunk_itself_may_be_another_than_the_papers() -> None:
    own = np.array([[0.1], [0.9], [0.2]], np.float32)
    between = np.array([[0.5], [0.3]], np.float32)
    found = sliding_window(own, between, 0.8)[:, 0]
    expected = [(0.08 + 0.05) / 0.9, 0.72 + 0.05 + 0.03, (0.16 + 0.03) / 0.9]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(sliding_window(own, between, 1.0), own, atol=1e-7)
