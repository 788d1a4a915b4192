"""The head over a window that slides: global attention without starting again at each step.

Ten minutes are 1920 tokens, and in each block a token sees all others (§2.3). The last block
answers for the tokens that are asked for alone. Where it is the only one, keys and values stay as
they are (`only_block`); where there is one before it, what that says of every token is kept up to
date (`sliding_block`, `last_block`). What this head says of its tokens is what the whole head says
of them, to rounding; `Networks.attend` is the oracle.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recorder.detect.head_weights import HeadWeights
from recorder.detect.last_block import LastBlock
from recorder.detect.only_block import OnlyBlock
from recorder.detect.sliding_block import SlidingBlock

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

ABSENT_LOGIT = np.float32(-40.0)
"""Of a token that was never heard: no bird, with a probability that floats tell from 0."""


class _Blocks(Protocol):
    """The blocks of a head over the places of a window, some of which hold a token."""

    @property
    def drift(self) -> float:
        """As that of `IncrementalHead`."""

    def come(self, places: Places, gone: Places, tokens: Floats, /) -> None:
        """Take tokens [places, width] where nothing is held any more; `gone` had one before."""

    def leave(self, places: Places, gone: Places) -> None:
        """Nobody takes these places; `gone` of them had a token before."""

    def keep(self, new: Places, aged: Places) -> None:
        """`new` are held now; `aged` have not been made anew for half a window."""

    def logits(self, tokens: Floats, asked: Places) -> Floats:
        """[asked, outputs] of some of the tokens, which lie in all places [places, width]."""


class _TwoBlocks:
    """As in the paper: all see all, then those that are asked for see what all have seen."""

    def __init__(self, weights: HeadWeights, held: NDArray[np.bool_]) -> None:
        first, last = weights.blocks
        self._held = held
        self._first = SlidingBlock(first, weights.heads, held)
        self._last = LastBlock(last, weights.classify, weights.classify_bias, heads=weights.heads)
        self.come, self.leave = self._first.come, self._first.leave

    @property
    def drift(self) -> float:
        return self._first.drift

    def keep(self, new: Places, aged: Places) -> None:
        self._first.renew(new)
        self._first.renew_and_compare(aged)

    def logits(self, tokens: Floats, asked: Places) -> Floats:
        places = np.flatnonzero(self._held)
        known = self._first.of(places, tokens[places])
        return self._last.logits(known, np.searchsorted(places, asked))


class IncrementalHead:
    """The newest tokens' logits over a window of at most `window_tokens` tokens.

    A place in the window is a third of a second of time. What was never heard (`skip`) takes its
    place, and nothing attends to it.
    """

    def __init__(self, weights: HeadWeights, window_tokens: int) -> None:
        self._weights = weights
        self._window = window_tokens
        self._tokens = np.zeros((window_tokens, len(weights.classify)), np.float32)
        self._held = np.zeros(window_tokens, bool)
        self._next = 0
        of_one = len(weights.blocks) == 1
        self._blocks: _Blocks = (
            OnlyBlock(weights, self._held) if of_one else _TwoBlocks(weights, self._held)
        )

    @property
    def drift(self) -> float:
        """The largest error that a renewal has found in what the first of two blocks says."""
        return self._blocks.drift

    def push(self, tokens: Floats) -> None:
        """Take the next tokens [tokens, width], at most a window of them at once."""
        if len(tokens) > self._window:
            raise ValueError(f"{len(tokens)} tokens at once for a window of {self._window}")
        if not len(tokens):
            return
        places, gone = self._advance(len(tokens))
        self._tokens[places] = tokens
        self._blocks.come(places, gone, tokens)
        self._held[places] = True
        self._blocks.keep(places, self._middle_aged(len(tokens)))

    def skip(self, tokens: int) -> None:
        """Time passes in which nothing was heard: the oldest leave, and nobody comes."""
        places, gone = self._advance(min(tokens, self._window))
        self._tokens[places] = 0.0
        self._blocks.leave(places, gone)
        self._blocks.keep(places[:0], self._middle_aged(len(places)))

    def logits(self, newest: int) -> Floats:
        """[newest, outputs]: what the head says now of the last tokens, `ABSENT_LOGIT` of skipped.

        ValueError when more are asked for than there is room for.
        """
        if not 0 < newest <= self._window:
            raise ValueError(f"{newest} tokens of a window of {self._window}")
        asked = (self._next - np.arange(newest, 0, -1)) % self._window
        there = self._held[asked]
        result = np.full((newest, len(self._weights.classify_bias)), ABSENT_LOGIT, np.float32)
        if there.any():
            result[there] = self._blocks.logits(self._tokens, asked[there])
        return result

    def _advance(self, count: int) -> tuple[Places, Places]:
        """The places that the next `count` tokens take, and which of them held one until now."""
        places = (self._next + np.arange(count)) % self._window
        self._next = int((self._next + count) % self._window)
        gone = places[self._held[places]]
        self._held[places] = False
        return places, gone

    def _middle_aged(self, count: int) -> Places:
        """As many tokens as came, half a window old: so each is made anew once."""
        places = (self._next - 1 - self._window // 2 - np.arange(count)) % self._window
        return places[self._held[places]]
