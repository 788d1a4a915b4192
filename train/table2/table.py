"""The paper's Table 2 on a dataset of one's own: its rows, how they are scored, and whether its
direction holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from recorder.detect.mel import SAMPLE_RATE_HZ, MelConfig
from recorder.detect.metrics import Scores, best_threshold, evaluate
from recorder.detect.postprocess import global_correction, power_average, sliding_window
from recorder.errors import UsageError
from recorder.keep.formats import make_writable, write_json
from recorder.sound.files.whole import read_mono
from train.clips.soundscapes import Soundscape, of_fold, read_soundscapes, stacked
from train.judging.ensemble import SHARES
from train.learning.checkpoint import read_checkpoint
from train.learning.distributed import own_device
from train.nets.predict import Features, average_known, features_of, unsmoothed
from train.table2.reproduce import Say, check, is_trained, train_seed
from train.table2.rows import ROWS, Row
from train.table2.setting import OPTIMIZER, Setting, checkpoint_of

Floats = NDArray[np.float32]

Found = dict[str, dict[int, Scores]]
"""Figures by the row's title and the seed."""

TABLE = "table2.md"
_FIGURES = "figures.json"


def reproduce(setting: Setting, words: Sequence[str], say: Say, *, large: bool = False) -> Path:
    """Train and score the rows whose titles hold one of the words, all without any; the path of
    the table, which is written anew with each row. `large`: nets of the paper's own size, too.
    UsageError when no row is meant; otherwise as `check`."""
    known = [row for row in ROWS if large or not row.large]
    rows = [row for row in known if not words or any(word in row.title for word in words)]
    if not rows:
        titles = "; ".join(row.title for row in known)
        more = "" if large else "; --large has more"
        raise UsageError(f"no row holds {' or '.join(words)}; the rows are: {titles}{more}")
    check(setting, {name for row in rows for name in row.nets})
    found = _found(setting)
    path = setting.out / TABLE
    make_writable(setting.out)
    # From now on another setting is refused here, whatever has been trained.
    write_table(setting, found)

    def score(seed: int) -> None:
        for row in ROWS:
            if seed not in found.get(row.title, {}) and _is_ready(setting, row, seed):
                found.setdefault(row.title, {})[seed] = _figures(setting, row, seed)
                write_table(setting, found)

    for seed in range(1, setting.seeds + 1):
        missing = [row for row in rows if seed not in found.get(row.title, {})]
        train_seed(
            setting, seed, {name for row in missing for name in row.nets}, say, partial(score, seed)
        )
        score(seed)
        write_table(setting, found)
        say(f"seed {seed} is in {path}")
    return path


def _found(setting: Setting) -> Found:
    """The figures that an earlier run wrote down: of these rows no net is trained or read again."""
    path = setting.out / _FIGURES
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("setting") != _comparable(setting):
        raise UsageError(
            f"{path} was made with {content.get('setting')}, not {_comparable(setting)}:"
            " take another --out"
        )
    return {
        title: {int(seed): Scores(**scores) for seed, scores in each.items()}
        for title, each in content["rows"].items()
    }


def _comparable(setting: Setting) -> dict[str, Any]:
    """What must be the same for figures to stand in one table."""
    return {
        "dataset": setting.dataset.resolve().name,
        "noise": sorted(one.resolve().name for one in setting.noise),
        "steps": setting.steps,
        "folds": setting.folds,
        "labels_excluded": sorted(setting.labels_excluded),
        "noise_excluded": sorted(setting.noise_excluded),
        "optimizer": OPTIMIZER,
    }


def _is_ready(setting: Setting, row: Row, seed: int) -> bool:
    return all(
        is_trained(setting, name, seed, fold) for name in row.nets for fold in range(setting.folds)
    )


