"""Sound of the device to chunks of the model: mono, resampled, analysed; gaps in their place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from recorder.detect.models import Rolling
from recorder.detect.rolling import Heard
from recorder.errors import ModelError, UsageError
from recorder.sound.live.source import Frames
from recorder.sound.resample import StreamResampler
from recorder.station.backlog import Piece
from recorder.station.intake import as_floats

Floats = NDArray[np.float32]

_AT_ONCE_S = 10
"""What is replayed after a crash comes in long pieces: so much is analysed at once."""


def as_mono(frames: Floats, channel: str) -> Floats:
    """[frames, channels] to [frames]: one of them, counted from 1, or the mean (`mix`)."""
    if channel == "mix":
        mixed: Floats = frames.mean(axis=1, dtype=np.float32)
        return mixed
    return np.ascontiguousarray(frames[:, int(channel) - 1])


def check_channel(channel: str, channels: int) -> None:
    """UsageError unless a device with so many channels has this one."""
    if channel != "mix" and not (channel.isdigit() and 1 <= int(channel) <= channels):
        raise UsageError(
            f"--channel {channel}: the device has {channels}; use 1 to {channels}, or mix"
        )


class Analyst:
    """Pieces in, `Heard` out; counts in frames of the device on one side, in samples on the other.

    After a `ModelError` (the net returned NaN) it goes on with a new window: `failed` tells from
    where to where the sound was not decided.
    """

    def __init__(
        self,
        new_rolling: Callable[[], Rolling],
        *,
        rate_hz: int,
        model_rate_hz: int,
        channel: str,
    ) -> None:
        self._new_rolling = new_rolling
        self._rolling = new_rolling()
        self._rate_hz, self._model_rate_hz = rate_hz, model_rate_hz
        self._channel = channel
        self._resampler = StreamResampler(rate_hz, model_rate_hz)
        self._samples = 0
        self.frames = 0
        """Of the device, taken so far."""
        self.failed: tuple[int, int, str] | None = None
        """(first frame, one past the last, why) of what the net could not decide, until read."""

    @property
    def settled_frames(self) -> int:
        """Everything before this frame has been settled, or was lost."""
        return min(self.frames, self.to_frames(self._rolling.settled_samples))

    @property
    def needed_from_frame(self) -> int:
        """From here on the sound is still needed to settle what has not been settled."""
        return self.to_frames(self._rolling.needed_from_sample)

    def to_frames(self, samples: int) -> int:
        """The device's frame in which a sample of the model begins."""
        return samples * self._rate_hz // self._model_rate_hz

    def take(self, piece: Piece) -> Heard:
        """The next piece; it begins where the last one ended."""
        if piece.first != self.frames:
            raise ValueError(f"a piece from {piece.first} on after {self.frames} frames")
        heard = Heard()
        if piece.frames is None:
            heard.add(self._guarded(lambda: self._skip(piece.count)))
            return heard
        step = _AT_ONCE_S * self._rate_hz
        for at in range(0, piece.count, step):
            part = piece.frames[at : at + step]
            heard.add(self._guarded(partial(self._push, part)))
        return heard

    def finish(self) -> Heard:
        """Nothing follows: settle what is left."""
        return self._guarded(self._finish)

    def _push(self, part: Frames) -> Heard:
        self.frames += len(part)
        samples = self._resampler.push(as_mono(as_floats(part)[0], self._channel))
        self._samples += len(samples)
        return self._rolling.push(samples)

    def _skip(self, count: int) -> Heard:
        heard = self._flush()
        self.frames += count
        missing = round(self.frames * self._model_rate_hz / self._rate_hz) - self._samples
        self._samples += max(0, missing)
        heard.add(self._rolling.skip(max(0, missing)))
        return heard

    def _flush(self) -> Heard:
        """The stretch of sound ends: what is still in the resampler comes out."""
        samples = self._resampler.finish()
        self._resampler = StreamResampler(self._rate_hz, self._model_rate_hz)
        self._samples += len(samples)
        return self._rolling.push(samples)

    def _finish(self) -> Heard:
        heard = self._flush()
        heard.add(self._rolling.finish())
        return heard

    def _guarded(self, work: Callable[[], Heard]) -> Heard:
        try:
            return work()
        except ModelError as error:
            self.failed = (self.settled_frames, self.frames, str(error))
            self._rolling = self._new_rolling()
            return self._rolling.skip(self._samples)
