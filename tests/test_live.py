"""A live row is what the whole net says of the window that ends with its chunk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import MakeSound
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.bundle import Bundle
from recorder.detect.inference import Networks
from recorder.detect.live import LivePipeline
from recorder.detect.mel import TOKEN_SAMPLES, log_mel, samples_needed
from recorder.detect.pipeline import ChunkResult
from recorder.detect.postprocess import aggregate, sigmoid
from recorder.errors import ModelError

Floats = NDArray[np.float32]

CHUNKS = 9
WINDOW_TOKENS = 64
"""Twenty seconds: the window slides through all of the test's sound."""


@pytest.fixture(scope="module")
def short(bundle: Bundle) -> Networks:
    return Networks(replace(bundle, window_tokens=WINDOW_TOKENS, hop_tokens=WINDOW_TOKENS // 2))


def heard(networks: Networks, samples: Floats) -> list[ChunkResult]:
    return LivePipeline(networks).push(samples)


def test_it_is_the_whole_head_on_the_window_that_ends_with_the_chunk(
    short: Networks, birdlike: MakeSound
) -> None:
    """The oracle: all tokens, the whole head once a chunk, the paper's formulas in a row."""
    bundle, classes = short.bundle, len(short.bundle.labels)
    samples = birdlike(5.0 * (CHUNKS + 1), seed=3)
    tokens = short.encode(log_mel(samples, 16 * CHUNKS + bundle.halo_tokens, bundle.mel))
    history: list[Floats] = []
    for chunk, row in enumerate(heard(short, samples)[:CHUNKS]):
        stop = 16 * (chunk + 1)
        logits = short.attend(tokens[max(0, stop - WINDOW_TOKENS) : stop])
        own, weight = 0.8 * sigmoid(aggregate(logits[-16:])), 0.8
        if chunk:
            own, weight = own + 0.1 * sigmoid(aggregate(logits[-24:-8])), 0.9
        scores = own / weight
        scores[:classes] *= scores[classes]
        history = [*history, scores][-WINDOW_TOKENS // 16 :]
        best = np.max(history, axis=0)
        scores = np.append(scores[:classes] * best[:classes] ** 0.25, scores[classes])
        assert row.index == chunk
        np.testing.assert_allclose(row.scores, scores, atol=1e-4)
        np.testing.assert_allclose(row.token_scores, sigmoid(logits[-16:]), atol=1e-4)
    assert chunk == CHUNKS - 1


@settings(max_examples=8)
@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=5))
def test_blocks_of_any_size_give_the_same_bits(
    short: Networks, birdlike: MakeSound, sizes: list[int]
) -> None:
    samples = birdlike(22.0, seed=4)
    expected = heard(short, samples)
    pipeline, rows, place = LivePipeline(short), [], 0
    while place < len(samples):
        for size in sizes:
            rows += pipeline.push(samples[place : place + size])
            place += size
    assert [row.index for row in rows] == [row.index for row in expected] == [0, 1, 2, 3]
    for row, other in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(row.scores, other.scores)
        np.testing.assert_array_equal(row.token_scores, other.token_scores)


def test_a_row_is_spoken_within_two_and_a_half_seconds(
    short: Networks, birdlike: MakeSound
) -> None:
    samples = birdlike(10.0, seed=5)
    pipeline, place = LivePipeline(short), 0
    while not pipeline.push(samples[place : place + 320]):
        place += 320
    heard_until = place + 320
    bundle = short.bundle
    first_possible = samples_needed(16 + bundle.halo_tokens, bundle.mel)
    assert first_possible <= heard_until < first_possible + 320
    assert heard_until / 32_000 - 5.0 < 2.5
    assert first_possible - 16 * TOKEN_SAMPLES > bundle.halo_tokens * TOKEN_SAMPLES


def test_drift_is_known(short: Networks, birdlike: MakeSound) -> None:
    pipeline = LivePipeline(short)
    pipeline.push(birdlike(60.0, seed=6))
    assert 0.0 < pipeline.drift < 1e-3


def test_nan_is_never_nocall(
    short: Networks, birdlike: MakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        short, "encode", lambda frames: np.full((len(frames) // 32, short.bundle.width), np.nan)
    )
    with pytest.raises(ModelError, match="returned NaN in chunk 0"):
        heard(short, birdlike(8.0))
