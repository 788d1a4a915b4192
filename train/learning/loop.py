"""The training loop: scenes in, a checkpoint that holds everything out. Read it top to bottom."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from recorder.detect.mel import MelConfig
from recorder.detect.metrics import Scores
from recorder.errors import ConfigError, ModelError
from recorder.keep.formats import make_writable
from train.clips.dataset import read_dataset
from train.config import TrainConfig
from train.learning.ancestors import ancestors_of, heard_of_held_out, read_net, start_from
from train.learning.checkpoint import (
    BEST_NAME,
    CHECKPOINT_NAME,
    Trainee,
    WeightAverage,
    keep_best,
    read_checkpoint,
    resume,
    save,
)
from train.learning.distributed import Team, team
from train.learning.judge import Judge, composed_judge, dataset_judge
from train.learning.objective import Batch, Objective
from train.learning.optim import Over9000
from train.learning.teachers import Teachers, read_teachers
from train.material.gather import Material, Say, gather
from train.nets.augment import draw_seed
from train.nets.build import Net, new_net, with_pretrained
from train.scenes.maker import SceneMaker
from train.scenes.render_torch import DraftTable, TorchRenderer, table_of
from train.scenes.scene import ANY_BIRD

_LOG_EVERY = 25
_SOUND_SHARE = 0.5
"""Of a GPU's free memory, for decoded recordings."""


class SceneBatches(Dataset[tuple[Batch, DraftTable | None]]):
    """Batch number `step`, the same for the same seed whatever the worker or the machine.

    A team shares it: each of its processes makes as many scenes, at least one. With `drafted` the
    samples are left out: a GPU makes them of the drafts that come instead.
    """

    def __init__(
        self,
        maker: SceneMaker,
        config: TrainConfig,
        rank: int = 0,
        size: int = 1,
        *,
        drafted: bool = False,
    ) -> None:
        self._maker = maker
        self._config = config
        self._rank = rank
        self._size = size
        self._drafted = drafted

    def __len__(self) -> int:
        return self._config.steps

    def __getitem__(self, step: int) -> tuple[Batch, DraftTable | None]:
        config = self._config
        rng = np.random.default_rng((config.seed, step))
        lengths, chances = config.scene_lengths
        chunks = int(rng.choice(lengths, p=chances))
        count = max(1, round(config.batch_chunks / chunks / self._size))
        if self._size > 1:
            rng = np.random.default_rng((config.seed, step, self._rank))
        scenes = [self._maker.make(rng, chunks) for _ in range(count)]
        samples = [] if self._drafted else [self._maker.render(scene) for scene in scenes]
        batch = Batch(
            torch.from_numpy(np.stack(samples)) if samples else torch.empty(0),
            torch.from_numpy(np.stack([scene.target for scene in scenes])),
            torch.from_numpy(np.stack([scene.known for scene in scenes])),
            torch.tensor([scene.weak for scene in scenes]),
            torch.from_numpy(np.stack([scene.token_target for scene in scenes])),
            torch.from_numpy(np.stack([scene.token_known for scene in scenes])),
        )
        return batch, table_of([scene.draft for scene in scenes]) if self._drafted else None


def fit(config: TrainConfig, config_path: Path, out: Path, *, say: Say = lambda _: None) -> Path:
    """Train one of the paper's steps (§2.4) and return the checkpoint's path.

    Resumes from `out/checkpoint.pt` when it is there. Every `evaluate_every` steps the averaged
    weights are scored on soundscapes and everything is written down: the log as JSON lines in
    `out/log.jsonl`, the state in the checkpoint (temporary file, fsync, rename). The checkpoint
    with the best figures is `out/best.pt` as well ("by soundscape score", METHOD.md).
    """
    torch.set_num_threads(config.threads)
    # Decoding takes minutes: a backbone that nobody knows is told before.
    new_net(config, classes=1, mel=MelConfig(n_fft=config.n_fft))
    torch.manual_seed(config.seed)
    make_writable(out)
    with team() as members:
        _fit(config, config_path, out, members, say)
    return out / CHECKPOINT_NAME


