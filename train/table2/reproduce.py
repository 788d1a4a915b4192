"""The nets of the paper's Table 2, trained on a dataset of one's own, several beside each other.

Every net is trained once per seed and fold; nothing that is finished is trained again, so that the
same command goes on wherever it was stopped. What the paper leaves open is written in NETS.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recorder.detect.mel import FRAMES_PER_TOKEN, SAMPLE_RATE_HZ, TOKEN_S, MelConfig
from recorder.errors import UsageError
from recorder.keep.formats import make_writable, written
from train.clips.dataset import Dataset, check_labels, key, read_dataset
from train.clips.folds import FOLDS, make_folds, read_folds, write_folds
from train.clips.hand_labels import COLUMNS as HAND_COLUMNS
from train.clips.recordings import background_files, load_recordings
from train.clips.soundscapes import read_soundscapes
from train.config_file import read_config
from train.learning.loop import fit
from train.learning.out_of_fold import write_pseudo_labels
from train.scenes.pseudo import PROVENANCE

Say = Callable[[str], None]
Table = dict[str, Any]

HAND_STYLE = "hand_labels.csv"
LOG = "experiments.jsonl"
OPTIMIZER = "over9000"
"""Of the segmenters, the paper's. At this rate AdamW learns or not as the processor rounds; but
classifiers hardly learn with the paper's (docs/training.md)."""
_OF_THE_RECIPE = ("model", "optimizer", "weight_decay", "n_fft", "focal_gamma", "average_decay")
"""What a net that is finished must have been trained with."""
_SHORT_S = 16.0
"""Only in clips up to this length is what is not marked as nocall taken for a call (§2.2(3))."""
_SILENT_S = 3.0
"""A stretch without any call of at least this length is marked by hand-style labels."""


@dataclass(frozen=True)
class Net:
    """How one of the nets is trained."""

    changes: Table = field(default_factory=dict)
    """Of the common configuration."""
    step: int = 1
    taught_by: str = ""
    """The net whose pseudo labels it learns from, and in step 3 whose weights it starts with."""


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


_CLASSIFIER = {
    "model": "classifier",
    "optimizer": "adamw",
    "average_decay": 0.99,
    "weight_decay": 0.02,
}
_QUIET = {"bed_chance": 0.0, "own_noise_chance": 0.0}
"""White and pink noise alone."""
_ANYWHERE = {"edge_crop_share": 0.0, "loud_crops": False}
"""Crops from anywhere, whatever is in them (§3)."""

NETS: dict[str, Net] = {
    # §3: all clips, secondary labels as they are.
    "classifier": Net({**_CLASSIFIER, "scenes": {**_QUIET, **_ANYWHERE}}),
    # §2.2: smart crop, clips of at most 60 s, stretches marked as nocall.
    "classifier_hand": Net(
        {**_CLASSIFIER, "max_clip_s": 60.0, "hand_labels": HAND_STYLE, "scenes": _QUIET}
    ),
    "segmenter_1": Net({"scenes": {**_QUIET, **_ANYWHERE}}),
    "segmenter_2": Net({"scenes": _QUIET}, 2, "segmenter_1"),
    "segmenter_3": Net({"scenes": _QUIET}, 3, "segmenter_2"),
    "segmenter_3_soundscapes": Net({"soundscape_noise": True}, 3, "segmenter_2"),
    "segmenter_3_forest": Net({"noise": True}, 3, "segmenter_2"),
    "segmenter_3_forest_1024": Net({"noise": True, "n_fft": 1024}, 3, "segmenter_2"),
    # The paper's own sizes. Without ImageNet weights their normalisation must learn.
    "segmenter_3_forest_resnext50": Net(
        {
            "noise": True,
            "backbone": "resnext50_32x4d",
            "width": 512,
            "batch_norm": True,
            "init_from": "",
        },
        3,
        "segmenter_2",
    ),
    "classifier_resnest50": Net(
        {
            **_CLASSIFIER,
            "backbone": "resnest50d",
            "batch_norm": True,
            "max_clip_s": 60.0,
            "hand_labels": HAND_STYLE,
            "scenes": _QUIET,
        }
    ),
}
"""`noise: True` stands for the folders of recorded backgrounds that were given."""


