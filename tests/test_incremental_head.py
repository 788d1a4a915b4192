"""The head that slides says what the whole head says, whatever has come and gone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.attention import AttentionWeights, add_sums, attended
from recorder.detect.bundle import Bundle
from recorder.detect.halves import HalvedWindow
from recorder.detect.head_weights import HeadWeights, head_weights
from recorder.detect.incremental import ABSENT_LOGIT, IncrementalHead
from recorder.detect.inference import Networks
from recorder.detect.onnx_file import OnnxFile, read_onnx
from recorder.detect.window_head import WindowHead
from recorder.errors import ModelError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

WIDTH, HEADS, OUTPUTS, WINDOW = 16, 4, 3, 48
HALF = 12
SAME = 1e-5


def random_weights(loudness: float, seed: int = 0, blocks: int = 2) -> HeadWeights:
    """`loudness` scales queries and keys: from an even mean to a choice of one token."""
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> Floats:
        return (rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32)

    def block() -> AttentionWeights:
        mixed = matrix(WIDTH, 3 * WIDTH)
        mixed[:, : 2 * WIDTH] *= np.float32(loudness)
        return AttentionWeights(mixed, matrix(3 * WIDTH), matrix(WIDTH, WIDTH), matrix(WIDTH))

    every = tuple(block() for _ in range(blocks))
    return HeadWeights(every, matrix(WIDTH, OUTPUTS), matrix(OUTPUTS), HEADS)


def oracle(weights: HeadWeights, tokens: Floats) -> Doubles:
    """§2.3, slow and obvious, in doubles: every token's logits [tokens, outputs]."""
    values = tokens.astype(np.float64)
    for block in weights.blocks:
        query, key, value = np.split(
            values @ block.query_key_value + block.query_key_value_bias, 3, axis=1
        )
        mixed = []
        for part in np.split(np.arange(values.shape[1]), weights.heads):
            scores = query[:, part] @ key[:, part].T / len(part) ** 0.5
            terms = np.exp(scores - scores.max(axis=1, keepdims=True))
            mixed.append(terms @ value[:, part] / terms.sum(axis=1, keepdims=True))
        values = values + np.concatenate(mixed, axis=1) @ block.out + block.out_bias
    return np.asarray(values @ weights.classify + weights.classify_bias)


@dataclass
class History:
    """What was pushed and skipped, and what of it is still in the window."""

    tokens: list[Floats | None]

    def held(self, window: int = WINDOW) -> Floats:
        return np.array([one for one in self.tokens[-window:] if one is not None], np.float32)


def steps() -> st.SearchStrategy[list[int]]:
    """Positive: so many tokens come; negative: so many are skipped."""
    some = st.integers(1, 20) | st.integers(1, 20) | st.integers(-60, -1)
    return st.lists(some, min_size=1, max_size=40)


@given(
    st.integers(1, 300),
    st.sampled_from([0.0, 0.3, 1.0, 4.0]),
    st.integers(0, 1000),
    st.sampled_from([1, 2]),
)
def test_the_head_over_a_whole_window_is_the_paper(
    count: int, loudness: float, seed: int, blocks: int
) -> None:
    weights = random_weights(loudness, seed, blocks)
    tokens = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    expected = oracle(weights, tokens)
    found = WindowHead(weights)(tokens)
    assert found.dtype == np.float32
    scale = max(1.0, loudness)
    np.testing.assert_allclose(found, expected, atol=3e-5 * scale, rtol=1e-4 * scale)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.integers(1, 2 * HALF),
    st.sampled_from([0.3, 3.0, 30.0]),
    st.integers(0, 1000),
)
def test_windows_that_share_a_half_say_the_same_as_each_alone(
    places: list[int], last_tokens: int, loudness: float, seed: int
) -> None:
    """In whatever order: to the bit, and what the whole head says."""
    weights = random_weights(loudness, seed, blocks=1)
    every = np.random.default_rng(seed).standard_normal((7 * HALF, WIDTH)).astype(np.float32)
    windows = [every[HALF * place : HALF * (place + 2)] for place in places]
    windows.append(every[-last_tokens:])
    head = HalvedWindow(weights, HALF)
    for tokens in windows:
        found = head(tokens)
        np.testing.assert_array_equal(found, HalvedWindow(weights, HALF)(tokens))
        scale = max(1.0, loudness)
        expected = oracle(weights, tokens)
        np.testing.assert_allclose(found, expected, atol=3e-5 * scale, rtol=1e-4 * scale)