def _fit(config: TrainConfig, config_path: Path, out: Path, members: Team, say: Say) -> None:
    mel = MelConfig(n_fft=config.n_fft)
    tell = say if members.writes else lambda _: None
    # Decoding takes minutes: what the command line names is read before.
    here = config_path.parent
    teachers = read_teachers([here / one for one in config.teachers], mel)
    start = read_net(here / config.init_from) if config.init_from else None
    before = [*([start] if start else []), *teachers]
    ancestors = ancestors_of(before)
    material = gather(config, config_path, mel, say=tell)
    heard = heard_of_held_out(before, read_dataset(here / config.dataset)) if before else ""
    if heard and material.jury.soundscapes:
        tell(f"{heard}, and the soundscapes that judge may be made of them: the figures flatter")
    maker = SceneMaker(
        material.recordings,
        material.noise,
        labels=material.labels,
        core=set(material.core),
        config=config.scenes,
        mel=mel,
        not_birds=frozenset(config.not_birds),
    )
    net = new_net(config, len(material.labels), mel)
    if start:
        start_from(net, start, here / config.init_from, material.labels)
        tell(f"{config.model}: starts from {config.init_from}")
    else:
        tell(f"{config.model}: {with_pretrained(net, config, here)}")
    trainee = _trainee(net, config, members.device)
    path = out / CHECKPOINT_NAME
    first = _begun(out, trainee, config, material, writes=members.writes)
    taught_by = Teachers(teachers, material.labels, members.device) if teachers else None
    objective = members.joined(Objective(trainee.net, config, mel, taught_by))
    judge = None
    if members.writes:
        _write_json(out / "material.json", material.account)
        judge = _judge(config, material, mel)
    renderer = _renderer(material, members.device, tell)
    drafted = renderer is not None
    batches = SceneBatches(maker, config, members.rank, members.size, drafted=drafted)
    started = time.monotonic()
    for step, (made, drafts) in _batches(batches, first):
        batch = made._replace(samples=renderer.render(drafts)) if renderer and drafts else made
        loss = _learn(trainee, objective, batch, config, step, members)
        done = step + 1
        if not members.writes:
            continue
        if done % _LOG_EVERY == 0:
            _log(out, step=done, loss=loss, elapsed_s=time.monotonic() - started)
        if done % config.evaluate_every == 0 or done == config.steps:
            figures = _judged(judge, trainee.average.net, config, step) if judge else {}
            if figures:
                _log(out, step=done, **figures)
            save(path, trainee, config, material, step=done, figures=figures, ancestors=ancestors)
            _keep_if_best(out, figures)


def _learn(
    trainee: Trainee,
    objective: nn.Module,
    batch: Batch,
    config: TrainConfig,
    step: int,
    members: Team,
) -> float:
    """One step of the optimizer; the loss before it. ConfigError when it is not a number."""
    optimizer = trainee.optimizer
    for group in optimizer.param_groups:
        group["lr"] = group["top_rate"] * _schedule(step, config)
    # Dropout is decided by the step as well: a resumed run is the same run.
    draw = step * members.size + members.rank
    torch.manual_seed(draw_seed(config.seed, draw, 1))
    loss = objective(Batch(*(part.to(members.device) for part in batch)), draw)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(trainee.net.parameters(), 5.0)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        words = f"the loss is {loss.item():g}, the norm of its gradient {norm.item():g}"
        raise _diverged(config, step, words)
    optimizer.step()
    slow = optimizer.slow_weights() if isinstance(optimizer, Over9000) else nullcontext()
    with slow:
        trainee.average.update(trainee.net)
    return float(loss.item())


def _judged(judge: Judge, net: nn.Module, config: TrainConfig, step: int) -> dict[str, float]:
    try:
        return judge.judge(net)
    except ModelError as error:
        raise _diverged(config, step, str(error)) from error


def _diverged(config: TrainConfig, step: int, words: str) -> ConfigError:
    return ConfigError(
        f"{config.name} diverged: at step {step} {words}. Train with a learning_rate below "
        f"{config.learning_rate:g}, in another --out; the last checkpoint stays as it is"
    )


def _trainee(net: Net, config: TrainConfig, device: torch.device) -> Trainee:
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    kind = Over9000 if config.optimizer == "over9000" else torch.optim.AdamW
    optimizer = kind(_groups(net, config), config.learning_rate)
    return Trainee(net, WeightAverage(net, config.average_decay), optimizer)


