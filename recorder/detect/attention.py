"""Attention of many tokens over many, in portions that fit a small board (§2.3).

All scores of ten minutes at once would be 118 MB for eight heads; a portion of one head is 0.7 MB,
which also stays in a processor's cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SMALLEST_EXPONENT = np.float32(-50.0)
"""e^-50 adds nothing to a sum of floats, and less than 1e-38 takes a processor 100 times longer."""
_LARGEST_BEST, _SMALLEST_BEST = np.float32(60.0), np.float32(-25.0)
"""Of a query's scores. Sums of ten minutes of e^60 are far from the largest float, 3e38, and beside
e^-25 ten minutes of e^-50 are nothing."""
_PORTION = 96
"""Queries at once."""


@dataclass(frozen=True)
class AttentionWeights:
    """x + attention(x) of one block; matrices are [in, out]."""

    query_key_value: Floats  # [width, 3 * width]
    query_key_value_bias: Floats
    out: Floats  # [width, width]
    out_bias: Floats


def attended(query: Floats, keys: Floats, values: Floats) -> Floats:
    """What each query [heads, asked, d] sees: the softmax's mean of the values [heads, tokens, d].

    Queries carry the scale already.
    """
    result = np.empty((*query.shape[:2], values.shape[2]), np.float32)
    ones = np.ones((values.shape[1], 1), np.float32)
    for head in range(len(query)):
        across = np.ascontiguousarray(keys[head].T)
        # Both sums in one product: a last value of 1 makes the sum below the bar.
        summed = np.concatenate([values[head], ones], axis=1)
        for at in range(0, query.shape[1], _PORTION):
            sums = _exponentials(query[head, at : at + _PORTION] @ across) @ summed
            result[head, at : at + _PORTION] = sums[:, :-1] / sums[:, -1:]
    return result


def _exponentials(scores: Floats) -> Floats:
    """Of a softmax [queries, tokens], in place: shifted only where floats would not hold them."""
    best = scores.max(axis=1, keepdims=True)
    if best.max() > _LARGEST_BEST or best.min() < _SMALLEST_BEST:
        scores -= best
    if scores.min() < SMALLEST_EXPONENT:
        np.maximum(scores, SMALLEST_EXPONENT, out=scores)
    return np.exp(scores, out=scores)


def joined(block: AttentionWeights, tokens: Floats, mixed: Floats) -> Floats:
    """x + attention(x): what the heads have mixed [heads, rows, width of a head] joins the rows."""
    together = mixed.transpose(1, 0, 2).reshape(len(tokens), -1)
    result: Floats = tokens + together @ block.out + block.out_bias
    return result


def split_heads(rows: Floats, heads: int) -> Floats:
    """[rows, width] -> [heads, rows, width of a head]."""
    return np.ascontiguousarray(rows.reshape(len(rows), heads, -1).transpose(1, 0, 2))
