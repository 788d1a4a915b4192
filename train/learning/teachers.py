"""Distillation: several nets, too heavy for the field together, teach one what they say on average.

An ensemble errs less than any of its nets, because they err in different places. A student that
sees the very same scenes, mixed and changed as they are, learns the mean itself (EDGE.md; the
"consistent teacher" of Beyer et al. 2021, arXiv:2106.05237). Not in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from recorder.detect.mel import MelConfig
from recorder.errors import ConfigError
from train.invented.imagined import is_imagined
from train.learning.ancestors import read_net
from train.learning.checkpoint import Checkpoint
from train.nets.backbones import as_float32
from train.nets.segmenter import Segmenter


def read_teachers(paths: Sequence[Path], mel: MelConfig) -> list[Checkpoint]:
    """ConfigError when one is no segmenter, or hears through another front end."""
    teachers = [read_net(path) for path in paths]
    for path, teacher in zip(paths, teachers, strict=True):
        if teacher.kind != "segmenter" or teacher.mel != mel:
            raise ConfigError(f"{path} cannot teach: it must be a segmenter with n_fft {mel.n_fft}")
    return teachers


class Teachers:
    """Frozen segmenters, asked together."""

    def __init__(
        self, teachers: Sequence[Checkpoint], labels: list[str], device: torch.device
    ) -> None:
        self._nets: list[Segmenter] = []
        self._columns: list[tuple[Tensor, Tensor]] = []
        self.known = torch.zeros(len(labels), device=device)
        """[classes]: 1 where a teacher knows the class."""
        for teacher in teachers:
            theirs = teacher.content["labels"]
            # Another seed imagines other birds under the same names.
            shared = [label for label in labels if label in theirs and not is_imagined(label)]
            if not shared:
                raise ConfigError(
                    f"{teacher.name} cannot teach: it knows {', '.join(theirs[:5])} ..., none of "
                    f"the classes here ({', '.join(labels[:5])} ...)"
                )
            ours = torch.tensor([labels.index(label) for label in shared], device=device)
            self._columns.append((ours, torch.tensor([theirs.index(label) for label in shared])))
            net = teacher.net.to(device).requires_grad_(False)
            assert isinstance(net, Segmenter)
            self._nets.append(net)
            self.known[ours] += 1.0
        self._count = self.known.clamp(min=1.0)
        self.known = self.known.clamp(max=1.0)

    @torch.no_grad()
    def say(self, log_mel: Tensor) -> Tensor:
        """The mean probability of each token and class over the teachers that know the class,
        [batch, tokens, classes]; 0 where none does."""
        total: Tensor | None = None
        for net, (ours, theirs) in zip(self._nets, self._columns, strict=True):
            tokens = as_float32(net.encoder(log_mel))
            with torch.autocast(log_mel.device.type, enabled=False):
                said = net.head(tokens)[..., theirs.to(log_mel.device)].sigmoid()
            if total is None:
                total = said.new_zeros(*said.shape[:2], len(self.known))
            total[..., ours] += said
        assert total is not None
        return total / self._count
