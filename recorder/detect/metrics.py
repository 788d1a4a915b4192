"""How well rows are decided: the paper's row-wise F1 (§1) and what it hides.

Every function takes `truth` and `known` as bool [rows, classes]: a pair that is not known (a
background species that may or may not be audible there) counts neither way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]

_NEAR_ONE = (*np.linspace(0.91, 0.99, 9), 0.995, 0.998, 0.999)
THRESHOLDS = np.unique(np.round([*np.linspace(0.02, 0.9, 177), *_NEAR_ONE], 4))
"""What `best_threshold` chooses from. A net that overfits decides near 1. Of equally good ones
it takes the lowest: none below .02, which would name anything elsewhere."""


@dataclass(frozen=True)
class Scores:
    """The four figures that every evaluation of this project states."""

    row_f1: float
    pooled_f1: float
    cmap: float
    macro_auc: float

    def __str__(self) -> str:
        return (
            f"row-wise F1 {self.row_f1:.3f}, pooled F1 {self.pooled_f1:.3f}, "
            f"cmAP {self.cmap:.3f}, macro AUC {self.macro_auc:.3f}"
        )


def row_wise_f1(predicted: Bools, truth: Bools, known: Bools) -> float:
    """`row_f1s`, averaged over the rows of which anything is known (§1).

    "Always nocall" scores the share of silent rows: state `pooled_f1` beside it.
    """
    return _mean_defined(row_f1s(predicted, truth, known))


def row_f1_at_nocall_share(
    predicted: Bools, truth: Bools, known: Bools, nocall_share: float
) -> float:
    """What `row_wise_f1` would be if this share of the rows were silent; NaN without both kinds."""
    each = row_f1s(predicted, truth, known)
    calls = (truth & known).any(axis=1)
    silent = silent_rows(truth, known)
    if not calls.any() or not silent.any():
        return float("nan")
    return float(nocall_share * each[silent].mean() + (1 - nocall_share) * each[calls].mean())


def silent_rows(truth: Bools, known: Bools) -> Bools:
    """[rows]: where something is known, and none of the classes calls as far as it is."""
    return np.asarray(known.any(axis=1) & ~(truth & known).any(axis=1))


def nocall_share(truth: Bools, known: Bools) -> float:
    """Of the rows of which anything is known, those that are silent."""
    return float(silent_rows(truth, known).sum() / max(1, known.any(axis=1).sum()))


def row_f1s(predicted: Bools, truth: Bools, known: Bools) -> Floats:
    """2TP / (2TP + FP + FN) of each row with `nocall` as a token (§1), [rows]; NaN of a row of
    which nothing is known."""
    predicted, truth = predicted & known, truth & known
    silent_predicted, silent = ~predicted.any(axis=1), ~truth.any(axis=1)
    hits = (predicted & truth).sum(axis=1) + (silent_predicted & silent)
    tokens = predicted.sum(axis=1) + silent_predicted + truth.sum(axis=1) + silent
    return np.where(known.any(axis=1), 2.0 * hits / tokens, np.nan)


def pooled_f1(predicted: Bools, truth: Bools, known: Bools) -> float:
    """F1 over all (row, species) pairs at once; 0 when there is nothing to find or found."""
    predicted, truth = predicted & known, truth & known
    hits = (predicted & truth).sum()
    return float(2.0 * hits / max(1, predicted.sum() + truth.sum()))


def average_precision(scores: Floats, truth: Bools) -> float:
    """The mean precision at each true row, ties shared fairly; NaN without a true row."""
    if not truth.any():
        return float("nan")
    # The rank of a row counts all rows at least as good as it, so that ties gain nothing.
    above = rankdata(-scores, method="max")
    true_above = rankdata(-scores[truth], method="max")
    return float((true_above / above[truth]).mean())


def roc_auc(scores: Floats, truth: Bools) -> float:
    """The chance that a true row outranks a false one, ties half; NaN when one side is empty."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)[truth].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def per_class(scores: Floats, truth: Bools, known: Bools) -> tuple[Floats, Floats]:
    """(average precision, ROC AUC) of each class, [classes] each, NaN where undefined."""
    columns = range(truth.shape[1])
    precision = [average_precision(scores[known[:, c], c], truth[known[:, c], c]) for c in columns]
    auc = [roc_auc(scores[known[:, c], c], truth[known[:, c], c]) for c in columns]
    return np.array(precision), np.array(auc)


def evaluate(scores: Floats, truth: Bools, known: Bools, threshold: float | Floats) -> Scores:
    """All four figures of [rows, classes] scores; cmAP and AUC over the classes with a row.

    `threshold` is one for all classes, or [classes].
    """
    predicted = scores >= threshold
    precision, auc = per_class(scores, truth, known)
    return Scores(
        row_wise_f1(predicted, truth, known),
        pooled_f1(predicted, truth, known),
        _mean_defined(precision),
        _mean_defined(auc),
    )


def _mean_defined(values: Floats) -> float:
    """The mean over the classes of which it is defined; NaN when there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def best_threshold(scores: Floats, truth: Bools, known: Bools) -> float:
    """The threshold with the highest mean of row-wise and pooled F1.

    Row-wise F1 alone rewards silence on quiet soundscapes; pooled F1 alone ignores it.
    """

    def quality(threshold: float) -> float:
        predicted = scores >= threshold
        return row_wise_f1(predicted, truth, known) + pooled_f1(predicted, truth, known)

    return float(max(THRESHOLDS, key=quality))


def any_bird_auc(bird: Floats, silent: Bools, truth: Bools, known: Bools) -> float:
    """How well one score [rows] tells rows with a call from rows without: ROC-AUC.

    `silent` [rows]: where the labels say that nothing calls, of any class or none; it counts only
    where every class is known to be absent.
    """
    quiet = _surely_silent(silent, truth, known)
    # A row that nobody labelled is neither: nothing of it is known.
    calls = truth.any(axis=1) | (~silent & known.any(axis=1))
    return roc_auc(bird[quiet | calls], calls[quiet | calls])


def any_bird_threshold(bird: Floats, silent: Bools, truth: Bools, known: Bools) -> float:
    """The score that one silent row in a hundred reaches, .5 at least; .5 without silent rows."""
    quiet = bird[_surely_silent(silent, truth, known)]
    return max(0.5, float(np.quantile(quiet, 0.99))) if len(quiet) else 0.5


def _surely_silent(silent: Bools, truth: Bools, known: Bools) -> Bools:
    return np.asarray(silent & ~truth.any(axis=1) & known.all(axis=1))
