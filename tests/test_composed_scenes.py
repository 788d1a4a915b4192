"""Composed scenes: labels say where the call lies, and nothing that is not known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scenery import (
    COMPOSED,
    UNVARIED,
    WEAK,
    burst_recording,
    scene_maker,
    scene_of,
    tone_s,
)

from recorder.detect.mel import CHUNK_SAMPLES, SAMPLE_RATE_HZ
from train.scenes.cuts import loud_frame
from train.scenes.scene import Stretch


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_a_composed_scene_says_yes_only_where_the_burst_lies(seed: int, chunks: int) -> None:
    maker = scene_maker(COMPOSED, burst_recording("burst", 12.0, (4.0, 5.0)))
    scene = scene_of(maker, seed, chunks)
    seconds, target, known = (
        tone_s(maker.render(scene), chunks),
        scene.target[:, 0],
        scene.known[:, 0],
    )
    assert not scene.weak
    assert set(np.unique(target)) <= {0.0, 1.0}
    assert set(np.unique(known)) <= {0.0, 1.0}
    assert (known[target == 1] == 1).all()
    assert (seconds[target == 1] > 0.05).all()
    assert (seconds[(target == 0) & (known == 1)] < 0.2).all()


def test_a_composed_scene_without_any_source_is_all_known_silence() -> None:
    maker = scene_maker(COMPOSED, burst_recording("burst", 12.0, (4.0, 5.0)))
    made = [scene_of(maker, seed, 1) for seed in range(60)]
    silent = [scene for scene in made if not scene.target.any() and scene.known.all()]
    assert 3 <= len(silent) <= 30


def test_bursts_are_labelled_often_enough_to_learn_from() -> None:
    maker = scene_maker(COMPOSED, burst_recording("burst", 12.0, (4.0, 5.0)))
    assert 0.4 < np.mean([scene_of(maker, seed, 1).target.any() for seed in range(60)]) < 0.95


def test_a_marginal_touch_is_unknown_neither_yes_nor_no() -> None:
    maker = scene_maker(COMPOSED, burst_recording("burst", 12.0, (4.0, 5.0)))
    stretch = Stretch(
        burst_recording("burst", 2.0, (0.0, 2.0)),
        2 * SAMPLE_RATE_HZ,
        _loudness(204),
        begin=0,
    )
    target, known = np.zeros((3, 1), np.float32), np.ones((3, 1), np.float32)
    # 204 frames, the first 204 - 5 of them in chunk 0 and 5 in chunk 1.
    maker._label(target, known, stretch, CHUNK_SAMPLES - 199 * 625 // 2)
    assert target[:, 0].tolist() == [1, 0, 0]
    assert known[:, 0].tolist() == [1, 0, 1]


def test_a_marginal_touch_does_not_take_a_certain_call_back() -> None:
    maker = scene_maker(COMPOSED, burst_recording("burst", 12.0, (4.0, 5.0)))
    stretch = Stretch(
        burst_recording("burst", 1.0, (0.0, 1.0)),
        SAMPLE_RATE_HZ,
        _loudness(0, 102),
        begin=0,
    )
    target, known = np.ones((2, 1), np.float32), np.ones((2, 1), np.float32)
    maker._label(target, known, stretch, 0)
    assert target.all()
    assert known.all()


def _loudness(loud: int, quiet: int = 0) -> NDArray[np.float32]:
    return np.concatenate((np.ones(loud, np.float32), np.full(quiet, 0.2, np.float32)))


def test_stretches_are_cut_around_the_loudest_frames_most_often() -> None:
    recording = burst_recording("burst", 12.0, (4.0, 5.0))
    recording.loudness[:102] = 0.1  # an echo, a tenth as loud for as long
    rng = np.random.default_rng(0)
    frames = np.array([loud_frame(rng, recording) for _ in range(400)])
    in_burst = recording.loudness[frames] == 1.0
    assert 0.85 < in_burst.mean() < 0.96
    assert (recording.loudness[frames[~in_burst]] > 0).all()


def test_a_recording_without_a_loud_frame_is_still_cut_inside() -> None:
    recording = burst_recording("burst", 3.0, (9.0, 9.0))
    maker = scene_maker(COMPOSED, recording)
    stretch = maker._stretch(np.random.default_rng(0), recording, CHUNK_SAMPLES)
    assert stretch.size <= 3 * SAMPLE_RATE_HZ
    assert not stretch.loudness.any()


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.0, 1.25, 2.0])
def test_loudness_follows_a_call_that_is_played_faster_or_slower(
    speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the tone sounds in the stretch is where its frames are loud."""
    config = replace(
        COMPOSED, stretch_s=(7.99, 8.0), vary=replace(UNVARIED, speed_chance=1.0, speed=1.0)
    )
    recording = burst_recording("burst", 8.0, (2.0, 3.0))
    maker = scene_maker(config, recording)
    monkeypatch.setattr("train.scenes.vary._drawn_speed", lambda *_: speed)
    stretch = maker._stretch(np.random.default_rng(0), recording, 8 * SAMPLE_RATE_HZ)
    assert stretch.variation.speed == speed
    samples = maker._renderer.layer(stretch.layer(0, 1.0, 0))
    power = np.square(samples[: len(stretch.loudness) * 625 // 2])
    sounds = np.flatnonzero(power > 0.1 * power.max()) / SAMPLE_RATE_HZ
    loud = np.flatnonzero(stretch.loudness > 0.5) * 312.5 / SAMPLE_RATE_HZ
    begin_s = stretch.begin / SAMPLE_RATE_HZ
    assert loud.min() == pytest.approx((2.0 - begin_s) / speed, abs=0.02)
    assert loud.max() == pytest.approx(sounds.max(), abs=0.02)
    assert loud.min() == pytest.approx(sounds.min(), abs=0.02)


@pytest.mark.parametrize(("chunks", "target", "known"), [(1, 0.0, 0.0), (4, 0.995, 1.0)])
def test_a_secondary_label_is_unknown_in_a_short_crop_and_a_target_in_a_long_one(
    chunks: int, target: float, known: float
) -> None:
    recording = burst_recording("burst", 40.0, (4.0, 5.0), secondary=("second",))
    scene = scene_of(scene_maker(WEAK, recording), 3, chunks)
    np.testing.assert_allclose(scene.target[:, 1], target)
    np.testing.assert_allclose(scene.known[:, 1], known)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_secondary_species_of_a_composed_scene_are_unknown_where_the_stretch_lies(
    seed: int,
) -> None:
    recording = burst_recording("burst", 12.0, (4.0, 5.0), secondary=("second", "not_listed"))
    scene = scene_of(scene_maker(COMPOSED, recording), seed, 2)
    assert not scene.target[:, 1].any()
    assert (scene.known[scene.target[:, 0] == 1, 1] == 0).all()


def test_a_certain_call_wins_over_a_secondary_label_in_the_same_chunk() -> None:
    maker = scene_maker(
        COMPOSED,
        burst_recording("burst", 6.0, (0.0, 6.0), secondary=("second",)),
        burst_recording("second", 6.0, (0.0, 6.0)),
    )
    for seed in range(40):
        scene = scene_of(maker, seed, 1)
        assert (scene.known[scene.target == 1] == 1).all()
