"""Prepared clips on disk: the same recordings and scenes as without, decoded once."""

from __future__ import annotations

import dataclasses
import mmap
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cachelab import (
    GB,
    MEL,
    RAW,
    Decoded,
    assert_same,
    assert_same_scenes,
    heard_scene,
    load,
    make_scenes,
    open_cache,
    raw_files,
    scene_maker,
    use,
)
from cachelab import clips as clips
from cachelab import decoded as decoded
from torch.utils.data import DataLoader

from train.clips.cache import CachedRecording
from train.clips.dataset import Clip
from train.clips.hand_labels import HandLabel
from train.clips.recordings import load_recordings
from train.scenes.maker import SceneMaker


def test_scenes_are_the_same_without_with_and_with_a_warm_cache(
    tmp_path: Path, clips: list[Clip], decoded: Decoded
) -> None:
    plain = load(clips)
    wanted = make_scenes(plain.recordings)
    assert any(scene["weak"] for scene in wanted)
    assert not all(scene["weak"] for scene in wanted)
    decoded.since()
    for files in ([clip.path.name for clip in clips], []):
        said: list[str] = []
        loaded = load(clips, open_cache(tmp_path, said=said))
        assert_same_scenes(make_scenes(loaded.recordings), wanted)
        for one, other in zip(loaded.recordings, plain.recordings, strict=True):
            assert_same(one, other)
        assert (loaded.damaged, loaded.unusable) == (plain.damaged, plain.unusable)
        assert "50 samples" in loaded.damaged[clips[4].path]
        assert decoded.since() == files
        assert said == []


@pytest.mark.parametrize("room_for", [0, 1, 3])
def test_scenes_are_the_same_when_most_clips_have_to_make_room(
    tmp_path: Path, clips: list[Clip], room_for: int, decoded: Decoded
) -> None:
    wanted = make_scenes(load(clips).recordings)
    limit = (room_for + 0.5) * RAW / 0.9
    cached = load(clips, open_cache(tmp_path, limit)).recordings
    assert_same_scenes(make_scenes(cached), wanted)
    assert len(raw_files(tmp_path)) <= room_for
    decoded.since()
    # What is known of the clips stays: nothing is decoded before it is used.
    again = load(clips, open_cache(tmp_path, limit))
    assert decoded.since() == []
    assert list(again.damaged) == [clips[4].path]
    assert_same_scenes(make_scenes(again.recordings), wanted)
    assert decoded.since()


class _SceneSet:
    """Scenes by number, for a worker process."""

    def __init__(self, maker: SceneMaker) -> None:
        self._maker = maker

    def __len__(self) -> int:
        return 12

    def __getitem__(self, seed: int) -> dict[str, Any]:
        return heard_scene(self._maker, seed)


@pytest.mark.parametrize("limit", [GB, 1.5 * RAW])
def test_a_worker_process_makes_the_same_scenes(
    tmp_path: Path, clips: list[Clip], limit: float
) -> None:
    wanted = make_scenes(load(clips).recordings)
    cached = load(clips, open_cache(tmp_path, limit)).recordings
    use(cached[0])  # opened before the fork
    scenes = _SceneSet(scene_maker(cached))
    loader: Any = DataLoader(scenes, batch_size=None, num_workers=1)  # type: ignore[arg-type]
    assert_same_scenes(list(loader), wanted)


def test_another_hand_label_or_front_end_is_another_preparation(
    tmp_path: Path, clips: list[Clip], decoded: Decoded
) -> None:
    one, cache = [clips[0]], open_cache(tmp_path)
    mels = (MEL, dataclasses.replace(MEL, n_fft=1024))
    labels: list[dict[str, HandLabel]] = [
        {},
        {"wren/0.wav": HandLabel(voice_s=((0.0, 1.0),))},
        {"wren/0.wav": HandLabel(nocall_s=((0.0, 1.0),))},
    ]
    for mel in mels:
        for label in labels:
            (cached,) = load_recordings(one, mel, label, cache.prepare).recordings
            assert_same(cached, load_recordings(one, mel, label).recordings[0])
    decoded.since()
    renamed = dataclasses.replace(clips[0], label="robin", secondary_labels=("finch",))
    (cached,) = load_recordings([renamed], MEL, None, cache.prepare).recordings
    assert decoded.since() == []
    assert cached.clip == renamed


def test_clips_that_cannot_be_used_are_told_every_time(tmp_path: Path, clips: list[Clip]) -> None:
    clips[0].path.write_bytes(b"not a sound")
    clips[5].path.unlink()
    labels = {"wren/1.wav": HandLabel(voice_s=((0.0, 99.0),))}
    wanted = load_recordings(clips, MEL, labels).unusable
    assert [path.name for path in wanted] == ["0.wav", "1.wav", "5.wav"]
    for _ in range(2):
        assert load_recordings(clips, MEL, labels, open_cache(tmp_path).prepare).unusable == wanted


def test_the_arrays_are_mapped_and_few_files_are_open(tmp_path: Path, clips: list[Clip]) -> None:
    for number in range(30):
        copy = clips[0].path.with_name(f"copy_{number}.wav")
        copy.write_bytes(clips[0].path.read_bytes())
        clips.append(Clip(copy, "wren"))
    before = len(os.listdir("/proc/self/fd"))
    for recording in load(clips, open_cache(tmp_path)).recordings:
        assert isinstance(recording, CachedRecording)
        assert not any(isinstance(value, np.ndarray) for value in vars(recording).values())
        use(recording)
    for recording in load(clips, open_cache(tmp_path)).recordings:
        for array in (recording.samples, recording.calls, recording.loudness):
            assert type(array) is np.ndarray
            assert not array.flags.writeable
            assert _is_mapped(array)
    assert len(os.listdir("/proc/self/fd")) - before <= 16


def _is_mapped(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def test_arrays_that_are_in_use_outlive_their_file(tmp_path: Path, clips: list[Clip]) -> None:
    (recording,) = load_recordings([clips[0]], MEL, None, open_cache(tmp_path).prepare).recordings
    samples = recording.samples
    shutil.rmtree(tmp_path / "cache")
    np.testing.assert_array_equal(samples, load_recordings([clips[0]], MEL).recordings[0].samples)


def test_pseudo_labels_go_with_a_recording(tmp_path: Path, clips: list[Clip]) -> None:
    pseudo = np.full((10, 2), 255, np.uint8)
    for cache in (None, open_cache(tmp_path)):
        recording = load(clips, cache).recordings[2]
        labelled = recording.with_pseudo(pseudo)
        assert recording.pseudo is None
        assert labelled.pseudo is pseudo
        assert_same(labelled, recording)
