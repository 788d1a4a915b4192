"""A whole recording at once, where memory for it is no question."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recorder.errors import AudioFileError
from recorder.sound.files.audiofile import AudioFile, Samples
from recorder.sound.resample import StreamResampler


def read_mono(path: Path, sample_rate_hz: int) -> Samples:
    """A whole recording as mono [samples] at `sample_rate_hz`; AudioFileError if it has none."""
    return read_with_remark(path, sample_rate_hz)[0]


def read_with_remark(path: Path, sample_rate_hz: int) -> tuple[Samples, str]:
    """As `read_mono`, and what is wrong with the part that could be read; "" when nothing is."""
    with AudioFile(path) as sound:
        resampler = StreamResampler(sound.sample_rate_hz, sample_rate_hz)
        blocks = [resampler.push(block) for block in sound.blocks(sound.sample_rate_hz * 10)]
    blocks.append(resampler.finish())
    samples = np.concatenate(blocks)
    if not len(samples):
        raise AudioFileError(sound.damage or "it holds no samples")
    if sound.bad_samples >= sound.frames_read * sound.channels:
        raise AudioFileError(f"none of its {sound.bad_samples} samples is a number in range")
    remarks = [words for words in (sound.repair, sound.damage) if words]
    if sound.bad_samples:
        remarks.append(f"{sound.bad_samples} samples that are no numbers, taken for silence")
    return samples, "; ".join(remarks)
