"""What a step of training minimises: a batch of scenes in, one number out.

It is a module of its own, net and front end included, so that torch can run it on several
processes (`DistributedDataParallel`) as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recorder.detect.mel import TOKENS_PER_CHUNK, MelConfig
from train.config import TrainConfig
from train.learning.teachers import Teachers
from train.nets.augment import colour_and_mask, draw_seed
from train.nets.backbones import as_float32
from train.nets.build import Net
from train.nets.classifier import Classifier
from train.nets.front_end import TorchLogMel
from train.nets.losses import distillation_loss, focal_loss, global_loss, segmentation_loss
from train.nets.segmenter import Segmenter


class Batch(NamedTuple):
    """Scenes of one length."""

    samples: Tensor  # [scenes, samples]
    target: Tensor  # [scenes, chunks, classes]
    known: Tensor  # [scenes, chunks, classes]
    weak: Tensor  # [scenes]
    token_target: Tensor  # [scenes, tokens, classes]
    token_known: Tensor  # [scenes, tokens, classes]


class Objective(nn.Module):
    """The loss of a net on a batch; `net` is trained, the rest has no weights."""

    def __init__(
        self, net: Net, config: TrainConfig, mel: MelConfig, teachers: Teachers | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.teachers = teachers
        self.front_end = TorchLogMel(mel)
        self.config = config
        self.train()

    def train(self, mode: bool = True) -> Objective:
        """As of any module, but normalisation stays in evaluation where it shall not learn."""
        super().train(mode)
        if not self.config.batch_norm:
            for module in self.net.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, batch: Batch, step: int) -> Tensor:
        """One number; `step` decides the augmentation."""
        if isinstance(self.net, Classifier):
            return self._of_classifier(self.net, batch, step)
        return self._of_segmenter(self.net, batch, step)

    def _of_classifier(self, net: Classifier, batch: Batch, step: int) -> Tensor:
        with torch.no_grad():
            pictures = self._augmented(self.front_end.picture(batch.samples), step)
        with self._autocast(pictures):
            logits = as_float32(net(pictures))
        gamma = self.config.focal_gamma
        return focal_loss(logits, batch.target[:, 0], batch.known[:, 0], gamma=gamma).mean()

    def _of_segmenter(self, net: Segmenter, batch: Batch, step: int) -> Tensor:
        gamma, share = self.config.focal_gamma, self.config.segmentation_share
        scenes, chunks, classes = batch.target.shape
        with torch.no_grad():
            log_mel = self.front_end(batch.samples, chunks * TOKENS_PER_CHUNK)
            log_mel = self._augmented(log_mel, step)
        with self._autocast(log_mel):
            tokens = net.encoder(log_mel)
        logits = net.head(as_float32(tokens))
        weak, target, known = batch.weak, batch.target, batch.known
        per_chunk = global_loss(
            logits[~weak].reshape(-1, TOKENS_PER_CHUNK, classes),
            target[~weak].flatten(0, 1),
            known[~weak].flatten(0, 1),
            gamma=gamma,
        )
        per_crop = global_loss(logits[weak], target[weak][:, 0], known[weak][:, 0], gamma=gamma)
        # A crop counts as much as the chunks it is made of.
        whole = (per_chunk.sum() + chunks * per_crop.sum()) / (scenes * chunks)
        if share:
            sure = segmentation_loss(logits, batch.token_target, batch.token_known, gamma=gamma)
            whole = (1.0 - share) * whole + share * sure
        if self.teachers is None:
            return whole
        with self._autocast(log_mel):
            taught = self.teachers.say(log_mel)
        learned = distillation_loss(logits, taught, self.teachers.known).mean()
        return (1.0 - self.config.distil_share) * whole + self.config.distil_share * learned

    def _augmented(self, log_mel: Tensor, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(draw_seed(self.config.seed, step))
        return colour_and_mask(log_mel, generator)

    def _autocast(self, like: Tensor) -> torch.autocast:
        kind = like.device.type
        dtype = precision(self.config, kind)
        return torch.autocast(kind, dtype, enabled=dtype != torch.float32)


def precision(config: TrainConfig, device: str = "cpu") -> torch.dtype:
    """bfloat16 halves the time where the processor computes with it, else it is far slower."""
    if config.precision == "auto" and device != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if config.precision == "auto":
        supported = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if supported else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
