"""The torch twin of `recorder.detect.mel`, for batches of waveforms in training.

Same framing, window, mel triangles and floor; a test holds the two together to 1e-5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recorder.detect.mel import (
    CHUNK_SAMPLES,
    FRAMES_PER_TOKEN,
    PICTURE_HOP_SAMPLES,
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
        if samples.device.type != "cpu":
            return self._piece(samples, 0, tokens)
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

    def picture(self, samples: Tensor) -> Tensor:
        """The twin of `chunk_picture`: chunks [batch, 160000 or more] to [batch, 313, mel_bands];
        samples past the chunk are ignored."""
        half = self.config.n_fft // 2
        chunk = samples[:, :CHUNK_SAMPLES].unsqueeze(1)
        padded = nn.functional.pad(chunk, (half, half), mode="reflect").squeeze(1)
        views = padded.unfold(1, self.config.n_fft, PICTURE_HOP_SAMPLES)
        if samples.device.type != "cpu":
            return self._log_mel_of(views * self.window)
        return torch.stack([self._log_mel_of(record * self.window) for record in views])

    def _piece(self, record: Tensor, first_token: int, last_token: int) -> Tensor:
        """The frames of some tokens of records [..., samples]: [..., tokens * 32, mel_bands]."""
        tokens = last_token - first_token
        pairs = tokens * FRAMES_PER_TOKEN // 2
        stride = 2 * TOKEN_SAMPLES // FRAMES_PER_TOKEN
        samples = record[..., first_token * TOKEN_SAMPLES :]
        samples = samples[..., : samples_needed(tokens, self.config)]
        even = samples.unfold(-1, self.config.n_fft, stride)[..., :pairs, :]
        odd = samples[..., stride // 2 :].unfold(-1, self.config.n_fft, stride)[..., :pairs, :]
        frames = torch.stack((even * self.window, odd * self.window), dim=-2).flatten(-3, -2)
        return self._log_mel_of(frames)

    def _log_mel_of(self, frames: Tensor) -> Tensor:
        """Windowed frames [..., n_fft] to log-mel [..., mel_bands]."""
        spectrum = torch.fft.rfft(frames)
        # abs() would take a careful and slow square root that square() undoes.
        power = spectrum.real.square() + spectrum.imag.square()
        log_mel: Tensor = (power @ self.triangles + self.config.power_floor).log10()
        return log_mel
