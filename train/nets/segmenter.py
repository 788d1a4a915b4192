"""The segmenter: a CNN over log-mel and global self-attention over the whole record (§2.3).

    log-mel [batch, frames, 128]
      -> standardise (fixed), second channel = what rises above the local background
      -> backbone            [batch, features, 4, tokens]
      -> 4x1 convolution     [batch, width, 1, tokens]         = Encoder: one token per 0.3125 s
      -> 1 or 2 x (x + attention)  [batch, tokens, width]
      -> 1x1 convolution     [batch, tokens, classes]          = Head

Encoder and head are two modules because they leave the lab as two graphs: the CNN sees each
second of sound once, however long the window that the head attends over.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recorder.detect.mel import FRAMES_PER_TOKEN, MelConfig
from train.nets.backbones import as_float32, create_backbone, feature_shape


@dataclass(frozen=True)
class SegmenterConfig:
    """All that is needed to build the net again from a checkpoint."""

    classes: int
    backbone: str = "slim10"
    width: int = 256
    """Features of a token; the paper has 512."""
    heads: int = 8
    attention_blocks: int = 2
    """The paper has 2."""
    background_tokens: int = 2
    """How far to each side the local background reaches; -1 feeds plain log-mel alone."""
    log_mel_mean: float = -2.0
    log_mel_std: float = 1.5
    dropout: float = 0.0
    """In training: the share of each token's features that the head does not see."""
    skip_attention: float = 0.0
    """In training: how often an attention block adds nothing to a record (stochastic depth)."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class LocalContrast(nn.Module):
    """Standardised log-mel and, as a second channel, its rise above the local background.

    The background of a band is its mean over the tokens within `reach_tokens`. It follows the
    site, the microphone and steady noise, and its reach is bounded, unlike a normalisation per
    clip or per window, which would make the stream differ from the file (METHOD.md).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, reach_tokens: int, mean: float, std: float) -> None:
        super().__init__()
        self.channels = 1 if reach_tokens < 0 else 2
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.over_token = nn.AvgPool2d((1, FRAMES_PER_TOKEN))
        self.over_neighbours = nn.AvgPool2d(
            (1, 2 * max(0, reach_tokens) + 1),
            stride=1,
            padding=(0, max(0, reach_tokens)),
            count_include_pad=False,
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """[batch, frames, bands] -> [batch, channels, bands, frames]."""
        image = ((log_mel - self.mean) / self.std).transpose(1, 2).unsqueeze(1)
        if self.channels == 1:
            return image
        background = self.over_neighbours(self.over_token(image))
        background = nn.functional.interpolate(background, scale_factor=(1, FRAMES_PER_TOKEN))
        return torch.cat((image, image - background), dim=1)


class Encoder(nn.Module):
    """Log-mel [batch, tokens * 32, bands] to tokens [batch, tokens, width]."""

    def __init__(self, config: SegmenterConfig, mel: MelConfig) -> None:
        super().__init__()
        self.contrast = LocalContrast(
            config.background_tokens, config.log_mel_mean, config.log_mel_std
        )
        channels = self.contrast.channels
        self.backbone = create_backbone(config.backbone, channels)
        features, rows = feature_shape(self.backbone, channels, mel.mel_bands)
        self.squeeze = nn.Conv2d(features, config.width, kernel_size=(rows, 1))

    def forward(self, log_mel: Tensor) -> Tensor:
        features = self.backbone(self.contrast(log_mel))
        tokens: Tensor = self.squeeze(features).squeeze(2).transpose(1, 2)
        return tokens


class GlobalAttention(nn.Module):
    """x + MHA(x): no norm, no nonlinearity, no feed-forward, no position code (§2.3).

    Without a position code it attends over a set: any number of tokens, in any order.
    """

    def __init__(self, width: int, heads: int, skip: float = 0.0) -> None:
        super().__init__()
        self.skip = skip
        if width % heads:
            raise ValueError(f"width {width} must be a multiple of the {heads} heads")
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.query_key_value.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        split = self.query_key_value(tokens).view(batch, count, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        added: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, count, width))
        if self.training and self.skip:
            kept = (torch.rand(batch, 1, 1) >= self.skip).to(added.device)
            added = added * kept / (1.0 - self.skip)
        return tokens + added


class Head(nn.Module):
    """Tokens [batch, tokens, width] to logits [batch, tokens, classes]."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            *(
                GlobalAttention(config.width, config.heads, config.skip_attention)
                for _ in range(config.attention_blocks)
            )
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.width, config.classes)
        # Start at the share of positives to be expected, pi = 1 / classes: otherwise the first
        # epochs are spent on learning silence (METHOD.md).
        nn.init.constant_(self.classify.bias, -math.log(max(config.classes, 2) - 1))

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.attention(self.dropout(tokens)))
        return logits


class Segmenter(nn.Module):
    """Encoder and head in one, for training: log-mel [batch, frames, bands] -> token logits."""

    def __init__(self, config: SegmenterConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, mel)
        self.head = Head(config)

    def forward(self, log_mel: Tensor) -> Tensor:
        logits: Tensor = self.head(as_float32(self.encoder(log_mel)))
        return logits
