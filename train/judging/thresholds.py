"""How F1 depends on the threshold, and which one a bootstrap over the soundscapes suggests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recorder.detect.metrics import THRESHOLDS, row_f1s
from train.judging.evaluate import LabelledScan

Doubles = NDArray[np.float64]
Range = tuple[float, float]

_DRAWS = 500


@dataclass(frozen=True)
class ThresholdCurve:
    """F1 when one threshold decides every class, by threshold."""

    thresholds: list[float]
    row_f1: list[float]
    pooled_f1: list[float]


@dataclass(frozen=True)
class SuggestedThreshold:
    """The best threshold of many draws of soundscapes, and the F1 of these draws at the median.

    It is chosen on the rows that it is then judged by, which flatters a little.
    """

    threshold: float
    """The median over the draws."""
    threshold_interval: Range
    row_f1: float
    row_f1_interval: Range
    pooled_f1: float
    pooled_f1_interval: Range
    draws: list[float]
    """The best threshold of each draw."""


@dataclass(frozen=True)
class Counts:
    """What the F1 of any choice of soundscapes is made of, at each candidate threshold.

    Scoring each draw anew would take minutes on a data set of BirdCLEF's size; sums do not.
    """

    rows: Doubles  # [soundscapes]: those of which anything is known
    row_f1: Doubles  # [soundscapes, candidates]: summed over the rows
    hits: Doubles  # [soundscapes, candidates]: true pairs that are found
    tokens: Doubles  # [soundscapes, candidates]: pairs that are found, and pairs that are true

    def row_f1_of(self, times: Doubles) -> Doubles:
        """Row-wise F1 [draws, candidates] with each soundscape so many `times` [draws, each]."""
        return np.asarray((times @ self.row_f1) / (times @ self.rows)[:, np.newaxis])

    def pooled_f1_of(self, times: Doubles) -> Doubles:
        """Pooled F1 [draws, candidates], likewise."""
        return np.asarray(2.0 * (times @ self.hits) / np.maximum(1.0, times @ self.tokens))


def counts(scan: LabelledScan) -> Counts:
    """Of every soundscape, at every candidate."""
    shape = (len(scan.each), len(THRESHOLDS))
    row_f1, hits, tokens = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for place, (one, scores) in enumerate(zip(scan.soundscapes, scan.each, strict=True)):
        truth = one.truth & one.known
        for at, threshold in enumerate(THRESHOLDS):
            predicted = (scores >= threshold) & one.known
            row_f1[place, at] = np.nansum(row_f1s(predicted, one.truth, one.known))
            hits[place, at] = (predicted & truth).sum()
            tokens[place, at] = predicted.sum() + truth.sum()
    rows = np.array([one.known.any(axis=1).sum() for one in scan.soundscapes], float)
    return Counts(rows, row_f1, hits, tokens)


def threshold_curve(every: Counts) -> ThresholdCurve:
    """F1 over all soundscapes at each candidate."""
    once = np.ones((1, len(every.rows)))
    return ThresholdCurve(
        THRESHOLDS.tolist(),
        every.row_f1_of(once)[0].tolist(),
        every.pooled_f1_of(once)[0].tolist(),
    )


def suggest_threshold(every: Counts, *, draws: int = _DRAWS, seed: int = 0) -> SuggestedThreshold:
    """Draw whole soundscapes with replacement; of each draw, the threshold best for it.

    The draws are those of `train.judging.evaluate.bootstrap_intervals` with the same seed.
    """
    files = len(every.rows)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(files, size=files) for _ in range(draws)]
    times = np.array([np.bincount(one, minlength=files) for one in drawn], float)
    row_f1, pooled_f1 = every.row_f1_of(times), every.pooled_f1_of(times)
    best = THRESHOLDS[np.argmax(row_f1 + pooled_f1, axis=1)]
    # With an even number of draws the median may lie between two candidates.
    middle = float(np.quantile(best, 0.5, method="lower"))
    at = int(np.searchsorted(THRESHOLDS, middle))
    curve = threshold_curve(every)
    return SuggestedThreshold(
        middle,
        _interval(best),
        curve.row_f1[at],
        _interval(row_f1[:, at]),
        curve.pooled_f1[at],
        _interval(pooled_f1[:, at]),
        best.tolist(),
    )


def _interval(values: Doubles) -> Range:
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return low, high
