"""How well a scan decided labelled soundscapes: from its own files, as anybody else would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder.detect.metrics import Scores, any_bird_auc, evaluate, per_class
from recorder.errors import ConfigError
from train.soundscapes import Soundscape, read_soundscapes, stacked

Floats = NDArray[np.float32]


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

    def to_dict(self) -> dict[str, Any]:
        return {
            **vars(self.scores),
            "nocall_share": self.nocall_share,
            "always_nocall_row_f1": self.nocall_row_f1,
            **({} if self.bird_auc is None else {"bird_auc": self.bird_auc}),
            "thresholds": self.thresholds,
            "species": self.species,
        }


def evaluate_scan(out: Path, dataset: Path) -> Evaluation:
    """Score the results of `birdrec scan DATASET/train_soundscapes --scores --out OUT`.

    ConfigError when a soundscape of the dataset was not scanned with `--scores`.
    """
    thresholds = json.loads((out / "run.json").read_text(encoding="utf-8"))["thresholds"]
    labels = sorted(thresholds)
    soundscapes = read_soundscapes(dataset, labels)
    each = [_scores(out, one, labels) for one in soundscapes]
    scores = np.concatenate([one for one, _ in each])
    birds = [bird for _, bird in each if bird is not None]
    truth, known = stacked(soundscapes)
    # Shifting each class by its own threshold lets one number, 0, decide them all; ranks, and
    # so AP and AUC, are taken class by class and do not change.
    shifted = scores - np.array([thresholds[label] for label in labels], np.float32)
    precision, auc = per_class(scores, truth, known)
    silent = np.zeros_like(truth)
    return Evaluation(
        evaluate(shifted, truth, known, 0.0),
        float((~(truth & known).any(axis=1)).mean()),
        evaluate(silent.astype(np.float32), truth, known, 1.0).row_f1,
        thresholds,
        {
            label: {
                "rows": int(truth[:, index].sum()),
                "average_precision": round(float(precision[index]), 4),
                "auc": round(float(auc[index]), 4),
            }
            for index, label in enumerate(labels)
            if truth[:, index].any()
        },
        any_bird_auc(np.concatenate(birds), truth, known) if birds else None,
    )


def _scores(out: Path, soundscape: Soundscape, labels: list[str]) -> tuple[Floats, Floats | None]:
    """Of one soundscape: [chunks, classes], and [chunks] for any bird if the model has it."""
    places = sorted((out / "scores").rglob(f"{soundscape.path.name}.npz"))
    if not places:
        raise ConfigError(f"no scores of {soundscape.path.name} in {out}: scan it with --scores")
    with np.load(places[0]) as kept:
        order = [list(kept["labels"]).index(label) for label in labels]
        scores: Floats = kept["scores"][: len(soundscape.truth), order]
        bird = kept["bird"][: len(soundscape.truth)] if "bird" in kept else None
    return scores, bird
