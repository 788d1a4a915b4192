"""Attention of many tokens over many, in portions that fit a small board (§2.3).

All scores of ten minutes at once would be 118 MB for eight heads; a portion of one head is 0.7 MB,
which also stays in a processor's cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SMALLEST_EXPONENT = np.float32(-50.0)
"""e^-50 adds nothing to a sum of floats, and less than 1e-38 takes a processor 100 times longer."""
_LARGEST_EXPONENT = np.float32(62.0)
"""Where there is more, a sum is made again; e^62 of large values is far from the largest float."""
_SMALLEST_SUM, _LARGEST_SUM = np.float32(1e-7), np.float32(math.exp(60.0))
"""Of a query's terms as they are: ten minutes of e^-50 are nothing beside the one, and the sums of
the values far from the largest float at the other."""
PORTION = 96
"""Queries at once."""


@dataclass(frozen=True)
class AttentionWeights:
    """x + attention(x) of one block; matrices are [in, out]."""

    query_key_value: Floats  # [width, 3 * width]
    query_key_value_bias: Floats
    out: Floats  # [width, width]
    out_bias: Floats


class Projection:
    """rows @ weights + bias, one attention head after the other: all at once are 2 MB more each."""

    def __init__(self, weights: Floats, bias: Floats | None, heads: int) -> None:
        """`weights` are [width, heads * d]; without a bias it is 0."""
        self._weights = split_heads(weights, heads)
        shape = (heads, 1, self._weights.shape[2])
        self._bias = np.zeros(shape, np.float32) if bias is None else bias.reshape(shape)

    def of(self, rows: Floats) -> Iterator[Floats]:
        """[rows, d] of each head of rows [rows, width]."""
        for weights, bias in zip(self._weights, self._bias, strict=True):
            projected: Floats = rows @ weights
            projected += bias
            yield projected


def attended(queries: Iterable[Floats], keys: Iterable[Floats], values: Iterable[Floats]) -> Floats:
    """What each query sees: the softmax's mean of the values, [heads, asked, d].

    Of each head queries [asked, d], which carry the scale already, keys and values [tokens, d].
    """
    return np.stack([_seen(*one) for one in zip(queries, keys, values, strict=True)])


def _seen(query: Floats, keys: Floats, values: Floats) -> Floats:
    result = np.empty((len(query), values.shape[1]), np.float32)
    across = np.ascontiguousarray(keys.T)
    # Both sums in one product: a last value of 1 makes the sum below the bar.
    summed = np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
    for at in range(0, len(query), PORTION):
        sums = softmax_sums(query[at : at + PORTION], across, summed)
        result[at : at + PORTION] = sums[:, :-1] / sums[:, -1:]
    return result


def softmax_sums(query: Floats, across: Floats, summed: Floats) -> Floats:
    """Of each query the sum of e^score times what is summed, [asked, d + 1], up to a factor.

    A softmax may be shifted as one likes: mostly it need not be, and nothing is looked for first.
    """
    sums = _exponentials(query @ across) @ summed
    if not are_right(sums):
        scores = query @ across
        scores -= scores.max(axis=1, keepdims=True)
        sums = _exponentials(scores) @ summed
    return sums


def add_sums(query: Floats, across: Floats, summed: Floats, into: Floats) -> None:
    """Add e^score times what is summed to [asked, d + 1], as it is; see `are_right`."""
    for at in range(0, len(query), PORTION):
        into[at : at + PORTION] += _exponentials(query[at : at + PORTION] @ across) @ summed


def are_right(sums: Floats) -> bool:
    """Of softmaxes that were not shifted: was no term too large or too small for a float?"""
    below = sums[:, -1]
    return bool(below.min() > _SMALLEST_SUM and below.max() < _LARGEST_SUM)


def _exponentials(scores: Floats) -> Floats:
    """e^scores, in place; what adds nothing, or is too large for a float, is brought into range."""
    return np.exp(np.clip(scores, SMALLEST_EXPONENT, _LARGEST_EXPONENT, out=scores), out=scores)


def joined(block: AttentionWeights, tokens: Floats, mixed: Floats) -> Floats:
    """x + attention(x): what the heads have mixed [heads, rows, width of a head] joins the rows."""
    result: Floats = mixed.transpose(1, 0, 2).reshape(len(tokens), -1) @ block.out
    result += tokens
    result += block.out_bias
    return result


def split_heads(rows: Floats, heads: int) -> Floats:
    """[rows, width] -> [heads, rows, width of a head]."""
    return np.ascontiguousarray(rows.reshape(len(rows), heads, -1).transpose(1, 0, 2))
