"""The head over a whole window: blocks of attention, every token seeing all others (§2.3).

What onnxruntime says of the head's graph, to rounding, in a tenth of the memory: there the scores
of all tokens over all are held at once. `Networks.attend` is the oracle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recorder.detect.attention import AttentionWeights, Projection, attended, joined
from recorder.detect.halves import HalvedWindow
from recorder.detect.head_weights import HeadWeights
from recorder.detect.last_block import LastBlock

Floats = NDArray[np.float32]


def window_head(weights: HeadWeights, half_tokens: int) -> Callable[[Floats], Floats]:
    """Tokens [tokens, width] of a window to logits [tokens, outputs].

    Windows that are asked for one after the other may share a half of `half_tokens`.
    """
    if len(weights.blocks) == 1:
        return HalvedWindow(weights, half_tokens)
    return WindowHead(weights)


class WindowHead:
    """Tokens [tokens, width] to logits [tokens, outputs], through any number of blocks."""

    def __init__(self, weights: HeadWeights) -> None:
        self._earlier = [_WholeBlock(block, weights.heads) for block in weights.blocks[:-1]]
        self._last = LastBlock(
            weights.blocks[-1], weights.classify, weights.classify_bias, heads=weights.heads
        )

    def __call__(self, tokens: Floats) -> Floats:
        """Of a window of any length."""
        for block in self._earlier:
            tokens = block(tokens)
        return self._last.logits(tokens, np.arange(len(tokens)))


class _WholeBlock:
    """x + attention(x) of all tokens, [tokens, width]."""

    def __init__(self, block: AttentionWeights, heads: int) -> None:
        self._block = block
        scale = np.float32((len(block.out) // heads) ** -0.5)
        query, key, value = np.split(block.query_key_value, 3, axis=1)
        biases = np.split(block.query_key_value_bias, 3)
        self._query = Projection(query * scale, biases[0] * scale, heads)
        self._key = Projection(key, biases[1], heads)
        self._value = Projection(value, biases[2], heads)

    def __call__(self, tokens: Floats) -> Floats:
        mixed = attended(self._query.of(tokens), self._key.of(tokens), self._value.of(tokens))
        return joined(self._block, tokens, mixed)
