"""The net that hears people is made by two commands, from folders of sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import Birdrec, MakeSound
from voicelab import speech

from recorder.detect.mel import FRAMES_PER_TOKEN
from recorder.detect.metrics import roc_auc
from recorder.detect.voice import CONTEXT_TOKENS, MEL, voice_detector
from recorder.errors import ModelError, UsageError
from train.voice.fit import VoiceTraining, fit, make_bank, read_voice_net
from train.voice.net import VoiceNet
from train.voice.scenes import (
    SCENE_TOKENS,
    SILENT,
    UNKNOWN,
    VOICE,
    Source,
    VoiceScenes,
    read_sources,
    spoken,
)

RATE_HZ = 32_000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for name in ("voices", "birds", "noise"):
        (folder / name).mkdir()
    for seed in range(6):
        soundfile.write(folder / "voices" / f"{seed}.wav", speech(4.0, seed=seed), RATE_HZ)
        bird = 0.3 * birdlike(12.0, seed=seed)
        soundfile.write(folder / "birds" / f"{seed}.wav", bird, RATE_HZ)
        noise = 0.1 * np.random.default_rng(seed).standard_normal(8 * RATE_HZ)
        soundfile.write(folder / "noise" / f"{seed}.wav", noise, RATE_HZ)
    (folder / "noise" / "broken.wav").write_bytes(b"no sound")
    return folder


@pytest.fixture(scope="module")
def maker(sounds: Path) -> VoiceScenes:
    voices = read_sources([sounds / "voices"])[0]
    return VoiceScenes(voices, read_sources([sounds / "birds", sounds / "noise"])[0])


def test_what_cannot_be_read_is_said_and_what_is_excluded_is_not_looked_at(sounds: Path) -> None:
    found, bad = read_sources([sounds / "noise"], ["/3.wav"])
    assert [one.path.name for one in found] == ["0.wav", "1.wav", "2.wav", "4.wav", "5.wav"]
    assert len(bad) == 1
    assert "broken.wav" in bad[0]
    with pytest.raises(UsageError, match="no recording in"):
        read_sources([sounds / "noise"], ["/"])


def test_pauses_are_silent_and_speech_is_spoken() -> None:
    said = np.zeros(SCENE_TOKENS * 10_000, np.float32)
    said[50_000:120_000] = speech(70_000 / RATE_HZ, seed=1)
    states = spoken(said)
    assert (states[6:11] == VOICE).mean() > 0.7
    assert (states[:4] == SILENT).all()
    assert (states[14:] == SILENT).all()
    assert (spoken(np.zeros_like(said)) == SILENT).all()


def test_the_same_seed_gives_the_same_scenes_whatever_the_number_of_processes(
    maker: VoiceScenes,
) -> None:
    one, two = (make_bank(maker, VoiceTraining(200, jobs=jobs)) for jobs in (1, 2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert np.isfinite(one[0].astype(np.float32)).all()
    with_voice = (one[1] == VOICE).any(axis=1).mean()
    assert 0.3 < with_voice < 0.6
    assert set(np.unique(one[1])) == {VOICE, SILENT, UNKNOWN}


def test_a_voice_that_hardly_begins_is_no_trouble(maker: VoiceScenes) -> None:
    short = VoiceScenes([Source(Path("a"), speech(0.3))], maker._others)
    for seed in range(30):
        states = short.draw(np.random.default_rng(seed))[1]
        assert states.shape == (SCENE_TOKENS,)


def test_a_token_depends_on_its_context_alone() -> None:
    torch.manual_seed(0)
    net = VoiceNet().eval()
    tokens, at = 50, 25
    frames = torch.randn(1, tokens * FRAMES_PER_TOKEN, MEL.mel_bands, requires_grad=True)
    net(frames)[0, at].backward()
    assert frames.grad is not None
    seen = frames.grad[0].abs().sum(dim=1).reshape(tokens, FRAMES_PER_TOKEN).sum(dim=1) > 0
    near = torch.nonzero(seen)[:, 0]
    assert at - CONTEXT_TOKENS <= int(near.min())
    assert int(near.max()) <= at + CONTEXT_TOKENS


def test_it_learns(maker: VoiceScenes) -> None:
    config = VoiceTraining(scenes=300, epochs=4, batch=25, jobs=2)
    net = fit(make_bank(maker, config), config, lambda _: None)
    pictures, states = make_bank(maker, VoiceTraining(scenes=100, seed=9, jobs=1))
    with torch.no_grad():
        scores = net(torch.from_numpy(pictures).float()).numpy()
    known = states != UNKNOWN
    assert roc_auc(scores[known], states[known] == VOICE) > 0.9


def test_from_folders_to_what_the_recorder_loads(
    sounds: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    done = birdrec(
        "train", "voice", sounds / "voices", "--other", sounds / "birds", "--other",
        sounds / "noise", "--scenes", "100", "--epochs", "1", "--out", tmp_path / "voice.pt",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "broken.wav" in done.stderr
    command = ("export", "voice", tmp_path / "voice.pt", "--out", tmp_path / "net")
    done = birdrec(*command, "--threshold", "0.4", "--licence", "CC0")
    assert done.returncode == 0, done.stderr
    detector = voice_detector(tmp_path / "net")
    assert detector.threshold == 0.4
    sound = speech(7.1, seed=3)
    scores = detector.scores(sound)
    assert len(scores) == 23
    assert ((scores >= 0) & (scores <= 1)).all()
    card = (tmp_path / "net" / "MODEL_CARD.md").read_text()
    assert "voices/3.wav" in card
    assert "CC0" in card
    again = birdrec(*command)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    # Nothing but the net: a checkpoint of birds is none of voices.
    torch.save({"kind": "segmenter"}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="no checkpoint of"):
        read_voice_net(tmp_path / "other.pt")
