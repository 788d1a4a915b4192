"""The nets of the paper's Table 2, trained on a dataset of one's own, several beside each other.

Every net is trained once per seed and fold; nothing that is finished is trained again, so that the
same command goes on wherever it was stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import torch

from recorder.errors import UsageError
from recorder.keep.formats import make_writable
from train.clips.dataset import check_labels, read_dataset
from train.clips.folds import FOLDS, make_folds, read_folds, write_folds
from train.clips.recordings import background_files
from train.clips.soundscapes import read_soundscapes
from train.config_file import read_config
from train.learning.loop import fit
from train.learning.out_of_fold import write_pseudo_labels
from train.scenes.pseudo import PROVENANCE
from train.table2.hand_style import write_hand_style_labels
from train.table2.nets import HAND_STYLE, NETS, Table, generation, with_teachers
from train.table2.setting import Setting, checkpoint_of, in_toml, pseudo_folder, table_of

Say = Callable[[str], None]

LOG = "experiments.jsonl"
_OF_THE_RECIPE = ("model", "optimizer", "weight_decay", "n_fft", "focal_gamma", "average_decay")
"""What a net that is finished must have been trained with."""


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
    for _, group in groupby(sorted(names, key=generation), key=generation):
        alike = list(group)
        missing = [
            (setting, name, seed, fold)
            for name in alike
            for fold in range(setting.folds)
            if not is_trained(setting, name, seed, fold)
        ]
        for entry in _all_trained(missing, setting.jobs):
            say("{net}_seed{seed}_fold{fold}: trained in {seconds} s".format(**entry))
            with (setting.out / LOG).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(entry) + "\n")
        trained()
        for name in alike:
            if any(NETS[other].taught_by == name for other in names):
                _teach(setting, name, seed, say)


def is_trained(setting: Setting, name: str, seed: int, fold: int) -> bool:
    """Whether the checkpoint is there and is that of the last step; UsageError when it was trained
    by another recipe: then it belongs to another table."""
    path = checkpoint_of(setting, name, seed, fold)
    if not path.is_file():
        return False
    content = torch.load(path, weights_only=True, map_location="cpu")
    table, config = table_of(setting, NETS[name], seed, fold), content["config"]
    pairs = [(one, table[one], config[one]) for one in _OF_THE_RECIPE if one in table]
    scenes = {**table["scenes"], **({"bed_chance": 1.0} if NETS[name].step == 3 else {})}
    pairs += [(one, value, config["scenes"][one]) for one, value in scenes.items()]
    for one, wanted, found in pairs:
        if wanted != found:
            raise UsageError(
                f"{path} was trained with {one} = {found}, not {wanted}: take another --out"
            )
    return bool(content["step"] == setting.steps)


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
    toml.write_text(in_toml(table_of(setting, net, seed, fold)), encoding="utf-8")
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
    out = setting.out / pseudo_folder(name, seed)
    if (out / PROVENANCE).is_file():
        return
    say(f"{out.name}: reading every clip out of fold")
    nets = [checkpoint_of(setting, name, seed, fold) for fold in range(setting.folds)]
    write_pseudo_labels(nets, setting.dataset, out, folds=setting.out / FOLDS, say=lambda _: None)


def _without_paths(config: Table) -> Table:
    """The configuration as it may be published: folders by their names."""
    noise = [Path(one).name for one in config["noise"]]
    return {**config, "dataset": Path(config["dataset"]).name, "noise": noise}
