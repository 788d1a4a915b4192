"""A checkpoint: all that a training needs to go on, and that export needs to build a bundle."""

from __future__ import annotations

import os
import shutil
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from recorder.detect.mel import MelConfig
from recorder.errors import ConfigError, ModelError, UsageError
from train.clips.dataset import key
from train.config import TrainConfig
from train.material.gather import Material
from train.nets.build import Net, rebuilt
from train.nets.segmenter import Segmenter
from train.scenes.scene import ANY_BIRD

CHECKPOINT_NAME = "checkpoint.pt"
BEST_NAME = "best.pt"


class WeightAverage:
    """A moving average of the weights: the copy that is evaluated and exported."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = deepcopy(net).eval()
        self._decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Blend in the current weights; young averages forget faster, so that noise drops out."""
        self.updates += 1
        keep = min(self._decay, self.updates / (self.updates + 10))
        pairs = list(zip(self.net.state_dict().values(), net.state_dict().values(), strict=True))
        blended = [pair for pair in pairs if pair[0].dtype.is_floating_point]
        torch._foreach_lerp_([kept for kept, _ in blended], [new for _, new in blended], 1.0 - keep)
        for kept, new in pairs:
            if not kept.dtype.is_floating_point:
                kept.copy_(new)


@dataclass(frozen=True)
class Trainee:
    """What changes while it learns."""

    net: Net
    average: WeightAverage
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class Checkpoint:
    """What `train.learning.loop` wrote, rebuilt."""

    net: Net
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its configuration, or of the bundle that it was."""
        name: str = self.content["config"]["name"]
        return name

    @property
    def kind(self) -> str:
        """segmenter or classifier."""
        return "segmenter" if isinstance(self.net, Segmenter) else "classifier"

    @property
    def mel(self) -> MelConfig:
        """The front end that it was trained with."""
        return MelConfig(n_fft=self.content.get("n_fft", MelConfig.n_fft))

    @property
    def core(self) -> list[str]:
        core: list[str] = self.content["core"]
        return core

    @property
    def any_bird(self) -> bool:
        """The output after the core classes says that any bird calls."""
        return ANY_BIRD in self.content["labels"]


def read_checkpoint(path: Path) -> Checkpoint:
    """The averaged weights in a net, in float32; ModelError when the file is not a checkpoint."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        mel = MelConfig(n_fft=content.get("n_fft", MelConfig.n_fft))
        net = rebuilt(content, mel)
        net.load_state_dict(content["average"])
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror})") from error
    except (
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
        AttributeError,
        EOFError,
        UnpicklingError,
    ) as error:
        known = bool(str(error)) and not isinstance(error, UnpicklingError)
        reason = str(error).splitlines()[0] if known else "it cannot be unpacked"
        raise ModelError(f"{path} is not a checkpoint of `birdrec train fit`: {reason}") from error
    return Checkpoint(net.eval(), content)


def save(
    path: Path,
    trainee: Trainee,
    config: TrainConfig,
    material: Material,
    *,
    step: int,
    figures: dict[str, float],
    ancestors: list[dict[str, Any]],
) -> None:
    """Write everything down, as `write_content` does."""
    clips = material.clips
    content = {
        "config": config.to_dict(),
        config.model: trainee.net.config.to_dict(),
        "n_fft": config.n_fft,
        "step": step,
        "labels": material.labels,
        "core": material.core,
        "judged_by": material.jury.words,
        "figures": figures,
        "names": {clip.label: (clip.scientific_name, clip.common_name) for clip in clips},
        "sources": [
            (clip.path.name, clip.label, clip.author, clip.licence, clip.url) for clip in clips
        ],
        "clips": sorted(key(clip) for clip in clips),
        "made_of": material.made_of,
        "ancestors": ancestors,
        "net": trainee.net.state_dict(),
        "average": trainee.average.net.state_dict(),
        "optimizer": trainee.optimizer.state_dict(),
    }
    write_content(path, content, f"the checkpoint of step {step}")


def write_content(path: Path, content: dict[str, Any], what: str) -> None:
    """A temporary file, fsync, rename.

    UsageError when it cannot be written (a full disk); the file before it stands.
    """
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        temporary.unlink(missing_ok=True)
        stands = "the one before it stands" if path.is_file() else "there is none yet"
        raise UsageError(
            f"{what} cannot be written to {path} ({error}); {stands}: "
            "make room, and the same command goes on from there"
        ) from error


def keep_best(path: Path, best: Path) -> None:
    """Copy the checkpoint beside itself; UsageError on a full disk, and the best before stands."""
    temporary = best.with_suffix(".tmp")
    try:
        with path.open("rb") as source, temporary.open("wb") as stream:
            shutil.copyfileobj(source, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(best)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{best} cannot be written ({error.strerror}): make room") from error


def resume(
    path: Path, trainee: Trainee, config: TrainConfig, material: Material
) -> tuple[int, dict[str, float]]:
    """Bring everything back; return how many steps were done, and the figures after them.

    ConfigError when the checkpoint belongs to another configuration, or the data have changed.
    """
    content = torch.load(path, weights_only=True, map_location="cpu")
    if content["config"] != config.to_dict() or "clips" not in content:
        raise ConfigError(
            f"{path} was written by another configuration, or by an older birdrec: choose another "
            "--out folder, or delete the checkpoint to start over"
        )
    if content["labels"] != material.labels:
        changed = sorted(set(content["labels"]) ^ set(material.labels))
        raise ConfigError(
            f"{path} was written for other classes (only on one side: {', '.join(changed)}): "
            "the dataset has changed; choose another --out folder"
        )
    changed_clips = set(content["clips"]) ^ {key(clip) for clip in material.clips}
    if changed_clips:
        raise ConfigError(
            f"{path} was trained on other clips ({len(changed_clips)} differ, such as "
            f"{min(changed_clips)}): the dataset has changed; choose another --out folder"
        )
    for what, before in content.get("made_of", {}).items():
        if material.made_of[what] != before:
            raise ConfigError(
                f"{path} was trained with other {what}, which have changed since: choose another "
                "--out folder, or delete the checkpoint to start over"
            )
    trainee.net.load_state_dict(content["net"])
    trainee.average.net.load_state_dict(content["average"])
    trainee.average.updates = int(content["step"])
    trainee.optimizer.load_state_dict(content["optimizer"])
    return int(content["step"]), content["figures"]
