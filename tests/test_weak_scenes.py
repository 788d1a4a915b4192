"""Weak scenes: crops with the label of their clips on the whole of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scenery import (
    MEL,
    UNVARIED,
    WEAK,
    burst_recording,
    scene_maker,
    scene_of,
    sound_of,
)

from recorder.detect.mel import SAMPLE_RATE_HZ, TOKEN_SAMPLES, samples_needed
from train.scenes.cuts import smart_crop
from train.scenes.vary import VaryConfig


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_a_weak_scene_has_equal_rows_and_the_union_of_its_clips_labels(
    seed: int, chunks: int
) -> None:
    maker = scene_maker(
        WEAK,
        burst_recording("burst", 12.0, (4.0, 5.0), secondary=("second",)),
        burst_recording("other", 12.0, (4.0, 5.0)),
    )
    scene = scene_of(maker, seed, chunks)
    assert scene.weak
    assert (scene.target == scene.target[0]).all()
    assert (scene.known == scene.known[0]).all()
    index = {label: column for column, label in enumerate(maker._labels)}
    burst, second, other = (
        float(scene.target[0, index[name]]) for name in ("burst", "second", "other")
    )
    assert {burst, other} <= {0.0, 1.0}
    assert burst + other >= 1.0
    if chunks < WEAK.secondary_chunks:
        assert second == 0.0
        assert scene.known[0, index["second"]] == 1.0 - burst
    else:
        assert second == pytest.approx(0.995 * burst)
        assert scene.known.all()


def test_mixup_unites_two_clips_in_some_weak_scenes_and_not_in_all() -> None:
    maker = scene_maker(
        WEAK,
        burst_recording("burst", 12.0, (4.0, 5.0)),
        burst_recording("other", 12.0, (4.0, 5.0)),
    )
    both = [scene_of(maker, seed, 1).target[0].sum() == 2 for seed in range(80)]
    assert 0.1 < np.mean(both) < 0.45


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 4.5))
def test_a_short_clip_is_padded_with_silence_and_never_tiled(seed: int, duration_s: float) -> None:
    recording = burst_recording("burst", duration_s, (0.0, duration_s))
    length = samples_needed(16, MEL)
    begin = smart_crop(np.random.default_rng(seed), recording, length, 0.2, 0)
    crop = recording.piece(begin, length)
    heard = np.flatnonzero(crop)
    assert heard[-1] - heard[0] < len(recording.samples)
    whole = recording.piece(0, len(recording.samples))
    assert np.square(crop).sum() == pytest.approx(np.square(whole).sum(), rel=1e-4)


def test_a_piece_is_silent_before_the_start_and_after_the_end() -> None:
    recording = burst_recording("burst", 1.0, (0.0, 1.0))
    piece = recording.piece(-100, SAMPLE_RATE_HZ + 200)
    assert not piece[:100].any()
    assert not piece[-100:].any()
    np.testing.assert_array_equal(piece[100:-100], recording.piece(0, SAMPLE_RATE_HZ))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_edge_crops_come_from_the_first_or_the_last_seven_seconds(seed: int) -> None:
    recording = burst_recording("burst", 60.0, (0.0, 60.0))
    length = samples_needed(16, MEL)
    begin = smart_crop(np.random.default_rng(seed), recording, length, 1.0, 0)
    assert 0 <= begin <= len(recording.samples) - length
    assert begin <= 2 * SAMPLE_RATE_HZ or begin + length >= 58 * SAMPLE_RATE_HZ


@pytest.mark.parametrize("seed", range(6))
def test_a_short_clip_in_a_long_scene_is_as_far_above_the_bed_as_a_long_one(seed: int) -> None:
    config = replace(
        WEAK,
        weak_snr_db=(20.0, 20.0),
        bed_dbfs=(-40.0, -40.0),
        bed_chance=0.0,
        own_noise_chance=0.0,
        mixup_chance=0.0,
        vary=UNVARIED,
    )
    short, long = (
        _quarters(sound_of(scene_maker(config, burst_recording("burst", s, (0.0, s))), seed, 12))
        for s in (1.0, 70.0)
    )
    # A second of 60 is the clip: the median is the bed alone.
    assert np.median(short) == pytest.approx(1e-4, rel=0.1)
    assert short.max() == pytest.approx(np.median(long), rel=0.1)


def _quarters(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """The power of each quarter of a second."""
    samples = sound[: 240 * SAMPLE_RATE_HZ // 4].astype(np.float64)
    return np.asarray(np.square(samples).reshape(240, -1).mean(axis=1))


@pytest.mark.parametrize("seed", range(40))
def test_a_call_that_a_crop_is_cut_around_is_heard_however_slowly_it_is_played(seed: int) -> None:
    """The only call is in one token; played slower the end of a crop is cut off."""
    recording = burst_recording("burst", 30.0, (14.0625, 14.375))
    pseudo = np.zeros((96, 1), np.uint8)
    pseudo[45] = 255
    slower = VaryConfig(
        speed=0.3, speed_chance=1.0, colour_chance=0.0, echo_chance=0.0, own_noise_chance=0.0
    )
    config = replace(WEAK, vary=slower, mixup_chance=0.0, bed_chance=0.0, own_noise_chance=0.0)
    scene = scene_of(scene_maker(config, recording.with_pseudo(pseudo)), seed, 1)
    (layer,) = scene.draft.layers
    heard = min(layer.size, int(layer.size * layer.variation.speed))
    assert layer.begin <= 45 * TOKEN_SAMPLES
    assert layer.begin + heard >= 46 * TOKEN_SAMPLES
