"""The head over a whole window: two blocks of attention, every token seeing all others (§2.3).

What onnxruntime says of the head's graph, to rounding, in a tenth of the memory: there the scores
of all tokens over all are held at once. `Networks.attend` is the oracle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.attention import attended, joined, split_heads
from recorder.detect.head_weights import HeadWeights
from recorder.detect.second_block import SecondBlock

Floats = NDArray[np.float32]


class WindowHead:
    """Tokens [tokens, width] to logits [tokens, outputs]."""

    def __init__(self, weights: HeadWeights) -> None:
        self._weights = weights
        width, heads = len(weights.classify), weights.heads
        self._scale = np.float32((width // heads) ** -0.5)
        self._second = SecondBlock(
            weights.second, weights.classify, weights.classify_bias, heads=heads
        )

    def __call__(self, tokens: Floats) -> Floats:
        """Of a window of any length."""
        known = self._first(tokens)
        return self._second.logits(known, np.arange(len(known)))

    def _first(self, tokens: Floats) -> Floats:
        """The first block, [tokens, width]; what it needs is let go before the second begins."""
        first = self._weights.first
        query, key, value = self._projected(tokens)
        query *= self._scale
        return joined(first, tokens, attended(query, key, value))

    def _projected(self, tokens: Floats) -> list[Floats]:
        """Query, key and value, [heads, tokens, width of a head] each."""
        first = self._weights.first
        projected = tokens @ first.query_key_value + first.query_key_value_bias
        return [split_heads(part, self._weights.heads) for part in np.split(projected, 3, axis=1)]
