"""How well a scan decided labelled soundscapes: from its own files, as anybody else would."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder.detect.metrics import (
    Scores,
    any_bird_auc,
    evaluate,
    nocall_share,
    per_class,
    row_f1_at_nocall_share,
)
from recorder.errors import ConfigError
from train.clips.soundscapes import Soundscape, read_soundscapes, stacked

Floats = NDArray[np.float32]

_DRAWS = 500
_NOCALL_SHARES = (0.5, 0.65, 0.8, 0.9)


@dataclass(frozen=True)
class Evaluation:
    """The figures of a whole data set, and of each species that occurs in it."""

    scores: Scores
    nocall_share: float
    nocall_row_f1: float
    """What saying `nocall` everywhere would score: the floor."""
    thresholds: dict[str, float]
    species: dict[str, dict[str, float]]
    bird_auc: float | None
    """Of the output for any bird, call against nocall; None when the model has none."""
    intervals: dict[str, tuple[float, float]]
    """95 % intervals of the four figures, by a bootstrap over the soundscapes."""
    row_f1_at_nocall_share: dict[str, float]
    """What the row-wise F1 would be with more or fewer silent rows."""

    def to_dict(self) -> dict[str, Any]:
        return {
            **vars(self.scores),
            "nocall_share": self.nocall_share,
            "always_nocall_row_f1": self.nocall_row_f1,
            **({} if self.bird_auc is None else {"bird_auc": self.bird_auc}),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "row_f1_at_nocall_share": self.row_f1_at_nocall_share,
            "thresholds": self.thresholds,
            "species": self.species,
        }


@dataclass(frozen=True)
class LabelledScan:
    """The scores of a scan beside the truth, soundscape by soundscape, classes by label."""

    labels: list[str]
    thresholds: dict[str, float]
    soundscapes: list[Soundscape]
    each: list[Floats]
    """Scores [chunks, classes] of each soundscape, in their order."""
    bird: Floats | None
    """Scores [rows] for any bird; None when the model has none."""
    model: str
    """Name and version of the model as far as the scan says."""

    @property
    def scores(self) -> Floats:
        """All rows, [rows, classes]."""
        return np.concatenate(self.each)

    @property
    def shifted(self) -> Floats:
        """`scores` minus the threshold of each class: one number, 0, decides them all.

        Ranks, and so AP and AUC, are taken class by class and do not change.
        """
        limits = [self.thresholds[label] for label in self.labels]
        return np.asarray(self.scores - np.array(limits, np.float32))


def read_scan(out: Path, dataset: Path) -> LabelledScan:
    """What `birdrec scan DATASET/train_soundscapes --scores --out OUT` left, and the labels.

    ConfigError when OUT is no scan, or a soundscape of the dataset was not scanned whole with
    `--scores`.
    """
    try:
        run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no run.json in {out}: scan with --scores --out {out} first") from error
    thresholds = run["thresholds"]
    labels = sorted(thresholds)
    soundscapes = read_soundscapes(dataset, labels)
    model = run.get("model", {})
    name = f"{model.get('name', 'unnamed')}@{model.get('sha256', '')[:12]}".rstrip("@")
    each = [_scores(out, one, labels, name) for one in soundscapes]
    birds = [bird for _, bird in each if bird is not None]
    return LabelledScan(
        labels,
        thresholds,
        soundscapes,
        [scores for scores, _ in each],
        np.concatenate(birds) if birds else None,
        name,
    )


def evaluate_scan(out: Path, dataset: Path) -> Evaluation:
    """Score the results of `birdrec scan DATASET/train_soundscapes --scores --out OUT`.

    ConfigError as from `read_scan`.
    """
    return evaluate_labelled(read_scan(out, dataset))


def evaluate_labelled(scan: LabelledScan) -> Evaluation:
    """The figures of a scan that was read already."""
    truth, known = stacked(scan.soundscapes)
    precision, auc = per_class(scan.scores, truth, known)
    shifted, nothing = scan.shifted, np.zeros(truth.shape, np.float32)
    silent = np.concatenate([one.nocall for one in scan.soundscapes])
    return Evaluation(
        evaluate(shifted, truth, known, 0.0),
        nocall_share(truth, known),
        evaluate(nothing, truth, known, 1.0).row_f1,
        scan.thresholds,
        {
            label: {
                "rows": int(truth[:, index].sum()),
                "average_precision": round(float(precision[index]), 4),
                "auc": round(float(auc[index]), 4),
            }
            for index, label in enumerate(scan.labels)
            if truth[:, index].any()
        },
        None if scan.bird is None else any_bird_auc(scan.bird, silent, truth, known),
        bootstrap_intervals(shifted, scan.soundscapes),
        {
            f"{share:g}": row_f1_at_nocall_share(shifted >= 0.0, truth, known, share)
            for share in _NOCALL_SHARES
        },
    )


def bootstrap_intervals(
    shifted: Floats, soundscapes: list[Soundscape], *, draws: int = _DRAWS, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the four figures when whole soundscapes are drawn with replacement.

    Rows of one soundscape share birds, microphone and weather: drawing rows would flatter.
    `shifted` [rows, classes] are the scores minus their thresholds, in the soundscapes' order.
    """
    lengths = [len(one.truth) for one in soundscapes]
    parts = np.split(shifted, np.cumsum(lengths)[:-1])
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = rng.integers(len(soundscapes), size=len(soundscapes))
        truth, known = stacked([soundscapes[one] for one in drawn])
        scores = np.concatenate([parts[one] for one in drawn])
        found.append(list(vars(evaluate(scores, truth, known, 0.0)).values()))
    low, high = np.nanquantile(found, (0.025, 0.975), axis=0).tolist()
    names = [field.name for field in fields(Scores)]
    return {name: (a, b) for name, a, b in zip(names, low, high, strict=True)}


def _scores(
    out: Path, soundscape: Soundscape, labels: list[str], model: str
) -> tuple[Floats, Floats | None]:
    """Of one soundscape: [chunks, classes], and [chunks] for any bird if the model has it."""
    places = sorted((out / "scores").rglob(f"{soundscape.path.name}.npz"))
    if not places:
        raise ConfigError(f"no scores of {soundscape.path.name} in {out}: scan it with --scores")
    with np.load(places[0]) as kept:
        theirs = str(kept["model"]) if "model" in kept else model
        if theirs != model or not set(labels) <= set(kept["labels"]):
            raise ConfigError(
                f"{places[0]} is of another scan, by {theirs}, than run.json, by {model}: scan "
                "again with --scores"
            )
        order = [list(kept["labels"]).index(label) for label in labels]
        scores: Floats = kept["scores"][: len(soundscape.truth), order]
        bird = kept["bird"][: len(soundscape.truth)] if "bird" in kept else None
    if len(scores) < len(soundscape.truth):
        raise ConfigError(
            f"{soundscape.path.name}: {len(soundscape.truth)} chunks have labels, but "
            f"{places[0]} has {len(scores)}: is the recording complete? Scan it again"
        )
    return scores, bird
