"""Several processes on one training, as torch's own launcher starts them (`torchrun`).

Each makes its own part of every batch; gradients are averaged over all of them, so that the nets
stay equal. The first process alone judges and writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Team:
    """Which process this is, of how many, and what it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this process judges, logs and saves."""
        return self.rank == 0

    def joined(self, objective: nn.Module) -> nn.Module:
        """The module on this process's device, its gradients averaged over the team."""
        objective = objective.to(self.device)
        return DistributedDataParallel(objective) if self.size > 1 else objective


def own_device() -> torch.device:
    """The GPU of this process, if there is one."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def team() -> Iterator[Team]:
    """This process alone, or what the launcher's environment says (RANK, WORLD_SIZE, ...)."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = own_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size == 1:
        yield Team(0, 1, device)
        return
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(rank, size, device)
    finally:
        torch.distributed.destroy_process_group()
