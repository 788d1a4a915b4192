"""Which ten-minute window settles which chunk.

Windows of 10 minutes start every 5 minutes, counted from the recording's start; the last one
ends where the recording ends; a shorter recording is one window. A chunk settles in the window
in which it lies most central, the earlier one at a tie. `window_plan` says so for a whole file;
`SettledWindows` does the same as the tokens arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import TOKENS_PER_CHUNK

Floats = NDArray[np.float32]


def window_starts(tokens: int, window_tokens: int, hop_tokens: int) -> list[int]:
    """The first token of each window over a recording of `tokens` tokens."""
    if tokens <= window_tokens:
        return [0]
    starts = list(range(0, tokens - window_tokens + 1, hop_tokens))
    if starts[-1] + window_tokens < tokens:
        starts.append(tokens - window_tokens)
    return starts


def window_plan(tokens: int, window_tokens: int, hop_tokens: int) -> list[tuple[int, int, int]]:
    """(window's first token, first chunk settled in it, one past the last), in order."""
    starts = window_starts(tokens, window_tokens, hop_tokens)
    chunks = tokens // TOKENS_PER_CHUNK
    limits = [_limit(left, right, window_tokens) for left, right in pairwise(starts)]
    firsts, lasts = [0, *limits], [*limits, chunks]
    return list(zip(starts, firsts, lasts, strict=True))


def _limit(left: int, right: int, window_tokens: int) -> int:
    """The first chunk that is more central in the window at `right` than in that at `left`."""
    # Twice the token in the middle between both windows' centres; a chunk's centre is
    # 16 * chunk + 8, and at a tie the earlier window keeps it.
    middle_twice = left + right + window_tokens
    return (middle_twice - TOKENS_PER_CHUNK) // (2 * TOKENS_PER_CHUNK) + 1


def settled_before(window: int, window_tokens: int, hop_tokens: int) -> int:
    """How many chunks are settled when the window of this number opens, counted from 0."""
    if window == 0:
        return 0
    return _limit((window - 1) * hop_tokens, window * hop_tokens, window_tokens)


class SettledWindows:
    """Tokens arrive, settled logits leave: one pass of the head for each window.

    `attend` maps tokens [tokens, width] to [tokens, classes]; `score` maps a window's
    [tokens, classes] to one row a chunk.
    """

    def __init__(
        self,
        attend: Callable[[Floats], Floats],
        score: Callable[[Floats], Floats],
        *,
        window_tokens: int,
        hop_tokens: int,
        first_window: int = 0,
        stop_window: int | None = None,
    ) -> None:
        """`first_window` is where a recording goes on that others have begun, and `stop_window`
        the one at which others go on: see `settled_before`."""
        self._attend = attend
        self._score = score
        self._window = window_tokens
        self._hop = hop_tokens
        self._held: list[Floats] = []
        self._held_from = self._tokens = self._next_start = first_window * hop_tokens
        self._waiting: tuple[int, Floats, Floats] | None = None
        """A window scored but not settled to its end: how far depends on what follows."""
        self._settled_chunks = settled_before(first_window, window_tokens, hop_tokens)
        self._stop_start = None if stop_window is None else stop_window * hop_tokens

    @property
    def over(self) -> bool:
        """Everything before `stop_window` is settled: what follows is not needed."""
        return self._next_start == self._stop_start

    def push(self, tokens: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Take [tokens, width]; yield (chunk scores, token logits) of chunks that settled."""
        self._held.append(tokens)
        self._tokens += len(tokens)
        while self._tokens - self._next_start >= self._window and not self.over:
            yield from self._open(self._next_start, self._next_start + self._window)
            self._next_start += self._hop
            if self.over:
                last = self._next_start - self._hop
                yield from self._settle_until(_limit(last, self._next_start, self._window))

    def finish(self) -> Iterator[tuple[Floats, Floats]]:
        """The recording ended after whole chunks: settle all that is left."""
        if self._tokens == 0:
            return
        last = window_starts(self._tokens, self._window, self._hop)[-1]
        if self._waiting is None or self._waiting[0] < last:
            yield from self._open(last, self._tokens)
        yield from self._settle_until(self._tokens // TOKENS_PER_CHUNK)

    def _open(self, start: int, stop: int) -> Iterator[tuple[Floats, Floats]]:
        """Score the window [start, stop) and settle what the one before it keeps."""
        if self._waiting is not None:
            yield from self._settle_until(_limit(self._waiting[0], start, self._window))
        held = np.concatenate(self._held)[start - self._held_from :]
        self._held, self._held_from = [held], start
        logits = self._attend(held[: stop - start])
        self._waiting = (start, self._score(logits), logits)

    def _settle_until(self, chunk: int) -> Iterator[tuple[Floats, Floats]]:
        if self._waiting is None or chunk <= self._settled_chunks:
            return
        start, scores, logits = self._waiting
        first = self._settled_chunks - start // TOKENS_PER_CHUNK
        last = chunk - start // TOKENS_PER_CHUNK
        self._settled_chunks = chunk
        yield scores[first:last], logits[first * TOKENS_PER_CHUNK : last * TOKENS_PER_CHUNK]
