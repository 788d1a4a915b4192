"""Where a table is made and how large it is, and the configuration of each of its nets."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from train.clips.folds import FOLDS
from train.table2.nets import Net, Table

OPTIMIZER = "over9000"
"""Of the segmenters, the paper's. At this rate AdamW learns or not as the processor rounds; but
classifiers hardly learn with the paper's (docs/experiments.md)."""


@dataclass(frozen=True)
class Setting:
    """Where the table is made, and how large it is."""

    dataset: Path
    noise: tuple[Path, ...]
    out: Path
    seeds: int
    folds: int
    steps: int
    labels_excluded: tuple[str, ...] = ()
    noise_excluded: tuple[str, ...] = ()
    """Words in the names of backgrounds that must not train: those of the soundscapes."""
    jobs: int = 1
    """Trainings beside each other. Two of one thread are done sooner than one after the other on
    two threads (docs/training.md)."""


def checkpoint_of(setting: Setting, name: str, seed: int, fold: int) -> Path:
    """The last checkpoint of a net; the best one by soundscapes would be chosen on the test."""
    return setting.out / f"{name}_seed{seed}_fold{fold}" / "checkpoint.pt"


def _within(setting: Setting, name: str, seed: int, fold: int) -> str:
    """A net's checkpoint, from the folder of all."""
    return str(checkpoint_of(setting, name, seed, fold).relative_to(setting.out))


def pseudo_folder(name: str, seed: int) -> str:
    """Where the pseudo labels of a net's folds lie, in the folder of all."""
    return f"pseudo_{name}_seed{seed}"


def table_of(setting: Setting, net: Net, seed: int, fold: int) -> Table:
    """The configuration of a net: 5-s scenes, a third of them the paper's crops with one clip's
    label. The rest are ours, composed: from scratch and from a few clips a species, crops alone
    leave every net where it began (docs/experiments.md)."""
    changes = dict(net.changes)
    noise = [str(one.resolve()) for one in setting.noise] if changes.pop("noise", False) else []
    scenes = {
        "composed_share": 0.67,
        "own_noise_chance": 0.4,
        "mixup_chance": 0.5,
        "secondary_chunks": 1,
        # Every clip alike, as in the paper.
        "class_exponent": 1.0,
        **changes.pop("scenes", {}),
    }
    return {
        "name": "table2",
        "dataset": str(setting.dataset.resolve()),
        "noise": noise,
        "noise_excluded": list(setting.noise_excluded),
        "labels_excluded": list(setting.labels_excluded),
        # Every net decodes the same clips.
        "cache": "cache",
        "folds": FOLDS,
        "fold": fold,
        "seed": seed,
        "threads": max(1, len(os.sched_getaffinity(0)) // setting.jobs),
        "steps": setting.steps,
        "evaluate_every": setting.steps,
        "optimizer": OPTIMIZER,
        "learning_rate": 5e-3,
        "warmup_steps": 50,
        "focal_gamma": 0.0,
        "scene_chunks": [1],
        "scene_chances": [1.0],
        # Its slow weights are the average.
        "average_decay": 0.0,
        # As in the optimizer's reference.
        "weight_decay": 0.0,
        **({"pseudo_labels": pseudo_folder(net.taught_by, seed)} if net.taught_by else {}),
        **({"init_from": _within(setting, net.taught_by, seed, fold)} if net.step == 3 else {}),
        **changes,
        "scenes": scenes,
    }


def in_toml(table: Table, name: str = "") -> str:
    """Strings, numbers, booleans and lists are written in TOML as in JSON."""
    inner = {one: value for one, value in table.items() if isinstance(value, dict)}
    lines = [f"[{name}]"] if name else []
    lines += [f"{one} = {json.dumps(table[one])}" for one in table if one not in inner]
    text = "\n".join(lines) + "\n"
    for one, value in inner.items():
        text += "\n" + in_toml(value, f"{name}.{one}" if name else one)
    return text