def check(setting: Setting, wanted: Iterable[str]) -> None:
    """What can be known to be wrong before anything is written, and not after hours of training:
    ConfigError and UsageError."""
    check_labels(read_dataset(setting.dataset), "--exclude-label", setting.labels_excluded)
    read_soundscapes(setting.dataset, [])
    noisy = [name for name in with_teachers(wanted) if NETS[name].changes.get("noise")]
    if noisy and not setting.noise:
        raise UsageError(f"{', '.join(noisy)} train on recorded backgrounds: give --noise FOLDER")
    if noisy:
        background_files(setting.noise, setting.noise_excluded)


def train_seed(
    setting: Setting,
    seed: int,
    wanted: Iterable[str],
    say: Say,
    trained: Callable[[], None] = lambda: None,
) -> None:
    """Train the nets `wanted` and those that teach them, as far as they are not trained yet;
    `trained` is called after each generation of them.

    ConfigError and UsageError as `fit`, `make_folds` and `write_pseudo_labels` raise them.
    """
    make_writable(setting.out)
    dataset = read_dataset(setting.dataset)
    folds = setting.out / FOLDS
    if not folds.is_file():
        write_folds(folds, make_folds(dataset, setting.folds, seed=1, kept={}), dataset.clips)
    if read_folds(folds).count != setting.folds:
        raise UsageError(
            f"{folds} has {read_folds(folds).count} folds, not {setting.folds}: take another --out"
        )
    hand_labels = setting.out / HAND_STYLE
    if not hand_labels.is_file():
        write_hand_style_labels(dataset, hand_labels)
    names = with_teachers(wanted)
    for _, group in groupby(sorted(names, key=_generation), key=_generation):
        generation = list(group)
        missing = [
            (setting, name, seed, fold)
            for name in generation
            for fold in range(setting.folds)
            if not is_trained(setting, name, seed, fold)
        ]
        for entry in _all_trained(missing, setting.jobs):
            say("{net}_seed{seed}_fold{fold}: trained in {seconds} s".format(**entry))
            with (setting.out / LOG).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(entry) + "\n")
        trained()
        for name in generation:
            if any(NETS[other].taught_by == name for other in names):
                _teach(setting, name, seed, say)


def _generation(name: str) -> int:
    """How many nets stand before it in its line of teachers."""
    taught_by = NETS[name].taught_by
    return 1 + _generation(taught_by) if taught_by else 0


def with_teachers(wanted: Iterable[str]) -> list[str]:
    """These nets and all that they learn from, in the order of NETS: teachers come first."""
    needed = set(wanted)
    for name in reversed(NETS):
        if name in needed and NETS[name].taught_by:
            needed.add(NETS[name].taught_by)
    return [name for name in NETS if name in needed]


def checkpoint_of(setting: Setting, name: str, seed: int, fold: int) -> Path:
    """The last checkpoint of a net; the best one by soundscapes would be chosen on the test."""
    return setting.out / f"{name}_seed{seed}_fold{fold}" / "checkpoint.pt"


def is_trained(setting: Setting, name: str, seed: int, fold: int) -> bool:
    """Whether the checkpoint is there and is that of the last step; UsageError when it was trained
    by another recipe: then it belongs to another table."""
    path = checkpoint_of(setting, name, seed, fold)
    if not path.is_file():
        return False
    content = torch.load(path, weights_only=True, map_location="cpu")
    table, config = _table(setting, NETS[name], seed, fold), content["config"]
    pairs = [(one, table[one], config[one]) for one in _OF_THE_RECIPE if one in table]
    scenes = {**table["scenes"], **({"bed_chance": 1.0} if NETS[name].step == 3 else {})}
    pairs += [(one, value, config["scenes"][one]) for one, value in scenes.items()]
    for one, wanted, found in pairs:
        if wanted != found:
            raise UsageError(
                f"{path} was trained with {one} = {found}, not {wanted}: take another --out"
            )
    return bool(content["step"] == setting.steps)


