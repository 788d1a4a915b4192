"""The optimizer of the paper, against its formulas in plain numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.learning.optim import Over9000

Weights = NDArray[np.float64]

STEPS = 30
_FIRST_RECTIFIED = 6
"""With b2 = .999: r is 4.996 at step 5 and 5.994 at step 6."""


def _reference(
    weights: Weights, gradients: Weights, *, lr: float, decay: float = 0.0, b2: float = 0.999
) -> tuple[list[Weights], list[Weights]]:
    """The weights after each step, and the slow ones after each sixth; gradients [steps, ...]."""
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    weights = weights.copy()
    after: list[Weights] = []
    slow: list[Weights] = []
    for t, gradient in enumerate(gradients, 1):
        mean = 0.9 * mean + 0.1 * gradient
        square = b2 * square + (1 - b2) * gradient**2
        r_max = 2 / (1 - b2) - 1
        r = r_max - 2 * t * b2**t / (1 - b2**t)
        step = mean / (1 - 0.9**t)
        if r >= 5:
            c = (r - 4) / (r_max - 4) * (r - 2) / (r_max - 2) * r_max / r
            step = step * np.sqrt(c * (1 - b2**t)) / (np.sqrt(square) + 1e-8)
        weights = weights - lr * decay * weights
        norm, new_norm = np.sqrt((weights**2).sum()), np.sqrt(((weights - lr * step) ** 2).sum())
        trust = min(norm, 10.0) / new_norm if norm and new_norm else 1.0
        weights = weights - lr * trust * step
        if t % 6 == 0:
            slow.append(slow[-1] + 0.5 * (weights - slow[-1]) if slow else weights)
            weights = slow[-1]
        after.append(weights)
    return after, slow


def _noise(*shape: int, seed: int = 0) -> Weights:
    return np.random.default_rng(seed).standard_normal(shape)


def _parameter(values: Weights) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def _run(optimizer: Over9000, parameter: nn.Parameter, gradients: Weights) -> list[Weights]:
    after = []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=parameter.dtype)
        optimizer.step()
        after.append(parameter.detach().numpy().copy())
    return after


@pytest.mark.parametrize("norm", [0.0, 0.5, 9.0, 50.0])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("b2", [0.999, 0.9, 0.6])
def test_every_step_is_that_of_the_formulas(norm: float, decay: float, b2: float) -> None:
    start = _noise(4, 5)
    start *= norm / np.sqrt((start**2).sum())
    gradients = 0.5 + 0.3 * _noise(STEPS, 4, 5, seed=1)
    parameter = _parameter(start)
    optimizer = Over9000([parameter], 0.05, betas=(0.9, b2), weight_decay=decay)
    made = _run(optimizer, parameter, gradients)
    wanted, slow = _reference(start, gradients, lr=0.05, decay=decay, b2=b2)
    np.testing.assert_allclose(made, wanted, rtol=1e-9, atol=1e-12)
    with optimizer.slow_weights():
        np.testing.assert_allclose(parameter.detach().numpy(), slow[-1], rtol=1e-9, atol=1e-12)


def test_steps_are_plain_until_the_variance_can_be_told() -> None:
    """Twice the gradient is twice the step at first, and later the same step."""
    for first, ratio in ((1, 2.0), (_FIRST_RECTIFIED, 1.0)):
        moved = []
        for scale in (1.0, 2.0):
            parameter = _parameter(np.zeros(3))
            # With a rate of 0 the averages fill up, and the weights stay zero: the ratio is 1.
            optimizer = Over9000([parameter], 0.0, eps=0.0, lookahead_k=1000)
            _run(optimizer, parameter, np.full((first - 1, 3), scale))
            optimizer.param_groups[0]["lr"] = 1.0
            moved.append(_run(optimizer, parameter, np.full((1, 3), scale))[0])
        np.testing.assert_allclose(moved[1], ratio * moved[0], rtol=1e-9)


def test_the_trust_ratio_is_that_of_the_updated_weights_and_ends_at_ten() -> None:
    """By hand: |w| is 50, w - lr d is (20, 40) with norm 44.72."""
    parameter = _parameter(np.array([30.0, 40.0]))
    optimizer = Over9000([parameter], 10.0)
    (after,) = _run(optimizer, parameter, np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(after, [30.0 - 10.0 * 10.0 / np.sqrt(2000.0), 40.0])
    # |w| is 5, below the limit: q is 5 / |(2, 4)|.
    parameter = _parameter(np.array([3.0, 4.0]))
    (after,) = _run(Over9000([parameter], 1.0), parameter, np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(after, [3.0 - 5.0 / np.sqrt(20.0), 4.0])


def test_weights_that_would_become_zero_get_there() -> None:
    parameter = _parameter(np.array([3.0, 4.0]))
    (after,) = _run(Over9000([parameter], 1.0), parameter, np.array([[3.0, 4.0]]))
    np.testing.assert_array_equal(after, [0.0, 0.0])


def test_each_group_has_its_own_rate_and_decay() -> None:
    start, gradients = _noise(6, seed=2), _noise(STEPS, 6, seed=3)
    body, head = _parameter(start), _parameter(start)
    optimizer = Over9000(
        [
            {"params": [body], "lr": 0.01, "weight_decay": 0.1},
            {"params": [head], "lr": 0.1},
        ]
    )
    for gradient in gradients:
        body.grad = head.grad = torch.tensor(gradient)
        optimizer.step()
    for parameter, lr, decay in ((body, 0.01, 0.1), (head, 0.1, 0.0)):
        wanted, _ = _reference(start, gradients, lr=lr, decay=decay)
        np.testing.assert_allclose(parameter.detach().numpy(), wanted[-1], rtol=1e-9)


def test_weights_and_slow_weights_are_one_every_k_steps_only() -> None:
    parameter = _parameter(_noise(6))
    optimizer = Over9000([parameter], 0.1, lookahead_k=4)
    together, slow = [], []
    for gradient in 1.0 + _noise(14, 6, seed=1):
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        fast = parameter.detach().clone()
        with optimizer.slow_weights():
            together.append(torch.equal(fast, parameter))
            slow.append(parameter.detach().clone())
        assert torch.equal(fast, parameter)
    # Before the first synchronisation there are no others.
    assert together == [True] * 4 + [False] * 3 + [True] + [False] * 3 + [True] + [False] * 2
    assert all(torch.equal(one, slow[7]) for one in slow[8:11])
    assert not torch.equal(slow[7], slow[11])


class _Net(nn.Module):
    """A batch norm between two layers, one of which is frozen at first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(1, 4, 3)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, sound: Tensor) -> Tensor:
        tokens: Tensor = self.norm(self.conv(sound)).relu().mean(dim=2)
        logits: Tensor = self.head(tokens)
        return logits


