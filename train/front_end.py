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

_FRAMES_AT_ONCE = 512


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
        pairs = tokens * FRAMES_PER_TOKEN // 2
        stride = 2 * TOKEN_SAMPLES // FRAMES_PER_TOKEN
        even = samples.unfold(1, self.config.n_fft, stride)[:, :pairs]
        odd = samples[:, stride // 2 :].unfold(1, self.config.n_fft, stride)[:, :pairs]
        frames = torch.stack((even, odd), dim=2).flatten(1, 2)
        # In pieces that stay in a CPU's cache: four times faster than all frames at once.
        pieces = torch.split(frames.flatten(0, 1), _FRAMES_AT_ONCE)
        log_mel = torch.cat([self._frames_to_log_mel(piece) for piece in pieces])
        return log_mel.view(len(samples), 2 * pairs, -1)

    def _frames_to_log_mel(self, frames: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(frames * self.window)
        # abs() would take a careful and slow square root that square() undoes.
        power = spectrum.real.square() + spectrum.imag.square()
        log_mel: Tensor = (power @ self.triangles + self.config.power_floor).log10()
        return log_mel
