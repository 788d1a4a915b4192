"""Aggregation and losses as the paper writes them (§2.3), with unknown labels masked."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

SOFT_MAXIMUM = 5.0
SOFT_MINIMUM = -1.0


def aggregate(logits: Tensor, r: float, dim: int = 1) -> Tensor:
    """agg_r(s) = 1/r * log(mean_t exp(r * s_t)) on logits over the tokens in `dim` (§2.3).

    r = 5 is the soft maximum, r = -1 the soft minimum.
    """
    scaled = r * logits.float()
    return (torch.logsumexp(scaled, dim) - math.log(logits.shape[dim])) / r


def focal_loss(logits: Tensor, target: Tensor, known: Tensor, *, gamma: float = 2.0) -> Tensor:
    """|target - p|^gamma * BCE, unknown pairs left out, summed over the last axis (classes).

    `target` in [0, 1] and `known` (1 known, 0 unknown) have the shape of `logits`.
    """
    bce = binary_cross_entropy_with_logits(logits, target, reduction="none")
    distance = (target - logits.sigmoid()).abs()
    return (distance.pow(gamma) * bce * known).sum(-1)


def global_loss(
    logits: Tensor,
    target: Tensor,
    known: Tensor,
    *,
    gamma: float = 2.0,
    minimum_weight: float = 0.3,
) -> Tensor:
    """FL(agg_5(s), y) + 0.3 * FL(agg_-1(s), 0) (§2.3), one value per record.

    `logits` [records, tokens, classes]; `target` and `known` [records, classes].
    """
    loudest = focal_loss(aggregate(logits, SOFT_MAXIMUM), target, known, gamma=gamma)
    quietest = focal_loss(
        aggregate(logits, SOFT_MINIMUM), torch.zeros_like(target), known, gamma=gamma
    )
    return loudest + minimum_weight * quietest


def segmentation_loss(
    logits: Tensor, target: Tensor, known: Tensor, *, gamma: float = 2.0
) -> Tensor:
    """The focal loss of the tokens of which pseudo labels are sure (§2.4 step 2), one number.

    Positives and negatives are averaged apart and added: negatives outnumber positives a thousand
    to one (METHOD.md). All arguments [records, tokens, classes]; 0 when nothing is known.
    """
    bce = binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    each = (target - logits.float().sigmoid()).abs().pow(gamma) * bce
    sides = ((target > 0.5) & (known > 0), (target <= 0.5) & (known > 0))
    total = logits.new_zeros((), dtype=torch.float32)
    for side in sides:
        total = total + (each * side).sum() / side.sum().clamp(min=1)
    return total


def distillation_loss(logits: Tensor, taught: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy against what teachers say, one value per record.

    `logits` and `taught` (probabilities) [records, tokens, classes], `known` [classes]; summed over
    the classes that a teacher knows, mean over the tokens.
    """
    bce = binary_cross_entropy_with_logits(logits.float(), taught, reduction="none")
    return (bce * known).sum(-1).mean(1)
