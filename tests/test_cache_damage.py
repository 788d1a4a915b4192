"""Prepared clips on disk that are damaged, and clips that change, are noticed and mended."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import soundfile
from cachelab import (
    MEL,
    RAW,
    SECONDS,
    Decoded,
    MakeSound,
    assert_same,
    load,
    open_cache,
    raw_files,
    use,
)
from cachelab import clips as clips
from cachelab import decoded as decoded

from recorder.detect.mel import SAMPLE_RATE_HZ
from recorder.errors import ConfigError
from recorder.sound.files.whole import read_with_remark
from train.clips.dataset import Clip
from train.clips.recordings import load_recordings


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
    tmp_path: Path, clips: list[Clip], decoded: Decoded, damage: Callable[[Path], None]
) -> None:
    two = [clips[0], clips[4]]
    plain = load_recordings(two, MEL).recordings
    load_recordings(two, MEL, None, open_cache(tmp_path).prepare)
    damage(raw_files(tmp_path)[0])
    for times in (1, 0):
        said: list[str] = []
        decoded.since()
        loaded = load_recordings(two, MEL, None, open_cache(tmp_path, said=said).prepare)
        for one, other in zip(loaded.recordings, plain, strict=True):
            assert_same(one, other)
        assert list(loaded.damaged) == [clips[4].path]
        assert len(decoded.since()) == times
        wrong_bytes = damage in (_flip, _truncate, _empty, _lengthen, _anothers_bytes)
        assert ["is damaged" in line for line in said] == [True] * (wrong_bytes and times)


def test_a_file_that_changed_is_decoded_again(
    tmp_path: Path, clips: list[Clip], decoded: Decoded, birdlike: MakeSound
) -> None:
    load(clips, open_cache(tmp_path))
    size = clips[0].path.stat().st_size
    soundfile.write(clips[0].path, birdlike(SECONDS, seed=99), SAMPLE_RATE_HZ, subtype="FLOAT")
    assert clips[0].path.stat().st_size == size
    decoded.since()
    loaded = load(clips, open_cache(tmp_path)).recordings
    assert decoded.since() == ["0.wav"]
    assert_same(loaded[0], load(clips).recordings[0])


def test_clips_of_the_same_size_and_time_are_told_apart(tmp_path: Path, clips: list[Clip]) -> None:
    for clip in clips:
        os.utime(clip.path, ns=(1, 1))
    cached = load(clips, open_cache(tmp_path)).recordings
    for one, other in zip(cached, load(clips).recordings, strict=True):
        assert_same(one, other)


def test_a_folder_that_is_deleted_meanwhile_is_made_again(
    tmp_path: Path, clips: list[Clip]
) -> None:
    said: list[str] = []
    cached = load(clips, open_cache(tmp_path, said=said)).recordings
    shutil.rmtree(tmp_path / "cache")
    for one, other in zip(cached, load(clips).recordings, strict=True):
        assert_same(one, other)
    assert len(raw_files(tmp_path)) == len(clips)
    assert said == []


def test_a_clip_that_changes_while_it_trains_stops_the_training(
    tmp_path: Path, clips: list[Clip]
) -> None:
    kept, *others = load(clips, open_cache(tmp_path, 1.5 * RAW / 0.9)).recordings[::-1]
    for one in clips:
        os.utime(one.path, ns=(1, 1))
    use(kept)  # what is still there needs no clip
    with pytest.raises(ConfigError, match=r"0\.wav has changed since the training began"):
        use(others[-1])
    clips[1].path.unlink()
    with pytest.raises(ConfigError, match=r"1\.wav can no longer be read .*bring it back"):
        use(others[-2])


def test_a_clip_that_is_being_written_is_not_kept(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:

    def read_and_touched(path: Path, rate_hz: int) -> Any:
        samples = read_with_remark(path, rate_hz)
        os.utime(path, ns=(1, 1))
        return samples

    monkeypatch.setattr("train.clips.recordings.read_with_remark", read_and_touched)
    (recording,) = load_recordings([clips[0]], MEL, None, open_cache(tmp_path).prepare).recordings
    use(recording)
    assert raw_files(tmp_path) == []
