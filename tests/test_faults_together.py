"""Every kind of file with every two or three faults at once: read to the end, or it is said."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recorder.sound.files.audiofile import AudioFile

RATE_HZ = 48_000
FIRST_S, SECOND_S = 3.0, 1.5
KINDS = {
    "wav": ("WAV", "PCM_16", "data", "<I"),
    "wavex": ("WAVEX", "PCM_24", "data", "<I"),
    "rf64": ("RF64", "FLOAT", "ds64", "<Q"),
    "w64": ("W64", "PCM_16", "data", "<Q"),
    "aiff": ("AIFF", "PCM_16", "SSND", ">I"),
    "au": ("AU", "PCM_16", ".snd", ">I"),
    "caf": ("CAF", "PCM_16", "data", ">q"),
    "flac": ("FLAC", "PCM_16", "", ""),
    "ogg": ("OGG", "VORBIS", "", ""),
    "opus": ("OGG", "OPUS", "", ""),
    "mp3": ("MP3", "MPEG_LAYER_III", "", ""),
}
LENGTH_BEHIND_NAME = {"rf64": 16, "w64": 16, "au": 8}
"""Bytes between the name of what holds a length and the length; 4 elsewhere."""
FRONTS = (b"", bytes(4096), b"hello world " * 50)
TAILS = (b"", bytes(512))
"""Longer ones are taken for sound where nothing is coded."""


def made(folder: Path, kind: str, seconds: float) -> bytes:
    """A good recording of noise, which is in no kind's way."""
    sound = 0.1 * np.random.default_rng(1).standard_normal(round(seconds * RATE_HZ))
    path = folder / "good"
    soundfile.write(path, sound, RATE_HZ, format=KINDS[kind][0], subtype=KINDS[kind][1])
    return path.read_bytes()


def lying(content: bytes, kind: str) -> Iterator[bytes]:
    """The same with false lengths."""
    _, _, name, form = KINDS[kind]
    if kind == "flac":
        yield content[:22] + struct.pack(">I", 50_000) + content[26:]
    if not name:
        return
    at = content.index(name.encode()) + LENGTH_BEHIND_NAME.get(kind, 4)
    largest = (1 << 8 * struct.calcsize(form)) - 1
    for length in (0, 8, 100_000, 0x7FFFFFFF, -1 if form == ">q" else largest):
        number = struct.pack(form, length)
        yield content[:at] + number + content[at + len(number) :]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_wrong_all_is_read_or_the_rest_is_named(tmp_path: Path, kind: str) -> None:
    first, second = made(tmp_path, kind, FIRST_S), made(tmp_path, kind, SECOND_S)
    bodies = [(first, FIRST_S), *((body, FIRST_S) for body in lying(first, kind))]
    bodies += [(first + second, FIRST_S + SECOND_S), (second + first, FIRST_S + SECOND_S)]
    path = tmp_path / "a"
    for front, (body, seconds), tail in product(FRONTS, bodies, TAILS):
        path.write_bytes(front + body + tail)
        with AudioFile(path) as sound:
            read_s = sum(len(block) for block in sound.blocks(10_000)) / sound.sample_rate_hz
        case = (len(front), bodies.index((body, seconds)), len(tail), read_s, sound.damage)
        # A frame of Opus, of MP3, or the tail.
        assert read_s > seconds - 0.1 or "another" in (sound.damage or ""), case
        assert read_s < seconds + 0.1, case
        if front:
            assert f"its first {len(front)} bytes are no" in (sound.damage or ""), case


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_bytes_behind_a_good_one_are_no_damage(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(made(tmp_path, kind, FIRST_S) + bytes(512))
    with AudioFile(path) as sound:
        assert sum(len(block) for block in sound.blocks(10_000)) > 2.9 * RATE_HZ
    assert (sound.repair, sound.damage) == ("", None)
