"""MP3s whose header is gone or wrong, or that are damaged inside: all that is there is read."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.sound.files.audiofile import AudioFile
from recorder.sound.files.extent import Extent
from recorder.sound.files.mp3_frames import mp3_frames

RATE_HZ = 32_000
LENGTH_S = 40
FRAME = 1152
CLICKS_S = (5.0, 15.0, 25.0, 35.0)
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faint noise and loud, whose frames differ in size, with a click every ten seconds."""
    rng = np.random.default_rng(0)
    loud = np.where(np.arange(LENGTH_S * RATE_HZ) // (10 * RATE_HZ) % 2, 0.05, 0.001)
    sound = rng.standard_normal(LENGTH_S * RATE_HZ) * loud
    for at_s in CLICKS_S:
        sound[round(at_s * RATE_HZ)] = 0.9
    path = tmp_path_factory.mktemp("mp3") / "good.mp3"
    soundfile.write(path, sound, RATE_HZ, format="MP3", subtype="MPEG_LAYER_III")
    return path


def read_all(path: Path) -> tuple[AudioFile, Floats]:
    with AudioFile(path) as sound:
        blocks = list(sound.blocks(10_000))
    return sound, np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def frame_starts(path: Path) -> list[int]:
    """The tag's first."""
    with path.open("rb") as stream:
        content = stream.read()
        mp3 = mp3_frames(Extent.whole(stream.fileno()))
    assert mp3 is not None
    assert len(mp3.runs) == 1
    places, place = [], 0
    kbps = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    for _ in range(mp3.runs[0].frames):
        places.append(place)
        place += 144_000 * kbps[content[place + 2] >> 4] // RATE_HZ + (content[place + 2] >> 1 & 1)
    assert place == mp3.runs[0].stop
    return places


def clicks_s(sound: Floats) -> list[float]:
    """Where it is loudest in each ten seconds."""
    padded = np.zeros(LENGTH_S * RATE_HZ, np.float32)
    padded[: len(sound)] = np.abs(sound[: len(padded)])
    return [
        number * 10 + int(piece.argmax()) / RATE_HZ
        for number, piece in enumerate(padded.reshape(-1, 10 * RATE_HZ))
        if piece.max() > 0.5
    ]


def test_a_whole_mp3_is_read_as_it_is(good: Path) -> None:
    sound, got = read_all(good)
    assert (sound.repair, sound.damage, sound.frames_bridged) == ("", None, 0)
    np.testing.assert_array_equal(got, soundfile.read(good, dtype="float32")[0])
    assert len(got) == LENGTH_S * RATE_HZ


def test_with_a_tag_that_decoders_take_for_sound_all_frames_are_read(
    good: Path, tmp_path: Path
) -> None:
    """One byte in front of it is damaged: mpg123 then guesses the length from the first frame."""
    content = bytearray(good.read_bytes())
    content[9] ^= 1
    path = tmp_path / "damaged.mp3"
    path.write_bytes(content)
    assert soundfile.info(path).frames < LENGTH_S * RATE_HZ
    sound, got = read_all(path)
    assert len(got) >= LENGTH_S * RATE_HZ
    assert sound.damage is None
    assert clicks_s(got[FRAME:]) == pytest.approx(CLICKS_S, abs=0.04)


def test_without_a_tag_all_frames_are_read(good: Path, tmp_path: Path) -> None:
    """A decoder alone guesses from the size of the first frame."""
    path = tmp_path / "streamed.mp3"
    path.write_bytes(good.read_bytes()[frame_starts(good)[1] :])
    assert soundfile.info(path).frames < LENGTH_S * RATE_HZ / 2
    sound, got = read_all(path)
    assert (sound.repair, sound.damage) == ("", None)
    assert abs(len(got) - LENGTH_S * RATE_HZ) < 2 * FRAME
    np.testing.assert_allclose(clicks_s(got), CLICKS_S, atol=0.06)


def test_a_tag_that_was_never_filled_in_is_put_right(good: Path, tmp_path: Path) -> None:
    content = bytearray(good.read_bytes())
    at = content.find(b"Xing") if b"Xing" in content[:100] else content.find(b"Info")
    struct.pack_into(">I", content, at + 8, 3)
    path = tmp_path / "open.mp3"
    path.write_bytes(content)
    sound, got = read_all(path)
    assert "the header promises 3 frames of MP3" in sound.repair
    assert sound.damage is None
    assert abs(len(got) - LENGTH_S * RATE_HZ) < 2 * FRAME


@pytest.mark.parametrize("junk", [b"\0" * 3000, b"\xff" * 5000, bytes(range(256)) * 20])
def test_what_stands_before_the_first_frame_is_passed_over(
    good: Path, tmp_path: Path, junk: bytes
) -> None:
    path = tmp_path / "junk.mp3"
    path.write_bytes(junk + good.read_bytes())
    sound, got = read_all(path)
    assert sound.damage == f"its first {len(junk)} bytes are no MP3"
    np.testing.assert_array_equal(got, soundfile.read(good, dtype="float32")[0])


def test_an_mp3_that_begins_inside_a_frame_is_read(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp3"
    starts = frame_starts(good)
    path.write_bytes(good.read_bytes()[starts[100] + 50 :])
    sound, got = read_all(path)
    assert sound.damage == f"its first {starts[101] - starts[100] - 50} bytes are no MP3"
    assert abs(len(got) - (LENGTH_S * RATE_HZ - 100 * FRAME)) < 3 * FRAME


def test_two_in_one_file_are_both_read(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.mp3"
    path.write_bytes(good.read_bytes() * 2)
    _, got = read_all(path)
    assert abs(len(got) - 2 * LENGTH_S * RATE_HZ) < 4 * FRAME


@pytest.mark.parametrize("overwritten_with", [b"\0", b"\xff", b"U"])
def test_what_is_overwritten_inside_is_silence_in_its_place(
    good: Path, tmp_path: Path, overwritten_with: bytes
) -> None:
    """Within sound of one loudness a hole's length is known from its bytes."""
    content, starts = bytearray(good.read_bytes()), frame_starts(good)
    first, last = starts[round(16 * RATE_HZ / FRAME)], starts[round(19 * RATE_HZ / FRAME)]
    content[first:last] = overwritten_with * (last - first)
    path = tmp_path / "hole.mp3"
    path.write_bytes(content)
    sound, got = read_all(path)
    assert sound.damage is not None
    assert "damaged, silence in its place: about" in sound.damage
    # The decoder leaves out the encoder's delay: all times are by that earlier.
    assert "s at 15.9" in sound.damage
    assert abs(sound.frames_bridged / RATE_HZ - 3.0) < 0.2
    np.testing.assert_allclose(clicks_s(got), CLICKS_S, atol=0.2)
    assert np.abs(got[round(16.2 * RATE_HZ) : round(18.8 * RATE_HZ)]).max() < 1e-3


def test_a_truncated_mp3_is_not_said_to_be_early(good: Path, tmp_path: Path) -> None:
    """Its frames were counted: none is missing before its end."""
    path = tmp_path / "half.mp3"
    path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    sound, _ = read_all(path)
    assert sound.damage is not None
    assert "the header promises 1280000 samples" in sound.damage
    assert "early" not in sound.damage
    assert sound.frames == LENGTH_S * RATE_HZ


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_is_destroyed_the_rest_is_read(good: Path, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    destroyed = 0
    for _ in range(data.draw(st.integers(1, 3))):
        first = data.draw(st.integers(0, len(content) - 1))
        count = data.draw(st.integers(1, 20_000))
        content[first : first + count] = data.draw(st.randoms()).randbytes(
            min(count, len(content) - first)
        )
        destroyed += count
    path = good.with_name("destroyed.mp3")
    path.write_bytes(content)
    sound, got = read_all(path)
    assert np.isfinite(got).all()
    # A frame has at least 144 bytes here, and some are lost on both sides of a hole.
    least_s = LENGTH_S - (destroyed / 144 + 3 * 12) * FRAME / RATE_HZ
    assert len(got) / RATE_HZ > least_s
    assert sound.frames_read == len(got)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\xff\xfb" * 9000, b"hello" * 9000, b"\xff\xfb\x90\0" * 5000]
)
def test_what_is_no_mp3_is_not_taken_for_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    with path.open("rb") as stream:
        assert mp3_frames(Extent.whole(stream.fileno())) is None


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 1), (22_050, 1), (44_100, 2)])
def test_frames_of_another_kind_are_named(
    good: Path, tmp_path: Path, rate_hz: int, channels: int
) -> None:
    """Decoders stop there without a word."""
    other = tmp_path / "other.mp3"
    noise = np.random.default_rng(0).standard_normal((3 * rate_hz, channels)) * 0.05
    soundfile.write(other, noise, rate_hz, format="MP3")
    both = tmp_path / "both.mp3"
    both.write_bytes(good.read_bytes() + other.read_bytes())
    sound, got = read_all(both)
    np.testing.assert_array_equal(got, soundfile.read(good, dtype="float32")[0])
    kind = f"{rate_hz} Hz, {'mono' if channels == 1 else 'stereo'}"
    assert sound.damage is not None
    assert f"MP3 of another kind ({kind} instead of" in sound.damage
    assert f"from byte {len(good.read_bytes())} on" in sound.damage
