"""The folder of prepared clips keeps its limit, also when others write to it or nobody can."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from cachelab import (
    MEL,
    RAW,
    Decoded,
    MakeSound,
    assert_same,
    assert_same_scenes,
    load,
    make_scenes,
    open_cache,
    raw_files,
    use,
)
from cachelab import clips as clips
from cachelab import decoded as decoded

from recorder.detect.mel import SAMPLE_RATE_HZ
from train.clips.cache import ClipCache
from train.clips.dataset import Clip
from train.clips.recordings import Recording, load_recordings


def test_the_clip_used_least_recently_makes_room(
    tmp_path: Path, clips: list[Clip], decoded: Decoded
) -> None:
    limit, said = (3 * RAW + 3000) / 0.9, list[str]()
    cache = open_cache(tmp_path, limit, said)

    def loaded(number: int) -> Recording:
        return load_recordings([clips[number]], MEL, None, cache.prepare).recordings[0]

    def total() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "cache").iterdir())

    names, recordings = [], []
    for number in range(3):
        before = set(raw_files(tmp_path))
        recordings.append(loaded(number))
        names.append((set(raw_files(tmp_path)) - before).pop())
    assert said == []
    use(recordings[0])
    recordings.append(loaded(3))
    assert names[0] in raw_files(tmp_path)
    assert names[1] not in raw_files(tmp_path)
    assert names[2] in raw_files(tmp_path)
    assert total() <= limit
    recordings.append(loaded(4))
    assert names[0] in raw_files(tmp_path)
    assert names[2] not in raw_files(tmp_path)
    assert total() <= limit
    decoded.since()
    for recording in recordings:
        use(recording)
        assert total() <= limit
    assert decoded.since()[0] == "1.wav"
    assert len(said) == 1
    assert "is full" in said[0]


def test_a_lower_limit_holds_from_the_start(tmp_path: Path, clips: list[Clip]) -> None:
    for recording in load(clips, open_cache(tmp_path)).recordings[::-1]:
        use(recording)
    first = load_recordings(clips[:1], MEL).recordings[0].samples.tobytes()
    said: list[str] = []
    open_cache(tmp_path, 1.5 * RAW / 0.9, said)
    assert [path.read_bytes()[: len(first)] for path in raw_files(tmp_path)] == [first]
    assert len(said) == 1
    assert "is full" in said[0]


def test_a_clip_larger_than_the_cache_is_told_and_decoded_at_each_use(
    tmp_path: Path, clips: list[Clip], decoded: Decoded
) -> None:
    said: list[str] = []
    loaded = load(clips, open_cache(tmp_path, 0.7 * RAW, said))
    assert raw_files(tmp_path) == []
    assert len(said) == 1
    assert "too much for the cache" in said[0]
    decoded.since()
    use(loaded.recordings[0])
    assert loaded.recordings[0].calls.any()
    assert decoded.since() == ["0.wav"]


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
    decoded: Decoded,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    replacement: Any,
) -> None:
    wanted = make_scenes(load(clips).recordings)
    load(clips[:2], open_cache(tmp_path))
    decoded.since()
    there = sorted((tmp_path / "cache").iterdir())
    monkeypatch.setattr(owner, name, replacement)
    said: list[str] = []
    cache = open_cache(tmp_path, said=said)
    loaded = load(clips, cache)
    # What was there before is used, the rest decoded now and whenever it is needed.
    assert decoded.since() == ["2.wav", "3.wav", "4.wav", "5.wav"]
    assert_same_scenes(make_scenes(loaded.recordings), wanted)
    assert set(decoded.since()) == {"2.wav", "3.wav", "4.wav", "5.wav"}
    assert sorted((tmp_path / "cache").iterdir()) == there
    assert len(said) == 1
    assert "cannot be written to (No space left on device)" in said[0]
    assert "make room" in said[0]
    monkeypatch.undo()
    load(clips, cache)
    assert len(raw_files(tmp_path)) == len(clips)  # there is room again


def test_a_folder_that_cannot_be_made_is_told_once(tmp_path: Path, clips: list[Clip]) -> None:
    (tmp_path / "cache").write_text("a file")
    said: list[str] = []
    loaded = load(clips, open_cache(tmp_path, said=said))
    assert_same_scenes(make_scenes(loaded.recordings), make_scenes(load(clips).recordings))
    assert len(said) == 1
    assert "cannot be written to (File exists)" in said[0]
    assert (tmp_path / "cache").read_text() == "a file"


def test_a_folder_that_can_only_be_read_is_used(
    tmp_path: Path, clips: list[Clip], decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load(clips).recordings
    load(clips[1:], open_cache(tmp_path))
    decoded.since()

    def read_only(*_: object, **__: object) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    # root may write whatever the mode of the folder says
    for owner, name in ((os, "utime"), (Path, "write_bytes"), (Path, "unlink")):
        monkeypatch.setattr(owner, name, read_only)
    said: list[str] = []
    loaded = load(clips, open_cache(tmp_path, said=said)).recordings
    for one, other in zip(loaded, plain, strict=True):
        assert_same(one, other)
    assert set(decoded.since()) == {"0.wav"}
    assert len(said) == 1
    assert "cannot be written to (Read-only file system)" in said[0]


def test_files_of_others_are_neither_counted_nor_deleted(tmp_path: Path, clips: list[Clip]) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    others = [folder / name for name in ("thesis.raw", "a.json", "0" * 64, f"{'0' * 63}g.raw")]
    for path in others:
        path.write_bytes(b"precious" * RAW)
        os.utime(path, ns=(1, 1))
    load(clips, open_cache(tmp_path, 1.5 * RAW / 0.9))
    assert len([path for path in raw_files(tmp_path) if path not in others]) == 1
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
    load(clips, open_cache(tmp_path, 2.5 * RAW / 0.9))
    assert not dead.exists()
    assert living.exists()
    assert len(raw_files(tmp_path)) == 1
    # Where it leaves no room, nothing else is kept.
    raw_files(tmp_path)[0].unlink()
    cached = load(clips, open_cache(tmp_path, 1.5 * RAW / 0.9)).recordings
    use(cached[0])
    assert living.exists()
    assert raw_files(tmp_path) == []


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
        assert_same(cached[place], wanted[place])
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
