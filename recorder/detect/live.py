"""What is said of a chunk while it is still warm, from the ten minutes before it.

A chunk *settles* in the window in which it lies most central, minutes later (`detect.window`).
Until then its *live* row stands: the same net over the window that ends with this chunk, as if the
recording ended here. Of the chunks shifted by 2.5 s (§2.5(3)) the one that would follow is missing,
as at the end of a file. The tokens are exact: their encoder has heard `halo_tokens` beyond.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from recorder.detect.inference import Networks, TokenStream
from recorder.detect.mel import TOKENS_PER_CHUNK, LogMelStream
from recorder.detect.pipeline import ChunkResult
from recorder.detect.postprocess import chunk_probabilities, gated, recurrent, sigmoid
from recorder.errors import ModelError

Floats = NDArray[np.float32]

_HALF_CHUNK = TOKENS_PER_CHUNK // 2


class LivePipeline:
    """A stream without an end: samples in, a live row for each chunk out."""

    def __init__(self, networks: Networks) -> None:
        """ModelError when the model was exported by a version before the head could slide."""
        bundle = networks.bundle
        self._bundle = bundle
        self._mel = LogMelStream(bundle.mel)
        self._tokens = TokenStream(networks, TOKENS_PER_CHUNK)
        self._head = networks.incremental_head()
        self._chunks = 0
        self._recent: deque[Floats] = deque(maxlen=bundle.window_tokens // TOKENS_PER_CHUNK)
        """The gated scores of the chunks in the window, for recurrence."""

    @property
    def drift(self) -> float:
        """How far the head that slides had gone astray at most, see `detect.incremental`."""
        return self._head.drift

    def push(self, samples: Floats) -> list[ChunkResult]:
        """Take mono samples at 32 kHz; return the live rows of the chunks that they complete.

        A chunk is complete when the encoder has heard `halo_tokens` beyond it. Raises ModelError
        when the net returns NaN: that must never pass for "no bird".
        """
        tiles = self._tokens.push(self._mel.push(samples))
        return list(self._rows(tiles))

    def _rows(self, tiles: list[Floats]) -> Iterator[ChunkResult]:
        for tokens in tiles:
            self._head.push(tokens)
            # The chunk, and the half of the one before that the shifted chunk reaches into.
            known = TOKENS_PER_CHUNK + (_HALF_CHUNK if self._recent else 0)
            logits = self._head.logits(known)
            if not np.isfinite(logits).all():
                raise ModelError(
                    f"model {self._bundle.name} returned NaN in chunk {self._chunks}: it was not "
                    "decided; report this with the sound"
                )
            yield ChunkResult(
                self._chunks, self._score(logits), sigmoid(logits[-TOKENS_PER_CHUNK:])
            )
            self._chunks += 1

    def _score(self, logits: Floats) -> Floats:
        """[outputs] of the newest chunk, from its tokens and those of half a chunk before."""
        bundle, classes = self._bundle, len(self._bundle.labels)
        # Repeated in front, half a chunk makes a whole one whose own score is not used.
        before = logits[:-TOKENS_PER_CHUNK]
        smoothed = chunk_probabilities(np.concatenate([before, logits]), bundle.own_share)
        newest = gated(smoothed[-1:], classes, bundle.any_bird_exponent)
        self._recent.append(newest[0])
        lifted = recurrent(np.stack(self._recent), classes, bundle.recurrence_exponent)
        result: Floats = lifted[-1]
        return result
