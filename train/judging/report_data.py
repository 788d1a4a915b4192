"""Everything that a report shows, gathered from a scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from train.judging.evaluate import Evaluation, LabelledScan, evaluate_labelled
from train.judging.figures import (
    Confusions,
    NocallCurve,
    ScoreBin,
    Traces,
    confusions,
    nocall_curve,
    reliability,
    traces,
)
from train.judging.pseudo_traces import pseudo_traces
from train.judging.snr import SnrRecall, recall_by_snr
from train.judging.thresholds import (
    SuggestedThreshold,
    ThresholdCurve,
    counts,
    suggest_threshold,
    threshold_curve,
)


@dataclass(frozen=True)
class Report:
    """Everything that the page shows."""

    model: str
    soundscapes: int
    rows: int
    """Those that somebody labelled."""
    evaluation: Evaluation
    threshold_curve: ThresholdCurve
    suggested_threshold: SuggestedThreshold
    nocall_curve: NocallCurve
    reliability: list[ScoreBin]
    confusions: Confusions
    snr_recall: SnrRecall
    traces: list[Traces]
    pseudo_traces: list[Traces]

    def to_dict(self) -> dict[str, Any]:
        """`Evaluation.to_dict()`, and the data of each figure by its name; NaN is None."""
        figures = asdict(self)
        del figures["evaluation"]
        head = {name: figures.pop(name) for name in ("model", "soundscapes", "rows")}
        content = {**head, **self.evaluation.to_dict(), "figures": figures}
        cleaned: dict[str, Any] = without_nan(content)
        return cleaned


def make_report(scan: LabelledScan, dataset: Path, pseudo_labels: Sequence[Path] = ()) -> Report:
    """Compute every figure; with folders of pseudo labels what they say along some clips."""
    every = counts(scan)
    return Report(
        scan.model,
        len(scan.soundscapes),
        sum(int(one.known.any(axis=1).sum()) for one in scan.soundscapes),
        evaluate_labelled(scan),
        threshold_curve(every),
        suggest_threshold(every),
        nocall_curve(scan),
        reliability(scan),
        confusions(scan),
        recall_by_snr(scan, dataset),
        traces(scan),
        pseudo_traces(pseudo_labels, dataset),
    )


def without_nan(value: Any) -> Any:
    """The same for JSON, which knows no NaN: None stands for it."""
    if isinstance(value, dict):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
