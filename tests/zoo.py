"""A folder of recordings as a season brings them home: good, damaged, lying, and not audio."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE_HZ = 32_000
SECONDS = 6.0


@dataclass(frozen=True)
class Animal:
    """What a scan has to say of one file."""

    status: str
    seconds: tuple[float, float] = (0.0, 0.0)
    """Analysed: at least and at most."""
    word: str = ""
    """In the reason."""


WHOLE = Animal("analysed", (SECONDS, SECONDS))


def make_zoo(folder: Path, sound: Floats) -> dict[str, Animal]:
    """Six seconds of sound at 32 kHz in as many ways as there are; which is which by name."""
    folder.mkdir(parents=True)
    zoo: dict[str, Animal] = {}
    _whole(folder, sound, zoo)
    _lying_wavs(folder, zoo)
    _cut(folder, zoo)
    _damaged_inside(folder, zoo)
    _odd_samples(folder, sound, zoo)
    _not_audio(folder, zoo)
    _not_files(folder, zoo)
    _odd_names(folder, zoo)
    return zoo


def _whole(folder: Path, sound: Floats, zoo: dict[str, Animal]) -> None:
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"):
        soundfile.write(folder / f"{subtype}.wav", sound, RATE_HZ, subtype=subtype)
        zoo[f"{subtype}.wav"] = WHOLE
    for container, suffix in (
        ("FLAC", "flac"), ("OGG", "ogg"), ("AIFF", "aiff"), ("RF64", "rf64"), ("W64", "w64"),
        ("CAF", "caf"), ("AU", "au"), ("MP3", "mp3"),
    ):  # fmt: skip
        soundfile.write(folder / f"whole.{suffix}", sound, RATE_HZ, format=container)
        zoo[f"whole.{suffix}"] = WHOLE
    for rate_hz in (8_000, 11_025, 44_100, 48_000, 96_000, 192_000):
        count = round(SECONDS * rate_hz)
        other = np.interp(np.arange(count) / rate_hz, np.arange(len(sound)) / RATE_HZ, sound)
        soundfile.write(folder / f"{rate_hz}.wav", other, rate_hz)
        zoo[f"{rate_hz}.wav"] = WHOLE
    soundfile.write(folder / "8channels.wav", np.stack([sound] * 8, axis=1), RATE_HZ)
    zoo["8channels.wav"] = WHOLE


def _lying_wavs(folder: Path, zoo: dict[str, Animal]) -> None:
    """What recorders leave that lost their power: the length was never written."""
    good = (folder / "PCM_16.wav").read_bytes()
    assert good[36:40] == b"data"
    for name, riff, data in (
        ("zero", 0, 0), ("zero-data", len(good) - 8, 0), ("riff-zero", 0, len(good) - 44),
        ("stale", 64_036, 64_000),
    ):  # fmt: skip
        sizes = struct.pack("<I", riff), struct.pack("<I", data)
        lying = good[:4] + sizes[0] + good[8:40] + sizes[1] + good[44:]
        (folder / f"{name}.wav").write_bytes(lying)
        zoo[f"{name}.wav"] = Animal("repaired", (SECONDS, SECONDS), "did not close it")
    zoo["riff-zero.wav"] = WHOLE
    ones = b"\xff" * 4
    (folder / "ones.wav").write_bytes(good[:4] + ones + good[8:40] + ones + good[44:])
    zoo["ones.wav"] = WHOLE
    rf64 = bytearray((folder / "whole.rf64").read_bytes())
    place = rf64.index(b"ds64") + 8
    rf64[place : place + 24] = b"\0" * 24
    (folder / "zero-rf64.wav").write_bytes(rf64)
    zoo["zero-rf64.wav"] = Animal("repaired", (SECONDS, SECONDS), "did not close it")
    for name, at, wrong in (("rate", 24, bytes(4)), ("channels", 22, b"\xff\xff")):
        (folder / f"{name}.wav").write_bytes(good[:at] + wrong + good[at + len(wrong) :])
        zoo[f"{name}.wav"] = Animal("repaired", (SECONDS, SECONDS), "contradicts itself")
    notes = b"LIST" + struct.pack("<I", 8) + b"INFOabcd"
    size = struct.pack("<I", len(good) + len(notes) - 8)
    (folder / "notes.wav").write_bytes(good[:4] + size + good[8:] + notes)
    zoo["notes.wav"] = WHOLE


def _cut(folder: Path, zoo: dict[str, Animal]) -> None:
    for name in ("PCM_16.wav", "whole.flac", "whole.ogg", "whole.mp3", "whole.aiff"):
        content = (folder / name).read_bytes()
        cut = f"cut-{Path(name).suffix[1:]}{Path(name).suffix}"
        (folder / cut).write_bytes(content[: len(content) * 3 // 5])
        zoo[cut] = Animal("partial", (2.2, 4.8))


def _damaged_inside(folder: Path, zoo: dict[str, Animal]) -> None:
    rng = np.random.default_rng(1)
    for suffix, least_s in (("flac", 5.5), ("ogg", 3.5), ("mp3", 5.5)):
        content = bytearray((folder / f"whole.{suffix}").read_bytes())
        middle = len(content) // 2
        content[middle : middle + 300] = rng.bytes(300)
        (folder / f"damaged.{suffix}").write_bytes(content)
        zoo[f"damaged.{suffix}"] = Animal("partial", (least_s, SECONDS - 1e-3))


def _odd_samples(folder: Path, sound: Floats, zoo: dict[str, Animal]) -> None:
    for name, value in (("nan", np.nan), ("inf", -np.inf), ("huge", 1e30)):
        spoilt = sound.copy()
        spoilt[1_000:1_100] = value
        soundfile.write(folder / f"{name}.wav", spoilt, RATE_HZ, subtype="FLOAT")
        zoo[f"{name}.wav"] = Animal("repaired", (SECONDS, SECONDS), "100 samples")
    soundfile.write(folder / "constant.wav", np.full_like(sound, 0.25), RATE_HZ)
    zoo["constant.wav"] = WHOLE


def _not_audio(folder: Path, zoo: dict[str, Animal]) -> None:
    good = (folder / "PCM_16.wav").read_bytes()
    for name, content, word in (
        ("empty.wav", b"", "empty"),
        ("header.wav", good[:44], "no samples"),
        ("half-header.wav", good[:30], "decoded"),
        ("text.wav", b"no birds today\n" * 99, "decoded"),
        ("photo.flac", b"\xff\xd8\xff\xe0" + b"\0" * 500, "decoded"),
        ("rate0.wav", good[:24] + b"\0" * 8 + good[32:], "impossible sample rate"),
    ):
        (folder / name).write_bytes(content)
        zoo[name] = Animal("failed", word=word)
    (folder / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + b"\0" * 99)
    zoo["phone.m4a"] = Animal("skipped", word="convert it")
    (folder / "._PCM_16.wav").write_bytes(b"\x00\x05\x16\x07")
    zoo["._PCM_16.wav"] = Animal("skipped", word="shadow")


def _not_files(folder: Path, zoo: dict[str, Animal]) -> None:
    os.mkfifo(folder / "fifo.wav")
    zoo["fifo.wav"] = Animal("failed", word="regular")
    (folder / "zero-device.wav").symlink_to("/dev/zero")
    zoo["zero-device.wav"] = Animal("failed", word="regular")
    (folder / "nowhere.wav").symlink_to(folder / "gone.wav")
    zoo["nowhere.wav"] = Animal("failed", word="nowhere")
    (folder / "loop").symlink_to(folder)


def _odd_names(folder: Path, zoo: dict[str, Animal]) -> None:
    good = (folder / "PCM_16.wav").read_bytes()
    (folder / "below").mkdir()
    for name in (
        "=cmd()|calc.wav", "\x1b[31mred.wav", "tab\tline\nend.wav", "n" * 251 + ".wav",
        "below/PCM_16.wav", "below/PCM_16.WAV", os.fsdecode(b"p\xe4jaro.wav"),
    ):  # fmt: skip
        (folder / name).write_bytes(good)
        zoo[name] = WHOLE
