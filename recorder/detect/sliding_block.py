"""A block of attention over a window that slides, without starting again at each step (§2.3).

When 16 new tokens push out the 16 oldest of 1920, most is as before: the softmax of token i over
the keys j

    a_i = sum_j e_ij v_j / sum_j e_ij        e_ij = exp(q_i . k_j / sqrt(d) - m_i)

loses 16 terms and gains 16, so that both sums are kept and brought up to date.

What a sum has lost cannot be subtracted without a trace of rounding. So each token's sums are
made anew when it is half a window old, and at once where little is left of what they were or an
exponent grows large; how far they had gone astray is kept as `drift`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.attention import (
    SMALLEST_EXPONENT,
    AttentionWeights,
    joined,
    split_heads,
)

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

_LITTLE_LEFT = 0.25
"""A sum that keeps less than this of what it was is made anew: the rest is mostly rounding."""
_LARGEST_EXPONENT = 20.0
"""Above a token's m_i: its terms would drown those that are there."""
_RENEWED_AT_ONCE = 96
"""Tokens: 6 MB of terms for eight heads and ten minutes, where a whole window would take 118."""


class SlidingBlock:
    """x + attention(x) of the tokens of a window, each of which has its place."""

    def __init__(self, block: AttentionWeights, heads: int, held: NDArray[np.bool_]) -> None:
        """`held` [places] says which places have a token; who calls keeps it up to date."""
        self._block, self._heads, self._held = block, heads, held
        width = len(block.out) // heads
        self._scale = np.float32(width**-0.5)
        per_head = (heads, len(held), width)
        self._query = np.zeros(per_head, np.float32)
        self._key = np.zeros(per_head, np.float32)
        # Both sums in one product: a last value of 1 makes the sum below the bar.
        self._value = np.zeros((heads, len(held), width + 1), np.float32)
        self._sums = np.zeros_like(self._value)
        self._offset = np.zeros((heads, len(held)), np.float32)
        self.drift = 0.0
        """The largest error that a renewal has found in what the block says."""

    def come(self, places: Places, gone: Places, tokens: Floats) -> None:
        """Take tokens [places, width] where nothing is held any more; `gone` had one before.

        Their own sums are made by `renew`, when they are held.
        """
        projected = tokens @ self._block.query_key_value
        projected += self._block.query_key_value_bias
        query, key, value = (
            split_heads(part, self._heads) for part in np.split(projected, 3, axis=1)
        )
        value = np.concatenate([value, np.ones_like(value[:, :, :1])], axis=2)
        self._replace(gone, key, value)
        self._query[:, places] = query * self._scale
        self._key[:, places] = key
        self._value[:, places] = value

    def leave(self, places: Places, gone: Places) -> None:
        """Nobody takes these places; `gone` of them had a token before."""
        self._replace(gone, self._key[:, :0], self._value[:, :0])
        for state in (self._query, self._key, self._value, self._sums, self._offset):
            state[:, places] = 0.0

    def of(self, places: Places, tokens: Floats) -> Floats:
        """What the block says of the tokens [places, width] that are held there."""
        return joined(self._block, tokens, _mean(self._sums[:, places]))

    def renew_and_compare(self, places: Places) -> None:
        """Make sums anew, and see how far the ones before had gone astray."""
        before = _mean(self._sums[:, places])
        self.renew(places)
        if len(places):
            self.drift = max(self.drift, float(np.abs(_mean(self._sums[:, places]) - before).max()))

    def _replace(self, gone: Places, key: Floats, value: Floats) -> None:
        """In the sums of those who stay: out with the terms of `gone`, in with the new ones."""
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
        self.renew(np.flatnonzero((little | far) & self._held), key, value)

    def renew(self, places: Places, key: Floats | None = None, value: Floats | None = None) -> None:
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
