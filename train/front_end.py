"""The torch twin of `recorder.detect.mel`, for batches of waveforms in training.

Same framing, window, mel triangles and floor; a test holds the two together to 1e-5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recorder.detect.mel import (
    FRAMES_PER_TOKEN,
    TOKEN_SAMPLES,
    MelConfig,
    mel_matrix,
    samples_needed,
)

_TOKENS_AT_ONCE = 16


class TorchLogMel(nn.Module):
    """Waveforms [batch, samples] to log-mel [batch, tokens * 32, mel_bands], paper §2.1."""

    window: Tensor
    triangles: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        triangles = torch.from_numpy(mel_matrix(config)).float()
        self.register_buffer("triangles", triangles, persistent=False)

    def forward(self, samples: Tensor, tokens: int) -> Tensor:
        """Samples past `samples_needed(tokens)` are ignored; missing ones are silence."""
        needed = samples_needed(tokens, self.config)
        samples = nn.functional.pad(samples, (0, max(0, needed - samples.shape[1])))
        # In pieces that stay in a CPU's cache: several times faster than all frames at once.
        starts = range(0, tokens, _TOKENS_AT_ONCE)
        return torch.stack(
            [
                torch.cat(
                    [self._piece(record, at, min(tokens, at + _TOKENS_AT_ONCE)) for at in starts]
                )
                for record in samples
            ]
        )

    def _piece(self, record: Tensor, first_token: int, last_token: int) -> Tensor:
        """The frames of some tokens of one record [samples], [tokens * 32, mel_bands]."""
        tokens = last_token - first_token
        pairs = tokens * FRAMES_PER_TOKEN // 2
        stride = 2 * TOKEN_SAMPLES // FRAMES_PER_TOKEN
        samples = record[first_token * TOKEN_SAMPLES :][: samples_needed(tokens, self.config)]
        even = samples.unfold(0, self.config.n_fft, stride)[:pairs]
        odd = samples[stride // 2 :].unfold(0, self.config.n_fft, stride)[:pairs]
        frames = torch.stack((even * self.window, odd * self.window), dim=1).flatten(0, 1)
        spectrum = torch.fft.rfft(frames)
        # abs() would take a careful and slow square root that square() undoes.
        power = spectrum.real.square() + spectrum.imag.square()
        log_mel: Tensor = (power @ self.triangles + self.config.power_floor).log10()
        return log_mel
