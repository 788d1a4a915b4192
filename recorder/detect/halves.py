"""A head's only block over windows that follow each other by half (§2.3, §2.5).

What the tokens of one half see in each other does not depend on the other half: the window before
has reckoned it already, a quarter of all the work. (Behind another block it would depend on it.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.answers import Answers
from recorder.detect.attention import PORTION, add_sums, are_right, softmax_sums, split_heads
from recorder.detect.head_weights import HeadWeights

Floats = NDArray[np.float32]


class HalvedWindow(Answers):
    """Tokens [tokens, width] of a window to logits [tokens, outputs].

    The same window gives the same bits, whichever came before it.
    """

    def __init__(self, weights: HeadWeights, half_tokens: int) -> None:
        (block,) = weights.blocks
        super().__init__(block, weights.classify, weights.classify_bias, heads=weights.heads)
        self._half = half_tokens
        self._query_of_head = split_heads(self._query, self._heads)
        self._key_of_head = split_heads(self._key_weights, self._heads)
        self._value_of_head = split_heads(self._value_weights, self._heads)
        self._second: Floats = np.empty((0, 0), np.float32)
        """The second half of the window before..."""
        self._own: Floats | None = None
        """...and what its tokens see in each other, [heads, half, d + 1]."""

    def __call__(self, tokens: Floats) -> Floats:
        """Of a window of any length up to two halves; a longer one is one of unequal halves."""
        halves = [tokens[: self._half], tokens[self._half :]]
        halves = [half for half in halves if len(half)]
        known = self._own if np.array_equal(halves[0], self._second) else None
        width = self._query_of_head.shape[2]
        sums = np.empty((self._heads, len(tokens), width + 1), np.float32)
        own = np.zeros((self._heads, len(halves[-1]), width + 1), np.float32)
        for head in range(self._heads):
            self._see(head, halves, None if known is None else known[head], sums[head], own[head])
        self._second, self._own = halves[-1].copy(), own
        seen = sums[:, :, :-1]
        seen /= sums[:, :, -1:]
        return self._answered(tokens, seen)

    def _see(
        self, head: int, halves: list[Floats], known: Floats | None, sums: Floats, own: Floats
    ) -> None:
        """Fill the sums of one head, and of the last half's own."""
        queries = [self._queries(head, half) for half in halves]
        acrosses = [np.ascontiguousarray((half @ self._key_of_head[head]).T) for half in halves]
        summed = [_with_ones(half @ self._value_of_head[head]) for half in halves]
        start = 0
        for place, query in enumerate(queries):
            into = sums[start : start + len(query)]
            into[:] = 0.0
            for other in range(len(halves)):
                if other == place == len(halves) - 1:
                    add_sums(query, acrosses[other], summed[other], own)
                    into += own
                elif other == place and known is not None:
                    into += known
                else:
                    add_sums(query, acrosses[other], summed[other], into)
            start += len(query)
        if not are_right(sums):
            every = np.concatenate(queries)
            across, below = np.concatenate(acrosses, axis=1), np.concatenate(summed)
            for at in range(0, len(every), PORTION):
                asked = slice(at, at + PORTION)
                sums[asked] = softmax_sums(every[asked], across, below)

    def _queries(self, head: int, half: Floats) -> Floats:
        width = self._query_of_head.shape[2]
        bias = self._query_bias[head * width : (head + 1) * width]
        result: Floats = half @ self._query_of_head[head]
        result += bias
        return result


def _with_ones(values: Floats) -> Floats:
    """A last value of 1 makes the sum below the bar in the same product."""
    return np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