def write_table(setting: Setting, found: Found) -> Path:
    """The rows as Markdown, with 95 % intervals over the seeds, and as JSON beside it.

    The threshold of a row was tuned on the soundscapes that it is judged by, as in the paper.
    """
    content = {
        "setting": _comparable(setting),
        "rows": {
            title: {str(seed): asdict(scores) for seed, scores in each.items()}
            for title, each in found.items()
        },
    }
    write_json(setting.out / _FIGURES, content)
    lines = [
        "| setup | paper: F1 | row-wise F1 | pooled F1 | cmAP | macro AUC | paper's direction |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        each = found.get(row.title, {}).values()
        if row.large and not each:
            continue
        paper = "" if row.paper_f1 is None else f"{row.paper_f1:.4f}"
        columns = [
            _with_interval([getattr(one, name) for one in each])
            for name in ("row_f1", "pooled_f1", "cmap", "macro_auc")
        ]
        lines.append(
            f"| {row.title} | {paper} | {' | '.join(columns)} | {_direction(row, found)} |"
        )
    path = setting.out / TABLE
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _with_interval(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else "not run"
    half = stdev(values) / len(values) ** 0.5 * student.ppf(0.975, len(values) - 1)
    return f"{fmean(values):.3f} +- {half:.3f}"


def _direction(row: Row, found: Found) -> str:
    """Whether F1 and cmAP are above those of the rows that it beats in the paper, seed by seed."""
    verdicts = []
    for title in row.better_than:
        mine, others = found.get(row.title, {}), found.get(title, {})
        pairs = [(mine[seed], others[seed]) for seed in mine if seed in others]
        if not pairs:
            continue
        words = []
        for name, column in (("F1", "row_f1"), ("cmAP", "cmap")):
            gains = [getattr(a, column) - getattr(b, column) for a, b in pairs]
            up = sum(gain > 0 for gain in gains)
            words.append(f"{name} {fmean(gains):+.3f}, up in {up} of {len(gains)}")
        verdict = "; ".join(words)
        verdicts.append(f"{title}: {verdict}" if len(row.better_than) > 1 else verdict)
    return "<br>".join(verdicts)


def _figures(setting: Setting, row: Row, seed: int) -> Scores:
    labels = sorted(
        {
            label
            for name in row.nets
            for fold in range(setting.folds)
            for label in read_checkpoint(checkpoint_of(setting, name, seed, fold)).core
        }
    )
    soundscapes = read_soundscapes(setting.dataset, labels)
    truth, known = stacked(soundscapes)

    def judged(scores: Floats) -> Scores:
        return evaluate(scores, truth, known, best_threshold(scores, truth, known))

    kinds = [_of_net(setting, name, seed, row, soundscapes, labels) for name in row.nets]
    if len(kinds) == 1 and not row.averaged and row.nets[0].startswith("classifier"):
        return _mean([judged(average_known([scores])) for scores in kinds[0]])
    averages = [average_known(each) for each in kinds]
    shares = [SHARES[name.split("_")[0]] for name in row.nets]
    return judged(power_average(averages, shares))


def _of_net(
    setting: Setting,
    name: str,
    seed: int,
    row: Row,
    soundscapes: list[Soundscape],
    labels: list[str],
) -> list[Floats]:
    """[rows, labels] by each fold's net; of a segmenter one array, in which each soundscape is read
    by the net of its own fold alone, for the others of its kind may have its silence as noise."""
    every = [
        _scores(setting, checkpoint_of(setting, name, seed, fold), row, labels)
        for fold in range(setting.folds)
    ]
    if name.startswith("classifier"):
        return [np.concatenate(each) for each in every]
    own: list[Floats] = []
    for place, soundscape in enumerate(soundscapes):
        fold = next(
            fold
            for fold in range(setting.folds)
            if soundscape in of_fold(soundscapes, fold, setting.folds)[0]
        )
        own.append(every[fold][place])
    return [np.concatenate(own)]


def _scores(setting: Setting, checkpoint: Path, row: Row, labels: list[str]) -> list[Floats]:
    """Of each soundscape, [chunks, labels]; NaN for a class that the net does not have."""
    kind, core, each = _read(setting.dataset, checkpoint, row.alone)
    result = []
    for own, between in each:
        scores = sliding_window(own, between) if row.sliding else own
        if row.corrected and kind == "classifier":
            scores = global_correction(scores)
        whole = np.full((len(scores), len(labels)), np.nan, np.float32)
        whole[:, [labels.index(label) for label in core]] = scores[:, : len(core)]
        result.append(whole)
    return result


@lru_cache(maxsize=256)
def _read(
    dataset: Path, checkpoint: Path, alone: bool
) -> tuple[str, list[str], list[tuple[Floats, Floats]]]:
    """The kind and classes of a net, and what it says of each soundscape, for several rows."""
    net = read_checkpoint(checkpoint)
    reader = net.net.to(own_device())
    features = _features(dataset, net.mel, net.kind)
    return net.kind, net.core, [unsmoothed(reader, one, alone=alone) for one in features]


@lru_cache(maxsize=3)
def _features(dataset: Path, mel: MelConfig, kind: str) -> list[Features]:
    soundscapes = read_soundscapes(dataset, [])
    return [
        features_of(read_mono(one.path, SAMPLE_RATE_HZ), len(one.truth), mel, kind)
        for one in soundscapes
    ]


def _mean(each: list[Scores]) -> Scores:
    return Scores(
        *(
            fmean(getattr(one, name) for one in each)
            for name in ("row_f1", "pooled_f1", "cmap", "macro_auc")
        )
    )