def _optimizer(net: _Net) -> Over9000:
    body = [*net.conv.parameters(), *net.norm.parameters()]
    groups = [{"params": body, "weight_decay": 0.05}, {"params": net.head.parameters(), "lr": 0.1}]
    return Over9000(groups, 0.01)


def _train(net: _Net, optimizer: Over9000, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        # The body learns from step 3 on: its counters are behind those of the head.
        net.conv.requires_grad_(step >= 3)
        optimizer.param_groups[1]["lr"] = 0.1 / (1 + step)
        optimizer.zero_grad(set_to_none=True)
        net(torch.randn(8, 1, 20)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("stop", [2, 4, 8, 12, 15])
def test_a_resumed_run_is_the_same_run(tmp_path: Path, stop: int) -> None:
    whole = _Net()
    whole_optimizer = _optimizer(whole)
    _train(whole, whole_optimizer, range(20))
    first = _Net()
    optimizer = _optimizer(first)
    _train(first, optimizer, range(stop))
    torch.save((first.state_dict(), optimizer.state_dict()), tmp_path / "a.pt")
    weights, state = torch.load(tmp_path / "a.pt", weights_only=True)
    resumed = _Net()
    resumed_optimizer = _optimizer(resumed)
    resumed.load_state_dict(weights)
    resumed_optimizer.load_state_dict(state)
    _train(resumed, resumed_optimizer, range(stop, 20))
    _assert_equal(resumed.state_dict(), whole.state_dict())
    with resumed_optimizer.slow_weights(), whole_optimizer.slow_weights():
        _assert_equal(resumed.state_dict(), whole.state_dict())
    again, wanted = resumed_optimizer.state_dict(), whole_optimizer.state_dict()
    assert again["param_groups"] == wanted["param_groups"]
    for index, state in wanted["state"].items():
        _assert_equal(again["state"][index], state)


def _assert_equal(made: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert made.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(torch.as_tensor(made[name]), torch.as_tensor(value)), name


def test_the_slow_weights_go_back_and_leave_the_batch_norm_alone() -> None:
    net = _Net()
    optimizer = _optimizer(net)
    _train(net, optimizer, range(9))
    before = {name: one.clone() for name, one in net.state_dict().items()}

    def evaluate() -> None:
        with optimizer.slow_weights():
            for name, one in net.named_parameters():
                assert one.requires_grad
                assert not torch.equal(one, before[name]), name
            for name, buffer in net.named_buffers():
                assert torch.equal(buffer, before[name]), name
            raise RuntimeError("an evaluation that fails")

    with pytest.raises(RuntimeError, match="evaluation"):
        evaluate()
    _assert_equal(net.state_dict(), before)


def test_a_quadratic_is_minimised() -> None:
    """Ten times as steep one way as another, with the rate falling to 0 as in training."""
    centre, scale = torch.tensor([3.0, -2.0, 0.5, 0.0]), torch.tensor([4.0, 1.0, 2.0, 0.4])
    parameter = nn.Parameter(torch.full((4,), 6.0))
    optimizer = Over9000([parameter], 0.1)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (scale * (parameter - centre).square()).sum()
        value.backward()
        return value

    first = loss().item()
    for step in range(600):
        optimizer.param_groups[0]["lr"] = 0.1 * (1.0 + np.cos(np.pi * step / 600))
        last = optimizer.step(loss)
    assert last.item() < 1e-4 * first
    with optimizer.slow_weights():
        torch.testing.assert_close(parameter.detach(), centre, atol=0.05, rtol=0.0)


def test_zero_gradients_move_nothing_but_the_decay() -> None:
    start = _noise(5)
    parameter = _parameter(start)
    still = _run(Over9000([parameter], 0.1), parameter, np.zeros((STEPS, 5)))
    np.testing.assert_array_equal(still[-1], start)
    parameter = _parameter(start)
    decayed = _run(Over9000([parameter], 0.1, weight_decay=0.5), parameter, np.zeros((8, 5)))
    np.testing.assert_allclose(decayed[5], start * 0.95**6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_gradient_that_is_no_number_is_refused_and_spoils_nothing(bad: float) -> None:
    twin, parameter = _parameter(_noise(5)), _parameter(_noise(5))
    other = _parameter(_noise(3))
    gradients = _noise(12, 5, seed=1)
    wanted = _run(Over9000([twin], 0.1), twin, gradients)
    optimizer = Over9000([other, parameter], 0.1)
    _run(optimizer, parameter, gradients[:7])
    other.grad, parameter.grad = torch.ones(3).double(), torch.ones(5).double()
    parameter.grad[2] = bad
    with pytest.raises(FloatingPointError, match="no weight was changed"):
        optimizer.step()
    assert torch.equal(other, _parameter(_noise(3)))
    other.grad = None
    made = _run(optimizer, parameter, gradients[7:])
    np.testing.assert_array_equal(made[-1], wanted[-1])


def test_a_parameter_without_a_gradient_stays() -> None:
    moved, still = _parameter(_noise(5)), _parameter(_noise(5))
    optimizer = Over9000([moved, still], 0.1, weight_decay=0.1)
    _run(optimizer, moved, _noise(STEPS, 5))
    assert torch.equal(still, _parameter(_noise(5)))


@pytest.mark.parametrize(("k", "alpha"), [(0, 0.5), (6, 0.0), (6, 1.5)])
def test_a_lookahead_that_cannot_be_is_refused(k: int, alpha: float) -> None:
    with pytest.raises(ValueError, match=f"lookahead_k is {k} and lookahead_alpha {alpha}"):
        Over9000([_parameter(_noise(2))], lookahead_k=k, lookahead_alpha=alpha)


def test_single_precision_stays_single_and_close() -> None:
    start, gradients = _noise(4, 5), _noise(STEPS, 4, 5, seed=1)
    parameter = nn.Parameter(torch.tensor(start, dtype=torch.float32))
    made = _run(Over9000([parameter], 0.05), parameter, gradients)
    assert made[-1].dtype == np.float32
    np.testing.assert_allclose(made, _reference(start, gradients, lr=0.05)[0], atol=2e-6)
