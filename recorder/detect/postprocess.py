"""From token logits to chunk probabilities: aggregation (§2.3) and the sliding window (§2.5).

Pure numpy; training, evaluation and the field share it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import TOKENS_PER_CHUNK

SOFT_MAXIMUM = 5.0
"""r of the log-sum-exp that stands for "somewhere in these tokens" (§2.3)."""
ANY_BIRD_EXPONENT = 1.0
"""How much the output for any bird gates the classes, see `gated`."""
PAPER_OWN_SHARE = 0.5
"""How much of a smoothed chunk is its own score, §2.5(3)..."""
OWN_SHARE = 0.8
"""...and for nets that were taught where in a scene a call lies: with the paper's share a clear
call marks its neighbours too (docs/experiments.md)."""
RECURRENCE_EXPONENT = 0.5
"""How much the best chunk of a window lifts a class in all of it, see `recurrent`."""
_HALF_CHUNK = TOKENS_PER_CHUNK // 2

Floats = NDArray[np.float32]


def aggregate(logits: Floats, r: float = SOFT_MAXIMUM) -> Floats:
    """agg_r(s) = 1/r * log(mean_t exp(r * s_t)) over axis -2: [..., tokens, classes].

    Log-*mean*-exp on logits, shifted by the maximum so that nothing overflows. §2.3.
    """
    scaled = r * logits
    peak = scaled.max(axis=-2, keepdims=True)
    mean = np.exp(scaled - peak).mean(axis=-2)
    result: Floats = ((np.log(mean) + peak.squeeze(-2)) / r).astype(np.float32)
    return result


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-s)) without overflow."""
    result: Floats = (0.5 * (1.0 + np.tanh(0.5 * logits))).astype(np.float32)
    return result


def chunk_probabilities(logits: Floats, own_share: float = PAPER_OWN_SHARE) -> Floats:
    """Token logits of a record [chunks * 16, classes] to probabilities [chunks, classes].

    p(t) = .5 p(t) + .25 p_s(t - 2.5 s) + .25 p_s(t + 2.5 s), where p_s are the same tokens
    aggregated on chunks shifted by 8 tokens (§2.5(3)); `own_share` stands for the .5, and the rest
    is shared out. At the edges of the record the missing term is dropped and the weights are
    renormalised.
    """
    return sliding_window(*chunk_and_between(logits), own_share)


def chunk_and_between(logits: Floats) -> tuple[Floats, Floats]:
    """Token logits of a record to the probabilities of its chunks [chunks, classes], and of the
    chunks between them [chunks - 1, classes], which start 8 tokens later; without smoothing."""
    whole = logits[: len(logits) // TOKENS_PER_CHUNK * TOKENS_PER_CHUNK]
    return _probabilities(whole), _probabilities(whole[_HALF_CHUNK : len(whole) - _HALF_CHUNK])


def sliding_window(own: Floats, between: Floats, own_share: float = PAPER_OWN_SHARE) -> Floats:
    """The probabilities of chunks [chunks, classes], smoothed by those of the chunks between them
    [chunks - 1, classes], which start 2.5 s later (§2.5(3)); as in `chunk_probabilities`."""
    beside = np.float32((1.0 - own_share) / 2)
    total = np.float32(own_share) * own
    weight = np.full((len(own), 1), own_share, np.float32)
    total[1:] += beside * between
    total[:-1] += beside * between
    weight[1:] += beside
    weight[:-1] += beside
    smoothed: Floats = (total / weight).astype(np.float32)
    return smoothed


def recurrent(probabilities: Floats, classes: int, exponent: float) -> Floats:
    """Each class times its best chunk in the window ** exponent: [chunks, outputs] to the same.

    What is heard clearly once in ten minutes calls elsewhere in them more likely than what is
    nowhere clear. It does for a segmenter what `global_correction` does for a classifier, without
    a step at one half (METHOD.md "What later winners do", 9). The output for any bird, after the
    classes, stays as it is.
    """
    if exponent == 0.0 or not len(probabilities):
        return probabilities
    result = probabilities.copy()
    best = probabilities[:, :classes].max(axis=0, keepdims=True)
    result[:, :classes] *= best ** np.float32(exponent)
    return result


def global_correction(
    probabilities: Floats, *, factor: float = 1.3, certain: float = 0.5
) -> Floats:
    """What is certain once in a record is likely elsewhere in it (§2.5(1)), for classifiers.

    [chunks, classes] of one record: a class whose maximum passes `certain` is multiplied by
    `factor` in all chunks, and clipped to 1.
    """
    sure = probabilities.max(axis=0, keepdims=True) > certain
    corrected = np.minimum(probabilities * np.float32(factor), np.float32(1.0))
    result: Floats = np.where(sure, corrected, probabilities).astype(np.float32)
    return result


def power_average(each: Sequence[Floats], weights: Sequence[float] | None = None) -> Floats:
    """sqrt(sum_i w_i p_i ** 2 / sum_i w_i) over models that agree in shape (§2.5(2)).

    Equal weights by default. ValueError when weights are negative, all 0, or not one a model.
    """
    shares = np.ones(len(each)) if weights is None else np.asarray(weights, float)
    if len(shares) != len(each) or (shares < 0).any() or not shares.sum() > 0:
        raise ValueError(f"{len(each)} models with the weights {weights}: one each, not all 0")
    mean = sum(share * np.square(p) for share, p in zip(shares, each, strict=True)) / shares.sum()
    result: Floats = np.sqrt(mean).astype(np.float32)
    return result


def gated(probabilities: Floats, classes: int, exponent: float) -> Floats:
    """Each class times any bird ** exponent: [chunks, outputs] to [chunks, outputs].

    What calls can only be a species if it is a bird: with exponent 1 the class is read as
    P(species | bird). The output after the classes is any bird and stays as it is; without it, or
    with exponent 0, nothing changes. Not in the paper.
    """
    if probabilities.shape[1] == classes or exponent == 0.0:
        return probabilities
    result = probabilities.copy()
    result[:, :classes] *= probabilities[:, classes : classes + 1] ** np.float32(exponent)
    return result


def _probabilities(logits: Floats) -> Floats:
    return sigmoid(aggregate(logits.reshape(-1, TOKENS_PER_CHUNK, logits.shape[1])))
