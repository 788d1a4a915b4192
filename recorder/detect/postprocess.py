"""From token logits to chunk probabilities: aggregation (§2.3) and the sliding window (§2.5).

Pure numpy; training, evaluation and the field share it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import TOKENS_PER_CHUNK

SOFT_MAXIMUM = 5.0
"""r of the log-sum-exp that stands for "somewhere in these tokens" (§2.3)."""
ANY_BIRD_EXPONENT = 1.0
"""How much the output for any bird gates the classes, see `gated`."""
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


def chunk_probabilities(logits: Floats) -> Floats:
    """Token logits of a record [chunks * 16, classes] to probabilities [chunks, classes].

    p(t) = .5 p(t) + .25 p_s(t - 2.5 s) + .25 p_s(t + 2.5 s), where p_s are the same tokens
    aggregated on chunks shifted by 8 tokens (§2.5(3)). At the edges of the record the missing
    term is dropped and the weights are renormalised.
    """
    chunks = len(logits) // TOKENS_PER_CHUNK
    own = _probabilities(logits[: chunks * TOKENS_PER_CHUNK])
    total = 0.5 * own
    weight = np.full((chunks, 1), 0.5, np.float32)
    if chunks > 1:
        shifted = _probabilities(logits[_HALF_CHUNK : chunks * TOKENS_PER_CHUNK - _HALF_CHUNK])
        total[1:] += 0.25 * shifted
        total[:-1] += 0.25 * shifted
        weight[1:] += 0.25
        weight[:-1] += 0.25
    smoothed: Floats = (total / weight).astype(np.float32)
    return smoothed


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