def test_a_half_that_is_shared_is_reckoned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "recorder.detect.halves.add_sums",
        lambda *args: (asked.append(1), add_sums(*args))[0],
    )
    head = HalvedWindow(random_weights(1.0, blocks=1), HALF)
    every = np.random.default_rng(0).standard_normal((4 * HALF, WIDTH)).astype(np.float32)
    for place, quarters in ((0, 4), (1, 3), (2, 3), (0, 4)):
        asked.clear()
        head(every[HALF * place : HALF * (place + 2)])
        assert len(asked) == quarters * HEADS


@pytest.mark.parametrize("shift", [-300.0, -40.0, 0.0, 70.0, 300.0])
def test_scores_that_floats_would_not_hold(shift: float) -> None:
    """A softmax does not see a constant added to all its scores."""
    rng = np.random.default_rng(1)
    query, keys = np.ones((1, 200, 4), np.float32), rng.standard_normal((1, 150, 4))
    values = rng.standard_normal((1, 150, 3)).astype(np.float32)
    scores = keys[0].sum(axis=1)
    terms = np.exp(scores - scores.max())
    expected = terms @ values[0] / terms.sum()
    found = attended(query, (keys + shift / 4).astype(np.float32), values)
    np.testing.assert_allclose(found[0], np.tile(expected, (200, 1)), atol=2e-4)


def test_the_packaged_head_over_a_whole_window_is_its_graph(
    bundle: Bundle, networks: Networks
) -> None:
    rng = np.random.default_rng(3)
    for count in (1, 16, 97, bundle.window_tokens):
        tokens = np.abs(rng.standard_normal((count, bundle.width))).astype(np.float32)
        np.testing.assert_allclose(
            networks.window_head(tokens), networks.attend(tokens), atol=1e-4, rtol=1e-4
        )


@given(steps(), st.sampled_from([0.3, 1.0, 4.0]), st.integers(0, 1000), st.sampled_from([1, 2]))
def test_it_is_the_whole_head_whatever_comes_and_goes(
    moves: list[int], loudness: float, seed: int, blocks: int
) -> None:
    weights, rng = random_weights(loudness, blocks=blocks), np.random.default_rng(seed)
    head, history = IncrementalHead(weights, WINDOW), History([])
    for move in moves:
        if move < 0:
            head.skip(-move)
            history.tokens += [None] * -move
            continue
        tokens = rng.standard_normal((move, WIDTH)).astype(np.float32)
        head.push(tokens)
        history.tokens += list(tokens)
        expected = oracle(weights, history.held())[-move:]
        np.testing.assert_allclose(head.logits(move), expected, atol=SAME, rtol=SAME)


