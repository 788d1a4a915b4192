"""Cuts by pseudo labels: the call is inside, and loud strangers are not taken for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.detect.mel import CHUNK_SAMPLES, TOKEN_SAMPLES, TOKENS_PER_CHUNK, MelConfig
from train.clips.dataset import Clip
from train.clips.recordings import Recording
from train.scenes.cuts import call_frame, smart_crop
from train.scenes.maker import SceneMaker
from train.scenes.scene import SceneConfig
from train.scenes.vary import VaryConfig

TOKENS = 96
CALL = (70, 73)
"""The wren calls in these tokens; a louder stranger in those from 10 to 20."""


def _recording(*, guided: bool) -> Recording:
    rng = np.random.default_rng(0)
    loudness = np.zeros((TOKENS, 32), np.float32)
    loudness[10:20], loudness[slice(*CALL)] = 1.0, 0.5
    samples = rng.normal(0, 300, TOKENS * TOKEN_SAMPLES).astype(np.int16)
    pseudo = np.zeros((TOKENS, 1), np.uint8)
    pseudo[slice(*CALL)] = 250
    clip = Clip(Path("wren.ogg"), "wren")
    plain = Recording(clip, samples, loudness.ravel(), samples)
    return replace(plain, pseudo=pseudo) if guided else plain


@given(st.integers(0, 2**32 - 1))
def test_a_guided_crop_holds_the_call(seed: int) -> None:
    recording = _recording(guided=True)
    begin = smart_crop(np.random.default_rng(seed), recording, CHUNK_SAMPLES, 0.2, 0)
    assert 0 <= begin <= len(recording.samples) - CHUNK_SAMPLES
    first, last = begin / TOKEN_SAMPLES, (begin + CHUNK_SAMPLES) / TOKEN_SAMPLES
    whole = [token for token in range(*CALL) if first <= token and token + 1 <= last]
    assert whole, (first, last)


def test_without_a_guide_crops_come_from_all_over_the_recording() -> None:
    rng = np.random.default_rng(0)
    begins = [smart_crop(rng, _recording(guided=False), CHUNK_SAMPLES, 0.2, 0) for _ in range(60)]
    assert min(begins) < 20 * TOKEN_SAMPLES
    assert max(begins) > 60 * TOKEN_SAMPLES


def test_crops_drawn_again_hold_something_loud_more_often() -> None:
    loud = {}
    for draws in (1, 3):
        rng, heard = np.random.default_rng(0), []
        for _ in range(200):
            recording = _recording(guided=False)
            begin = smart_crop(rng, recording, CHUNK_SAMPLES, 0.0, 0, draws) // TOKEN_SAMPLES
            heard.append(recording.active[begin * 32 : (begin + 16) * 32].any())
        loud[draws] = np.mean(heard)
    # One crop in two holds a bird; of three draws one in eight holds none.
    assert 0.4 < loud[1] < 0.75
    assert loud[3] == pytest.approx(1 - (1 - loud[1]) ** 3, abs=0.07)


@pytest.mark.parametrize("guided", [True, False])
def test_stretches_are_cut_around_the_call_or_around_what_is_loudest(guided: bool) -> None:
    rng = np.random.default_rng(0)
    tokens = [call_frame(rng, _recording(guided=guided), 0) // 32 for _ in range(100)]
    at_call = np.mean([CALL[0] <= token < CALL[1] for token in tokens])
    assert at_call == 1.0 if guided else at_call < 0.4


@pytest.mark.parametrize("guided", [True, False])
def test_a_loud_stranger_in_a_stretch_is_no_sure_call(guided: bool) -> None:
    """Stretches that reach over both birds: only pseudo labels know which is the wren."""
    unvaried = VaryConfig(speed_chance=0.0, colour_chance=0.0, echo_chance=0.0)
    config = SceneConfig(composed_share=1.0, stretch_s=(29.9, 30.0), bed_chance=0.0, vary=unvaried)
    maker = SceneMaker(
        [_recording(guided=guided)], [], labels=["wren"], core={"wren"}, config=config,
        mel=MelConfig(),
    )  # fmt: skip
    length = 6 * CHUNK_SAMPLES
    stretch = maker._stretch(np.random.default_rng(0), _recording(guided=guided), length)
    tokens = stretch.begin // TOKEN_SAMPLES + np.arange(len(stretch.loudness)) // 32
    loud = np.unique(tokens[stretch.loudness > 0.25])
    assert set(range(*CALL)) <= {*loud.tolist(), CALL[0] - 1}
    assert bool((loud < 25).any()) is not guided


def test_a_scene_says_token_by_token_what_is_sure() -> None:
    unvaried = VaryConfig(speed_chance=0.0, colour_chance=0.0, echo_chance=0.0)
    config = SceneConfig(composed_share=0.0, mixup_chance=0.0, bed_chance=0.0, vary=unvaried)
    maker = SceneMaker(
        [_recording(guided=True)], [], labels=["wren"], core={"wren"}, config=config,
        mel=MelConfig(),
    )  # fmt: skip
    for seed in range(20):
        scene = maker.make(np.random.default_rng(seed), 1)
        assert scene.token_target.shape == (TOKENS_PER_CHUNK, 1)
        assert 1 <= scene.token_target.sum() <= CALL[1] - CALL[0]
        assert scene.token_known.all()
