"""The GPU's renderer, here on a CPU: it makes the same sound of a draft as the other one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scenery import COMPOSED, UNVARIED, WEAK, burst_recording, scene_maker, scene_of

from recorder.detect.mel import SAMPLE_RATE_HZ
from train.clips.recordings import Noise, Recording
from train.scenes import beds
from train.scenes.maker import SceneMaker
from train.scenes.render_torch import TorchRenderer, table_of
from train.scenes.scene import SceneConfig
from train.scenes.vary import VaryConfig

CPU = torch.device("cpu")
COLOURED = replace(UNVARIED, colour_chance=1.0, own_noise_chance=1.0)
ECHOED = replace(UNVARIED, echo_chance=1.0)
FASTER = replace(UNVARIED, speed_chance=1.0)


def _noisy(recording: Recording, seed: int) -> Recording:
    """With a hiss of its own that ends at 8 kHz."""
    white = np.random.default_rng(seed).normal(0.0, 900.0, len(recording.samples))
    hiss = np.convolve(white, np.hanning(9) / 4, "same")
    return replace(recording, samples=(recording.samples + hiss).astype(np.int16))


def _recordings() -> list[Recording]:
    return [
        _noisy(burst_recording("burst", 12.0, (4.0, 5.0)), 1),
        _noisy(burst_recording("second", 3.0, (1.0, 2.0)), 2),
    ]


def _maker(config: SceneConfig, vary: VaryConfig, recordings: list[Recording]) -> SceneMaker:
    config = replace(config, vary=vary, own_noise_chance=0.5, bed_chance=0.8)
    return scene_maker(replace(config, weak_snr_db=(20.0, 25.0)), *recordings)


def _both(maker: SceneMaker, recordings: list[Recording], chunks: int) -> NDArray[np.float32]:
    """[2, scenes, samples]: by the one renderer, and by the other."""
    noise = [Noise((3000 * beds.coloured_noise()[2][:50_000]).astype(np.int16))]
    scenes = [scene_of(maker, seed, chunks) for seed in range(8)]
    made = TorchRenderer(recordings, noise, CPU).render(table_of([one.draft for one in scenes]))
    return np.stack((np.stack([maker.render(one) for one in scenes]), made.numpy()))


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("config", [COMPOSED, WEAK], ids=["composed", "weak"])
@pytest.mark.parametrize(
    ("vary", "most"),
    [(UNVARIED, 1e-5), (COLOURED, 1e-4), (ECHOED, 1e-4), (FASTER, 0.02)],
    ids=["unvaried", "coloured", "echoed", "faster"],
)
def test_both_renderers_make_the_same_scenes(
    config: SceneConfig, vary: VaryConfig, most: float, chunks: int
) -> None:
    recordings = _recordings()
    wanted, made = _both(_maker(config, vary, recordings), recordings, chunks)
    assert made.shape == wanted.shape
    error = np.linalg.norm(made - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    assert error.max() < most


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_a_tone_that_is_played_faster_stays_one_tone(
    speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.scenes.vary._drawn_speed", lambda *_: speed)
    recording = burst_recording("burst", 12.0, (0.0, 12.0), tone_hz=6000.0)
    config = replace(WEAK, bed_chance=0.0, weak_snr_db=(60.0, 60.0), mixup_chance=0.0)
    maker = scene_maker(replace(config, own_noise_chance=0.0, vary=FASTER), recording)
    table = table_of([scene_of(maker, 0, 1).draft])
    made = TorchRenderer([recording], [], CPU).render(table)[0].numpy()
    heard = made[:SAMPLE_RATE_HZ] * np.hanning(SAMPLE_RATE_HZ)
    power = np.abs(np.fft.rfft(heard)) ** 2
    middle = round(6000.0 * speed)
    assert abs(int(power.argmax()) - middle) <= 1
    assert power[middle - 5 : middle + 6].sum() > 0.9999 * power.sum()


def test_short_clips_and_silence_are_no_obstacle() -> None:
    recordings = [
        burst_recording("burst", 0.001, (0.0, 1.0)),
        burst_recording("second", 2.0, (9.0, 9.0)),
    ]
    for config in (COMPOSED, WEAK):
        _, faster = _both(_maker(config, FASTER, recordings), recordings, 1)
        assert np.isfinite(faster).all()
        assert np.abs(faster).max() <= 1.0
        wanted, made = _both(_maker(config, UNVARIED, recordings), recordings, 1)
        np.testing.assert_allclose(made, wanted, atol=1e-5)


def test_it_says_how_much_it_will_take() -> None:
    recordings = _recordings()
    second = 2 * 2 * 2 * SAMPLE_RATE_HZ
    assert TorchRenderer.bytes_of(recordings, []) == 15 * second
    assert TorchRenderer.bytes_of([], [Noise(np.zeros(8, np.int16))]) == 16
