"""AIFF and AU of recorders that lost their power, and files in which the sound begins late."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import MakeSound
from numpy.typing import NDArray

from recorder.errors import AudioFileError
from recorder.sound.files.audiofile import AudioFile

RATE_HZ = 32_000
LENGTH_S = 6
Floats = NDArray[np.float32]

KINDS = {
    "wav": ("WAV", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_24"),
    "au": ("AU", "FLOAT"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
}


def read_all(path: Path) -> tuple[AudioFile, Floats]:
    with AudioFile(path) as sound:
        blocks = list(sound.blocks(10_000))
    return sound, np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def made(path: Path, birdlike: MakeSound, subtype: str = "") -> tuple[bytes, Floats]:
    """(bytes, samples) of a good recording."""
    kind, usual = KINDS[path.suffix[1:]]
    sound = birdlike(LENGTH_S)
    soundfile.write(path, sound, RATE_HZ, format=kind, subtype=subtype or usual)
    return path.read_bytes(), soundfile.read(path, dtype="float32")[0]


def with_number(content: bytes, at: int, number: int) -> bytes:
    return content[:at] + struct.pack(">I", number) + content[at + 4 :]


@pytest.mark.parametrize(
    "subtype", ["PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
)
@pytest.mark.parametrize("claimed", [0, 8, 100_000])
def test_an_aiff_that_was_not_closed_is_read_to_its_end(
    tmp_path: Path, birdlike: MakeSound, subtype: str, claimed: int
) -> None:
    """libsndfile believes any length but 0. Some of these are AIFC."""
    path = tmp_path / "a.aiff"
    content, whole = made(path, birdlike, subtype)
    lying = with_number(content, content.index(b"SSND") + 4, claimed)
    lying = with_number(lying, content.index(b"COMM") + 10, claimed // 8)
    path.write_bytes(with_number(lying, 4, claimed))
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert "did not close it" in sound.repair
    assert sound.damage is None


@pytest.mark.parametrize("claimed", [0, 100_000])
@pytest.mark.parametrize("subtype", ["ULAW", "PCM_16", "PCM_24", "DOUBLE"])
def test_an_au_that_was_not_closed_is_read_to_its_end(
    tmp_path: Path, birdlike: MakeSound, subtype: str, claimed: int
) -> None:
    path = tmp_path / "a.au"
    content, whole = made(path, birdlike, subtype)
    path.write_bytes(with_number(content, 8, claimed))
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert "did not close it" in sound.repair
    assert sound.damage is None


@pytest.mark.parametrize("claimed", [0, 4, 100_000])
def test_a_caf_that_was_not_closed_is_read_to_its_end(
    tmp_path: Path, birdlike: MakeSound, claimed: int
) -> None:
    path = tmp_path / "a.caf"
    content, whole = made(path, birdlike)
    path.write_bytes(with_sound_bytes(content, "caf", claimed))
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert "did not close it" in sound.repair
    assert sound.damage is None


@pytest.mark.parametrize("name", ["a.aiff", "a.au", "a.caf"])
def test_a_good_one_is_read_as_it_is_and_so_is_one_with_notes_behind_it(
    tmp_path: Path, birdlike: MakeSound, name: str
) -> None:
    path = tmp_path / name
    content, whole = made(path, birdlike)
    heads = {"a.aiff": b"ANNO" + struct.pack(">I", 300_000), "a.au": b""}
    heads["a.caf"] = b"info" + struct.pack(">q", 300_000)
    notes = heads[name] + b"a" * 300_000 * bool(heads[name])
    for data in (content, content + notes, content + b"TAG" + bytes(125)):
        path.write_bytes(data)
        sound, got = read_all(path)
        np.testing.assert_array_equal(got, whole)
        assert (sound.repair, sound.damage) == ("", None)


@pytest.mark.parametrize("name", ["a.aiff", "a.au", "a.caf"])
def test_of_two_in_one_file_the_second_is_named(
    tmp_path: Path, birdlike: MakeSound, name: str
) -> None:
    path = tmp_path / name
    content, whole = made(path, birdlike)
    path.write_bytes(content * 2)
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert sound.damage is not None
    assert f"from {LENGTH_S}.00 s on it is another" in sound.damage
    assert f"after {len(content)} bytes" in sound.damage


def test_an_aiff_beyond_four_gigabytes_is_read_as_far_as_its_numbers_reach(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    path = tmp_path / "a.aiff"
    content, whole = made(path, birdlike)
    with path.open("wb") as stream:
        stream.write(with_number(content, content.index(b"SSND") + 4, 0))
        stream.truncate((1 << 32) + 1_000_000)
    with AudioFile(path) as sound:
        assert sound.frames is not None
        assert (1 << 32) - 1000 < sound.frames * 3 < 1 << 32
        np.testing.assert_array_equal(sound.excerpt(0, len(whole)), whole)
    assert sound.damage is not None
    assert "is not read" in sound.damage


@pytest.mark.parametrize("junk", [bytes(4096), bytes(range(256)) * 77, b"x"])
@pytest.mark.parametrize("suffix", KINDS)
def test_what_stands_before_the_sound_is_passed_over(
    tmp_path: Path, birdlike: MakeSound, suffix: str, junk: bytes
) -> None:
    """Where a card was damaged, a recording may begin inside of another file's bytes."""
    path = tmp_path / f"a.{suffix}"
    content, whole = made(path, birdlike)
    path.write_bytes(junk + content)
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert sound.damage == f"its first {len(junk)} bytes are no sound"


