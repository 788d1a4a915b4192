"""Aggregation and losses against the paper's formulas, written out slowly (§2.3)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from recorder.detect import postprocess
from train.nets.losses import (
    SOFT_MAXIMUM,
    SOFT_MINIMUM,
    aggregate,
    distillation_loss,
    focal_loss,
    global_loss,
    segmentation_loss,
)

LOGIT = st.floats(-20.0, 20.0, width=32)
TOKENS = st.lists(LOGIT, min_size=1, max_size=24)


def _random(*shape: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _slow_aggregate(logits: list[float], r: float) -> float:
    return math.log(math.fsum(math.exp(r * s) for s in logits) / len(logits)) / r


def _slow_focal(logit: float, target: float, gamma: float) -> float:
    p = 1.0 / (1.0 + math.exp(-logit))
    bce = -target * math.log(p) - (1.0 - target) * math.log(1.0 - p)
    return abs(target - p) ** gamma * bce


@settings(deadline=None, max_examples=60)
@given(TOKENS, st.sampled_from([SOFT_MAXIMUM, SOFT_MINIMUM]))
def test_aggregate_is_the_log_mean_exp_of_the_formula(logits: list[float], r: float) -> None:
    found = aggregate(torch.tensor(logits)[None, :, None], r).item()
    assert found == pytest.approx(_slow_aggregate(logits, r), abs=1e-4)


@settings(deadline=None, max_examples=60)
@given(TOKENS)
def test_the_soft_extremes_lie_between_the_mean_and_the_extremes(logits: list[float]) -> None:
    tokens = torch.tensor(logits)[None, :, None]
    mean, slack = sum(logits) / len(logits), 1e-4
    assert mean - slack <= aggregate(tokens, SOFT_MAXIMUM).item() <= max(logits) + slack
    assert min(logits) - slack <= aggregate(tokens, SOFT_MINIMUM).item() <= mean + slack


@settings(deadline=None, max_examples=60)
@given(TOKENS, st.sampled_from([SOFT_MAXIMUM, SOFT_MINIMUM]))
def test_the_recorder_and_the_trainer_aggregate_alike(logits: list[float], r: float) -> None:
    column = np.array(logits, np.float32)[:, None]
    expected = aggregate(torch.from_numpy(column)[None], r)[0].numpy()
    np.testing.assert_allclose(postprocess.aggregate(column, r), expected, atol=1e-5)


def test_the_recorder_and_the_trainer_agree_on_the_soft_maximum_of_batches() -> None:
    assert postprocess.SOFT_MAXIMUM == SOFT_MAXIMUM
    logits = _random(3, 16, 7)
    np.testing.assert_allclose(
        postprocess.aggregate(logits.numpy()),
        aggregate(logits, SOFT_MAXIMUM).numpy(),
        atol=1e-5,
    )


def test_aggregate_does_not_overflow() -> None:
    logits = torch.tensor([[[300.0], [-300.0]]])
    assert aggregate(logits, SOFT_MAXIMUM).item() == pytest.approx(300.0 - math.log(2) / 5)
    assert aggregate(logits, SOFT_MINIMUM).item() == pytest.approx(-300.0 + math.log(2))


@settings(deadline=None, max_examples=60)
@given(st.floats(-8.0, 8.0), st.floats(0.0, 1.0), st.sampled_from([0.0, 1.0, 2.0, 3.5]))
def test_focal_loss_is_the_formula_for_soft_targets_too(
    logit: float, target: float, gamma: float
) -> None:
    one = torch.ones(1, 1)
    found = focal_loss(logit * one, target * one, one, gamma=gamma).item()
    assert found == pytest.approx(_slow_focal(logit, target, gamma), rel=1e-3, abs=1e-5)


def test_focal_loss_with_gamma_zero_is_binary_cross_entropy_summed_over_classes() -> None:
    logits, target = _random(5, 4), _random(5, 4, seed=1).sigmoid()
    expected = binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)
    found = focal_loss(logits, target, torch.ones_like(target), gamma=0.0)
    torch.testing.assert_close(found, expected)


def test_unknown_pairs_add_nothing_to_the_loss_nor_to_the_gradient() -> None:
    logits = _random(2, 6, 3).requires_grad_()
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.995]])
    known = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    loss = global_loss(logits, target, known)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (gradient.permute(0, 2, 1)[known == 0] == 0).all()
    assert (gradient.permute(0, 2, 1)[known == 1] != 0).all()
    flipped = torch.where(known == 1, target, 1.0 - target)
    torch.testing.assert_close(global_loss(logits, flipped, known), loss)
    alone = global_loss(logits[:1, :, ::2], target[:1, ::2], known[:1, ::2])
    torch.testing.assert_close(loss[:1], alone)


def test_a_record_of_unknown_pairs_alone_has_loss_zero() -> None:
    logits = _random(1, 16, 4, scale=10.0)
    nothing = torch.zeros(1, 4)
    assert global_loss(logits, torch.ones(1, 4), nothing).item() == 0.0


def test_global_loss_is_the_papers_formula() -> None:
    logits, target = _random(3, 16, 2), torch.tensor([[1.0, 0.0], [0.995, 1.0], [0.0, 0.0]])
    found = global_loss(logits, target, torch.ones(3, 2))
    for record in range(3):
        expected = 0.0
        for column in range(2):
            tokens = logits[record, :, column].tolist()
            loudest, quietest = _slow_aggregate(tokens, 5.0), _slow_aggregate(tokens, -1.0)
            expected += _slow_focal(loudest, target[record, column].item(), 2.0)
            expected += 0.3 * _slow_focal(quietest, 0.0, 2.0)
        assert found[record].item() == pytest.approx(expected, rel=1e-4)


def test_the_soft_minimum_pushes_a_call_that_is_everywhere_down() -> None:
    everywhere = torch.full((1, 16, 1), 6.0)
    somewhere = everywhere.clone()
    somewhere[:, 4:] = -6.0
    one = torch.ones(1, 1)
    assert global_loss(everywhere, one, one).item() > global_loss(somewhere, one, one).item()


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_the_segmentation_loss_averages_yes_and_no_apart(gamma: float) -> None:
    logits = _random(2, 5, 3, seed=1)
    target, known = torch.zeros(2, 5, 3), torch.zeros(2, 5, 3)
    target[0, 1, 2], known[0, 1, 2] = 1.0, 1.0
    known[1] = 1.0
    target[0, 4, 0] = 1.0  # not known: it must not count
    yes = _slow_focal(logits[0, 1, 2].item(), 1.0, gamma)
    no = [_slow_focal(value, 0.0, gamma) for value in logits[1].flatten().tolist()]
    found = segmentation_loss(logits, target, known, gamma=gamma).item()
    assert found == pytest.approx(yes + sum(no) / len(no), rel=1e-4)


def test_where_nothing_is_known_the_segmentation_loss_is_nothing_and_moves_nothing() -> None:
    logits = _random(1, 4, 2).requires_grad_()
    loss = segmentation_loss(logits, torch.ones(1, 4, 2), torch.zeros(1, 4, 2))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_distillation_loss_is_the_cross_entropy_of_the_known_classes() -> None:
    logits, taught = _random(2, 3, 2, seed=1), _random(2, 3, 2, seed=2).sigmoid()
    p, q = logits.sigmoid(), taught
    each = -(q * p.log() + (1 - q) * (1 - p).log())
    found = distillation_loss(logits, taught, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(found, each[..., 0].mean(1))


def test_who_says_what_the_teachers_say_has_nothing_to_learn() -> None:
    logits = _random(1, 4, 3, seed=3).requires_grad_()
    distillation_loss(logits, logits.detach().sigmoid(), torch.ones(3)).sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-7, rtol=0.0)
