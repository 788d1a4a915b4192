"""What is kept of sound when somebody speaks: the row that says so, and silence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import TOKEN_S
from recorder.detect.voice import CONTEXT_TOKENS, MEL, VoiceDetector
from recorder.sound.live.source import Frames
from recorder.sound.resample import StreamResampler
from recorder.station.backlog import Piece
from recorder.station.intake import as_floats

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

_AROUND_TOKENS = 5
"""1.5 s: a sentence begins and ends more quietly than it is heard."""
_BLOCK_S = 10
_CONTEXT_S = (CONTEXT_TOKENS + _AROUND_TOKENS) * TOKEN_S


class VoiceFilter:
    """Hears people in sound as the device gave it."""

    def __init__(self, detector: VoiceDetector, rate_hz: int) -> None:
        self._detector, self._rate_hz = detector, rate_hz

    def heard(self, frames: Frames) -> tuple[bool, float]:
        """Whether somebody speaks in [frames, channels], and the highest score."""
        scores = self._scores(frames)
        best = float(scores.max()) if len(scores) else 0.0
        return best >= self._detector.threshold, best

    def spoken(self, frames: Frames) -> tuple[Bools, Floats]:
        """Where somebody speaks, and 1.5 s before and after, [frames]; and the highest score within
        1.5 s, [frames]."""
        scores = np.pad(self._scores(frames), _AROUND_TOKENS)
        near = np.lib.stride_tricks.sliding_window_view(scores, 2 * _AROUND_TOKENS + 1).max(axis=1)
        token = (np.arange(len(frames)) / (self._rate_hz * TOKEN_S)).astype(int)
        best: Floats = near[np.minimum(token, len(near) - 1)]
        return best >= self._detector.threshold, best

    def _scores(self, frames: Frames) -> Floats:
        """Of the channel in which a voice is heard best: in their mean it may cancel out."""
        channels = as_floats(frames)[0].T
        best: Floats = np.max([self._of_channel(one) for one in channels], axis=0)
        return best

    def _of_channel(self, sound: Floats) -> Floats:
        resampler = StreamResampler(self._rate_hz, MEL.sample_rate_hz)
        samples = np.concatenate([resampler.push(np.ascontiguousarray(sound)), resampler.finish()])
        return self._detector.scores(samples)


@dataclass(frozen=True)
class Silenced:
    """A piece with silence where somebody speaks."""

    piece: Piece
    spoken: tuple[tuple[int, int, float], ...]
    """(first frame, one past the last, highest score) of each silence."""


class VoiceScreen:
    """Pieces in, the same sound out some fifteen seconds later, silent where somebody speaks."""

    def __init__(self, voice: VoiceFilter, rate_hz: int) -> None:
        self._voice = voice
        self._context = math.ceil(_CONTEXT_S * rate_hz)
        self._block = _BLOCK_S * rate_hz
        self._held: list[Frames] = []
        self._first = 0
        """Of the frames that are held."""
        self._done = 0
        """Everything before this frame has come out."""

    def push(self, piece: Piece) -> Iterator[Silenced]:
        """The next piece; after a gap nothing is known of what was said before it."""
        if piece.frames is None:
            yield from self.finish()
            yield Silenced(piece, ())
            return
        if not self._held:
            self._first = self._done = piece.first
        self._held.append(piece.frames)
        if self._end() - self._done >= self._block + self._context:
            yield self._decided(self._end() - self._context)

    def finish(self) -> Iterator[Silenced]:
        """The stretch of sound ends here."""
        if self._held and self._end() > self._done:
            yield self._decided(self._end())
        self._held = []

    def _end(self) -> int:
        return self._first + sum(map(len, self._held))

    def _decided(self, stop: int) -> Silenced:
        """Everything that is held up to a frame; what the next decision needs stays."""
        frames = cast("Frames", np.concatenate(self._held))
        spoken, scores = self._voice.spoken(frames)
        new = slice(self._done - self._first, stop - self._first)
        out, silent = frames[new].copy(), spoken[new]
        out[silent] = 0
        stretches = tuple(
            (self._done + begin, self._done + end, float(scores[new][begin:end].max()))
            for begin, end in _runs(silent)
        )
        result = Silenced(Piece(self._done, len(out), out), stretches)
        keep_from = max(self._first, stop - self._context)
        self._held = [frames[keep_from - self._first :].copy()]
        self._first, self._done = keep_from, stop
        return result


def _runs(spoken: Bools) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], spoken, [False]))))
    for begin, stop in zip(edges[::2], edges[1::2], strict=True):
        yield int(begin), int(stop)
