"""Augmentation on log-mel batches: the microphone's colour and missing bands."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def draw_seed(seed: int, draw: int, what: int = 0) -> int:
    """For torch's generators: another one for each seed of a training, draw, and thing drawn."""
    return int(np.random.SeedSequence((seed, draw, what)).generate_state(1)[0])


def colour_and_mask(
    log_mel: Tensor,
    generator: torch.Generator,
    *,
    tilt_db: float = 6.0,
    mask_bands: int = 10,
    mask_chance: float = 0.5,
    limit_chance: float = 0.15,
    lowest_limit: float = 0.8,
    floor: float = -6.0,
) -> Tensor:
    """A smooth random frequency response per record, for some a stretch of bands gone, and for
    some nothing above a limit.

    `log_mel` [batch, frames, bands] in log10 of power (1 = 10 dB); masked bands get the
    record's own mean, so that a mask is not a signal in itself. A recorder or a codec that ends
    at 8 to 15 kHz leaves the floor above: from the share `lowest_limit` of the bands upwards.
    """
    batch, _, bands = log_mel.shape
    device = log_mel.device
    position = torch.linspace(0.0, 1.0, bands)
    order = torch.arange(1, 5).unsqueeze(1)
    amplitude = torch.randn(batch, 4, generator=generator) * (tilt_db / 20.0)
    phase = torch.rand(batch, 4, 1, generator=generator) * 2.0 * math.pi
    waves = torch.cos(math.pi * order * position + phase)
    response = (amplitude.unsqueeze(2) * waves).sum(1)
    coloured = log_mel + response.unsqueeze(1).to(device)
    width = torch.randint(1, mask_bands + 1, (batch, 1), generator=generator)
    low = torch.randint(0, bands - mask_bands, (batch, 1), generator=generator)
    chosen = torch.rand(batch, 1, generator=generator) < mask_chance
    band = torch.arange(bands)
    masked = (band >= low) & (band < low + width) & chosen
    mean = coloured.mean(dim=(1, 2), keepdim=True)
    kept = torch.where(masked.unsqueeze(1).to(device), mean, coloured)
    limit = lowest_limit + (1.0 - lowest_limit) * torch.rand(batch, 1, generator=generator)
    limited = torch.rand(batch, 1, generator=generator) < limit_chance
    above = ((position >= limit) & limited).to(device)
    return torch.where(above.unsqueeze(1), torch.full_like(kept, floor), kept)
