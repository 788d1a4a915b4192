"""WAVs in several pieces, recordings or chunks behind each other; and those of a wrong number."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import MakeSound
from numpy.typing import NDArray

from recorder.sound.files.audiofile import AudioFile

RATE_HZ = 32_000
Floats = NDArray[np.float32]


def read_all(path: Path) -> tuple[AudioFile, Floats]:
    with AudioFile(path) as sound:
        return sound, np.concatenate(list(sound.blocks(10_000)))


def recording(
    folder: Path, sound: Floats, rate_hz: int = RATE_HZ, kind: str = "WAV", subtype: str = "PCM_16"
) -> tuple[bytes, Floats]:
    """(bytes, samples) of one."""
    path = folder / "one.wav"
    soundfile.write(path, sound, rate_hz, format=kind, subtype=subtype)
    return path.read_bytes(), soundfile.read(path, dtype="float32")[0]


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


@pytest.fixture
def two(tmp_path: Path, birdlike: MakeSound) -> list[tuple[bytes, Floats]]:
    return [recording(tmp_path, birdlike(seconds)) for seconds in (6.0, 3.0)]


@pytest.mark.parametrize("notes", [b"", chunk(b"LIST", b"INFOabc")])
@pytest.mark.parametrize("kind", ["WAV", "RF64"])
def test_recordings_of_one_kind_behind_each_other_are_read_as_one(
    tmp_path: Path, birdlike: MakeSound, kind: str, notes: bytes
) -> None:
    """libsndfile refuses the file, or reads the first alone."""
    parts = [recording(tmp_path, birdlike(seconds), kind=kind) for seconds in (2.0, 6.0, 3.0)]
    path = tmp_path / "three.wav"
    path.write_bytes(notes.join(content for content, _ in parts))
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, np.concatenate([samples for _, samples in parts]))
    assert sound.repair == "its sound lies in 3 pieces, read one behind the other"
    assert sound.damage is None
    with AudioFile(path) as again:
        assert again.begins_anywhere
        np.testing.assert_array_equal(again.excerpt(60_000, 10_000), got[60_000:70_000])


def test_there_may_be_any_number_of_them(tmp_path: Path, birdlike: MakeSound) -> None:
    content, samples = recording(tmp_path, birdlike(0.05))
    path = tmp_path / "many.wav"
    path.write_bytes(content * 1_500)
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, np.tile(samples, 1_500))
    assert "1500 pieces" in sound.repair


def test_a_chunk_of_sound_that_is_cut_off_is_partial(
    tmp_path: Path, two: list[tuple[bytes, Floats]]
) -> None:
    (first, one), (second, other) = two
    more = chunk(b"data", second[second.index(b"data") + 8 :])
    path = tmp_path / "a.wav"
    path.write_bytes(first + more[: -2 * RATE_HZ])
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, np.concatenate([one, other[:-RATE_HZ]]))
    assert sound.damage == "the header promises 288000 samples, 256000 are there"


def test_the_last_of_them_may_have_lost_its_power(
    tmp_path: Path, two: list[tuple[bytes, Floats]]
) -> None:
    (first, one), (second, other) = two
    at = second.index(b"data") + 4
    path = tmp_path / "a.wav"
    path.write_bytes(first + second[:at] + bytes(4) + second[at + 4 :])
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, np.concatenate([one, other]))
    assert sound.damage is None


def test_the_last_of_them_may_be_cut_off(tmp_path: Path, two: list[tuple[bytes, Floats]]) -> None:
    (first, one), (second, other) = two
    path = tmp_path / "a.wav"
    path.write_bytes(first + second[: -2 * RATE_HZ])
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, np.concatenate([one, other[:-RATE_HZ]]))
    assert sound.damage == "the header promises 288000 samples, 256000 are there"


@pytest.mark.parametrize(
    "other", [{"rate_hz": 48_000}, {"subtype": "PCM_24"}], ids=["rate", "subtype"]
)
def test_one_of_another_kind_behind_them_is_named(
    tmp_path: Path, birdlike: MakeSound, two: list[tuple[bytes, Floats]], other: dict[str, int]
) -> None:
    (first, one), (second, also) = two
    content, _ = recording(tmp_path, birdlike(4.0), **other)
    path = tmp_path / "a.wav"
    path.write_bytes(first + content)
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, one)
    assert sound.damage is not None
    assert "from 6.00 s on it is another WAV, which is not read" in sound.damage
    assert f"after {len(first)} bytes" in sound.damage
    path.write_bytes(first + second + content)
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, np.concatenate([one, also]))
    assert sound.damage is not None
    assert "from 9.00 s on it is another WAV" in sound.damage


def test_sound_in_several_chunks_of_one_file_is_read_one_behind_the_other(
    tmp_path: Path, two: list[tuple[bytes, Floats]]
) -> None:
    (first, one), (second, other) = two
    more = second[second.index(b"data") + 8 :]
    path = tmp_path / "a.wav"
    path.write_bytes(first + chunk(b"LIST", b"INFOabcd") + chunk(b"data", more))
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, np.concatenate([one, other]))
    assert "2 pieces" in sound.repair
    assert sound.damage is None


def test_notes_behind_the_sound_are_no_piece_of_it(
    tmp_path: Path, two: list[tuple[bytes, Floats]]
) -> None:
    content, whole = two[0]
    path = tmp_path / "a.wav"
    path.write_bytes(content + chunk(b"guan", b"x" * 200_001))
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert (sound.repair, sound.damage) == ("", None)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize(
    ("at", "form", "number"),
    [
        (2, "<H", 255),
        (2, "<H", 3),
        (4, "<I", 0),
        (4, "<I", 1 << 31),
        (12, "<H", 3),
        (12, "<H", 400),
        (14, "<H", 17),
        (14, "<H", 8),
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_a_number_that_all_others_contradict_is_put_right(
    tmp_path: Path, birdlike: MakeSound, kind: str, at: int, form: str, number: int, closed: bool
) -> None:
    """libsndfile takes a 255th of the sound for all of it, and says nothing."""
    content, whole = recording(tmp_path, birdlike(6.0), kind=kind)
    at += content.index(b"fmt ") + 8
    wrong = struct.pack(form, number)
    lying = content[:at] + wrong + content[at + len(wrong) :]
    if not closed:
        lying = lying + content[-2 * RATE_HZ :]
        whole = np.concatenate([whole, whole[-RATE_HZ:]])
    path = tmp_path / "a.wav"
    path.write_bytes(lying)
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert "its header contradicts itself" in sound.repair
    assert ("did not close it" in sound.repair) != closed
    assert sound.damage is None


def rewritten(folder: Path, content: bytes, at: int, wrong: bytes) -> Path:
    """The same recording, with other numbers from a place of its chunk `fmt ` on."""
    at += content.index(b"fmt ") + 8
    path = folder / "a.wav"
    path.write_bytes(content[:at] + wrong + content[at + len(wrong) :])
    return path


def test_two_usual_rates_that_contradict_each_other_are_said(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    """The first is believed, as everybody does; but all may be wrong then."""
    content, whole = recording(tmp_path, birdlike(2.0))
    sound, got = read_all(rewritten(tmp_path, content, 4, struct.pack("<I", 48_000)))
    np.testing.assert_array_equal(got, whole)
    assert sound.sample_rate_hz == 48_000
    assert "at 48000 Hz, 64000 bytes a second; read as 1 of 16 in 2 at 48000 Hz" in sound.repair


def test_bytes_a_second_that_were_never_filled_in_contradict_nothing(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    content, whole = recording(tmp_path, birdlike(2.0))
    sound, got = read_all(rewritten(tmp_path, content, 8, bytes(4)))
    np.testing.assert_array_equal(got, whole)
    assert (sound.repair, sound.damage) == ("", None)


def test_numbers_that_contradict_each_other_all_are_left_to_the_decoder(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    content, whole = recording(tmp_path, birdlike(2.0))
    sound, got = read_all(rewritten(tmp_path, content, 8, struct.pack("<IH", 7, 9)))
    np.testing.assert_array_equal(got, whole)
    assert sound.damage is None
