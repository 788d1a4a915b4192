"""The training loop: scenes in, a checkpoint that holds everything out. Read it top to bottom."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from recorder.detect.mel import TOKENS_PER_CHUNK, MelConfig
from recorder.detect.metrics import Scores
from recorder.keep.formats import make_writable
from train.augment import colour_and_mask
from train.backbones import as_float32
from train.checkpoint import (
    BEST_NAME,
    CHECKPOINT_NAME,
    Trainee,
    WeightAverage,
    keep_best,
    resume,
    save,
    segmenter_config,
)
from train.config import TrainConfig
from train.front_end import TorchLogMel
from train.judge import Judge, composed_judge, dataset_judge
from train.losses import global_loss
from train.material import Material, Say, gather
from train.scenes import ANY_BIRD, SceneMaker
from train.segmenter import Segmenter
from train.soundscapes import SOUNDSCAPES

_LOG_EVERY = 25

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""samples [scenes, samples], target and known [scenes, chunks, classes], weak [scenes]."""


class SceneBatches(Dataset[Batch]):
    """Batch number `step`, the same for the same seed whatever the worker or the machine."""

    def __init__(self, maker: SceneMaker, config: TrainConfig) -> None:
        self._maker = maker
        self._config = config

    def __len__(self) -> int:
        return self._config.steps

    def __getitem__(self, step: int) -> Batch:
        config = self._config
        rng = np.random.default_rng((config.seed, step))
        chunks = int(rng.choice(config.scene_chunks, p=config.scene_chances))
        count = max(1, round(config.batch_chunks / chunks))
        scenes = [self._maker.make(rng, chunks) for _ in range(count)]
        return (
            torch.from_numpy(np.stack([scene.samples for scene in scenes])),
            torch.from_numpy(np.stack([scene.target for scene in scenes])),
            torch.from_numpy(np.stack([scene.known for scene in scenes])),
            torch.tensor([scene.weak for scene in scenes]),
        )


def fit(config: TrainConfig, config_path: Path, out: Path, *, say: Say = lambda _: None) -> Path:
    """Train step 1 of the paper (§2.4) and return the checkpoint's path.

    Resumes from `out/checkpoint.pt` when it is there. Every `evaluate_every` steps the averaged
    weights are scored on the dataset's soundscapes and everything is written down: the log as
    JSON lines in `out/log.jsonl`, the state in the checkpoint (temporary file, fsync, rename). The
    checkpoint with the best figures is `out/best.pt` as well ("by soundscape score", METHOD.md).
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    make_writable(out)
    mel = MelConfig()
    material = gather(config, config_path, mel, say=say)
    _write_json(out / "material.json", material.account)
    maker = SceneMaker(
        material.recordings,
        material.noise,
        labels=material.labels,
        core=set(material.core),
        config=config.scenes,
        mel=mel,
        not_birds=frozenset(config.not_birds),
    )
    judge = _judge(config, config_path, material, mel)
    trainee = _trainee(config, config_path, len(material.labels), mel)
    net, average, optimizer = trainee.net, trainee.average, trainee.optimizer
    path = out / CHECKPOINT_NAME
    first = resume(path, trainee, config, material) if path.is_file() else 0
    front_end = TorchLogMel(mel)
    started = time.monotonic()
    for step, batch in _batches(SceneBatches(maker, config), first):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        # Dropout is decided by the step as well: a resumed run is the same run.
        torch.manual_seed(config.seed + step)
        loss = _loss(net, front_end, batch, config, step)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}: lower the rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        average.update(net)
        done = step + 1
        if done % _LOG_EVERY == 0:
            _log(out, step=done, loss=loss.item(), elapsed_s=time.monotonic() - started)
        if done % config.evaluate_every == 0 or done == config.steps:
            figures = judge.judge(average.net) if judge else {}
            if figures:
                _log(out, step=done, **figures)
            save(path, trainee, config, material, step=done, figures=figures)
            if figures and _quality(figures) > _quality(_best_figures(out)):
                keep_best(path, out / BEST_NAME)
    return path


def _trainee(config: TrainConfig, config_path: Path, classes: int, mel: MelConfig) -> Trainee:
    net = Segmenter(segmenter_config(config, classes), mel)
    if config.init_from:
        start = torch.load(config_path.parent / config.init_from, weights_only=True)
        net.load_state_dict(start["average"])
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(_decay_groups(net, config.weight_decay), config.learning_rate)
    return Trainee(net, WeightAverage(net, config.average_decay), optimizer)


def _judge(
    config: TrainConfig, config_path: Path, material: Material, mel: MelConfig
) -> Judge | None:
    any_bird = ANY_BIRD in material.labels
    jury = material.jury
    if jury.recordings:
        return composed_judge(jury.recordings, jury.noise, material.core, mel, any_bird=any_bird)
    dataset = config_path.parent / config.dataset
    if (dataset / SOUNDSCAPES).is_dir():
        return dataset_judge(dataset, material.core, mel, any_bird=any_bird)
    return None


def _loss(
    net: Segmenter, front_end: nn.Module, batch: Batch, config: TrainConfig, step: int
) -> Tensor:
    samples, target, known, weak = batch
    scenes, chunks, classes = target.shape
    with torch.no_grad():
        log_mel = front_end(samples, chunks * TOKENS_PER_CHUNK)
        log_mel = colour_and_mask(log_mel, torch.Generator().manual_seed(config.seed + step))
    precision = _precision(config)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        tokens = net.encoder(log_mel)
    logits = net.head(as_float32(tokens))
    composed, crops = logits[~weak], logits[weak]
    per_chunk = global_loss(
        composed.reshape(-1, TOKENS_PER_CHUNK, classes),
        target[~weak].flatten(0, 1),
        known[~weak].flatten(0, 1),
        gamma=config.focal_gamma,
    )
    per_crop = global_loss(crops, target[weak][:, 0], known[weak][:, 0], gamma=config.focal_gamma)
    # A crop counts as much as the chunks it is made of.
    return (per_chunk.sum() + chunks * per_crop.sum()) / (scenes * chunks)


def _precision(config: TrainConfig) -> torch.dtype:
    """bfloat16 halves the time where the processor computes with it, else it is far slower."""
    if config.precision == "auto":
        supported = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if supported else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


def _batches(batches: SceneBatches, first_step: int) -> Iterator[tuple[int, Batch]]:
    steps = range(first_step, len(batches))
    loader = DataLoader(batches, batch_size=None, sampler=steps, num_workers=1, prefetch_factor=8)
    yield from zip(steps, loader, strict=True)


def _schedule(step: int, config: TrainConfig) -> float:
    """A short warm-up, then a cosine to 0."""
    rise = min(1.0, (step + 1) / config.warmup_steps)
    return float(rise * 0.5 * (1.0 + np.cos(np.pi * step / config.steps)))


def _decay_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and normalisation weights are not decayed."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def _best_figures(out: Path) -> dict[str, float]:
    path = out / BEST_NAME
    figures: dict[str, float] = {}
    if path.is_file():
        figures = torch.load(path, weights_only=True)["figures"]
    return figures


def _quality(figures: dict[str, float]) -> float:
    """The sum of the four figures of an evaluation; -1 without any."""
    names = [field.name for field in dataclasses.fields(Scores)]
    return sum(figures[name] for name in names) if figures else -1.0


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _log(out: Path, **entry: float) -> None:
    with (out / "log.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({key: round(value, 5) for key, value in entry.items()}) + "\n")
