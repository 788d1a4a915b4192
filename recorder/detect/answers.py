"""What a head's last block makes of tokens that see others: from queries to classes (§2.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.attention import AttentionWeights, joined, split_heads

Floats = NDArray[np.float32]


class Answers:
    """The weights of a last block, and the classes behind it."""

    def __init__(
        self, block: AttentionWeights, classify: Floats, classify_bias: Floats, *, heads: int
    ) -> None:
        self._block, self._heads = block, heads
        self._classify, self._classify_bias = classify, classify_bias
        scale = np.float32((len(classify) // heads) ** -0.5)
        query, self._key_weights, self._value_weights = np.split(block.query_key_value, 3, axis=1)
        query_bias, _, value_bias = np.split(block.query_key_value_bias, 3)
        self._query: Floats = query * scale
        self._query_bias: Floats = query_bias * scale
        # The bias of the keys adds the same to all scores of a query: softmax does not see it.
        self._value_bias: Floats = split_heads(value_bias[np.newaxis], heads)

    def _asked(self, rows: Floats) -> Floats:
        """Their queries [heads, rows, d], with the scale in them."""
        return split_heads(rows @ self._query + self._query_bias, self._heads)

    def _answered(self, rows: Floats, mixed: Floats) -> Floats:
        """Logits of tokens [rows, width] that have seen `mixed` [heads, rows, d]."""
        mixed += self._value_bias
        after = joined(self._block, rows, mixed)
        result: Floats = after @ self._classify + self._classify_bias
        return result
