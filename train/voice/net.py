"""The net itself: log-mel of any length to one logit a token, whatever the microphone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recorder.detect.mel import FRAMES_PER_TOKEN

BANDS = 96
"""Up to 6 kHz: above it little of a voice is left, and telephones and codecs cut there."""
_BACKGROUND_TOKENS = 4
"""The background of a band is its mean over so many tokens on both sides."""
_CHANNELS = (16, 24, 32, 48, 64)
_LOUDEST = 2.0
"""A band counts no more than 20 dB above its background."""


class VoiceNet(nn.Module):
    """Log-mel [batch, frames, bands] to logits [batch, tokens]; a token depends on
    `CONTEXT_TOKENS` tokens on both sides at most.

    It sees how far each band rises above its own mean: gain, steady noise and the response of a
    microphone add to both and fall out.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, rows = 1, BANDS
        for index, wider in enumerate(_CHANNELS):
            last = index == len(_CHANNELS) - 1
            layers += [
                nn.Conv2d(channels, wider, 3, stride=(1 if last else 2, 2), padding=1, bias=False),
                nn.BatchNorm2d(wider),
                nn.ReLU(),
            ]
            channels, rows = wider, rows if last else (rows + 1) // 2
        self.picture = nn.Sequential(*layers)
        self.squeeze = nn.Conv2d(channels, channels, (rows, 1))
        self.over_time = nn.Conv1d(channels, channels, 5, padding=2)
        self.drop = nn.Dropout(0.2)
        self.say = nn.Conv1d(channels, 1, 1)
        self.over_token = nn.AvgPool2d((FRAMES_PER_TOKEN, 1))
        self.over_neighbours = nn.AvgPool2d(
            (2 * _BACKGROUND_TOKENS + 1, 1),
            stride=1,
            padding=(_BACKGROUND_TOKENS, 0),
            count_include_pad=False,
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        image = self._rise(log_mel[:, :, :BANDS]).unsqueeze(1).transpose(2, 3)
        seen = torch.relu(self.squeeze(self.picture(image)).squeeze(2))
        logits: Tensor = self.say(self.drop(torch.relu(self.over_time(seen)))).squeeze(1)
        return logits

    def _rise(self, log_mel: Tensor) -> Tensor:
        """[batch, frames, bands] above the background, the same shape."""
        background = self.over_neighbours(self.over_token(log_mel))
        background = background.repeat_interleave(FRAMES_PER_TOKEN, dim=1)
        risen: Tensor = (log_mel - background).clamp(-_LOUDEST, _LOUDEST)
        return risen
