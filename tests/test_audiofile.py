"""A recording on disk: every format, and every way in which a file can be broken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recorder.errors import AudioFileError
from recorder.sound.files.audiofile import AudioFile
from recorder.sound.files.whole import read_mono

Floats = NDArray[np.float32]
MakeSound = Callable[..., Floats]

RATE_HZ = 32_000

LOSSLESS = {
    # (file name, subtype): the largest error, half a step of the coarsest or a little more
    ("a.wav", "PCM_U8"): 2**-7,
    ("a.wav", "PCM_16"): 2**-15,
    ("a.wav", "PCM_24"): 2**-23,
    ("a.wav", "PCM_32"): 2**-23,
    ("a.wav", "FLOAT"): 0.0,
    ("a.wav", "DOUBLE"): 0.0,
    ("a.flac", "PCM_16"): 2**-15,
    ("a.flac", "PCM_24"): 2**-23,
    ("a.aiff", "PCM_16"): 2**-15,
    ("a.aif", "PCM_24"): 2**-23,
}
LOSSY = [("a.ogg", "OGG", "VORBIS"), ("a.oga", "OGG", "VORBIS"), ("a.mp3", "MP3", None)]


def read_all(path: Path, block_frames: int = 10_000) -> tuple[AudioFile, Floats]:
    with AudioFile(path) as sound:
        blocks = list(sound.blocks(block_frames))
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    assert sum(map(len, blocks)) == sound.frames_read
    return sound, np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def truncated(path: Path, share: float) -> Path:
    """A copy that ends too early, as when a battery does."""
    content = path.read_bytes()
    copy = path.with_name(f"short-{path.name}")
    copy.write_bytes(content[: int(len(content) * share)])
    return copy


def reason(path: Path) -> str:
    with pytest.raises(AudioFileError) as caught:
        AudioFile(path)
    return str(caught.value)


@pytest.mark.parametrize(("name", "subtype"), LOSSLESS)
def test_lossless_files_give_their_samples(
    tmp_path: Path, birdlike: MakeSound, name: str, subtype: str
) -> None:
    samples = birdlike(2.0)
    container = {".wav": "WAV", ".flac": "FLAC"}.get(Path(name).suffix, "AIFF")
    soundfile.write(tmp_path / name, samples, RATE_HZ, format=container, subtype=subtype)
    sound, got = read_all(tmp_path / name)
    assert (sound.sample_rate_hz, sound.channels) == (RATE_HZ, 1)
    assert sound.frames == sound.frames_read == len(samples)
    assert (sound.damage, sound.bad_samples) == (None, 0)
    np.testing.assert_allclose(got, samples, atol=LOSSLESS[name, subtype], rtol=0)


@pytest.mark.parametrize(("name", "container", "subtype"), LOSSY)
def test_lossy_files_give_nearly_their_samples(
    tmp_path: Path, birdlike: MakeSound, name: str, container: str, subtype: str | None
) -> None:
    samples = birdlike(4.0)
    soundfile.write(tmp_path / name, samples, RATE_HZ, format=container, subtype=subtype)
    sound, got = read_all(tmp_path / name)
    assert (len(got), sound.damage) == (len(samples), None)
    assert np.corrcoef(got, samples)[0, 1] > 0.9


def test_opus_gives_nearly_its_samples(tmp_path: Path, birdlike: MakeSound) -> None:
    samples = birdlike(4.0, 48_000)
    path = tmp_path / "a.opus"
    soundfile.write(path, samples, 48_000, format="OGG", subtype="OPUS")
    sound, got = read_all(path)
    assert (sound.sample_rate_hz, len(got), sound.damage) == (48_000, len(samples), None)
    assert np.corrcoef(got, samples)[0, 1] > 0.9


@pytest.mark.parametrize("name", ["A.WAV", "b.Flac", "C.OGG", "d.MP3"])
def test_suffixes_may_be_in_capitals(tmp_path: Path, birdlike: MakeSound, name: str) -> None:
    container = Path(name).suffix[1:].upper()
    soundfile.write(tmp_path / name, birdlike(1.0), RATE_HZ, format=container)
    sound, got = read_all(tmp_path / name)
    assert len(got) == RATE_HZ
    assert sound.damage is None


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.aiff"])
@pytest.mark.parametrize("channels", [1, 2, 4, 8])
def test_channels_are_averaged(
    tmp_path: Path, birdlike: MakeSound, name: str, channels: int
) -> None:
    samples = birdlike(1.0)
    many = np.stack([samples * gain for gain in np.linspace(0.5, 1.5, channels)], axis=1)
    soundfile.write(tmp_path / name, many, RATE_HZ)
    sound, got = read_all(tmp_path / name)
    assert (sound.channels, len(got)) == (channels, len(samples))
    assert np.abs(got - many.mean(axis=1)).max() < (0.1 if name == "a.ogg" else 1e-4)


@pytest.mark.parametrize("block_frames", [1, 777, 32_000, 10**6])
def test_the_size_of_the_blocks_does_not_matter(
    tmp_path: Path, birdlike: MakeSound, block_frames: int
) -> None:
    samples = birdlike(0.2)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    _, got = read_all(tmp_path / "a.wav", block_frames)
    np.testing.assert_array_equal(got, samples)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_not_a_sample_is_counted_and_silenced(
    tmp_path: Path, birdlike: MakeSound, bad: float
) -> None:
    samples = birdlike(1.0)
    samples[[5, 77, 30_000]] = bad
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    sound, got = read_all(tmp_path / "a.wav")
    assert sound.bad_samples == 3
    np.testing.assert_array_equal(got[[5, 77, 30_000]], 0.0)
    np.testing.assert_array_equal(got[78:30_000], samples[78:30_000])


def test_a_bad_channel_leaves_the_good_one(tmp_path: Path, birdlike: MakeSound) -> None:
    samples = birdlike(1.0)
    both = np.stack([samples, np.full_like(samples, np.nan)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE_HZ, subtype="FLOAT")
    sound, got = read_all(tmp_path / "a.wav")
    assert sound.bad_samples == len(samples)
    np.testing.assert_allclose(got, samples / 2, atol=1e-7)


@pytest.mark.parametrize("block_frames", [10_000, 320_000])
def test_a_truncated_flac_gives_its_readable_part_and_the_damage(
    tmp_path: Path, birdlike: MakeSound, block_frames: int
) -> None:
    samples = birdlike(8.0)
    soundfile.write(tmp_path / "a.flac", samples, RATE_HZ)
    sound, got = read_all(truncated(tmp_path / "a.flac", 0.6), block_frames)
    assert sound.damage
    assert sound.frames == len(samples)
    # Whatever the size of the blocks: what can be decoded is not thrown away with the rest.
    assert 0.5 * len(samples) < len(got) < 0.65 * len(samples)
    np.testing.assert_allclose(got, samples[: len(got)], atol=2**-15)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.mp3", "a.ogg"])
def test_a_truncated_file_says_so(tmp_path: Path, birdlike: MakeSound, name: str) -> None:
    samples = birdlike(8.0)
    soundfile.write(tmp_path / name, samples, RATE_HZ)
    sound, got = read_all(truncated(tmp_path / name, 0.6))
    assert 0.3 * len(samples) < len(got) < 0.8 * len(samples)
    assert sound.damage


def test_a_wav_that_was_streamed_has_no_length_and_is_read_to_its_end(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    path, samples = tmp_path / "a.wav", birdlike(2.0)
    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    sound, got = read_all(path)
    assert sound.damage is None
    np.testing.assert_allclose(got, samples, atol=2**-15)


def test_zero_bytes_are_not_audio(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert "empty" in reason(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.ogg"])
def test_text_is_not_audio(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("Tuesday: rain again, no birds.\n" * 40)
    # A decoder that searches for a beginning may first say so when it reads: read_mono does.
    with pytest.raises(AudioFileError, match=r"decoded|stopped|no samples"):
        read_mono(path, RATE_HZ)


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert "regular file" in reason(tmp_path / "a.wav")


def test_a_folder_is_not_audio(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    assert "regular file" in reason(tmp_path / "a.wav")


def test_a_missing_file_is_named_as_such(tmp_path: Path) -> None:
    assert "No such file" in reason(tmp_path / "a.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_named_as_such(tmp_path: Path, birdlike: MakeSound) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(1.0), RATE_HZ)
    (tmp_path / "a.wav").chmod(0)
    assert "Permission denied" in reason(tmp_path / "a.wav")


@pytest.mark.parametrize("rate_hz", [100, 2_000_000])
def test_an_absurd_rate_is_refused(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(1_000, np.float32), rate_hz)
    assert f"{rate_hz} Hz" in reason(tmp_path / "a.wav")


def test_a_header_without_samples_has_none(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.empty(0, np.float32), RATE_HZ)
    with pytest.raises(AudioFileError, match="no samples"):
        read_mono(tmp_path / "a.wav", RATE_HZ)


def test_a_name_that_is_not_utf_8_is_read(tmp_path: Path, birdlike: MakeSound) -> None:
    path = tmp_path / os.fsdecode(b"p\xe4jaro.wav")
    soundfile.write(tmp_path / "plain.wav", birdlike(1.0), RATE_HZ)
    try:
        (tmp_path / "plain.wav").rename(path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    _, got = read_all(path)
    assert len(got) == RATE_HZ


def test_files_are_closed_whatever_happens(tmp_path: Path, birdlike: MakeSound) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(0.1), RATE_HZ)
    soundfile.write(tmp_path / "slow.wav", birdlike(0.1), 100)
    (tmp_path / "text.wav").write_text("not audio")
    before = os.listdir("/proc/self/fd") if Path("/proc/self/fd").exists() else []
    for name in ("slow.wav", "text.wav", "missing.wav", "."):
        reason(tmp_path / name)
    read_all(tmp_path / "a.wav")
    after = os.listdir("/proc/self/fd") if Path("/proc/self/fd").exists() else []
    assert len(after) == len(before)


def test_read_mono_is_the_whole_file_at_the_rate_asked_for(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    samples = birdlike(25.0)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    np.testing.assert_array_equal(read_mono(tmp_path / "a.wav", RATE_HZ), samples)
    assert len(read_mono(tmp_path / "a.wav", 16_000)) == 25 * 16_000


def test_a_file_that_grows_is_read_as_it_was_and_says_so(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    path = tmp_path / "growing.wav"
    soundfile.write(path, birdlike(5.0), 32_000)
    with AudioFile(path) as sound:
        blocks = sound.blocks(32_000)
        first = next(blocks)
        with path.open("ab") as stream:
            stream.write(bytes(64_000))
        rest = list(blocks)
    assert len(first) + sum(map(len, rest)) == sound.frames == 5 * 32_000
    assert sound.growth.startswith("it grew by 64000 bytes while it was analysed")
