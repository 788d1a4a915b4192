"""The optimizer of the paper: RAdam with a trust ratio, inside Lookahead.

§2.4, additional training details: "Ranger-LARS-Lookahead", reference [20], github.com/mgrankin/
over9000 (`ralamb.py`, `lookahead.py`, `rangerlars.py` as of June 2021; METHOD.md "Losses").
Textbook LARS is another optimizer. For weights w with gradient g, in their t-th step:

    m = b1 m + (1 - b1) g                v = b2 v + (1 - b2) g²
    r_max = 2 / (1 - b2) - 1             r = r_max - 2 t b2^t / (1 - b2^t)
    r >= 5:  c = sqrt((1 - b2^t) (r - 4) (r - 2) r_max / ((r_max - 4) (r_max - 2) r)) / (1 - b1^t)
             d = c m / (sqrt(v) + eps)
    r < 5:   d = m / (1 - b1^t)          too few gradients to tell their variance
    w = w (1 - lr weight_decay)
    q = min(|w|, 10) / |w - lr d|        1 where either norm is 0
    w = w - lr q d

|.| is the norm of a whole parameter. The norm below the bar is that of the *updated weights*, not
of the step: q is about min(1, 10 / |w|). Every k-th step of a group is a synchronisation:

    slow = slow + alpha (w - slow)       w = slow

The first one starts the slow weights at w and moves nothing (so does the reference).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.optimizer import Optimizer, ParamsT

_LARGEST_NORM = 10.0
"""Larger weights are stepped as if they had this norm."""
_RECTIFIABLE = 5.0
"""From so many gradients in the average of squares on, its variance can be told."""


class Over9000(Optimizer):
    """Lookahead around RAdam with a trust ratio.

    A group may have an `lr` and a `weight_decay` of its own. `state_dict` holds everything, the
    slow weights and the place within the k steps included: a resumed run is the same run.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        lookahead_k: int = 6,
        lookahead_alpha: float = 0.5,
    ) -> None:
        """ValueError when k or alpha are out of range: no slow weight would ever move."""
        if lookahead_k < 1 or not 0.0 < lookahead_alpha <= 1.0:
            raise ValueError(
                f"lookahead_k is {lookahead_k} and lookahead_alpha {lookahead_alpha}: they must be "
                "1 or more, and in 0 < alpha <= 1"
            )
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "lookahead_k": lookahead_k,
            "lookahead_alpha": lookahead_alpha,
            "lookahead_step": 0,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient; what the closure returns.

        FloatingPointError when a gradient is not finite: nothing has been moved then, neither
        weights nor averages, which one NaN would spoil for good.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = [
            (group, [one for one in group["params"] if one.grad is not None])
            for group in self.param_groups
        ]
        _refuse_bad([one.grad for _, moved in groups for one in moved])
        for group, moved in groups:
            group["lookahead_step"] += 1
            if moved:
                states = [self.state[one] for one in moved]
                _advance(moved, states, group)
                if group["lookahead_step"] % group["lookahead_k"] == 0:
                    _synchronise(moved, states, group["lookahead_alpha"])
        return loss

    @contextmanager
    def slow_weights(self) -> Iterator[None]:
        """Within, the parameters hold the slow weights, which are evaluated and exported.

        Before the first synchronisation they are the weights themselves. Buffers (batch norm) are
        no parameters and stay. Do not train within: what the weights were comes back at the end.
        """
        held = [(one, state["slow"]) for one, state in self.state.items() if "slow" in state]
        weights, slow = [one for one, _ in held], [values for _, values in held]
        fast = [one.detach().clone() for one in weights]
        _put(weights, slow)
        try:
            yield
        finally:
            _put(weights, fast)


@torch.no_grad()
def _put(weights: list[Tensor], values: list[Tensor]) -> None:
    if weights:
        torch._foreach_copy_(weights, values)


def _refuse_bad(gradients: list[Tensor]) -> None:
    norm = get_total_norm(gradients) if gradients else torch.zeros(())
    if not torch.isfinite(norm):
        raise FloatingPointError(
            f"the norm of the gradients is {norm.item()}: no weight was changed; lower the rate"
        )


def _advance(weights: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]) -> None:
    """RAdam with the trust ratio, for all parameters of a group at once: on a GPU one kernel for
    each line instead of one for each parameter."""
    gradients = [one.grad for one in weights if one.grad is not None]
    for one, state in zip(weights, states, strict=True):
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(one)
            state["square"] = torch.zeros_like(one)
        state["step"] += 1
    beta1, beta2 = group["betas"]
    means = [state["mean"] for state in states]
    squares = [state["square"] for state in states]
    torch._foreach_lerp_(means, gradients, 1.0 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - beta2)
    sizes = [_rectification(state["step"], beta2) for state in states]
    rectified = torch._foreach_sqrt(squares)
    torch._foreach_add_(rectified, group["eps"])
    rectified = torch._foreach_div(means, rectified)
    directions = [
        mean if size is None else change
        for mean, change, size in zip(means, rectified, sizes, strict=True)
    ]
    torch._foreach_mul_(weights, 1.0 - group["lr"] * group["weight_decay"])
    changes = torch._foreach_mul(
        directions,
        [
            -group["lr"] / (1.0 - beta1 ** state["step"]) * (1.0 if size is None else size)
            for state, size in zip(states, sizes, strict=True)
        ],
    )
    trust = _trust(weights, list(torch._foreach_add(weights, changes)))
    torch._foreach_mul_(changes, trust)
    torch._foreach_add_(weights, changes)


def _rectification(step: int, beta2: float) -> float | None:
    """The factor c without 1 / (1 - b1^t); None as long as r < 5."""
    power = beta2**step
    most = 2.0 / (1.0 - beta2) - 1.0
    length = most - 2.0 * step * power / (1.0 - power)
    if length < _RECTIFIABLE:
        return None
    share = (length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length)
    return math.sqrt((1.0 - power) * share)


def _trust(weights: list[Tensor], updated: list[Tensor]) -> list[Tensor]:
    """q of each, scalars; without asking the device for a number."""
    norm = torch.stack(torch._foreach_norm(weights))
    new_norm = torch.stack(torch._foreach_norm(updated))
    ratio = norm.clamp(max=_LARGEST_NORM) / new_norm
    return list(torch.where((norm == 0) | (new_norm == 0), 1.0, ratio).unbind())


def _synchronise(weights: list[Tensor], states: list[dict[str, Any]], alpha: float) -> None:
    for one, state in zip(weights, states, strict=True):
        if "slow" not in state:
            state["slow"] = one.clone()
    slow = [state["slow"] for state in states]
    torch._foreach_lerp_(slow, weights, alpha)
    torch._foreach_copy_(weights, slow)
