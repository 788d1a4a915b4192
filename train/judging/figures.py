"""What the figures of a report show, as numbers: drawing them is somebody else's business."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import CHUNK_S
from recorder.detect.metrics import nocall_share, row_f1_at_nocall_share
from train.clips.soundscapes import Soundscape, stacked
from train.judging.evaluate import LabelledScan

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

_BINS = 10
_SHARES = 21
_TRACES = 10
_TRACE_S = 120.0


@dataclass(frozen=True)
class NocallCurve:
    """Row-wise F1 by the share of silent rows; NaN when the data have only one kind of row."""

    shares: list[float]
    row_f1: list[float]
    always_nocall: list[float]
    share_here: float
    """The share of silent rows in this data set."""
    beaten_from: float
    """The share above which saying `nocall` everywhere would score better; 1 when none is."""


@dataclass(frozen=True)
class ScoreBin:
    """The known (row, species) pairs with a score from `low` to `high`."""

    low: float
    high: float
    pairs: int
    mean_score: float
    """NaN without a pair."""
    true_share: float
    """NaN without a pair."""


@dataclass(frozen=True)
class Confusion:
    """Of the rows in which `true` calls alone, those in which `heard` is over its threshold."""

    true: str
    heard: str
    rows: int


@dataclass(frozen=True)
class Confusions:
    """What is said where exactly one species calls."""

    alone: dict[str, int]
    """Rows in which a species calls alone, species without one left out."""
    found: dict[str, int]
    """Of these, the rows in which it is over its threshold."""
    silent: dict[str, int]
    """Of these, the rows in which no species is."""
    pairs: list[Confusion]
    """The most frequent first."""


@dataclass(frozen=True)
class Trace:
    """The scores of one species along a soundscape, and where it truly calls."""

    label: str
    threshold: float
    scores: list[float]
    """Of each chunk."""
    truth: list[bool]
    known: list[bool]


@dataclass(frozen=True)
class Traces:
    """The beginning of one soundscape (the paper's Figure 4)."""

    file: str
    chunk_s: float
    species: list[Trace]
    """Every species that calls, in order of its first call, then those with the highest peaks."""


def nocall_curve(scan: LabelledScan) -> NocallCurve:
    """What the row-wise F1 would be at other shares of silent rows (the paper's §3)."""
    truth, known = stacked(scan.soundscapes)
    predicted = scan.shifted >= 0.0
    shares = np.round(np.linspace(0.0, 1.0, _SHARES), 4).tolist()
    row_f1 = [row_f1_at_nocall_share(predicted, truth, known, share) for share in shares]
    with_call, false_alarms = row_f1[0], 1.0 - row_f1[-1]
    return NocallCurve(
        shares,
        row_f1,
        # In a silent row it is right, in any other wrong.
        shares,
        nocall_share(truth, known),
        # Where share * (1 - false alarms) + (1 - share) * with call = share.
        with_call / (with_call + false_alarms) if false_alarms else 1.0,
    )


def reliability(scan: LabelledScan) -> list[ScoreBin]:
    """How often a score is right: ten bins of equal width over the known pairs."""
    truth, known = stacked(scan.soundscapes)
    scores, right = scan.scores[known], truth[known]
    where = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    result = []
    for number in range(_BINS):
        inside = where == number
        pairs = int(inside.sum())
        mean = float(scores[inside].mean(dtype=float)) if pairs else float("nan")
        share = float(right[inside].mean()) if pairs else float("nan")
        result.append(ScoreBin(number / _BINS, (number + 1) / _BINS, pairs, mean, share))
    return result


def confusions(scan: LabelledScan) -> Confusions:
    """Which species are heard in rows that belong to one other species.

    A species that may be audible there (unknown) is not counted as heard.
    """
    truth, known = stacked(scan.soundscapes)
    single = truth.sum(axis=1) == 1
    owner = truth[single].argmax(axis=1)
    predicted = (scan.shifted >= 0.0)[single] & known[single]
    alone, found, silent = {}, {}, {}
    pairs = []
    for index in np.unique(owner):
        label = scan.labels[index]
        rows = predicted[owner == index]
        times = rows.sum(axis=0)
        alone[label] = len(rows)
        found[label] = int(times[index])
        silent[label] = int((~rows.any(axis=1)).sum())
        pairs += [
            Confusion(label, scan.labels[other], int(times[other]))
            for other in np.flatnonzero(times)
            if other != index
        ]
    pairs.sort(key=lambda pair: (-pair.rows, pair.true, pair.heard))
    return Confusions(alone, found, silent, pairs)


def traces(scan: LabelledScan) -> list[Traces]:
    """The first two minutes of every soundscape."""
    chunks = int(_TRACE_S / CHUNK_S)
    return [
        Traces(one.path.name, CHUNK_S, _species(scan, one, scores[:chunks]))
        for one, scores in zip(scan.soundscapes, scan.each, strict=True)
    ]


def _species(scan: LabelledScan, soundscape: Soundscape, scores: Floats) -> list[Trace]:
    """Up to ten, more only if more than ten species call; `scores` [chunks, classes]."""
    truth, known = soundscape.truth[: len(scores)], soundscape.known[: len(scores)]
    calling = sorted(np.flatnonzero(truth.any(axis=0)), key=lambda c: int(truth[:, c].argmax()))
    by_peak = np.argsort(-scores.max(axis=0), kind="stable")
    others = [c for c in by_peak if c not in calling]
    return [
        Trace(
            scan.labels[c],
            scan.thresholds[scan.labels[c]],
            [round(float(score), 4) for score in scores[:, c]],
            truth[:, c].tolist(),
            known[:, c].tolist(),
        )
        for c in [*calling, *others[: max(0, _TRACES - len(calling))]]
    ]