def _judge(config: TrainConfig, material: Material, mel: MelConfig) -> Judge | None:
    any_bird = ANY_BIRD in material.labels
    jury, core, model = material.jury, material.core, config.model
    if jury.soundscapes:
        return dataset_judge(jury.soundscapes, core, mel, any_bird=any_bird, model=model)
    if jury.recordings:
        return composed_judge(
            jury.recordings, jury.noise, core, mel, any_bird=any_bird, model=model
        )
    return None


def _renderer(material: Material, device: torch.device, say: Say) -> TorchRenderer | None:
    """What makes scenes on a GPU; None where the workers make them."""
    if device.type == "cpu":
        return None
    needed = TorchRenderer.bytes_of(material.recordings, material.noise)
    free, _ = torch.cuda.mem_get_info(device)
    if needed > free * _SOUND_SHARE:
        say(
            f"scenes are made by the CPU, which is slower: all recordings would take "
            f"{needed / 1e9:.1f} GB of the GPU's {free / 1e9:.1f}"
        )
        return None
    return TorchRenderer(material.recordings, material.noise, device)


def _batches(
    batches: SceneBatches, first_step: int
) -> Iterator[tuple[int, tuple[Batch, DraftTable | None]]]:
    steps = range(first_step, len(batches))
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=1,
        prefetch_factor=8,
        # Decoded clips are shared, not copied, whatever started this process.
        multiprocessing_context="fork",
    )
    yield from zip(steps, loader, strict=True)


def _schedule(step: int, config: TrainConfig) -> float:
    """A short warm-up, then a cosine to 0."""
    rise = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    return float(rise * 0.5 * (1.0 + np.cos(np.pi * step / config.steps)))


def _groups(net: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """The backbone and the rest have rates of their own; biases and normalisation weights are not
    decayed."""
    rates = (config.learning_rate, config.head_learning_rate or config.learning_rate)
    groups = []
    for of_backbone, rate in zip((True, False), rates, strict=True):
        named = [p for name, p in net.named_parameters() if ("backbone." in name) == of_backbone]
        for decay, chosen in (
            (config.weight_decay, [p for p in named if p.ndim > 1]),
            (0.0, [p for p in named if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "top_rate": rate})
    return groups


def _begun(
    out: Path, trainee: Trainee, config: TrainConfig, material: Material, *, writes: bool
) -> int:
    """How many steps were done; what another run left behind in `out` does not count."""
    path = out / CHECKPOINT_NAME
    if path.is_file():
        first, figures = resume(path, trainee, config, material)
        if writes:
            # A power cut may have come between the checkpoint and its copy.
            _keep_if_best(out, figures)
        return first
    if writes:
        for name in (BEST_NAME, "log.jsonl"):
            (out / name).unlink(missing_ok=True)
    return 0


def _keep_if_best(out: Path, figures: dict[str, float]) -> None:
    """The checkpoint as `best.pt`: when its figures are the best, or nobody judges."""
    best = out / BEST_NAME
    if not figures or not best.is_file() or _quality(figures) > _quality(_figures_of(best)):
        keep_best(out / CHECKPOINT_NAME, best)


def _figures_of(path: Path) -> dict[str, float]:
    """What the best checkpoint so far was judged by; nothing when it is damaged."""
    try:
        figures: dict[str, float] = read_checkpoint(path).content["figures"]
    except ModelError:
        return {}
    return figures


def _quality(figures: dict[str, float]) -> float:
    """The sum of the figures of an evaluation that are defined; any is better than none."""
    if not figures:
        return -math.inf
    names = [field.name for field in dataclasses.fields(Scores)]
    values = [figures.get(name, math.nan) for name in names]
    return sum(value for value in values if not math.isnan(value))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _log(out: Path, **entry: float) -> None:
    with (out / "log.jsonl").open("a", encoding="utf-8") as lines:
        # JSON knows no NaN: a figure that is not defined is left out.
        known = {key: round(value, 5) for key, value in entry.items() if not math.isnan(value)}
        lines.write(json.dumps(known) + "\n")
