"""The head's last block and the classes: what is said of some tokens that see all others (§2.3).

For few tokens it is cheapest to multiply their queries into the key and value weights instead of
projecting all tokens (q . W_k y = (W_k^T q) . y); for many, to project all once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.answers import Answers
from recorder.detect.attention import (
    SMALLEST_EXPONENT,
    AttentionWeights,
    Projection,
    attended,
    split_heads,
)

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

_FEW = 64
"""Tokens: for so many, multiplying into the weights is not slower."""


class LastBlock(Answers):
    """Logits of tokens from what the block before, or the encoder, says of all."""

    def __init__(
        self, block: AttentionWeights, classify: Floats, classify_bias: Floats, *, heads: int
    ) -> None:
        super().__init__(block, classify, classify_bias, heads=heads)
        self._key = Projection(self._key_weights, None, heads)
        self._value = Projection(self._value_weights, None, heads)
        self._key_absorbed = split_heads(self._key_weights, heads).transpose(0, 2, 1).copy()
        self._value_absorbed: Floats = split_heads(self._value_weights, heads).copy()

    def logits(self, known: Floats, asked: Places) -> Floats:
        """[asked, outputs] of the rows `asked` of `known` [tokens, width]."""
        rows = known[asked]
        query = self._asked(rows)
        if len(asked) <= _FEW:
            return self._answered(rows, self._absorbed(query, known))
        return self._answered(rows, attended(query, self._key.of(known), self._value.of(known)))

    def _absorbed(self, query: Floats, known: Floats) -> Floats:
        heads, count, _ = query.shape
        absorbed: Floats = (query @ self._key_absorbed).reshape(heads * count, -1)
        weights, sums = _softmax(absorbed @ known.T)
        seen: Floats = weights @ known
        seen /= sums
        result: Floats = seen.reshape(heads, count, -1) @ self._value_absorbed
        return result


def _softmax(scores: Floats) -> tuple[Floats, Floats]:
    """Of the last axis: the terms, in place, and their sums [..., 1]."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(np.maximum(scores, SMALLEST_EXPONENT, out=scores), out=scores)
    return scores, scores.sum(axis=-1, keepdims=True)
