"""The head over a whole window: two blocks of attention, every token seeing all others (§2.3).

What onnxruntime says of the head's graph, to rounding, in a tenth of the memory: there the scores
of all tokens over all are held at once. `Networks.attend` is the oracle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.attention import Projection, attended, joined
from recorder.detect.head_weights import HeadWeights
from recorder.detect.second_block import SecondBlock

Floats = NDArray[np.float32]


class WindowHead:
    """Tokens [tokens, width] to logits [tokens, outputs]."""

    def __init__(self, weights: HeadWeights) -> None:
        self._first = weights.first
        width, heads = len(weights.classify), weights.heads
        scale = np.float32((width // heads) ** -0.5)
        query, key, value = np.split(weights.first.query_key_value, 3, axis=1)
        biases = np.split(weights.first.query_key_value_bias, 3)
        self._query = Projection(query * scale, biases[0] * scale, heads)
        self._key = Projection(key, biases[1], heads)
        self._value = Projection(value, biases[2], heads)
        self._second = SecondBlock(
            weights.second, weights.classify, weights.classify_bias, heads=heads
        )

    def __call__(self, tokens: Floats) -> Floats:
        """Of a window of any length."""
        mixed = attended(self._query.of(tokens), self._key.of(tokens), self._value.of(tokens))
        known = joined(self._first, tokens, mixed)
        return self._second.logits(known, np.arange(len(known)))
