"""The classifier: a CNN over the picture of one 5-s chunk (§2.2).

    picture [batch, 313, 128]
      -> standardise (fixed), second channel = what rises above the chunk's own background
      -> backbone, mean over the map
      -> dropout, linear     [batch, classes]

It sees one chunk and nothing beside it, so that its field may be as wide as it likes: any timm
network will do, the paper's `resnest50d` as well as `slim10`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recorder.detect.mel import MelConfig
from train.nets.backbones import as_float32, create_backbone


@dataclass(frozen=True)
class ClassifierConfig:
    """All that is needed to build the net again from a checkpoint."""

    classes: int
    backbone: str = "resnest50d"
    contrast: bool = True
    """A second channel: the rise above the mean of the band over the chunk."""
    log_mel_mean: float = -2.0
    log_mel_std: float = 1.5
    dropout: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Classifier(nn.Module):
    """Pictures [batch, frames, bands] of chunks to logits [batch, classes]."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ClassifierConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.log_mel_mean))
        self.register_buffer("std", torch.tensor(config.log_mel_std))
        channels = 2 if config.contrast else 1
        self.backbone = create_backbone(config.backbone, channels)
        with torch.no_grad():
            probe = torch.zeros(1, channels, mel.mel_bands, 64)
            features = self.backbone.eval()(probe).shape[1]
        self.backbone.train()
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(features, config.classes)
        nn.init.constant_(self.classify.bias, -math.log(max(config.classes, 2) - 1))

    def forward(self, picture: Tensor) -> Tensor:
        image = ((picture - self.mean) / self.std).transpose(1, 2).unsqueeze(1)
        if self.config.contrast:
            image = torch.cat((image, image - image.mean(dim=3, keepdim=True)), dim=1)
        features = as_float32(self.backbone(image)).mean(dim=(2, 3))
        logits: Tensor = self.classify(self.dropout(features))
        return logits
