"""Birds that do not exist: different from one another, alike in themselves, exactly labelled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toylab import TINY, write_lab

from recorder.detect.mel import SAMPLE_RATE_HZ, MelConfig, log_mel
from recorder.errors import ConfigError, ModelError
from train.clips.recordings import Recording
from train.invented.imagined import imagine, imagined_recordings, is_imagined, recording_of
from train.learning.checkpoint import read_checkpoint
from train.learning.loop import fit
from train.material.gather import gather
from train.scenes.maker import SceneMaker
from train.scenes.scene import SceneConfig

CONFIG = replace(TINY, any_bird=True)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return imagined_recordings(12, 2, seed=3)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lab(tmp_path_factory.mktemp("lab"))


def _profile(recording: Recording) -> np.ndarray:
    """How much of the call lies in each mel band, [bands], of unit length."""
    samples = recording.calls.astype(np.float32) / 32767
    tokens = len(samples) // 10_000 - 1
    power = 10.0 ** log_mel(samples, tokens, MelConfig())
    shares = np.log10(power.mean(axis=0) + 1e-4) + 4.0
    return np.asarray(shares / np.linalg.norm(shares))


def test_individuals_of_a_species_are_more_alike_than_species_are(
    recordings: list[Recording],
) -> None:
    profiles = [_profile(one) for one in recordings]
    own = [profiles[2 * n] @ profiles[2 * n + 1] for n in range(12)]
    others = [profiles[2 * n] @ profiles[2 * m] for n in range(12) for m in range(n)]
    assert np.mean(own) > np.mean(others) + 0.15
    assert not np.array_equal(recordings[0].samples[:10_000], recordings[1].samples[:10_000])


def test_the_same_seed_gives_the_same_birds(recordings: list[Recording]) -> None:
    again = imagined_recordings(12, 2, seed=3)
    for one, other in zip(recordings, again, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert one.clip == other.clip
    more = imagined_recordings(13, 2, seed=3)
    np.testing.assert_array_equal(more[0].samples, recordings[0].samples)
    assert not np.array_equal(imagined_recordings(1, 1, seed=4)[0].samples, recordings[0].samples)


def test_every_one_calls_within_the_range_of_the_front_end(recordings: list[Recording]) -> None:
    for one in recordings:
        assert 6 * SAMPLE_RATE_HZ <= len(one.samples) < 12 * SAMPLE_RATE_HZ
        assert np.abs(one.calls).max() > 3000
        spectrum = np.square(np.abs(np.fft.rfft(one.calls.astype(float))))
        hz = np.fft.rfftfreq(len(one.calls), 1 / SAMPLE_RATE_HZ)
        assert spectrum[(hz > 200) & (hz < 15_000)].sum() > 0.98 * spectrum.sum()


def test_loud_frames_are_those_of_the_calls_and_silence_is_between(
    recordings: list[Recording],
) -> None:
    for one in recordings:
        frames = len(one.loudness)
        assert frames == len(one.samples) * 2 // 625
        level = np.array(
            [
                np.abs(one.calls[k * 625 // 2 : (k + 1) * 625 // 2]).max(initial=0)
                for k in range(frames)
            ]
        )
        assert not one.loudness[level == 0].any()
        assert one.loudness[level.argmax()] > 0.25
        assert one.active.any()


def test_a_song_may_be_longer_than_the_recording() -> None:
    rng = np.random.default_rng(0)
    short = recording_of(imagine(rng), "imagined_000", 0, 1.5, rng)
    assert len(short.samples) == 1.5 * SAMPLE_RATE_HZ


def test_they_are_classes_that_are_birds_but_no_ones_recordings(lab: Path) -> None:
    config = replace(CONFIG, imagined_species=3, imagined_each=2)
    material = gather(config, lab / "toy.toml", MelConfig(), say=lambda _: None)
    assert material.labels == [
        "toy_trill",
        "toy_upsweep",
        "bird",
        "imagined_000",
        "imagined_001",
        "imagined_002",
    ]
    assert material.core == ["toy_trill", "toy_upsweep"]
    assert len(material.recordings) == 4 + 6
    assert len(material.clips) == 4
    assert not any(is_imagined(clip.label) for clip in material.clips)
    assert "imagined_000" not in material.account["clips_used"]


def test_they_are_drawn_as_often_as_their_weight_says(recordings: list[Recording]) -> None:
    real = [Recording(r.clip.__class__(Path("a"), "wren"), r.samples, r.loudness, r.calls)
            for r in recordings[:2]]  # fmt: skip
    labels = ["wren", *sorted({one.clip.label for one in recordings})]
    drawn = {}
    for weight in (0.0, 0.05, 1.0):
        maker = SceneMaker(
            [*real, *recordings], [], labels=labels, core={"wren"},
            config=SceneConfig(imagined_weight=weight), mel=MelConfig(),
        )  # fmt: skip
        drawn[weight] = float(maker._chances[0])
    assert drawn[0.0] == 1.0
    assert drawn[0.05] == pytest.approx(1 / (1 + 12 * 0.05))
    assert drawn[1.0] == pytest.approx(1 / 13)


def test_a_net_starts_from_another_and_keeps_the_classes_that_both_have(lab: Path) -> None:
    config = replace(CONFIG, imagined_species=3, imagined_each=1)
    first = fit(config, lab / "toy.toml", lab / "first")
    pupil = replace(CONFIG, init_from="first/checkpoint.pt", learning_rate=0.0, weight_decay=0.0)
    second = fit(pupil, lab / "toy.toml", lab / "second")
    old, new = (read_checkpoint(path).content for path in (first, second))
    assert len(old["labels"]) == len(new["labels"]) + 3
    torch.testing.assert_close(
        new["net"]["head.classify.weight"], old["average"]["head.classify.weight"][:3]
    )
    name = "encoder.squeeze.weight"
    torch.testing.assert_close(new["net"][name], old["average"][name])
    grown = replace(pupil, imagined_species=4)
    third = read_checkpoint(fit(grown, lab / "toy.toml", lab / "third")).content
    weights = third["net"]["head.classify.weight"]
    torch.testing.assert_close(weights[:3], old["average"]["head.classify.weight"][:3])
    # Another seed imagines other birds under the same names: their rows do not come along.
    assert not torch.allclose(weights[3:6], old["average"]["head.classify.weight"][3:])


def test_another_kind_of_net_is_no_start(lab: Path, tmp_path: Path) -> None:
    fit(CONFIG, lab / "toy.toml", lab / "narrow")
    wider = replace(CONFIG, init_from="narrow/checkpoint.pt", width=64)
    with pytest.raises(ConfigError, match=r"cannot be the start of this net: set width = 32 in"):
        fit(wider, lab / "toy.toml", tmp_path / "wide")
    nothing = replace(CONFIG, init_from="nowhere.pt")
    with pytest.raises(ModelError, match=r"nowhere.pt cannot be read"):
        fit(nothing, lab / "toy.toml", tmp_path / "none")
