"""Augmentation on log-mel batches: the microphone's colour and missing bands."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def colour_and_mask(
    log_mel: Tensor,
    generator: torch.Generator,
    *,
    tilt_db: float = 6.0,
    mask_bands: int = 10,
    mask_chance: float = 0.5,
) -> Tensor:
    """A smooth random frequency response per record, and for some a stretch of bands gone.

    `log_mel` [batch, frames, bands] in log10 of power (1 = 10 dB); masked bands get the
    record's own mean, so that a mask is not a signal in itself.
    """
    batch, _, bands = log_mel.shape
    position = torch.linspace(0.0, 1.0, bands)
    order = torch.arange(1, 5).unsqueeze(1)
    amplitude = torch.randn(batch, 4, generator=generator) * (tilt_db / 20.0)
    phase = torch.rand(batch, 4, 1, generator=generator) * 2.0 * math.pi
    waves = torch.cos(math.pi * order * position + phase)
    response = (amplitude.unsqueeze(2) * waves).sum(1)
    coloured = log_mel + response.unsqueeze(1)
    width = torch.randint(1, mask_bands + 1, (batch, 1), generator=generator)
    low = torch.randint(0, bands - mask_bands, (batch, 1), generator=generator)
    chosen = torch.rand(batch, 1, generator=generator) < mask_chance
    band = torch.arange(bands)
    masked = (band >= low) & (band < low + width) & chosen
    mean = coloured.mean(dim=(1, 2), keepdim=True)
    return torch.where(masked.unsqueeze(1), mean, coloured)
