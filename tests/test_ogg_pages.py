"""Ogg streams that are damaged inside: all that is whole, in its right place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import MakeSound
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.sound.files.audiofile import AudioFile
from recorder.sound.files.extent import Extent
from recorder.sound.files.ogg_pages import damaged_inside, whole_pages

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> tuple[Path, Floats]:
    """(a stream of a minute, what its decoder says of it)."""
    path = tmp_path_factory.mktemp("ogg") / "whole.ogg"
    with soundfile.SoundFile(path, "w", 32_000, 1) as sound:
        for block in np.array_split(birdlike(60.0, seed=7), 60):
            sound.write(block)
    return path, soundfile.read(path, dtype="float32")[0]


def read(path: Path) -> tuple[Floats, AudioFile]:
    with AudioFile(path) as sound:
        blocks = list(sound.blocks(10_000))
    return np.concatenate(blocks), sound


def test_a_whole_stream_is_read_as_ever(stream: tuple[Path, Floats]) -> None:
    path, expected = stream
    with path.open("rb") as file:
        size = path.stat().st_size
        pages = list(whole_pages(Extent.whole(file.fileno())))
        assert damaged_inside(Extent.whole(file.fileno())) is None
    assert [page.number for page in pages] == list(range(len(pages)))
    assert (pages[0].start, pages[-1].stop) == (0, size)
    assert pages[-1].granule == len(expected)
    found, sound = read(path)
    np.testing.assert_array_equal(found, expected)
    assert (sound.damage, sound.frames_bridged) == (None, 0)


@given(st.floats(0.1, 0.9), st.integers(1, 20_000), st.floats(0.1, 0.9), st.booleans())
def test_behind_any_damage_all_is_in_its_place(
    stream: tuple[Path, Floats],
    tmp_path_factory: pytest.TempPathFactory,
    where: float,
    length: int,
    second: float,
    removed: bool,
) -> None:
    path, expected = stream
    data = bytearray(path.read_bytes())
    place = int(second * len(data))
    data[place] ^= 0xFF
    place = int(where * len(data))
    if removed:
        del data[place : place + length]
    else:
        data[place : place + length] = bytes(len(data[place : place + length]))
    damaged = tmp_path_factory.mktemp("damaged") / "x.ogg"
    damaged.write_bytes(data)
    found, sound = read(damaged)
    assert sound.damage is not None
    assert sound.damage.startswith("damaged, silence in its place: ")
    assert sound.frames is not None
    assert len(found) == sound.frames_read <= len(expected)
    different = found != expected[: len(found)]
    assert np.count_nonzero(found[different]) == 0
    assert np.count_nonzero(different) <= sound.frames_bridged
    assert sound.frames_bridged < len(expected)


def test_opus_is_in_its_place_too(tmp_path: Path, birdlike: MakeSound) -> None:
    path = tmp_path / "x.opus"
    soundfile.write(path, birdlike(40.0, 48_000, seed=8), 48_000, format="OGG", subtype="OPUS")
    expected = soundfile.read(path, dtype="float32")[0]
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 500] = bytes(500)
    path.write_bytes(data)
    found, sound = read(path)
    assert abs(len(found) - len(expected)) <= 1_000
    silent = np.flatnonzero(found == 0.0)
    behind = silent[-1] + 48_000
    assert behind < len(found) - 48_000
    # The decoder needs a while to find its way again.
    np.testing.assert_allclose(found[behind:], expected[behind : len(found)], atol=0.01)
    assert sound.frames_bridged > 0


def test_a_stream_with_a_damaged_header_is_the_decoders_business(
    stream: tuple[Path, Floats], tmp_path: Path
) -> None:
    data = bytearray(stream[0].read_bytes())
    data[40] ^= 0xFF
    path = tmp_path / "x.ogg"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert damaged_inside(Extent.whole(file.fileno())) is None