@pytest.mark.parametrize("loudness", [1.0, 4.0, 8.0])
def test_thousands_of_steps_do_not_add_up(loudness: float) -> None:
    weights, rng = random_weights(loudness, seed=3), np.random.default_rng(1)
    head = IncrementalHead(weights, WINDOW)
    last: list[Floats] = []
    for _ in range(3000):
        # Loud tokens now and then draw all attention, and leave it behind when they go.
        size = 6.0 if rng.random() < 0.05 else 0.7
        tokens = (size * rng.standard_normal((4, WIDTH))).astype(np.float32)
        head.push(tokens)
        last = [*last, tokens][-WINDOW // 4 :]
    expected = oracle(weights, np.concatenate(last))[-8:]
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(head.logits(8), expected, atol=SAME * scale, rtol=0)
    assert 0.0 < head.drift < 1e-3


def test_a_token_that_drowned_all_others_leaves_no_trace() -> None:
    """What it took from the sums is all but everything: they must be made anew."""
    weights = random_weights(6.0, seed=5)
    rng = np.random.default_rng(2)
    head, tokens = IncrementalHead(weights, WINDOW), []
    loud = 12.0 * rng.standard_normal((1, WIDTH)).astype(np.float32)
    for new in (loud, *(0.3 * rng.standard_normal((1, WIDTH)) for _ in range(WINDOW + 5))):
        head.push(new.astype(np.float32))
        tokens.append(new.astype(np.float32))
    expected = oracle(weights, np.concatenate(tokens)[-WINDOW:])[-1:]
    np.testing.assert_allclose(head.logits(1), expected, atol=SAME, rtol=SAME)


def test_after_a_gap_as_long_as_the_window_it_starts_again() -> None:
    weights, rng = random_weights(1.0), np.random.default_rng(4)
    head, fresh = IncrementalHead(weights, WINDOW), IncrementalHead(weights, WINDOW)
    head.push(rng.standard_normal((WINDOW, WIDTH)).astype(np.float32))
    head.skip(10 * WINDOW)
    tokens = rng.standard_normal((5, WIDTH)).astype(np.float32)
    head.push(tokens)
    fresh.push(tokens)
    np.testing.assert_allclose(head.logits(5), fresh.logits(5), atol=SAME)


def test_what_is_not_there_is_no_bird() -> None:
    head = IncrementalHead(random_weights(1.0), WINDOW)
    assert (head.logits(1) == ABSENT_LOGIT).all()
    head.push(np.zeros((3, WIDTH), np.float32))
    head.push(np.zeros((0, WIDTH), np.float32))
    head.skip(1)
    there = [False, True, True, True, False]
    assert ((head.logits(5) != ABSENT_LOGIT).all(axis=1) == there).all()
    for wrong in (0, WINDOW + 1):
        with pytest.raises(ValueError, match="tokens of a window"):
            head.logits(wrong)
    with pytest.raises(ValueError, match="at once"):
        head.push(np.zeros((WINDOW + 1, WIDTH), np.float32))


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("count", [100, 97, 64, 1])
def test_many_tokens_are_answered_as_few_are(count: int, blocks: int) -> None:
    """Both ways through the last block, and portions that do not come out even."""
    weights, rng = random_weights(2.0, seed=6, blocks=blocks), np.random.default_rng(7)
    head = IncrementalHead(weights, 100)
    tokens = rng.standard_normal((100, WIDTH)).astype(np.float32)
    head.push(tokens)
    expected = oracle(weights, tokens)[-count:]
    np.testing.assert_allclose(head.logits(count), expected, atol=SAME, rtol=SAME)


def test_the_packaged_head_over_three_windows(bundle: Bundle, networks: Networks) -> None:
    """Against the graph itself, which rounds as well: 1e-5 of the largest logit."""
    rng = np.random.default_rng(9)
    # As loud as real tokens are: a few numbers of several, most near 0.
    count = 3 * bundle.window_tokens
    tokens = (rng.standard_t(3, (count, bundle.width)) * 0.25).astype(np.float32)
    head = networks.incremental_head()
    for begin in range(0, count, 16):
        head.push(tokens[begin : begin + 16])
        if begin + 16 in (160, 1920, 1936, 4000, count):
            stop = begin + 16
            whole = networks.attend(tokens[max(0, stop - bundle.window_tokens) : stop])[-16:]
            scale = max(1.0, float(np.abs(whole).max()))
            np.testing.assert_allclose(head.logits(16), whole, atol=SAME * scale, rtol=0)
    window = networks.attend(tokens[-bundle.window_tokens :])
    scale = max(1.0, float(np.abs(window).max()))
    np.testing.assert_allclose(
        head.logits(bundle.window_tokens), window, atol=2 * SAME * scale, rtol=0
    )


def test_a_head_without_named_weights_says_what_to_do(bundle: Bundle) -> None:
    graph = read_onnx(bundle.head_path)
    older = OnnxFile({}, graph.metadata, graph.operators)
    with pytest.raises(ModelError, match="export the model again"):
        head_weights(older)
