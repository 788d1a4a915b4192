"""From the numbers of a report to its charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from recorder.report.svg import Axis, Bar, Line, bars, line_chart, matrix, number
from recorder.ui import clock
from train.judging.figures import Confusions, NocallCurve, ScoreBin, Traces
from train.judging.report_data import Report
from train.judging.snr import SnrRecall
from train.judging.strips import Strip, strips

_TENTHS = [round(0.1 * tick, 1) for tick in range(11)]
_FIFTHS = _TENTHS[::2]
_WIDEST = 30
"""Species in a matrix: more would not be read."""


def species_bars(species: Mapping[str, Mapping[str, float]]) -> str:
    """Average precision, the best first, with the true rows and the AUC of each."""
    best = sorted(species.items(), key=lambda item: (-item[1]["average_precision"], item[0]))
    rows = [
        Bar(
            label,
            figures["average_precision"],
            (f"{figures['rows']:.0f}", number(figures["auc"])),
        )
        for label, figures in best
    ]
    axis = Axis("average precision (0 to 1)", 0.0, 1.0, (0, 0.5, 1))
    return bars("Average precision of each species", axis, rows, ("rows", "AUC"))


def threshold_chart(report: Report) -> str:
    """Both F1 by threshold; the thresholds in use and the suggested one are marked."""
    curve, best = report.threshold_curve, report.suggested_threshold
    used = sorted(set(report.evaluation.thresholds.values()))
    if len(used) == 1:
        marks = [(used[0], f"in use {used[0]:.3f}")]
    else:
        marks = [(used[0], f"lowest in use {used[0]:.3f}")]
        marks += [(used[-1], f"highest in use {used[-1]:.3f}")]
    marks.append((best.threshold, f"suggested {best.threshold:.3f}"))
    lines = [
        Line("row-wise F1", list(zip(curve.thresholds, curve.row_f1, strict=True)), "a"),
        Line("pooled F1", list(zip(curve.thresholds, curve.pooled_f1, strict=True)), "b"),
    ]
    x = Axis("threshold (score, 0 to 1)", 0.0, 1.0, _FIFTHS)
    return line_chart("F1 by threshold", x, _unit("F1"), lines, marks=marks)


def nocall_chart(curve: NocallCurve) -> str:
    """Row-wise F1 by the share of silent rows, over the floor."""
    here = curve.share_here
    lines = [
        Line("this model", list(zip(curve.shares, curve.row_f1, strict=True)), "a"),
        Line("always nocall", list(zip(curve.shares, curve.always_nocall, strict=True)), "c"),
    ]
    x = Axis("share of nocall rows (0 to 1)", 0.0, 1.0, _FIFTHS)
    marks = [(here, f"these data {here:.2f}")]
    return line_chart("F1 by share of nocall", x, _unit("row-wise F1"), lines, marks=marks)


def reliability_chart(bins: Sequence[ScoreBin]) -> str:
    """The true share of the pairs of each bin by their mean score, over the diagonal."""
    points = [(one.mean_score, one.true_share) for one in bins]
    hints = [
        f"scores {one.low:g} to {one.high:g}: {one.pairs} pairs, mean score "
        f"{number(one.mean_score)}, true {number(one.true_share)}"
        for one in bins
    ]
    lines = [Line("observed", points, "a", hints), Line("ideal", [(0, 0), (1, 1)], "c")]
    x = Axis("mean score of the bin (0 to 1)", 0.0, 1.0, _TENTHS)
    notes = [((one.low + one.high) / 2, str(one.pairs)) for one in bins]
    y = _unit("share that is true")
    return line_chart("Reliability", x, y, lines, notes=notes, note_title="pairs")


def confusion_matrix(found: Confusions) -> str:
    """The species that call alone against what is heard then, the last column silence."""
    often = sorted(found.alone, key=lambda label: -found.alone[label])[:_WIDEST]
    rows = [label for label in found.alone if label in often]
    heard = {(pair.true, pair.heard): pair.rows for pair in found.pairs if pair.true in often}
    heard |= {(label, label): found.found[label] for label in rows}
    heard |= {(label, ""): found.silent[label] for label in rows}
    others = [pair.heard for pair in found.pairs if pair.true in often and pair.heard not in often]
    columns = [*rows, *list(dict.fromkeys(others))[: _WIDEST - len(rows)], ""]
    times = [[heard.get((true, other), 0) for other in columns] for true in rows]
    shares = [[n / found.alone[true] for n in line] for true, line in zip(rows, times, strict=True)]
    hints = [
        [
            f"{true} calls, {other or 'nothing'} is heard: {n} of {found.alone[true]} rows"
            for other, n in zip(columns, line, strict=True)
        ]
        for true, line in zip(rows, times, strict=True)
    ]
    names = [other or "nothing" for other in columns]
    title = "What is heard when one species calls alone"
    return matrix(
        title, rows, names, shares, hints, row_title="calls alone", column_title="is heard (%)"
    )


def snr_chart(snr: SnrRecall) -> str:
    """Recall at the middle of each bin, the events counted above."""
    low, high = snr.bins[0].low_db, snr.bins[-1].high_db
    middles = [(one.low_db + one.high_db) / 2 for one in snr.bins]
    points = [(x, one.recall) for x, one in zip(middles, snr.bins, strict=True)]
    hints = [
        f"{one.low_db:g} to {one.high_db:g} dB: {one.found} of {one.events} found"
        for one in snr.bins
    ]
    every = max(1, math.ceil(len(snr.bins) / 10))
    ticks = [one.low_db for one in snr.bins][::every] + ([high] if every == 1 else [])
    x = Axis("signal-to-noise ratio (dB)", low, high, ticks)
    notes = [(x_db, str(one.events)) for x_db, one in zip(middles, snr.bins, strict=True)]
    lines = [Line("found over the threshold", points, "a", hints)]
    y = _unit("recall (share of events)")
    return line_chart("Recall by SNR", x, y, lines, notes=notes[::every], note_title="events")


def trace_strips(one: Traces) -> str:
    """A strip for each species over the time of the soundscape."""
    chunks = len(one.species[0].scores)
    starts = [clock(place * one.chunk_s) for place in range(chunks)]
    rows = [
        Strip(
            trace.label,
            trace.scores,
            [
                f"{trace.label} from {start}: {number(score)}"
                for start, score in zip(starts, trace.scores, strict=True)
            ],
            trace.threshold,
            trace.truth,
            trace.known,
        )
        for trace in one.species
    ]
    end_s = chunks * one.chunk_s
    axis = Axis("seconds", 0.0, end_s, [tick for tick in range(0, 121, 20) if tick <= end_s])
    return strips(f"Scores in {one.file}", axis, rows)


def _unit(title: str) -> Axis:
    return Axis(title, 0.0, 1.0, _FIFTHS)