def write_hand_style_labels(dataset: Dataset, path: Path) -> None:
    """What somebody would mark as nocall by eye: stretches of 3 s and more without a loud frame,
    in short clips without secondary labels (§2.2(3)); as a table of hand labels."""
    with written(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HAND_COLUMNS)
        for clip in sorted(dataset.clips, key=key):
            if clip.secondary_labels:
                continue
            for recording in load_recordings([clip], MelConfig()).recordings:
                if len(recording.samples) > _SHORT_S * SAMPLE_RATE_HZ:
                    continue
                ranges = [[round(a, 2), round(b, 2)] for a, b in _silences(recording.active)]
                if ranges:
                    writer.writerow((key(clip), 0, 1, json.dumps(ranges)))


def _silences(active: np.ndarray) -> Iterator[tuple[float, float]]:
    """(from, to) in seconds of each stretch of frames of which none is active."""
    edges = np.diff(np.concatenate(([True], active, [True])).astype(np.int8))
    frame_s = TOKEN_S / FRAMES_PER_TOKEN
    for first, last in zip(np.flatnonzero(edges < 0), np.flatnonzero(edges > 0), strict=True):
        if (last - first) * frame_s >= _SILENT_S:
            yield first * frame_s, last * frame_s


def _all_trained(tasks: list[tuple[Setting, str, int, int]], jobs: int) -> Iterator[Table]:
    """What there is to log of each net, as soon as it is trained."""
    if jobs == 1:
        yield from (_train(*task) for task in tasks)
        return
    # A fresh process each: torch may not be forked, and memory goes back.
    context = get_context("spawn")
    failure: BaseException | None = None
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        for future in as_completed([pool.submit(_train, *task) for task in tasks]):
            # What the others have trained meanwhile is logged before a failure is told.
            failure = failure or future.exception()
            if not future.exception():
                yield future.result()
    if failure:
        raise failure


def _train(setting: Setting, name: str, seed: int, fold: int) -> Table:
    net = NETS[name]
    out = checkpoint_of(setting, name, seed, fold).parent
    toml = setting.out / f"{out.name}.toml"
    toml.write_text(_toml(_table(setting, net, seed, fold)), encoding="utf-8")
    config = read_config(toml, net.step)
    began = time.monotonic()
    path = fit(config, toml, out)
    return {
        "net": name,
        "seed": seed,
        "fold": fold,
        "seconds": round(time.monotonic() - began),
        "figures": torch.load(path, weights_only=True)["figures"],
        "config": _without_paths(config.to_dict()),
    }


def _teach(setting: Setting, name: str, seed: int, say: Say) -> None:
    out = setting.out / _pseudo_folder(name, seed)
    if (out / PROVENANCE).is_file():
        return
    say(f"{out.name}: reading every clip out of fold")
    nets = [checkpoint_of(setting, name, seed, fold) for fold in range(setting.folds)]
    write_pseudo_labels(nets, setting.dataset, out, folds=setting.out / FOLDS, say=lambda _: None)


def _within(setting: Setting, name: str, seed: int, fold: int) -> str:
    """A net's checkpoint, from the folder of all."""
    return str(checkpoint_of(setting, name, seed, fold).relative_to(setting.out))


def _pseudo_folder(name: str, seed: int) -> str:
    return f"pseudo_{name}_seed{seed}"


def _table(setting: Setting, net: Net, seed: int, fold: int) -> Table:
    """The configuration of a net: 5-s scenes, a third of them the paper's crops with one clip's
    label. The rest are ours, composed: from scratch and from a few clips a species, crops alone
    leave every net where it began (docs/training.md)."""
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
        **({"pseudo_labels": _pseudo_folder(net.taught_by, seed)} if net.taught_by else {}),
        **({"init_from": _within(setting, net.taught_by, seed, fold)} if net.step == 3 else {}),
        **changes,
        "scenes": scenes,
    }


def _toml(table: Table, name: str = "") -> str:
    """Strings, numbers, booleans and lists are written in TOML as in JSON."""
    inner = {one: value for one, value in table.items() if isinstance(value, dict)}
    lines = [f"[{name}]"] if name else []
    lines += [f"{one} = {json.dumps(table[one])}" for one in table if one not in inner]
    text = "\n".join(lines) + "\n"
    for one, value in inner.items():
        text += "\n" + _toml(value, f"{name}.{one}" if name else one)
    return text


def _without_paths(config: Table) -> Table:
    """The configuration as it may be published: folders by their names."""
    noise = [Path(one).name for one in config["noise"]]
    return {**config, "dataset": Path(config["dataset"]).name, "noise": noise}
