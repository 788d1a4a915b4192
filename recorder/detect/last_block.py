"""The head's last block and the classes: what is said of some tokens that see all others (§2.3).

For few tokens it is cheapest to multiply their queries into the key and value weights instead of
projecting all tokens (q . W_k y = (W_k^T q) . y); for many, to project all once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.attention import (
    SMALLEST_EXPONENT,
    AttentionWeights,
    Projection,
    attended,
    joined,
    split_heads,
)

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

_FEW = 64
"""Tokens: for so many, multiplying into the weights is not slower."""


class LastBlock:
    """Logits of tokens from what the block before, or the encoder, says of all."""

    def __init__(
        self, block: AttentionWeights, classify: Floats, classify_bias: Floats, *, heads: int
    ) -> None:
        self._block, self._heads = block, heads
        self._classify, self._classify_bias = classify, classify_bias
        width = len(classify)
        scale = np.float32((width // heads) ** -0.5)
        query, key, value = np.split(block.query_key_value, 3, axis=1)
        biases = np.split(block.query_key_value_bias, 3)
        self._query: Floats = query * scale
        self._query_bias: Floats = biases[0] * scale
        # The bias of the keys adds the same to all scores of a query: softmax does not see it.
        self._key, self._value = Projection(key, None, heads), Projection(value, None, heads)
        self._key_absorbed = split_heads(key, heads).transpose(0, 2, 1).copy()
        self._value_absorbed: Floats = split_heads(value, heads).copy()
        self._value_bias: Floats = split_heads(biases[2][np.newaxis], heads)

    def logits(self, known: Floats, asked: Places) -> Floats:
        """[asked, outputs] of the rows `asked` of `known` [tokens, width]."""
        rows = known[asked]
        query = split_heads(rows @ self._query + self._query_bias, self._heads)
        if len(asked) <= _FEW:
            mixed = self._absorbed(query, known)
        else:
            mixed = attended(query, self._key.of(known), self._value.of(known))
        mixed += self._value_bias
        after = joined(self._block, rows, mixed)
        result: Floats = after @ self._classify + self._classify_bias
        return result

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
