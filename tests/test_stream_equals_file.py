"""The theorem: a recording gives the same chunks however its samples arrive."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.inference import Networks, TokenStream
from recorder.detect.mel import CHUNK_SAMPLES, TOKEN_SAMPLES, log_mel, samples_needed
from recorder.detect.pipeline import ChunkResult, Pipeline
from recorder.detect.postprocess import chunk_probabilities, sigmoid
from recorder.detect.window import window_plan
from recorder.errors import ModelError
from recorder.sound.resample import StreamResampler

Floats = NDArray[np.float32]
MakeSound = Callable[..., Floats]


def cut(samples: Floats, places: list[int]) -> list[Floats]:
    """`samples` in pieces, some of them perhaps empty."""
    edges = [0, *sorted(place % (len(samples) + 1) for place in places), len(samples)]
    return [samples[first:last] for first, last in pairwise(edges)]


def run(pipeline: Pipeline, blocks: list[Floats]) -> list[ChunkResult]:
    results = [result for block in blocks for result in pipeline.push(block)]
    return results + pipeline.finish()


def whole_log_mel(networks: Networks, samples: Floats) -> Floats:
    """The padded recording's log-mel at once, [tokens * 32, bands]."""
    tokens = -(-len(samples) // CHUNK_SAMPLES) * CHUNK_SAMPLES // TOKEN_SAMPLES
    padded = np.zeros(samples_needed(tokens, networks.bundle.mel), np.float32)
    padded[: len(samples)] = samples
    return log_mel(padded, tokens, networks.bundle.mel)


def oracle(networks: Networks, samples: Floats) -> tuple[Floats, Floats]:
    """Slow and obvious: everything at once; (chunk scores, token scores)."""
    bundle = networks.bundle
    tokens = networks.encode(whole_log_mel(networks, samples))
    chunks, details = [], []
    for start, first, last in window_plan(len(tokens), bundle.window_tokens, bundle.hop_tokens):
        logits = networks.attend(tokens[start : start + bundle.window_tokens])
        inside = slice(first - start // 16, last - start // 16)
        probabilities = chunk_probabilities(logits, bundle.own_share)
        if bundle.any_bird:
            bird = probabilities[:, -1:].copy()
            probabilities[:, :-1] *= bird**bundle.any_bird_exponent
        classes = probabilities[:, : len(bundle.labels)]
        classes *= classes.max(axis=0) ** bundle.recurrence_exponent
        chunks.append(probabilities[inside])
        details.append(sigmoid(logits).reshape(-1, 16, logits.shape[1])[inside])
    return np.concatenate(chunks), np.concatenate(details)


def assert_same(results: list[ChunkResult], expected: list[ChunkResult]) -> None:
    assert [result.index for result in results] == [result.index for result in expected]
    for result, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.scores, other.scores)
        np.testing.assert_array_equal(result.token_scores, other.token_scores)


@settings(max_examples=8)
@given(places=st.lists(st.integers(0, 10**9), max_size=30), seconds=st.sampled_from([31.3, 42.0]))
def test_blocks_of_any_size_give_the_same_scores(
    networks: Networks, birdlike: MakeSound, places: list[int], seconds: float
) -> None:
    samples = birdlike(seconds)
    expected = run(Pipeline(networks, tile_tokens=32), [samples])
    assert len(expected) == -(-len(samples) // CHUNK_SAMPLES)
    assert_same(run(Pipeline(networks, tile_tokens=32), cut(samples, places)), expected)


@pytest.mark.parametrize("block", [1_024, 1_600, 32_000])
def test_a_microphones_blocks_give_the_files_scores(
    networks: Networks, birdlike: MakeSound, block: int
) -> None:
    samples = birdlike(33.0)
    blocks = cut(samples, list(range(0, len(samples), block)))
    assert_same(run(Pipeline(networks), blocks), run(Pipeline(networks), [samples]))


def test_the_pipeline_equals_everything_at_once(networks: Networks, birdlike: MakeSound) -> None:
    samples = birdlike(47.5)
    chunks, details = oracle(networks, samples)
    results = run(Pipeline(networks, tile_tokens=48), [samples])
    assert len(results) == 10
    np.testing.assert_allclose([one.scores for one in results], chunks, atol=1e-5)
    np.testing.assert_allclose([one.token_scores for one in results], details, atol=1e-5)


@pytest.mark.parametrize("tile_tokens", [1, 5, 16, 33, 96, 500])
def test_encoder_tiles_with_their_halo_are_the_whole_bit_for_bit(
    networks: Networks, birdlike: MakeSound, tile_tokens: int
) -> None:
    frames = whole_log_mel(networks, birdlike(30.0))
    whole = networks.encode(frames)
    stream = TokenStream(networks, tile_tokens)
    tiles = []
    for part in np.array_split(frames, 3):
        assert len(part) % 32 == 0
        tiles += stream.push(part)
    assert all(len(tile) == tile_tokens for tile in tiles)
    tiles += stream.finish()
    np.testing.assert_array_equal(np.concatenate(tiles), whole)


def test_sound_beyond_the_halo_does_not_reach_a_token(
    networks: Networks, birdlike: MakeSound
) -> None:
    halo, changed = networks.bundle.halo_tokens, 40
    frames = whole_log_mel(networks, birdlike(30.0))
    other = frames.copy()
    other[changed * 32 : (changed + 1) * 32] += 1.0
    differs = (networks.encode(frames) != networks.encode(other)).any(axis=1)
    assert differs[changed]
    assert not differs[: changed - halo].any()
    assert not differs[changed + halo + 1 :].any()


def test_a_recording_over_ten_minutes_settles_by_the_plan(networks: Networks) -> None:
    """11.5 minutes: two windows that overlap by far more than half."""
    samples = 0.05 * np.random.default_rng(5).standard_normal(690 * 32_000, np.float32)
    chunks, details = oracle(networks, samples)
    results = run(Pipeline(networks), np.array_split(samples, 23))
    assert [one.index for one in results] == list(range(138))
    np.testing.assert_allclose([one.scores for one in results], chunks, atol=1e-5)
    np.testing.assert_allclose([one.token_scores for one in results], details, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 9_999, CHUNK_SAMPLES, CHUNK_SAMPLES + 1])
def test_every_sample_is_in_a_chunk(networks: Networks, samples: int) -> None:
    results = run(Pipeline(networks), [np.zeros(samples, np.float32)])
    assert len(results) == -(-samples // CHUNK_SAMPLES)


def test_no_sound_gives_no_chunk(networks: Networks) -> None:
    assert run(Pipeline(networks), [np.empty(0, np.float32)]) == []


def test_a_net_that_returns_nan_is_an_error_and_not_silence(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tokens: Floats) -> Floats:
        return np.full((len(tokens), networks.bundle.outputs), np.nan, np.float32)

    monkeypatch.setattr(networks, "window_head", broken)
    with pytest.raises(ModelError, match="NaN"):
        run(Pipeline(networks), [np.zeros(CHUNK_SAMPLES, np.float32)])


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 32_000, 44_100, 48_000, 96_000])
@settings(max_examples=10)
@given(places=st.lists(st.integers(0, 10**9), max_size=40))
def test_resampling_in_blocks_of_any_size_gives_the_same_bits(
    rate_hz: int, places: list[int]
) -> None:
    samples = 0.1 * np.random.default_rng(1).standard_normal(rate_hz * 2 + 17, np.float32)
    one_block, blocks = StreamResampler(rate_hz, 32_000), StreamResampler(rate_hz, 32_000)
    expected = np.concatenate([one_block.push(samples), one_block.finish()])
    got = [blocks.push(part) for part in cut(samples, places)]
    np.testing.assert_array_equal(np.concatenate([*got, blocks.finish()]), expected)
    assert abs(len(expected) - len(samples) * 32_000 / rate_hz) <= 1


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_a_resampled_tone_is_in_time_and_in_tune(rate_hz: int) -> None:
    resampler = StreamResampler(rate_hz, 32_000)
    tone = np.sin(2 * np.pi * 1_234.5 * np.arange(rate_hz) / rate_hz).astype(np.float32)
    got = np.concatenate([resampler.push(tone), resampler.finish()])
    expected = np.sin(2 * np.pi * 1_234.5 * np.arange(len(got)) / 32_000)
    np.testing.assert_allclose(got[500:-500], expected[500:-500], atol=1e-3)
