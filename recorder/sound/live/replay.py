"""A recording as if a microphone heard it: at its own pace, faster, or as fast as it is wanted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.errors import AudioFileError
from recorder.sound.files.audiofile import AudioFile
from recorder.sound.live.source import Event, Lost, Opened, Sound

_BLOCK_S = 0.5


class Replay:
    """A `Source` that reads a file, mono as a scan mixes it, [frames, 1] float32.

    Time is that of the sound, from 0: a file that is replayed twice says the same twice.
    """

    def __init__(self, path: Path, *, speed: float | None = None) -> None:
        """`speed` in times real time; None = as fast as it is read. AudioFileError if it cannot."""
        self._file = AudioFile(path)
        self._path = path
        self._speed = speed
        self._blocks: Iterator[NDArray[np.float32]] | None = None
        self._frames = 0
        self._began_s = 0.0
        self._ended = False

    @property
    def start(self) -> str:
        """Time of day of its first sample, as a scan knows it; empty when nobody does."""
        return self._file.notes(self._path.name).start

    @property
    def remark(self) -> str:
        """What was wrong with the file, known at its end; empty when nothing was."""
        remarks = [words for words in (self._file.repair, self._file.damage) if words]
        if self._file.bad_samples:
            remarks.append(
                f"{self._file.bad_samples} samples that are no numbers, taken for silence"
            )
        return "; ".join(remarks)

    def read(self, timeout_s: float) -> Event | None:
        """The next half second, when its time has come."""
        rate_hz = self._file.sample_rate_hz
        if self._blocks is None:
            self._blocks = self._file.blocks(round(_BLOCK_S * rate_hz))
            self._began_s = time.monotonic()
            return Opened(f"file:{self._path.name}", self._path.name, rate_hz, 1)
        if not self._due(timeout_s):
            return None
        block = None if self._ended else next(self._blocks, None)
        if block is None:
            self._ended = True
            if not self._frames:
                raise AudioFileError(f"{self._path}: {self._file.damage or 'it holds no samples'}")
            return Lost(self.remark, final=True)
        self._frames += len(block)
        end_ns = self._frames * 1_000_000_000 // rate_hz
        return Sound(block[:, np.newaxis], 0, False, end_ns)

    def close(self) -> None:
        """Stop reading."""
        self._file.close()

    def _due(self, timeout_s: float) -> bool:
        if self._speed is None:
            return True
        due_s = self._began_s + self._frames / self._file.sample_rate_hz / self._speed
        wait_s = due_s - time.monotonic()
        time.sleep(max(0.0, min(wait_s, timeout_s)))
        return wait_s <= timeout_s
