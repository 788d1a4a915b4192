"""Any scene: it has the shapes it promises, whatever it is made of, and one seed decides it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenery import (
    COMPOSED,
    MEL,
    WEAK,
    burst_recording,
    scene_maker,
    scene_of,
    sound_of,
)

from recorder.detect.mel import SAMPLE_RATE_HZ, samples_needed
from train.clips.recordings import Recording
from train.scenes.scene import SceneConfig


@pytest.mark.parametrize("config", [COMPOSED, WEAK], ids=["composed", "weak"])
def test_a_seed_decides_everything(config: SceneConfig) -> None:
    recording = burst_recording("burst", 12.0, (4.0, 5.0))
    makers = [scene_maker(config, recording) for _ in range(2)]
    first, again = (scene_of(maker, 5, 2) for maker in makers)
    np.testing.assert_array_equal(*(maker.render(first) for maker in makers))
    assert first.draft == again.draft
    np.testing.assert_array_equal(first.target, again.target)
    np.testing.assert_array_equal(first.known, again.known)
    assert not np.array_equal(*(sound_of(makers[0], seed, 2) for seed in (5, 6)))


@pytest.mark.parametrize("chunks", range(1, 13))
@pytest.mark.parametrize("config", [COMPOSED, WEAK], ids=["composed", "weak"])
def test_a_scene_of_any_length_has_the_shapes_it_promises(config: SceneConfig, chunks: int) -> None:
    maker = scene_maker(
        config,
        burst_recording("burst", 12.0, (4.0, 5.0)),
        burst_recording("other", 3.0, (1.0, 2.0), tone_hz=5000.0),
    )
    scene = scene_of(maker, chunks, chunks)
    samples = maker.render(scene)
    assert samples.shape == (samples_needed(16 * chunks, MEL),)
    assert scene.target.shape == scene.known.shape == (chunks, 2)
    kinds = {array.dtype for array in (samples, scene.target, scene.known)}
    assert kinds == {np.dtype(np.float32)}


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.sampled_from([0.3, 1.0, 3.0, 12.0]),
    st.floats(0.0, 1.0),
)
def test_samples_are_finite_and_within_full_scale_from_clips_of_any_length(
    seed: int, chunks: int, duration_s: float, composed_share: float
) -> None:
    config = SceneConfig(composed_share=composed_share, bed_dbfs=(-60.0, 0.0))
    maker = scene_maker(config, burst_recording("burst", duration_s, (0.1, duration_s - 0.1)))
    samples = sound_of(maker, seed, chunks)
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1.0
    assert len(samples) == samples_needed(16 * chunks, MEL)


@pytest.mark.parametrize("config", [COMPOSED, WEAK], ids=["composed", "weak"])
def test_a_recording_without_a_loud_frame_does_not_stop_the_training(config: SceneConfig) -> None:
    maker = scene_maker(config, burst_recording("burst", 2.0, (9.0, 9.0)))
    for seed in range(10):
        assert np.isfinite(sound_of(maker, seed, 1)).all()


def test_a_piece_holds_as_much_of_its_own_noise_as_is_asked_for() -> None:
    recording = burst_recording("burst", 1.0, (0.2, 0.4))
    hiss = np.random.default_rng(0).integers(-500, 500, SAMPLE_RATE_HZ, np.int16)
    noisy = Recording(recording.clip, recording.samples + hiss, recording.loudness, recording.calls)
    length = SAMPLE_RATE_HZ
    np.testing.assert_array_equal(noisy.own_noise(np.arange(SAMPLE_RATE_HZ)), hiss)
    clean, half, raw = (noisy.piece(0, length, own_noise=share) for share in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(clean, recording.piece(0, length), atol=1e-7)
    np.testing.assert_allclose(half, (clean + raw) / 2, atol=1e-6)
    np.testing.assert_allclose(raw - clean, hiss / 32767, atol=1e-6)


@pytest.mark.parametrize("composed_share", [0.0, 1.0])
def test_sources_lose_some_of_their_own_noise_in_some_scenes(composed_share: float) -> None:
    recording = burst_recording("burst", 12.0, (4.0, 5.0))
    silenced = Recording(
        recording.clip, recording.samples, recording.loudness, np.zeros_like(recording.samples)
    )
    maker = scene_maker(SceneConfig(composed_share=composed_share), silenced)
    drafts = [scene_of(maker, seed, 1).draft for seed in range(60)]
    shares = [layer.own_noise for draft in drafts for layer in draft.layers]
    changed = np.array(shares) < 1.0
    assert 0.3 < changed.mean() < 0.7
    assert np.std(np.array(shares)[changed]) > 0.2


@pytest.mark.parametrize(("exponent", "share"), [(1.0, 0.8), (0.5, 2 / 3), (0.0, 0.5)])
def test_classes_are_drawn_by_their_clips_as_much_as_is_asked_for(
    exponent: float, share: float
) -> None:
    often = [burst_recording("burst", 1.0, (0.2, 0.4)) for _ in range(4)]
    once = burst_recording("other", 1.0, (0.2, 0.4))
    maker = scene_maker(SceneConfig(class_exponent=exponent), *often, once)
    rng = np.random.default_rng(0)
    drawn = [maker._draw(rng) for _ in range(2000)]
    for number in range(4):
        assert drawn.count(number) == pytest.approx(500 * share, rel=0.2)
    assert drawn.count(4) == pytest.approx(2000 * (1 - share), rel=0.2)
