"""The head over a window that slides: global attention without starting again at each step.

Ten minutes are 1920 tokens, and in both blocks each sees all others (§2.3). When 16 new tokens
push out the 16 oldest, most of the first block is as before: the softmax of token i over the keys j

    a_i = sum_j e_ij v_j / sum_j e_ij        e_ij = exp(q_i . k_j / sqrt(d) - m_i)

loses 16 terms and gains 16, so that both sums are kept and brought up to date. The second block
answers for the tokens that are asked for alone (`second_block`). What it says of them is what the
whole head says of them, to rounding; `Networks.attend` is the oracle.

What a sum has lost cannot be subtracted without a trace of rounding. So each token's sums are
made anew when it is half a window old, and at once where little is left of what they were or an
exponent grows large; how far they had gone astray is kept as `drift`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.attention import (
    SMALLEST_EXPONENT,
    joined,
    split_heads,
)
from recorder.detect.head_weights import HeadWeights
from recorder.detect.second_block import SecondBlock

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

_LITTLE_LEFT = 0.25
"""A sum that keeps less than this of what it was is made anew: the rest is mostly rounding."""
_LARGEST_EXPONENT = 20.0
"""Above a token's m_i: its terms would drown those that are there."""
_RENEWED_AT_ONCE = 96
"""Tokens: 6 MB of terms for eight heads and ten minutes, where a whole window would take 118."""
ABSENT_LOGIT = np.float32(-40.0)
"""Of a token that was never heard: no bird, with a probability that floats tell from 0."""


class IncrementalHead:
    """The newest tokens' logits over a window of at most `window_tokens` tokens.

    A place in the window is a third of a second of time. What was never heard (`skip`) takes its
    place, and nothing attends to it.
    """

    def __init__(self, weights: HeadWeights, window_tokens: int) -> None:
        width, heads = len(weights.classify), weights.heads
        self._weights = weights
        self._window = window_tokens
        self._scale = np.float32((width // heads) ** -0.5)
        self._tokens = np.zeros((window_tokens, width), np.float32)
        per_head = (heads, window_tokens, width // heads)
        self._query = np.zeros(per_head, np.float32)
        self._key = np.zeros(per_head, np.float32)
        # Both sums in one product: a last value of 1 makes the sum below the bar.
        self._value = np.zeros((heads, window_tokens, width // heads + 1), np.float32)
        self._sums = np.zeros_like(self._value)
        self._offset = np.zeros((heads, window_tokens), np.float32)
        self._held = np.zeros(window_tokens, bool)
        self._next = 0
        self._second = SecondBlock(
            weights.second, weights.classify, weights.classify_bias, heads=heads
        )
        self.drift = 0.0
        """The largest error that a renewal has found in what the first block says so far."""

    def push(self, tokens: Floats) -> None:
        """Take the next tokens [tokens, width], at most a window of them at once."""
        if len(tokens) > self._window:
            raise ValueError(f"{len(tokens)} tokens at once for a window of {self._window}")
        if not len(tokens):
            return
        places = self._advance(len(tokens))
        projected = tokens @ self._weights.first.query_key_value
        projected += self._weights.first.query_key_value_bias
        query, key, value = (
            split_heads(part, self._weights.heads) for part in np.split(projected, 3, axis=1)
        )
        query = query * self._scale
        value = np.concatenate([value, np.ones_like(value[:, :, :1])], axis=2)
        self._replace(places, key, value)
        self._tokens[places] = tokens
        self._query[:, places] = query
        self._key[:, places] = key
        self._value[:, places] = value
        self._held[places] = True
        self._renew(places)
        self._renew_the_middle_aged(len(tokens))

    def skip(self, tokens: int) -> None:
        """Time passes in which nothing was heard: the oldest leave, and nobody comes."""
        places = self._advance(min(tokens, self._window))
        self._replace(places, self._key[:, :0], self._value[:, :0])
        self._tokens[places] = 0.0
        for state in (self._query, self._key, self._value, self._sums, self._offset):
            state[:, places] = 0.0
        self._renew_the_middle_aged(len(places))

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
            places = np.flatnonzero(self._held)
            known = joined(self._weights.first, self._tokens[places], _mean(self._sums[:, places]))
            result[there] = self._second.logits(known, np.searchsorted(places, asked[there]))
        return result

    def _advance(self, count: int) -> Places:
        """The places that the next `count` tokens take; who was there is gone."""
        places = (self._next + np.arange(count)) % self._window
        self._next = int((self._next + count) % self._window)
        return places

    def _replace(self, places: Places, key: Floats, value: Floats) -> None:
        """In the sums of those who stay: out with the terms at `places`, in with the new ones."""
        gone = places[self._held[places]]
        self._held[places] = False
        before = self._sums[:, :, -1].copy()
        keys = np.concatenate([key, self._key[:, gone]], axis=1)
        values = np.concatenate([value, -self._value[:, gone]], axis=1)
        reach, come = np.float32(_LARGEST_EXPONENT), key.shape[1]
        terms = self._query @ keys.transpose(0, 2, 1)
        terms -= self._offset[:, :, np.newaxis]
        far = (terms[:, :, :come] > reach).any(axis=(0, 2))
        np.exp(np.clip(terms, SMALLEST_EXPONENT, reach, out=terms), out=terms)
        self._sums += terms @ values
        little = (self._sums[:, :, -1] < np.float32(_LITTLE_LEFT) * before).any(axis=0)
        self._renew(np.flatnonzero((little | far) & self._held), key, value)

    def _renew_the_middle_aged(self, count: int) -> None:
        """Make anew the sums of as many tokens as came, half a window old: so each once."""
        places = (self._next - 1 - self._window // 2 - np.arange(count)) % self._window
        places = places[self._held[places]]
        if not len(places):
            return
        before = _mean(self._sums[:, places])
        self._renew(places)
        self.drift = max(self.drift, float(np.abs(_mean(self._sums[:, places]) - before).max()))

    def _renew(
        self, places: Places, key: Floats | None = None, value: Floats | None = None
    ) -> None:
        """Make the sums of these tokens from nothing, over all that is held and what comes."""
        if not len(places):
            return
        everything = bool(self._held.all())
        keys = self._key if everything else self._key[:, self._held]
        values = self._value if everything else self._value[:, self._held]
        if key is not None and value is not None and key.shape[1]:
            keys = np.concatenate([keys, key], axis=1)
            values = np.concatenate([values, value], axis=1)
        for at in range(0, len(places), _RENEWED_AT_ONCE):
            some = places[at : at + _RENEWED_AT_ONCE]
            terms = self._query[:, some] @ keys.transpose(0, 2, 1)
            self._offset[:, some] = terms.max(axis=2)
            terms -= self._offset[:, some, np.newaxis]
            np.exp(np.maximum(terms, SMALLEST_EXPONENT, out=terms), out=terms)
            self._sums[:, some] = terms @ values


def _mean(sums: Floats) -> Floats:
    """Of the values, weighted: the sums of both over one another."""
    result: Floats = sums[:, :, :-1] / sums[:, :, -1:]
    return result
