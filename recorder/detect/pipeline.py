"""From samples to settled chunks: the centre of the house, pure, with no clock, file or thread.

push(samples) -> log-mel -> encoder tiles -> tokens -> ten-minute windows -> chunk scores
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import Bundle
from recorder.detect.inference import Networks, TokenStream
from recorder.detect.mel import (
    CHUNK_SAMPLES,
    TOKEN_SAMPLES,
    TOKENS_PER_CHUNK,
    LogMelStream,
)
from recorder.detect.postprocess import chunk_probabilities, gated, recurrent, sigmoid
from recorder.detect.window import SettledWindows, settled_before
from recorder.errors import ModelError

Floats = NDArray[np.float32]

_TILE_TOKENS = {"fp32": 64, "int8": 120}
"""20 and 37.5 s: the halo costs a fifth or a tenth more convolutions than none, and feature maps
stay small: those of integers are. Windows of ten minutes begin where tiles do."""


@dataclass(frozen=True)
class ChunkResult:
    """A settled 5-s chunk."""

    index: int
    """Counted from the recording's start: the chunk covers 5 * index to 5 * index + 5 s."""
    scores: Floats
    """Probability of each output of the net after the sliding window, [outputs]: the classes, and
    last any bird if the bundle has it."""
    token_scores: Floats
    """Probability of each output at each token, [16, outputs]."""


def needs_from_sample(bundle: Bundle, first_window: int) -> int:
    """The first sample of a recording that a pipeline from this window on looks at."""
    first_token = first_window * bundle.hop_tokens
    return (first_token - min(bundle.halo_tokens, first_token)) * TOKEN_SAMPLES


def window_scores(bundle: Bundle, logits: Floats) -> Floats:
    """The token logits of a window to its chunks' scores.

    No method: what a pipeline holds must not hold the pipeline, or its ten minutes stay in memory
    until the garbage collector comes by, which for a station may be days.
    """
    classes = len(bundle.labels)
    smoothed = chunk_probabilities(logits, bundle.own_share)
    birds = gated(smoothed, classes, bundle.any_bird_exponent)
    return recurrent(birds, classes, bundle.recurrence_exponent)


class Pipeline:
    """One recording, from its first sample to its last."""

    def __init__(
        self,
        networks: Networks,
        *,
        tile_tokens: int | None = None,
        first_window: int = 0,
        stop_window: int | None = None,
        first_sample: int = 0,
    ) -> None:
        """With `first_window` a recording goes on that was interrupted, or that others analyse
        up to there: the results are those from `settled_before(first_window)` on, the same bits
        as of the whole (windows begin where tiles begin). Then the first sample pushed may be a
        later one of the recording, up to that of `needs_from_sample`. With `stop_window` they end
        before those of that window, and `over` tells when."""
        bundle = networks.bundle
        tile = tile_tokens or _TILE_TOKENS[networks.precision]
        self._bundle = bundle
        self._mel = LogMelStream(bundle.mel)
        first_token = first_window * bundle.hop_tokens
        known = min(bundle.halo_tokens, first_token)
        self._tokens = TokenStream(networks, tile, tokens_before=known)
        self._skipped = needs_from_sample(bundle, first_window)
        self._windows = SettledWindows(
            networks.window_head,
            partial(window_scores, bundle),
            window_tokens=bundle.window_tokens,
            hop_tokens=bundle.hop_tokens,
            first_window=first_window,
            stop_window=stop_window,
        )
        self._samples = first_sample
        self._chunks = settled_before(first_window, bundle.window_tokens, bundle.hop_tokens)

    @property
    def over(self) -> bool:
        """All that was asked for is settled."""
        return self._windows.over

    def push(self, samples: Floats) -> list[ChunkResult]:
        """Take mono samples at 32 kHz; return the chunks that settled with them.

        Raises ModelError when the net returns NaN: that must never pass for "no bird".
        """
        needed = samples[max(0, self._skipped - self._samples) :]
        self._samples += len(samples)
        return self._settle(self._tokens.push(self._mel.push(needed)))

    def finish(self) -> list[ChunkResult]:
        """The recording ends: pad its last chunk with silence and settle what is left."""
        if self._samples == 0:
            return []
        chunks = -(-self._samples // CHUNK_SAMPLES)
        frames = self._mel.finish((chunks * CHUNK_SAMPLES - self._skipped) // TOKEN_SAMPLES)
        results = self._settle(self._tokens.push(frames))
        results += self._settle(self._tokens.finish())
        return results + list(self._results(self._windows.finish()))

    def _settle(self, tiles: list[Floats]) -> list[ChunkResult]:
        return [result for tile in tiles for result in self._results(self._windows.push(tile))]

    def _results(self, settled: Iterable[tuple[Floats, Floats]]) -> Iterator[ChunkResult]:
        for scores, logits in settled:
            if not (np.isfinite(scores).all() and np.isfinite(logits).all()):
                raise ModelError(
                    f"model {self._bundle.name} returned NaN in the chunks from "
                    f"{self._chunks * 5} s: the recording was not decided; report this with the "
                    "file"
                )
            tokens = sigmoid(logits).reshape(len(scores), TOKENS_PER_CHUNK, -1)
            for row, token_scores in zip(scores, tokens, strict=True):
                yield ChunkResult(self._chunks, row, token_scores)
                self._chunks += 1
