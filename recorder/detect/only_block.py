"""A head's only block over a window that slides (§2.3): keys and values stay as they are.

Behind another block they would change with every token that comes (`last_block`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.answers import Answers
from recorder.detect.attention import softmax_sums, split_heads
from recorder.detect.head_weights import HeadWeights

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class OnlyBlock(Answers):
    """Logits of tokens of a window that slides, from what the encoder says of all."""

    drift = 0.0
    """Nothing is carried on that could go astray."""

    def __init__(self, weights: HeadWeights, held: NDArray[np.bool_]) -> None:
        """`held` [places] says which places have a token; who calls keeps it up to date."""
        (block,) = weights.blocks
        super().__init__(block, weights.classify, weights.classify_bias, heads=weights.heads)
        self._held = held
        heads, width = weights.heads, len(weights.classify) // weights.heads
        self._across = np.zeros((heads, width, len(held)), np.float32)
        # Both sums in one product: a last value of 1 makes the sum below the bar.
        self._summed = np.ones((heads, len(held), width + 1), np.float32)

    def come(self, places: Places, _gone: Places, tokens: Floats, /) -> None:
        """Take tokens [places, width]; who was there before is seen no more."""
        key = split_heads(tokens @ self._key_weights, self._heads)
        self._across[:, :, places] = key.transpose(0, 2, 1)
        self._summed[:, places, :-1] = split_heads(tokens @ self._value_weights, self._heads)

    def leave(self, places: Places, gone: Places) -> None:
        """What is not held is not seen."""

    def keep(self, new: Places, aged: Places) -> None:
        """Nothing has to be made anew."""

    def logits(self, tokens: Floats, asked: Places) -> Floats:
        """[asked, outputs] of some of the tokens, which lie in all places [places, width]."""
        rows = tokens[asked]
        everything = bool(self._held.all())
        across = self._across if everything else self._across[:, :, self._held]
        summed = self._summed if everything else self._summed[:, self._held]
        each = zip(self._asked(rows), across, summed, strict=True)
        sums = np.stack([softmax_sums(*head) for head in each])
        return self._answered(rows, sums[:, :, :-1] / sums[:, :, -1:])
