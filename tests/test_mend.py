"""Files that lie about their length, and files that are damaged inside: what is read of them."""

from __future__ import annotations

import os
import struct
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
from recorder.sound.files.flac_frames import FlacFrames
from recorder.sound.files.patched import PatchedFile

RATE_HZ = 32_000
Floats = NDArray[np.float32]


class Forwards(soundfile.SoundFile):  # type: ignore[misc]
    """A FLAC file that begins late cannot be searched."""

    def seekable(self) -> bool:
        return False


def read_all(path: Path) -> tuple[AudioFile, Floats]:
    with AudioFile(path) as sound:
        blocks = list(sound.blocks(10_000))
    return sound, np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def with_sizes(good: bytes, riff: int, data: int) -> bytes:
    assert good[36:40] == b"data"
    return good[:4] + struct.pack("<I", riff) + good[8:40] + struct.pack("<I", data) + good[44:]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.wav"
    soundfile.write(path, birdlike(8.0), RATE_HZ, subtype="PCM_16")
    return path


@given(
    riff=st.sampled_from([0, 36, 0xFFFFFFFF]) | st.integers(0, 600_000),
    data=st.sampled_from([0, 0xFFFFFFFF, 0x7FFFFFFF]) | st.integers(0, 8 * 64_000 - 64_000),
)
def test_whatever_a_wav_says_of_its_length_all_of_it_is_read(
    good: Path, riff: int, data: int
) -> None:
    """Sound of a second or more behind what the header promises is sound."""
    lying = good.with_name("lying.wav")
    lying.write_bytes(with_sizes(good.read_bytes(), riff, data))
    sound, got = read_all(lying)
    np.testing.assert_array_equal(got, soundfile.read(good, dtype="float32")[0])
    assert sound.damage is None


@pytest.mark.parametrize("data", [0, 0xFFFFFFFF, 0x12345678])
def test_a_wav_beyond_four_gigabytes_is_read_to_its_end(
    tmp_path: Path, good: Path, data: int
) -> None:
    """RIFF has no number for its length: recorders write none, all ones, or what is left over."""
    content = good.read_bytes()
    path, bytes_of_sound = tmp_path / "day.wav", (1 << 32) + 1_000_000
    with path.open("wb") as stream:
        stream.write(with_sizes(content[:44], 0xFFFFFFFF, data))
        stream.seek(44 + bytes_of_sound - len(content[44:]))  # A hole: it takes no room.
        stream.write(content[44:])
    with AudioFile(path) as sound:
        assert sound.frames == bytes_of_sound // 2
        end = sound.excerpt(sound.frames - 8 * RATE_HZ, 9 * RATE_HZ)
    np.testing.assert_array_equal(end, soundfile.read(good, dtype="float32")[0])
    assert f"the file holds {bytes_of_sound}" in sound.repair


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("cut", [0, 1, 3])
def test_half_a_frame_at_the_end_is_left_out(tmp_path: Path, channels: int, cut: int) -> None:
    noise = np.random.default_rng(1).integers(-999, 999, (RATE_HZ, channels)).astype(np.int16)
    path = tmp_path / "a.wav"
    soundfile.write(path, noise, RATE_HZ)
    content = with_sizes(path.read_bytes(), 0, 0)
    path.write_bytes(content[: len(content) - cut])
    sound, got = read_all(path)
    assert len(got) == RATE_HZ - (cut + 2 * channels - 1) // (2 * channels)
    assert "did not close it" in sound.repair


def test_an_empty_wav_with_notes_stays_empty(tmp_path: Path, good: Path) -> None:
    notes = b"LIST" + struct.pack("<I", 40_000) + b"INFO" + b"a" * 39_996
    path = tmp_path / "a.wav"
    path.write_bytes(with_sizes(good.read_bytes()[:44], 40_044, 0) + notes)
    assert len(read_all(path)[1]) == 0


