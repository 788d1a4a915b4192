"""A stream without an end: ten minutes roll by, each chunk is said twice, and gaps are gaps.

A chunk's *live* row is spoken as soon as the encoder has heard its halo: the whole net over the
window that ends with this chunk, as if the recording ended here. It *settles* minutes later, in the
window in which it lies most central (`detect.window`), exactly as `Pipeline` settles a file.

What was lost takes its place in time. A token that lies wholly in a gap is absent: nothing attends
to it, and the encoder sees the sound before and after as a file that ends and one that begins.
Within a shorter gap there is silence. A chunk of which nothing was heard has no row at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from recorder.detect.inference import Networks, TokenStream
from recorder.detect.mel import CHUNK_SAMPLES, TOKEN_SAMPLES, TOKENS_PER_CHUNK, LogMelStream
from recorder.detect.pipeline import ChunkResult, window_scores
from recorder.detect.postprocess import chunk_probabilities, gated, recurrent, sigmoid
from recorder.detect.window import SettledWindows
from recorder.errors import ModelError

Floats = NDArray[np.float32]

_HALF_CHUNK = TOKENS_PER_CHUNK // 2


@dataclass(frozen=True)
class Heard:
    """What became known with some samples."""

    live: list[ChunkResult] = field(default_factory=list)
    settled: list[ChunkResult] = field(default_factory=list)

    def add(self, other: Heard) -> None:
        """Append what became known after it."""
        self.live.extend(other.live)
        self.settled.extend(other.settled)


class RollingPipeline:
    """A segmenter on a stream: samples and gaps in, live and settled rows out. Pure."""

    def __init__(self, networks: Networks) -> None:
        """ModelError when the model was exported by a version before the head could slide."""
        bundle = networks.bundle
        self._networks, self._bundle = networks, bundle
        head = self._head = networks.incremental_head()
        self._windows = SettledWindows(
            lambda presence: head.logits(len(presence)),
            partial(window_scores, bundle),
            window_tokens=bundle.window_tokens,
            hop_tokens=bundle.hop_tokens,
        )
        self._samples = 0
        self._gap = 0
        """Lost after those samples, and not yet followed by sound."""
        self._tokens = 0
        """Of the head's: those that were heard, and those that are absent."""
        self._settled = 0
        chunks = bundle.window_tokens // TOKENS_PER_CHUNK
        self._recent: deque[Floats] = deque(maxlen=chunks)
        """The gated scores of the chunks in the window, for recurrence."""
        self._heard: deque[bool] = deque()
        """Of the chunks from the next to settle on: was any of it heard?"""
        self._chunk_tokens_heard = 0
        self._begin_segment(0)

    @property
    def settled_samples(self) -> int:
        """Everything before this sample has been settled, or was lost."""
        return self._settled * CHUNK_SAMPLES

    @property
    def needed_from_sample(self) -> int:
        """From here on the sound is still needed to settle what has not been settled."""
        window, hop = self._bundle.window_tokens, self._bundle.hop_tokens
        start = 0 if self._tokens < window else (self._tokens - window) // hop * hop
        return max(0, start - self._bundle.halo_tokens) * TOKEN_SAMPLES

    def push(self, samples: Floats) -> Heard:
        """Take mono samples at 32 kHz.

        Raises ModelError when the net returns NaN: that must never pass for "no bird".
        """
        if not len(samples):
            return Heard()
        heard = self._end_gap()
        self._samples += len(samples)
        heard.add(self._take(self._stream.push(self._mel.push(samples))))
        return heard

    def skip(self, samples: int) -> Heard:
        """So many samples were lost; what is lost one after the other is one gap."""
        self._gap += samples
        whole = (self._samples + self._gap) // TOKEN_SAMPLES
        if not self._open:
            return self._absent(whole - self._tokens)
        first = -(-self._samples // TOKEN_SAMPLES)
        if first >= whole:
            return Heard()
        heard = self._end_segment(first)
        heard.add(self._absent(whole - first))
        return heard

    def finish(self) -> Heard:
        """The recording ends: pad its last chunk with silence and settle what is left."""
        tokens = -(-(self._samples + self._gap) // CHUNK_SAMPLES) * TOKENS_PER_CHUNK
        heard = self._end_segment(tokens) if self._open else self._absent(tokens - self._tokens)
        self._settle(heard, self._windows.finish())
        return heard

    def _begin_segment(self, token: int) -> None:
        self._open, self._segment = True, token
        self._mel = LogMelStream(self._bundle.mel)
        self._stream = TokenStream(
            self._networks,
            TOKENS_PER_CHUNK,
            first_tile_tokens=TOKENS_PER_CHUNK - token % TOKENS_PER_CHUNK,
        )

    def _end_segment(self, token: int) -> Heard:
        """Silence follows up to the token, and the encoder's edge is a true one."""
        self._open = False
        tiles = self._stream.push(self._mel.finish(token - self._segment))
        return self._take(tiles + self._stream.finish())

    def _end_gap(self) -> Heard:
        """Sound follows: silence stands for what was lost of the token that it begins in."""
        if not self._gap:
            return Heard()
        self._samples, silence, self._gap = self._samples + self._gap, self._gap, 0
        if not self._open:
            self._begin_segment(self._tokens)
            silence = self._samples - self._tokens * TOKEN_SAMPLES
        return self._take(self._stream.push(self._mel.push(np.zeros(silence, np.float32))))

    def _take(self, tiles: Iterable[Floats]) -> Heard:
        heard = Heard()
        for tile in tiles:
            self._head.push(tile)
            self._advance(heard, len(tile), present=True)
        return heard

    def _absent(self, tokens: int) -> Heard:
        heard = Heard()
        while tokens:
            count = min(tokens, TOKENS_PER_CHUNK - self._tokens % TOKENS_PER_CHUNK)
            self._head.skip(count)
            self._advance(heard, count, present=False)
            tokens -= count
        return heard

    def _advance(self, heard: Heard, tokens: int, *, present: bool) -> None:
        """The head has taken `tokens` more, which end with a chunk or before."""
        self._tokens += tokens
        self._chunk_tokens_heard += tokens * present
        if self._tokens % TOKENS_PER_CHUNK == 0:
            chunk = self._tokens // TOKENS_PER_CHUNK - 1
            self._heard.append(self._chunk_tokens_heard > 0)
            if self._chunk_tokens_heard:
                heard.live.append(self._live(chunk))
            else:
                self._recent.append(np.zeros(self._bundle.outputs, np.float32))
            self._chunk_tokens_heard = 0
        self._settle(heard, self._windows.push(np.full((tokens, 1), present, np.float32)))

    def _live(self, chunk: int) -> ChunkResult:
        # The chunk, and the half of the one before that the shifted chunk reaches into.
        logits = self._head.logits(TOKENS_PER_CHUNK + (_HALF_CHUNK if chunk else 0))
        self._check(logits, chunk)
        bundle, classes = self._bundle, len(self._bundle.labels)
        # Repeated in front, half a chunk makes a whole one whose own score is not used.
        before = logits[:-TOKENS_PER_CHUNK]
        smoothed = chunk_probabilities(np.concatenate([before, logits]), bundle.own_share)
        self._recent.append(gated(smoothed[-1:], classes, bundle.any_bird_exponent)[0])
        lifted = recurrent(np.stack(self._recent), classes, bundle.recurrence_exponent)
        return ChunkResult(chunk, lifted[-1], sigmoid(logits[-TOKENS_PER_CHUNK:]))

    def _settle(self, heard: Heard, settled: Iterator[tuple[Floats, Floats]]) -> None:
        for scores, logits in settled:
            tokens = sigmoid(logits).reshape(len(scores), TOKENS_PER_CHUNK, -1)
            for row, token_logits, token_scores in zip(
                scores, logits.reshape(tokens.shape), tokens, strict=True
            ):
                self._check(token_logits, self._settled)
                self._check(row, self._settled)
                if self._heard.popleft():
                    heard.settled.append(ChunkResult(self._settled, row, token_scores))
                self._settled += 1

    def _check(self, values: Floats, chunk: int) -> None:
        if not np.isfinite(values).all():
            raise ModelError(
                f"model {self._bundle.name} returned NaN in chunk {chunk}: it was not decided; "
                "report this with the sound"
            )
