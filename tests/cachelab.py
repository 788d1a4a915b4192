"""Six clips, what was decoded of them, and prepared clips on disk, for the tests of the cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recorder.detect.mel import SAMPLE_RATE_HZ, MelConfig
from recorder.sound.files.whole import read_with_remark
from train.clips.cache import ClipCache
from train.clips.dataset import Clip
from train.clips.hand_labels import HandLabel
from train.clips.recordings import Loaded, Noise, Recording, load_recordings
from train.scenes.maker import SceneMaker
from train.scenes.scene import SceneConfig

MEL = MelConfig()
GB = 1e9
SECONDS = 3
RAW = SECONDS * (SAMPLE_RATE_HZ * 4 + SAMPLE_RATE_HZ * 2 // 625 * 4)
"""What one of the clips takes; notes take less than 400 bytes."""
HAND_LABELS = {
    "wren/1.wav": HandLabel(voice_s=((0.0, 0.7),)),
    "wren/2.wav": HandLabel(nocall_s=((1.0, 9.0),)),
}
MakeSound = Callable[..., NDArray[np.float32]]


# Tests import the fixtures under their own names (`clips as clips`), which ruff takes for a use.


@pytest.fixture
def clips(tmp_path: Path, birdlike: MakeSound) -> list[Clip]:
    """Six clips of two species; one holds samples that are no numbers."""
    made = []
    for number in range(6):
        label = ("wren", "finch")[number // 3]
        samples = birdlike(SECONDS, seed=number)
        if number == 4:
            samples[100:150] = np.nan
        path = tmp_path / "clips" / label / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
        made.append(Clip(path, label))
    return made


class Decoded:
    """The files that were decoded, in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []

        def counted(path: Path, rate_hz: int) -> Any:
            self.names.append(path.name)
            return read_with_remark(path, rate_hz)

        monkeypatch.setattr("train.clips.recordings.read_with_remark", counted)

    def since(self) -> list[str]:
        names, self.names = self.names, []
        return names


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    return Decoded(monkeypatch)


def open_cache(tmp_path: Path, limit: float = GB, said: list[str] | None = None) -> ClipCache:
    return ClipCache(tmp_path / "cache", limit, say=(said if said is not None else []).append)


def load(clips: list[Clip], cache: ClipCache | None = None) -> Loaded:
    if cache is None:
        return load_recordings(clips, MEL, HAND_LABELS)
    return load_recordings(clips, MEL, HAND_LABELS, cache.prepare)


def scene_maker(recordings: list[Recording]) -> SceneMaker:
    return SceneMaker(
        recordings,
        [Noise(np.random.default_rng(0).integers(-900, 900, 90_000, np.int16))],
        labels=["wren", "finch"],
        core={"wren"},
        config=SceneConfig(own_noise_chance=0.8),
        mel=MEL,
    )


def make_scenes(recordings: list[Recording]) -> list[dict[str, Any]]:
    maker = scene_maker(recordings)
    return [heard_scene(maker, seed) for seed in range(12)]


def heard_scene(maker: SceneMaker, seed: int) -> dict[str, Any]:
    """What a scene is, and how it sounds."""
    scene = maker.make(np.random.default_rng(seed), 1 + seed % 2)
    return {**vars(scene), "samples": maker.render(scene)}


def assert_same_scenes(made: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    for one, other in zip(made, wanted, strict=True):
        for name, value in other.items():
            np.testing.assert_array_equal(one[name], value, err_msg=name)


def assert_same(made: Recording, wanted: Recording) -> None:
    assert made.clip == wanted.clip
    for name in ("samples", "loudness", "calls", "nocall"):
        value, expected = getattr(made, name), getattr(wanted, name)
        assert (value is None) == (expected is None)
        if expected is not None:
            assert value.dtype == expected.dtype
            np.testing.assert_array_equal(value, expected, err_msg=name)


def raw_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*.raw"))


def use(recording: Recording) -> None:
    time.sleep(0.015)  # file times are as coarse as the kernel's tick
    assert recording.samples.any()
