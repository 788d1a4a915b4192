"""An example as a picture and as sound, both small enough to lie in a page."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder.detect.mel import TOKEN_S, MelConfig, log_mel, samples_needed
from recorder.detect.voice import VoiceDetector
from recorder.errors import AudioFileError
from recorder.report.data import Example
from recorder.sound.files.audiofile import AudioFile
from recorder.sound.resample import StreamResampler

Floats = NDArray[np.float32]

_AROUND_S = 1.0
_PEAK = 0.8
_LEVELS = 16
_FRAMES_A_COLUMN = 2
_QUIETEST_SHARE = 0.5
"""Half of a picture is background: white."""


@dataclass(frozen=True)
class Media:
    """Addresses that hold what they lead to."""

    picture: str
    sound: str
    """Empty where somebody speaks."""


def media_of(root: Path, example: Example, voice: VoiceDetector | None = None) -> Media | None:
    """The example's spectrogram and sound; None when its file is not there any more.

    With a detector of voices there is no sound where somebody speaks.
    """
    if not example.path:
        return None
    config = MelConfig()
    try:
        with AudioFile(root / example.path) as file:
            rate_hz = file.sample_rate_hz
            first = max(0, round((example.start_s - _AROUND_S) * rate_hz))
            stop = round((example.end_s + _AROUND_S) * rate_hz)
            samples = file.excerpt(first, stop - first)
    except AudioFileError:
        return None
    if not len(samples):
        return None
    resampler = StreamResampler(rate_hz, config.sample_rate_hz)
    sound = np.concatenate([resampler.push(samples), resampler.finish()])
    picture = _png(_spectrogram(sound, config))
    if voice is not None and (voice.scores(sound) >= voice.threshold).any():
        return Media(picture, "")
    return Media(picture, _mp3(sound, config.sample_rate_hz))


def _spectrogram(sound: Floats, config: MelConfig) -> NDArray[np.uint8]:
    """[bands, columns] of 0 (black) to 15 (white), low bands at the bottom."""
    tokens = max(1, round(len(sound) / config.sample_rate_hz / TOKEN_S))
    padding = max(0, samples_needed(tokens, config) - len(sound))
    frames = log_mel(np.pad(sound, (0, padding)), tokens, config)
    columns = frames.reshape(-1, _FRAMES_A_COLUMN, frames.shape[1]).max(axis=1).T[::-1]
    low, high = np.quantile(columns, _QUIETEST_SHARE), columns.max()
    shade = (columns - low) / max(float(high - low), 1e-6)
    return np.asarray(np.clip(np.round((1 - shade) * (_LEVELS - 1)), 0, _LEVELS - 1), np.uint8)


def _png(pixels: NDArray[np.uint8]) -> str:
    """Four bits a pixel, grey."""
    height, width = pixels.shape
    padded = np.pad(pixels, ((0, 0), (0, width % 2)))
    packed = padded[:, 0::2] << 4 | padded[:, 1::2]
    lines = b"".join(b"\0" + line.tobytes() for line in packed)
    head = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _mp3(sound: Floats, rate_hz: int) -> str:
    """Every browser plays it; as loud as it can be without harm."""
    peak = float(np.abs(sound).max())
    memory = io.BytesIO()
    soundfile.write(memory, sound * (_PEAK / max(peak, 1e-6)), rate_hz, format="MP3")
    return "data:audio/mpeg;base64," + base64.b64encode(memory.getvalue()).decode()
