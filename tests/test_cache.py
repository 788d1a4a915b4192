"""Prepared clips on disk: the same scenes as without, decoded once, within the limit."""

from __future__ import annotations

import dataclasses
import errno
import mmap
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from recorder.detect.mel import SAMPLE_RATE_HZ, MelConfig
from recorder.errors import ConfigError
from recorder.sound.audiofile import read_with_remark
from train.cache import CachedRecording, ClipCache
from train.data import Loaded, Noise, Recording, load_recordings
from train.dataset import Clip
from train.hand_labels import HandLabel
from train.scenes import Scene, SceneConfig, SceneMaker

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


class _Decoded:
    """The files that were decoded, in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []

        def counted(path: Path, rate_hz: int) -> Any:
            self.names.append(path.name)
            return read_with_remark(path, rate_hz)

        monkeypatch.setattr("train.data.read_with_remark", counted)

    def since(self) -> list[str]:
        names, self.names = self.names, []
        return names


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> _Decoded:
    return _Decoded(monkeypatch)


def _cache(tmp_path: Path, limit: float = GB, said: list[str] | None = None) -> ClipCache:
    return ClipCache(tmp_path / "cache", limit, say=(said if said is not None else []).append)


def _load(clips: list[Clip], cache: ClipCache | None = None) -> Loaded:
    if cache is None:
        return load_recordings(clips, MEL, HAND_LABELS)
    return load_recordings(clips, MEL, HAND_LABELS, cache.prepare)


def _maker(recordings: list[Recording]) -> SceneMaker:
    return SceneMaker(
        recordings,
        [Noise(np.random.default_rng(0).integers(-900, 900, 90_000, np.int16))],
        labels=["wren", "finch"],
        core={"wren"},
        config=SceneConfig(own_noise_chance=0.8),
        mel=MEL,
    )


def _scenes(recordings: list[Recording]) -> list[Scene]:
    maker = _maker(recordings)
    return [maker.make(np.random.default_rng(seed), 1 + seed % 2) for seed in range(12)]


def _assert_same_scenes(made: list[Scene], wanted: list[Scene]) -> None:
    for one, other in zip(made, wanted, strict=True):
        for name, value in vars(other).items():
            np.testing.assert_array_equal(getattr(one, name), value, err_msg=name)


def _assert_same(made: Recording, wanted: Recording) -> None:
    assert made.clip == wanted.clip
    for name in ("samples", "loudness", "calls", "nocall"):
        value, expected = getattr(made, name), getattr(wanted, name)
        assert (value is None) == (expected is None)
        if expected is not None:
            assert value.dtype == expected.dtype
            np.testing.assert_array_equal(value, expected, err_msg=name)


def _raw(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*.raw"))


def _use(recording: Recording) -> None:
    time.sleep(0.015)  # file times are as coarse as the kernel's tick
    assert recording.samples.any()


def test_scenes_are_the_same_without_with_and_with_a_warm_cache(
    tmp_path: Path, clips: list[Clip], decoded: _Decoded
) -> None:
    plain = _load(clips)
    wanted = _scenes(plain.recordings)
    assert any(scene.weak for scene in wanted)
    assert not all(scene.weak for scene in wanted)
    decoded.since()
    for files in ([clip.path.name for clip in clips], []):
        said: list[str] = []
        loaded = _load(clips, _cache(tmp_path, said=said))
        _assert_same_scenes(_scenes(loaded.recordings), wanted)
        for one, other in zip(loaded.recordings, plain.recordings, strict=True):
            _assert_same(one, other)
        assert (loaded.damaged, loaded.unusable) == (plain.damaged, plain.unusable)
        assert "50 samples" in loaded.damaged[clips[4].path]
        assert decoded.since() == files
        assert said == []


@pytest.mark.parametrize("room_for", [0, 1, 3])
def test_scenes_are_the_same_when_most_clips_have_to_make_room(
    tmp_path: Path, clips: list[Clip], room_for: int, decoded: _Decoded
) -> None:
    wanted = _scenes(_load(clips).recordings)
    limit = (room_for + 0.5) * RAW / 0.9
    cached = _load(clips, _cache(tmp_path, limit)).recordings
    _assert_same_scenes(_scenes(cached), wanted)
    assert len(_raw(tmp_path)) <= room_for
    decoded.since()
    # What is known of the clips stays: nothing is decoded before it is used.
    again = _load(clips, _cache(tmp_path, limit))
    assert decoded.since() == []
    assert list(again.damaged) == [clips[4].path]
    _assert_same_scenes(_scenes(again.recordings), wanted)
    assert decoded.since()


class _SceneSet:
    """Scenes by number, for a worker process."""

    def __init__(self, maker: SceneMaker) -> None:
        self._maker = maker

    def __len__(self) -> int:
        return 12

    def __getitem__(self, seed: int) -> Scene:
        return self._maker.make(np.random.default_rng(seed), 1 + seed % 2)


@pytest.mark.parametrize("limit", [GB, 1.5 * RAW])
def test_a_worker_process_makes_the_same_scenes(
    tmp_path: Path, clips: list[Clip], limit: float
) -> None:
    wanted = _scenes(_load(clips).recordings)
    cached = _load(clips, _cache(tmp_path, limit)).recordings
    _use(cached[0])  # opened before the fork
    scenes = _SceneSet(_maker(cached))
    loader: Any = DataLoader(scenes, batch_size=None, num_workers=1)  # type: ignore[arg-type]
    _assert_same_scenes([SimpleNamespace(**vars(scene)) for scene in loader], wanted)  # type: ignore[misc]


def test_the_clip_used_least_recently_makes_room(
    tmp_path: Path, clips: list[Clip], decoded: _Decoded
) -> None:
    limit, said = (3 * RAW + 3000) / 0.9, list[str]()
    cache = _cache(tmp_path, limit, said)

    def loaded(number: int) -> Recording:
        return load_recordings([clips[number]], MEL, None, cache.prepare).recordings[0]

    def total() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "cache").iterdir())

    names, recordings = [], []
    for number in range(3):
        before = set(_raw(tmp_path))
        recordings.append(loaded(number))
        names.append((set(_raw(tmp_path)) - before).pop())
    assert said == []
    _use(recordings[0])
    recordings.append(loaded(3))
    assert names[0] in _raw(tmp_path)
    assert names[1] not in _raw(tmp_path)
    assert names[2] in _raw(tmp_path)
    assert total() <= limit
    recordings.append(loaded(4))
    assert names[0] in _raw(tmp_path)
    assert names[2] not in _raw(tmp_path)
    assert total() <= limit
    decoded.since()
    for recording in recordings:
        _use(recording)
        assert total() <= limit
    assert decoded.since()[0] == "1.wav"
    assert len(said) == 1
    assert "is full" in said[0]


def test_a_lower_limit_holds_from_the_start(tmp_path: Path, clips: list[Clip]) -> None:
    for recording in _load(clips, _cache(tmp_path)).recordings[::-1]:
        _use(recording)
    first = load_recordings(clips[:1], MEL).recordings[0].samples.tobytes()
    said: list[str] = []
    _cache(tmp_path, 1.5 * RAW / 0.9, said)
    assert [path.read_bytes()[: len(first)] for path in _raw(tmp_path)] == [first]
    assert len(said) == 1
    assert "is full" in said[0]


def test_a_clip_larger_than_the_cache_is_told_and_decoded_at_each_use(
    tmp_path: Path, clips: list[Clip], decoded: _Decoded
) -> None:
    said: list[str] = []
    loaded = _load(clips, _cache(tmp_path, 0.7 * RAW, said))
    assert _raw(tmp_path) == []
    assert len(said) == 1
    assert "too much for the cache" in said[0]
    decoded.since()
    _use(loaded.recordings[0])
    assert loaded.recordings[0].calls.any()
    assert decoded.since() == ["0.wav"]


def _note(raw: Path) -> Path:
    return raw.with_suffix(".json")


def _other(raw: Path) -> Path:
    return next(path for path in raw.parent.glob("*.raw") if path != raw)


def _flip(raw: Path) -> None:
    content = bytearray(raw.read_bytes())
    content[len(content) // 2] ^= 1
    raw.write_bytes(content)


def _truncate(raw: Path) -> None:
    os.truncate(raw, raw.stat().st_size - 1)


def _empty(raw: Path) -> None:
    raw.write_bytes(b"")


def _lengthen(raw: Path) -> None:
    raw.write_bytes(raw.read_bytes() + b"\0")


def _remove(raw: Path) -> None:
    raw.unlink()


def _anothers_bytes(raw: Path) -> None:
    raw.write_bytes(_other(raw).read_bytes())


def _anothers_note(raw: Path) -> None:
    _note(raw).write_bytes(_note(_other(raw)).read_bytes())


def _anothers_both(raw: Path) -> None:
    _anothers_bytes(raw)
    _anothers_note(raw)


def _flip_note(raw: Path) -> None:
    _note(raw).write_bytes(_note(raw).read_bytes().replace(b'"remark"', b'"r3mark"'))


def _halve_note(raw: Path) -> None:
    _note(raw).write_bytes(_note(raw).read_bytes()[:60])


def _foreign_note(raw: Path) -> None:
    _note(raw).write_bytes(b"fffffffe \xff\x00")


def _other_json(raw: Path) -> None:
    _note(raw).write_text(f"{crc32(b'[]'):08x} []")


@pytest.mark.parametrize(
    "damage",
    [
        _flip,
        _truncate,
        _empty,
        _lengthen,
        _remove,
        _anothers_bytes,
        _anothers_note,
        _anothers_both,
        _flip_note,
        _halve_note,
        _foreign_note,
        _other_json,
    ],
)
def test_damage_is_noticed_and_mended(
    tmp_path: Path, clips: list[Clip], decoded: _Decoded, damage: Callable[[Path], None]
) -> None:
    two = [clips[0], clips[4]]
    plain = load_recordings(two, MEL).recordings
    load_recordings(two, MEL, None, _cache(tmp_path).prepare)
    damage(_raw(tmp_path)[0])
    for times in (1, 0):
        said: list[str] = []
        decoded.since()
        loaded = load_recordings(two, MEL, None, _cache(tmp_path, said=said).prepare)
        for one, other in zip(loaded.recordings, plain, strict=True):
            _assert_same(one, other)
        assert list(loaded.damaged) == [clips[4].path]
        assert len(decoded.since()) == times
        wrong_bytes = damage in (_flip, _truncate, _empty, _lengthen, _anothers_bytes)
        assert ["is damaged" in line for line in said] == [True] * (wrong_bytes and times)


def test_a_file_that_changed_is_decoded_again(
    tmp_path: Path, clips: list[Clip], decoded: _Decoded, birdlike: MakeSound
) -> None:
    _load(clips, _cache(tmp_path))
    size = clips[0].path.stat().st_size
    soundfile.write(clips[0].path, birdlike(SECONDS, seed=99), SAMPLE_RATE_HZ, subtype="FLOAT")
    assert clips[0].path.stat().st_size == size
    decoded.since()
    loaded = _load(clips, _cache(tmp_path)).recordings
    assert decoded.since() == ["0.wav"]
    _assert_same(loaded[0], _load(clips).recordings[0])


def test_clips_of_the_same_size_and_time_are_told_apart(tmp_path: Path, clips: list[Clip]) -> None:
    for clip in clips:
        os.utime(clip.path, ns=(1, 1))
    cached = _load(clips, _cache(tmp_path)).recordings
    for one, other in zip(cached, _load(clips).recordings, strict=True):
        _assert_same(one, other)


def test_a_folder_that_is_deleted_meanwhile_is_made_again(
    tmp_path: Path, clips: list[Clip]
) -> None:
    said: list[str] = []
    cached = _load(clips, _cache(tmp_path, said=said)).recordings
    shutil.rmtree(tmp_path / "cache")
    for one, other in zip(cached, _load(clips).recordings, strict=True):
        _assert_same(one, other)
    assert len(_raw(tmp_path)) == len(clips)
    assert said == []


def test_another_hand_label_or_front_end_is_another_preparation(
    tmp_path: Path, clips: list[Clip], decoded: _Decoded
) -> None:
    one, cache = [clips[0]], _cache(tmp_path)
    mels = (MEL, dataclasses.replace(MEL, n_fft=1024))
    labels: list[dict[str, HandLabel]] = [
        {},
        {"wren/0.wav": HandLabel(voice_s=((0.0, 1.0),))},
        {"wren/0.wav": HandLabel(nocall_s=((0.0, 1.0),))},
    ]
    for mel in mels:
        for label in labels:
            (cached,) = load_recordings(one, mel, label, cache.prepare).recordings
            _assert_same(cached, load_recordings(one, mel, label).recordings[0])
    decoded.since()
    renamed = dataclasses.replace(clips[0], label="robin", secondary_labels=("finch",))
    (cached,) = load_recordings([renamed], MEL, None, cache.prepare).recordings
    assert decoded.since() == []
    assert cached.clip == renamed


def test_a_clip_that_changes_while_it_trains_stops_the_training(
    tmp_path: Path, clips: list[Clip]
) -> None:
    kept, *others = _load(clips, _cache(tmp_path, 1.5 * RAW / 0.9)).recordings[::-1]
    for one in clips:
        os.utime(one.path, ns=(1, 1))
    _use(kept)  # what is still there needs no clip
    with pytest.raises(ConfigError, match=r"0\.wav has changed since the training began"):
        _use(others[-1])
    clips[1].path.unlink()
    with pytest.raises(ConfigError, match=r"1\.wav can no longer be read .*bring it back"):
        _use(others[-2])


def test_a_clip_that_is_being_written_is_not_kept(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:

    def read_and_touched(path: Path, rate_hz: int) -> Any:
        samples = read_with_remark(path, rate_hz)
        os.utime(path, ns=(1, 1))
        return samples

    monkeypatch.setattr("train.data.read_with_remark", read_and_touched)
    (recording,) = load_recordings([clips[0]], MEL, None, _cache(tmp_path).prepare).recordings
    _use(recording)
    assert _raw(tmp_path) == []


def test_clips_that_cannot_be_used_are_told_every_time(tmp_path: Path, clips: list[Clip]) -> None:
    clips[0].path.write_bytes(b"not a sound")
    clips[5].path.unlink()
    labels = {"wren/1.wav": HandLabel(voice_s=((0.0, 99.0),))}
    wanted = load_recordings(clips, MEL, labels).unusable
    assert [path.name for path in wanted] == ["0.wav", "1.wav", "5.wav"]
    for _ in range(2):
        assert load_recordings(clips, MEL, labels, _cache(tmp_path).prepare).unusable == wanted


def _no_space(path: Path, content: bytes) -> Any:
    with path.open("wb") as stream:
        stream.write(content[:1000])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _little_space(_: object) -> Any:
    return SimpleNamespace(free=900_000_000)


@pytest.mark.parametrize(
    ("owner", "name", "replacement"),
    [(Path, "write_bytes", _no_space), (shutil, "disk_usage", _little_space)],
)
def test_a_full_disk_is_told_once_and_nothing_is_lost(
    tmp_path: Path,
    clips: list[Clip],
    decoded: _Decoded,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    replacement: Any,
) -> None:
    wanted = _scenes(_load(clips).recordings)
    _load(clips[:2], _cache(tmp_path))
    decoded.since()
    there = sorted((tmp_path / "cache").iterdir())
    monkeypatch.setattr(owner, name, replacement)
    said: list[str] = []
    cache = _cache(tmp_path, said=said)
    loaded = _load(clips, cache)
    # What was there before is used, the rest decoded now and whenever it is needed.
    assert decoded.since() == ["2.wav", "3.wav", "4.wav", "5.wav"]
    _assert_same_scenes(_scenes(loaded.recordings), wanted)
    assert set(decoded.since()) == {"2.wav", "3.wav", "4.wav", "5.wav"}
    assert sorted((tmp_path / "cache").iterdir()) == there
    assert len(said) == 1
    assert "cannot be written to (No space left on device)" in said[0]
    assert "make room" in said[0]
    monkeypatch.undo()
    _load(clips, cache)
    assert len(_raw(tmp_path)) == len(clips)  # there is room again


def test_a_folder_that_cannot_be_made_is_told_once(tmp_path: Path, clips: list[Clip]) -> None:
    (tmp_path / "cache").write_text("a file")
    said: list[str] = []
    loaded = _load(clips, _cache(tmp_path, said=said))
    _assert_same_scenes(_scenes(loaded.recordings), _scenes(_load(clips).recordings))
    assert len(said) == 1
    assert "cannot be written to (File exists)" in said[0]
    assert (tmp_path / "cache").read_text() == "a file"


def test_a_folder_that_can_only_be_read_is_used(
    tmp_path: Path, clips: list[Clip], decoded: _Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _load(clips).recordings
    _load(clips[1:], _cache(tmp_path))
    decoded.since()

    def read_only(*_: object, **__: object) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    # root may write whatever the mode of the folder says
    for owner, name in ((os, "utime"), (Path, "write_bytes"), (Path, "unlink")):
        monkeypatch.setattr(owner, name, read_only)
    said: list[str] = []
    loaded = _load(clips, _cache(tmp_path, said=said)).recordings
    for one, other in zip(loaded, plain, strict=True):
        _assert_same(one, other)
    assert set(decoded.since()) == {"0.wav"}
    assert len(said) == 1
    assert "cannot be written to (Read-only file system)" in said[0]


def test_the_arrays_are_mapped_and_few_files_are_open(tmp_path: Path, clips: list[Clip]) -> None:
    for number in range(30):
        copy = clips[0].path.with_name(f"copy_{number}.wav")
        copy.write_bytes(clips[0].path.read_bytes())
        clips.append(Clip(copy, "wren"))
    before = len(os.listdir("/proc/self/fd"))
    for recording in _load(clips, _cache(tmp_path)).recordings:
        assert isinstance(recording, CachedRecording)
        assert not any(isinstance(value, np.ndarray) for value in vars(recording).values())
        _use(recording)
    for recording in _load(clips, _cache(tmp_path)).recordings:
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
    (recording,) = load_recordings([clips[0]], MEL, None, _cache(tmp_path).prepare).recordings
    samples = recording.samples
    shutil.rmtree(tmp_path / "cache")
    np.testing.assert_array_equal(samples, load_recordings([clips[0]], MEL).recordings[0].samples)


def test_files_of_others_are_neither_counted_nor_deleted(tmp_path: Path, clips: list[Clip]) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    others = [folder / name for name in ("thesis.raw", "a.json", "0" * 64, f"{'0' * 63}g.raw")]
    for path in others:
        path.write_bytes(b"precious" * RAW)
        os.utime(path, ns=(1, 1))
    _load(clips, _cache(tmp_path, 1.5 * RAW / 0.9))
    assert len([path for path in _raw(tmp_path) if path not in others]) == 1
    assert all(path.stat().st_size == 8 * RAW for path in others)


def test_what_a_dead_process_left_goes_and_what_a_living_one_writes_stays(
    tmp_path: Path, clips: list[Clip]
) -> None:
    dead, living = (
        tmp_path / "cache" / f"{digit * 64}.raw.{digit * 16}.tmp" for digit in ("0", "1")
    )
    dead.parent.mkdir()
    dead.write_bytes(bytes(RAW))
    os.utime(dead, ns=(1, 1))
    living.write_bytes(bytes(RAW))
    _load(clips, _cache(tmp_path, 2.5 * RAW / 0.9))
    assert not dead.exists()
    assert living.exists()
    assert len(_raw(tmp_path)) == 1
    # Where it leaves no room, nothing else is kept.
    _raw(tmp_path)[0].unlink()
    cached = _load(clips, _cache(tmp_path, 1.5 * RAW / 0.9)).recordings
    _use(cached[0])
    assert living.exists()
    assert _raw(tmp_path) == []


def test_pseudo_labels_go_with_a_recording(tmp_path: Path, clips: list[Clip]) -> None:
    pseudo = np.full((10, 2), 255, np.uint8)
    for cache in (None, _cache(tmp_path)):
        recording = _load(clips, cache).recordings[2]
        labelled = recording.with_pseudo(pseudo)
        assert recording.pseudo is None
        assert labelled.pseudo is pseudo
        _assert_same(labelled, recording)


_SHORT_S = 0.25
_SHORT_RAW = round(_SHORT_S * SAMPLE_RATE_HZ) * 4 + 25 * 4


def _use_all(clips: list[Clip], folder: Path, limit: float, seed: int) -> None:
    """In another process, where a failed assertion is an exit code."""
    wanted = load_recordings(clips, MEL).recordings
    said: list[str] = []
    cached = load_recordings(
        clips, MEL, None, ClipCache(folder, limit, say=said.append).prepare
    ).recordings
    for place in np.random.default_rng(seed).permutation(len(clips)):
        _assert_same(cached[place], wanted[place])
    assert all("is full" in line for line in said), said


def test_two_processes_share_a_cache_and_keep_its_limit(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    short = []
    for number in range(60):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, birdlike(1.0, seed=number)[-8000:], SAMPLE_RATE_HZ)
        short.append(Clip(path, "wren"))
    limit = 30 * (_SHORT_RAW + 300) + 60 * 300
    folder = tmp_path / "cache"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_use_all, args=(short, folder, limit, seed)) for seed in (0, 1)
    ]
    for process in processes:
        process.start()
    largest = 0
    while any(process.is_alive() for process in processes):
        largest = max(largest, _total(folder))
        processes[0].join(0.01)
    assert [process.exitcode for process in processes] == [0, 0]
    assert 0.5 * limit < largest <= limit
    assert not list(folder.glob("*.tmp"))


def _total(folder: Path) -> int:
    total = 0
    for path in list(folder.glob("*")):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
