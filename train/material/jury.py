"""Who says how good a net is while it trains, and what is left as background for it to train on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from train.clips.folds import FOLDS, read_folds
from train.clips.recordings import Noise, Recording, load_noise
from train.clips.soundscapes import (
    LABELS,
    SOUNDSCAPES,
    Soundscape,
    of_fold,
    read_soundscapes,
    silent_stretches,
)
from train.config import TrainConfig

_HELD_OUT_NOISE = 5
"""Every fifth background is kept for the soundscapes that judge; a single one trains."""


@dataclass(frozen=True)
class Jury:
    """What says how good the net is."""

    words: str
    soundscapes: list[Soundscape] = field(default_factory=list)
    """Labelled ones, for the core classes."""
    recordings: list[Recording] = field(default_factory=list)
    """Held-out recordings of the core classes, to compose soundscapes from; none when there are
    labelled soundscapes, or nothing at all."""
    noise: list[Noise] = field(default_factory=list)


def jury_and_noise(
    config: TrainConfig, here: Path, dataset: Path, core: list[str], held_out: list[Recording]
) -> tuple[Jury, list[Noise]]:
    """Labelled soundscapes, or recordings to compose some from, or nobody; and the backgrounds
    that nobody who judges has a part of.

    `here` is the configuration's folder, `held_out` recordings of the classes `core`. ConfigError
    when there is no noise in a folder, or no soundscape is left for the fold.
    """
    noise = load_noise(
        [here / folder for folder in config.noise], config.noise_excluded, config.noise_unsure
    )
    if is_labelled(config, dataset):
        return _labelled(config, here, dataset, core, noise)
    if not held_out:
        why = (
            "labelled soundscapes may be made of what trains"
            if config.train_on_val
            else ("no labelled soundscapes")
        )
        words = f"nothing: {why}, and no recordings held out (give a fold)"
        return Jury(words), noise
    sure = [one for one in noise if not one.may_hold_birds]
    kept = sure[::_HELD_OUT_NOISE] if len(sure) > 1 else []
    recordings, labels = len(held_out), len({one.clip.label for one in held_out})
    words = f"soundscapes composed from {recordings} held-out recordings of {labels} labels"
    rest = [one for one in noise if not any(one is other for other in kept)]
    return Jury(words, recordings=held_out, noise=kept), rest


def is_labelled(config: TrainConfig, dataset: Path) -> bool:
    """Whether labelled soundscapes judge."""
    there = (dataset / SOUNDSCAPES).is_dir() and (dataset / LABELS).is_file()
    return config.judge == "auto" and there and not config.train_on_val


def folds_table(config: TrainConfig, here: Path, dataset: Path) -> Path:
    """Where the fold of each clip is written."""
    return here / config.folds if config.folds else dataset / FOLDS


def _labelled(
    config: TrainConfig, here: Path, dataset: Path, core: list[str], noise: list[Noise]
) -> tuple[Jury, list[Noise]]:
    soundscapes = read_soundscapes(dataset, core)
    if not config.soundscape_noise:
        return Jury("labelled soundscapes", soundscapes), noise
    folds = read_folds(folds_table(config, here, dataset)).count
    judging, others = of_fold(soundscapes, config.fold, folds)
    silence = [Noise(one) for other in others for one in silent_stretches(other)]
    return Jury("labelled soundscapes of this fold", judging), [*noise, *silence]