def test_a_short_tag_behind_the_sound_is_no_sound(tmp_path: Path, good: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(good.read_bytes() + b"TAG" + b"\0" * 125)
    sound, got = read_all(path)
    assert (len(got), sound.repair, sound.damage) == (8 * RATE_HZ, "", None)


@given(
    level=st.sampled_from([0.0, 0.6, 1.0]),
    holes=st.lists(st.tuples(st.floats(0.05, 0.95), st.integers(1, 400)), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_what_follows_damage_in_a_flac_is_in_its_place(
    tmp_path_factory: pytest.TempPathFactory,
    level: float,
    holes: list[tuple[float, int]],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    count = 5 * RATE_HZ
    samples = rng.integers(-3_000, 3_000, count).astype(np.int16)
    path = tmp_path_factory.mktemp("flac") / "a.flac"
    with soundfile.SoundFile(
        path, "w", RATE_HZ, 1, "PCM_16", format="FLAC", compression_level=level
    ) as file:
        file.write(samples)
    content = bytearray(path.read_bytes())
    for share, length in holes:
        place = 200 + int(share * (len(content) - 200))
        content[place : place + length] = rng.bytes(len(content[place : place + length]))
    path.write_bytes(content)
    sound, got = read_all(path)
    expected = samples.astype(np.float32) / 32_768
    right = got == expected[: len(got)]
    silent = got == 0.0
    assert (right | silent).all()
    # Each hole costs the frames that it touches, and no more.
    assert (~right).sum() <= len(holes) * 3 * 4_608
    assert sound.frames_read == len(got)
    if sound.frames_bridged:
        assert sound.damage
        assert "silence in its place" in sound.damage


@pytest.mark.parametrize(("level", "block_samples"), [(0.0, 1_152), (0.6, 4_096)])
@pytest.mark.parametrize("number", [0, 7])
def test_a_damaged_frame_of_a_flac_costs_nothing_beside_it(
    tmp_path: Path, level: float, block_samples: int, number: int
) -> None:
    noise = np.random.default_rng(3).integers(-3_000, 3_000, 3 * RATE_HZ).astype(np.int16)
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(
        path, "w", RATE_HZ, 1, "PCM_16", format="FLAC", compression_level=level
    ) as file:
        file.write(noise)
    content = bytearray(path.read_bytes())
    with path.open("rb") as stream:
        frames = FlacFrames(Extent.whole(stream.fileno()))
    assert frames.starts[1] == block_samples
    begin, end = frames.places[number], frames.places[number + 1]
    content[(begin + end) // 2] ^= 0xFF
    path.write_bytes(content)
    sound, got = read_all(path)
    assert sound.frames_bridged == block_samples
    expected = noise.astype(np.float32) / 32_768
    expected[number * block_samples :][:block_samples] = 0
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("share", [0.3, 0.62, 0.99])
def test_of_a_cut_ogg_all_whole_pages_are_read(
    tmp_path: Path, birdlike: MakeSound, share: float
) -> None:
    samples = birdlike(20.0)
    path = tmp_path / "a.ogg"
    soundfile.write(path, samples, RATE_HZ)
    whole = read_all(path)[1]
    os.truncate(path, int(path.stat().st_size * share))
    sound, got = read_all(path)
    assert sound.damage == "the stream ends before its last page"
    # A page of Vorbis holds a second or two.
    assert len(samples) * share - 4 * RATE_HZ < len(got) < len(samples)
    np.testing.assert_allclose(got, whole[: len(got)], atol=1e-6)


def test_frames_are_found_at_their_samples(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(-999, 999, 10 * 4_096 + 17).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", noise, RATE_HZ)
    with (tmp_path / "a.flac").open("rb") as stream:
        frames = FlacFrames(Extent.whole(stream.fileno()))
        assert frames.starts == [number * 4_096 for number in range(11)]
        for sample, stop in ((0, 4_096), (4_095, 4_096), (4_096, 8_192), (40_970, 40_977)):
            found = frames.next_whole(sample)
            assert found is not None
            _, first, piece = found
            assert first == sample
            expected = noise[sample:stop].astype(np.float32) / 32_768
            np.testing.assert_array_equal(piece[:, 0], expected)
        assert frames.next_whole(len(noise)) is None


@given(
    parts=st.lists(st.binary(max_size=9) | st.tuples(st.integers(0, 50), st.integers(0, 50))),
    reads=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 30)), max_size=9),
)
def test_a_patched_file_reads_like_its_parts_joined(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[bytes | tuple[int, int]],
    reads: list[tuple[int, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "under"
    under = bytes(range(50))
    path.write_bytes(under)
    ordered = [part if isinstance(part, bytes) else (min(part), max(part)) for part in parts]
    joined = b"".join(
        part if isinstance(part, bytes) else under[part[0] : part[1]] for part in ordered
    )
    with path.open("rb") as stream:
        patched = PatchedFile(Extent.whole(stream.fileno()), ordered)
        for place, count in reads:
            patched.seek(place)
            assert patched.read(count) == joined[place : place + count]
        assert patched.seek(0, os.SEEK_END) == len(joined)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.w64", "W64"), ("a.rf64", "RF64"), ("a.au", "AU"), ("a.caf", "CAF")]
)
def test_what_is_cut_off_is_missed(
    tmp_path: Path, birdlike: MakeSound, name: str, kind: str
) -> None:
    """libsndfile takes the shorter length without a word, or (CAF) reads nothing at all."""
    path = tmp_path / name
    soundfile.write(path, birdlike(4.0), RATE_HZ, format=kind, subtype="PCM_16")
    whole = soundfile.read(path, dtype="float32")[0]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    sound, got = read_all(path)
    assert sound.frames == 4 * RATE_HZ
    assert sound.damage == f"the header promises {4 * RATE_HZ} samples, {len(got)} are there"
    assert abs(len(got) - 2 * RATE_HZ) < 3000
    np.testing.assert_array_equal(got, whole[: len(got)])


@pytest.mark.parametrize("length", [-1, 0, 4])
def test_a_caf_that_was_not_closed_is_read(
    tmp_path: Path, birdlike: MakeSound, length: int
) -> None:
    path = tmp_path / "a.caf"
    soundfile.write(path, birdlike(4.0), RATE_HZ, format="CAF", subtype="PCM_16")
    whole, content = soundfile.read(path, dtype="float32")[0], path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + struct.pack(">q", length) + content[at + 8 :])
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert sound.damage is None
    # Minus one is what the format has for a length that was not known.
    assert ("did not close it" in sound.repair) == (length != -1)


@pytest.mark.parametrize("data", [0, 0xFFFFFFFF, 1000])
def test_the_sound_may_begin_far_into_a_wav(tmp_path: Path, good: Path, data: int) -> None:
    """Some recorders align it, and leave a megabyte free before it."""
    content = good.read_bytes()
    pad = b"JUNK" + struct.pack("<I", 1_000_000) + bytes(1_000_000)
    path = tmp_path / "a.wav"
    path.write_bytes(content[:36] + pad + b"data" + struct.pack("<I", data) + content[44:])
    _, got = read_all(path)
    np.testing.assert_array_equal(got, soundfile.read(good, dtype="float32")[0])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_streams_behind_each_other_are_all_read(
    tmp_path: Path, birdlike: MakeSound, subtype: str
) -> None:
    """Decoders stop at the end of the first."""
    contents, sounds = [], []
    for seed in range(3):
        path = tmp_path / f"{seed}.ogg"
        noise = birdlike(2.0 + seed, rate_hz=48_000, seed=seed)
        soundfile.write(path, noise, 48_000, format="OGG", subtype=subtype)
        contents.append(path.read_bytes())
        sounds.append(soundfile.read(path, dtype="float32")[0])
    chain = tmp_path / "chain.ogg"
    chain.write_bytes(b"".join(contents))
    sound, got = read_all(chain)
    np.testing.assert_array_equal(got, np.concatenate(sounds))
    assert (sound.damage, sound.repair) == (None, "")
    damaged = bytearray(chain.read_bytes())
    damaged[len(damaged) * 3 // 4] ^= 0xFF
    chain.write_bytes(damaged)
    damage = read_all(chain)[0].damage
    assert damage is not None
    assert "with damaged pages: times behind them may be early" in damage


def test_an_ogg_stream_of_another_rate_behind_the_first_is_named(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    for rate_hz in (32_000, 16_000):
        soundfile.write(tmp_path / f"{rate_hz}.ogg", birdlike(3.0, rate_hz=rate_hz), rate_hz)
    chain = tmp_path / "chain.ogg"
    chain.write_bytes((tmp_path / "32000.ogg").read_bytes() + (tmp_path / "16000.ogg").read_bytes())
    sound, got = read_all(chain)
    assert len(got) == 3 * RATE_HZ
    assert sound.damage is not None
    assert "from 3.00 s on it is a recording at 16000 Hz" in sound.damage


def test_a_flac_that_holds_more_than_it_says_is_read_to_its_end(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, birdlike(8.0), RATE_HZ)
    whole, content = soundfile.read(path, dtype="float32")[0], bytearray(path.read_bytes())
    content[22:26] = struct.pack(">I", 50_000)
    path.write_bytes(content)
    assert soundfile.info(path).frames == 50_000
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert "promises 50000 samples, the file holds more" in sound.repair
    assert sound.damage is None


def test_of_two_flacs_in_one_file_the_second_is_named(tmp_path: Path, birdlike: MakeSound) -> None:
    """Decoders stop after the samples that the first one's header promises."""
    path = tmp_path / "both.flac"
    soundfile.write(path, birdlike(8.0), RATE_HZ)
    whole, content = soundfile.read(path, dtype="float32")[0], path.read_bytes()
    assert read_all(path)[0].damage is None
    path.write_bytes(content * 2)
    sound, got = read_all(path)
    np.testing.assert_array_equal(got, whole)
    assert sound.damage is not None
    assert (
        f"from 8.00 s on it is another FLAC, which is not read: cut the file after {len(content)}"
        in (sound.damage)
    )


def test_a_tag_before_a_short_flac_makes_it_no_second_one(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, 0.001 * birdlike(1.0), RATE_HZ)
    path.write_bytes(b"ID3\x03\0\0\0\0\x02\x00" + bytes(256) + path.read_bytes())
    sound, got = read_all(path)
    assert len(got) == RATE_HZ
    assert sound.damage is None
