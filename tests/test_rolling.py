"""Live rows, settled rows and gaps: each against the slow and obvious computation."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from conftest import MakeSound
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.bundle import Bundle
from recorder.detect.inference import Networks
from recorder.detect.mel import SAMPLE_RATE_HZ, TOKEN_SAMPLES, log_mel, samples_needed
from recorder.detect.pipeline import ChunkResult, Pipeline
from recorder.detect.postprocess import (
    aggregate,
    chunk_probabilities,
    gated,
    recurrent,
    sigmoid,
)
from recorder.detect.rolling import Heard, RollingPipeline
from recorder.detect.window import window_plan
from recorder.errors import ModelError

Floats = NDArray[np.float32]

CHUNKS = 9
WINDOW_TOKENS = 64
"""Twenty seconds: the window slides through all of the test's sound."""


@pytest.fixture(scope="module")
def short(bundle: Bundle) -> Networks:
    return Networks(replace(bundle, window_tokens=WINDOW_TOKENS, hop_tokens=WINDOW_TOKENS // 2))


def heard(networks: Networks, samples: Floats) -> list[ChunkResult]:
    return RollingPipeline(networks).push(samples).live


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
        scores = np.append(
            scores[:classes] * best[:classes] ** bundle.recurrence_exponent, scores[classes]
        )
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
    pipeline, rows, place = RollingPipeline(short), [], 0
    while place < len(samples):
        for size in sizes:
            rows += pipeline.push(samples[place : place + size]).live
            place += size
    assert [row.index for row in rows] == [row.index for row in expected] == [0, 1, 2, 3]
    for row, other in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(row.scores, other.scores)
        np.testing.assert_array_equal(row.token_scores, other.token_scores)


def test_a_row_is_spoken_within_two_and_a_half_seconds(
    short: Networks, birdlike: MakeSound
) -> None:
    samples = birdlike(10.0, seed=5)
    pipeline, place = RollingPipeline(short), 0
    while not pipeline.push(samples[place : place + 320]).live:
        place += 320
    heard_until = place + 320
    bundle = short.bundle
    first_possible = samples_needed(16 + bundle.halo_tokens, bundle.mel)
    assert first_possible <= heard_until < first_possible + 320
    assert heard_until / 32_000 - 5.0 < 2.5
    assert first_possible - 16 * TOKEN_SAMPLES > bundle.halo_tokens * TOKEN_SAMPLES


def test_nan_is_never_nocall(
    short: Networks, birdlike: MakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        short, "encode", lambda frames: np.full((len(frames) // 32, short.bundle.width), np.nan)
    )
    with pytest.raises(ModelError, match="returned NaN in chunk 0"):
        heard(short, birdlike(8.0))


def everything(pipeline: RollingPipeline, pieces: list[Floats | int]) -> Heard:
    """Sound is pushed, a number of samples is lost; then the recording ends."""
    heard = Heard()
    for piece in pieces:
        heard.add(pipeline.skip(piece) if isinstance(piece, int) else pipeline.push(piece))
    heard.add(pipeline.finish())
    return heard


@settings(max_examples=8)
@given(st.integers(1, 16_000 * 60), st.integers(1, 300_000))
def test_without_a_gap_it_settles_as_a_file_does(
    short: Networks, birdlike: MakeSound, samples: int, block: int
) -> None:
    sound = birdlike(32.0, seed=7)[:samples]
    file = Pipeline(short)
    expected = file.push(sound) + file.finish()
    blocks: list[Floats | int] = [sound[at : at + block] for at in range(0, len(sound), block)]
    settled = everything(RollingPipeline(short), blocks).settled
    assert [row.index for row in settled] == [row.index for row in expected]
    for row, other in zip(settled, expected, strict=True):
        np.testing.assert_allclose(row.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(row.token_scores, other.token_scores, atol=1e-4)


def slow(networks: Networks, pieces: list[Floats | int]) -> dict[int, Floats]:
    """Scores of the chunks of which anything was heard, from each stretch of sound as a file.

    A gap with a whole token in it parts two stretches; within a shorter one there is silence.
    """
    bundle, classes = networks.bundle, len(networks.bundle.labels)
    kinds = np.concatenate(
        [np.zeros(one) if isinstance(one, int) else np.ones(len(one)) for one in pieces]
    )
    sound = np.concatenate(
        [np.zeros(one, np.float32) if isinstance(one, int) else one for one in pieces]
    )
    total = -(-len(sound) // 160_000) * 16
    heard = np.array([kinds[at * 10_000 : (at + 1) * 10_000].any() for at in range(total)])
    last = np.flatnonzero(heard)[-1]
    if len(sound) - (last + 1) * 10_000 < 10_000:
        heard[last:] = True  # the silence that fills the recording's last chunk
    tokens = np.zeros((total, bundle.width), np.float32)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], heard, [False]])))
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        stretch = sound[first * 10_000 : stop * 10_000]
        needed = samples_needed(stop - first, bundle.mel)
        stretch = np.pad(stretch, (0, needed - len(stretch)))
        tokens[first:stop] = networks.encode(log_mel(stretch, stop - first, bundle.mel))
    result: dict[int, Floats] = {}
    for start, first, stop in window_plan(total, bundle.window_tokens, bundle.hop_tokens):
        inside = slice(start, min(total, start + bundle.window_tokens))
        logits = np.full((inside.stop - start, bundle.outputs), -40.0, np.float32)
        if heard[inside].any():
            logits[heard[inside]] = networks.attend(tokens[inside][heard[inside]])
        scores = gated(
            chunk_probabilities(logits, bundle.own_share), classes, bundle.any_bird_exponent
        )
        scores = recurrent(scores, classes, bundle.recurrence_exponent)
        for chunk in range(first, stop):
            if heard[chunk * 16 : chunk * 16 + 16].any():
                result[chunk] = scores[chunk - start // 16]
    return result


def gappy() -> st.SearchStrategy[list[int]]:
    """Positive: so many samples are heard; negative: lost."""
    heard = st.integers(1, 400_000)
    lost = st.integers(1, 40_000) | st.sampled_from([10_000, 20_000, 160_000, 700_000, 1_500_000])
    return st.lists(heard | lost.map(lambda count: -count), min_size=1, max_size=7).filter(
        lambda moves: moves[0] > 0 and moves[-1] > 0
    )


@settings(max_examples=20)
@given(gappy())
def test_gaps_are_as_stretches_of_their_own_in_one_window(
    short: Networks, birdlike: MakeSound, moves: list[int]
) -> None:
    sound, pieces, place = birdlike(60.0, seed=8), [], 0
    for move in moves:
        pieces.append(-move if move < 0 else sound[place % 900_000 :][:move])
        place += abs(move)
    expected = slow(short, pieces)
    found = everything(RollingPipeline(short), pieces)
    assert [row.index for row in found.settled] == sorted(expected)
    assert [row.index for row in found.live] == sorted(expected)
    for row in found.settled:
        np.testing.assert_allclose(row.scores, expected[row.index], atol=1e-4)


def test_a_gap_that_is_said_in_pieces_is_one_gap(short: Networks, birdlike: MakeSound) -> None:
    sound = birdlike(30.0, seed=9)
    before, after = sound[:333_333], sound[500_000:]
    once = everything(RollingPipeline(short), [before, 170_000, after])
    pieces = everything(RollingPipeline(short), [before, *[5_000] * 34, after])
    assert [row.index for row in once.settled] == [row.index for row in pieces.settled]
    for row, other in zip(once.settled, pieces.settled, strict=True):
        np.testing.assert_allclose(row.scores, other.scores, atol=1e-6)


def test_a_night_without_a_microphone_settles_what_was_before(
    short: Networks, birdlike: MakeSound
) -> None:
    pipeline = RollingPipeline(short)
    before = pipeline.push(birdlike(20.0, seed=10)).settled
    gone = pipeline.skip(8 * 3600 * 32_000)
    assert [row.index for row in before + gone.settled] == [0, 1, 2, 3]
    assert [row.index for row in gone.live] == [3]
    assert pipeline.settled_samples > 7.9 * 3600 * 32_000
    later = pipeline.push(birdlike(10.0, seed=11))
    later.add(pipeline.finish())
    assert [row.index for row in later.settled] == [4 + 8 * 720, 5 + 8 * 720]


def test_what_is_needed_is_enough_to_begin_again(short: Networks, birdlike: MakeSound) -> None:
    """After a crash: from `needed_from_sample` on, a new pipeline settles the rest alike."""
    sound = birdlike(75.0, seed=12)
    whole = everything(RollingPipeline(short), [sound])
    pipeline = RollingPipeline(short)
    settled = pipeline.push(sound[: 40 * 32_000]).settled
    begin, done = pipeline.needed_from_sample, len(settled)
    assert 0 < begin <= pipeline.settled_samples
    again = RollingPipeline(short)
    again.skip(begin)
    heard = again.push(sound[begin:])
    heard.add(again.finish())
    rest = [row for row in heard.settled if row.index >= done]
    assert [row.index for row in rest] == [row.index for row in whole.settled[done:]]
    for row, other in zip(rest, whole.settled[done:], strict=True):
        np.testing.assert_allclose(row.scores, other.scores, atol=1e-4)


def test_a_stream_without_a_sample_has_no_rows(short: Networks) -> None:
    assert everything(RollingPipeline(short), []) == Heard()
    assert everything(RollingPipeline(short), [1_000_000]).settled == []


@pytest.mark.parametrize("kind", [Pipeline, RollingPipeline])
def test_nothing_of_it_is_left_when_nobody_holds_it(
    networks: Networks, kind: type[Pipeline] | type[RollingPipeline]
) -> None:
    """Its ten minutes are 12 MB, a station begins a new one whenever its device comes back in
    another form, and the collector of what holds itself may not come by for days."""
    gc.collect()
    gc.disable()
    try:
        pipeline = kind(networks)
        pipeline.push(np.zeros(30 * SAMPLE_RATE_HZ, np.float32))
        pipeline.finish()
        gone = weakref.ref(pipeline)
        del pipeline
        assert gone() is None
    finally:
        gc.enable()