@pytest.mark.parametrize("claimed", [0, 100_000])
@pytest.mark.parametrize("suffix", ["wav", "rf64", "aiff", "au", "caf"])
def test_of_two_faults_at_once_both_are_mended(
    tmp_path: Path, birdlike: MakeSound, suffix: str, claimed: int
) -> None:
    """The recorder lost its power, and the card was damaged: other bytes, then a false length."""
    path = tmp_path / f"a.{suffix}"
    content, whole = made(path, birdlike)
    path.write_bytes(bytes(4096) + with_sound_bytes(content, suffix, claimed))
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert sound.damage == "its first 4096 bytes are no sound"
    assert "did not close it" in sound.repair


def with_sound_bytes(content: bytes, suffix: str, claimed: int) -> bytes:
    """The same file, whose header speaks of so many bytes of sound."""
    if suffix == "au":
        return with_number(content, 8, claimed)
    if suffix == "aiff":
        return with_number(content, content.index(b"SSND") + 4, claimed)
    if suffix == "caf":
        at = content.index(b"data") + 4
        return content[:at] + struct.pack(">q", claimed) + content[at + 8 :]
    if suffix == "rf64":
        at = content.index(b"ds64") + 16
        return content[:at] + struct.pack("<Q", claimed) + content[at + 8 :]
    at = content.index(b"data") + 4
    return content[:at] + struct.pack("<I", claimed) + content[at + 4 :]


def test_behind_other_bytes_a_stream_that_was_cut_is_read_to_its_last_page(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    path = tmp_path / "a.ogg"
    content, _ = made(path, birdlike)
    path.write_bytes(content[:-20_000])
    cut, alone = read_all(path)
    path.write_bytes(bytes(4096) + content[:-20_000])
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, alone)
    assert sound.damage == f"its first 4096 bytes are no sound; {cut.damage}"


def test_behind_other_bytes_a_flac_is_bridged_where_it_is_damaged(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    path = tmp_path / "a.flac"
    content, _ = made(path, birdlike)
    middle = len(content) // 2
    torn = content[:middle] + bytes(9_000) + content[middle + 9_000 :]
    path.write_bytes(torn)
    _, alone = read_all(path)
    path.write_bytes(bytes(4096) + torn)
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, alone)
    assert sound.frames_bridged > 0


def test_notes_are_read_behind_other_bytes_too(tmp_path: Path, birdlike: MakeSound) -> None:
    path = tmp_path / "a.wav"
    content, _ = made(path, birdlike)
    text = b"GUANO|Version: 1.0\nTimestamp: 2024-05-06T07:08:09Z\n"
    guano = b"guan" + struct.pack("<I", len(text)) + text + bytes(len(text) % 2)
    path.write_bytes(bytes(512) + content[:12] + guano + content[12:])
    with AudioFile(path) as sound:
        assert sound.notes("a.wav").start == "2024-05-06T07:08:09Z"


@pytest.mark.parametrize("name", [b"LIST", b"guan", b"bext"])
def test_a_chunk_of_odd_length_without_its_pad_is_passed(
    tmp_path: Path, birdlike: MakeSound, name: bytes
) -> None:
    """Some writers forget the byte that makes it even; libsndfile finds no sound then."""
    path = tmp_path / "a.wav"
    content, whole = made(path, birdlike)
    chunk = name + struct.pack("<I", 7) + b"INFOabc"
    path.write_bytes(content[:12] + chunk + content[12:])
    with pytest.raises(soundfile.SoundFileError):
        soundfile.info(path)
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert "lacks the byte that makes it even" in sound.repair
    assert sound.damage is None


def test_what_is_no_sound_is_refused_however_long_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(np.random.default_rng(0).bytes(3_000_000))
    with pytest.raises(AudioFileError, match="not audio that can be decoded"):
        AudioFile(path)
