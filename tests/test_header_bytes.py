"""One wrong byte in a header, anywhere, never costs sound in silence: all of it is read, or what is
missing is said, or the file is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recorder.errors import AudioFileError
from recorder.sound.files.audiofile import AudioFile
from recorder.sound.files.mended import SHORTEST_TAIL_S

RATE_HZ = 48_000
LENGTH_S = 1.0
KINDS = {
    "wav": ("WAV", "PCM_16"),
    "wavex": ("WAVEX", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "aifc": ("AIFF", "FLOAT"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
HEADER_BYTES = 96
CHANNELS_OF_AU = 23
"""The last byte of a number that nothing else in an AU tells anything about."""


def good(path: Path, kind: str, channels: int = 1) -> bytes:
    noise = 0.1 * np.random.default_rng(1).standard_normal((int(LENGTH_S * RATE_HZ), channels))
    format_, subtype = KINDS[kind]
    soundfile.write(path, noise, RATE_HZ, format=format_, subtype=subtype)
    return path.read_bytes()


def read(path: Path) -> tuple[AudioFile, float]:
    """What was found, and how much of it, s."""
    with AudioFile(path) as sound:
        frames = sum(len(block) for block in sound.blocks(10_000))
    return sound, frames / RATE_HZ


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_byte_in_the_header_costs_nothing_in_silence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    content = good(path, kind)
    for at in range(HEADER_BYTES):
        if kind == "au" and at == CHANNELS_OF_AU:
            continue
        for wrong in {0, 0xFF, content[at] ^ 1, content[at] ^ 0x80} - {content[at]}:
            path.write_bytes(content[:at] + bytes([wrong]) + content[at + 1 :])
            try:
                sound, length_s = read(path)
            except AudioFileError:
                continue
            whole = length_s > LENGTH_S - SHORTEST_TAIL_S
            assert whole or sound.damage, f"byte {at}, {content[at]:#x} -> {wrong:#x}"


@pytest.mark.parametrize(("number", "wrong"), [("channels", 257), ("channels", 0), ("bits", 24)])
def test_an_aiff_that_contradicts_itself_is_read_as_its_other_numbers_say(
    tmp_path: Path, number: str, wrong: int
) -> None:
    path = tmp_path / "a.aiff"
    content = good(path, "aiff", channels=2)
    whole = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    at = content.index(b"COMM") + {"channels": 8, "bits": 14}[number]
    path.write_bytes(content[:at] + struct.pack(">H", wrong) + content[at + 2 :])
    with AudioFile(path) as sound:
        got = np.concatenate(list(sound.blocks(10_000)))
    np.testing.assert_array_equal(got, whole)
    assert sound.repair.startswith("its header contradicts itself")
    assert "read as 2 of 16" in sound.repair
    assert sound.damage is None


@pytest.mark.parametrize("offset", [1, 256, 0xFFFFFF00])
def test_an_aiff_that_leaps_over_its_sound_is_read_from_its_beginning(
    tmp_path: Path, offset: int
) -> None:
    path = tmp_path / "a.aiff"
    content = good(path, "aiff")
    whole = soundfile.read(path, dtype="float32")[0]
    at = content.index(b"SSND") + 8
    path.write_bytes(content[:at] + struct.pack(">I", offset) + content[at + 4 :])
    with AudioFile(path) as sound:
        np.testing.assert_array_equal(np.concatenate(list(sound.blocks(10_000))), whole)
    assert f"{offset} bytes on; read as 1 of 16, 0 bytes on" in sound.repair


def test_an_aiff_with_a_true_offset_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.aiff"
    content = good(path, "aiff")
    whole = soundfile.read(path, dtype="float32")[0]
    at = content.index(b"SSND")
    (length,) = struct.unpack_from(">I", content, at + 4)
    head = b"SSND" + struct.pack(">III", length + 64, 64, 0)
    form = struct.pack(">I", len(content) - 8 + 64)
    path.write_bytes(content[:4] + form + content[8:at] + head + bytes(64) + content[at + 16 :])
    with AudioFile(path) as sound:
        np.testing.assert_array_equal(np.concatenate(list(sound.blocks(10_000))), whole)
    assert (sound.repair, sound.damage) == ("", None)


def test_an_au_that_leaps_over_its_sound_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.au"
    content = good(path, "au")
    (sound_at,) = struct.unpack_from(">I", content, 4)
    whole = soundfile.read(path, dtype="float32")[0]
    path.write_bytes(content[:4] + struct.pack(">I", sound_at + 65_536) + content[8:])
    with AudioFile(path) as sound:
        np.testing.assert_array_equal(np.concatenate(list(sound.blocks(10_000))), whole)
    assert f"at byte {sound_at} as many begin" in sound.repair


def test_an_au_with_a_note_that_is_cut_off_is_not_taken_for_one_that_leaps(tmp_path: Path) -> None:
    path = tmp_path / "a.au"
    content = good(path, "au")
    (sound_at,) = struct.unpack_from(">I", content, 4)
    note = bytes(1000)
    longer = content[:4] + struct.pack(">I", sound_at + len(note)) + content[8:sound_at] + note
    path.write_bytes(longer + content[sound_at:-500])
    sound, length_s = read(path)
    assert length_s == pytest.approx(LENGTH_S - 250 / RATE_HZ)
    assert sound.repair == ""
    assert sound.damage is not None


@pytest.mark.parametrize("kind", ["wav", "au", "aiff"])
def test_more_channels_than_any_array_has_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    good(path, kind, channels=65)
    with pytest.raises(AudioFileError, match="65 channels: 1 to 64"):
        AudioFile(path)
