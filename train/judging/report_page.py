"""The page of a report: one HTML file without script or network, for a desk and for a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recorder.report.html import html_page, say, scroll, section, table
from recorder.report.svg import number, words
from train.judging.figures import Traces
from train.judging.report_charts import (
    confusion_matrix,
    nocall_chart,
    reliability_chart,
    snr_chart,
    species_bars,
    threshold_chart,
    trace_strips,
)
from train.judging.report_data import Report

_PAIRS = 12

_FIGURES = {
    "row_f1": "row-wise F1",
    "pooled_f1": "pooled F1",
    "cmap": "cmAP",
    "macro_auc": "macro AUC",
}


def page(report: Report) -> str:
    """The whole file; every name in it is escaped."""
    title = f"How well the model decides {report.soundscapes} labelled soundscapes"
    body = "\n".join(part(report) for part in _SECTIONS)
    return html_page(
        title,
        f"{_introduction(report)}\n{body}\n"
        '<p class="soft">Made by birdrec train evaluate. Every number of every figure is in '
        "report.json beside this page.</p>",
    )


def _introduction(report: Report) -> str:
    evaluation = report.evaluation
    return say(
        f"Model {report.model}. {report.rows} rows of 5 s, {100 * evaluation.nocall_share:.0f} % "
        f"of them nocall; {len(evaluation.thresholds)} species, {len(evaluation.species)} of which "
        "call. Pairs of row and species where nobody knows count neither way."
    )


def _figures(report: Report) -> str:
    evaluation = report.evaluation
    rows = [
        [name, number(getattr(evaluation.scores, key), 3), _range(evaluation.intervals[key])]
        for key, name in _FIGURES.items()
    ]
    rows.append(["always nocall", number(evaluation.nocall_row_f1, 3), ""])
    if evaluation.bird_auc is not None:
        rows.append(["any bird", number(evaluation.bird_auc, 3), ""])
    lone = "" if report.soundscapes > 1 else say("One soundscape: its intervals say nothing.")
    return (
        "<h2>How good it is: the four figures</h2>"
        + table(("", "value", "95 % interval"), rows, numbers=(1, 2))
        + say(
            "Row-wise F1: mean over the rows, nocall is a token. Pooled: over all pairs of row "
            "and species. cmAP, macro AUC: means over the species. Always nocall: the row-wise "
            "F1 of silence, the floor. Any bird: ROC AUC of call against nocall. Intervals: a "
            "bootstrap that draws whole soundscapes with replacement."
        )
        + lone
        + _suggestion(report)
    )


def _suggestion(report: Report) -> str:
    best = report.suggested_threshold
    used = sorted(set(report.evaluation.thresholds.values()))
    in_use = f"{used[0]:.3f}" if len(used) == 1 else f"{used[0]:.3f}–{used[-1]:.3f}"
    rows = [
        ["suggested threshold", number(best.threshold, 3), _range(best.threshold_interval)],
        ["row-wise F1 at it", number(best.row_f1, 3), _range(best.row_f1_interval)],
        ["pooled F1 at it", number(best.pooled_f1, 3), _range(best.pooled_f1_interval)],
        ["threshold in use", in_use, ""],
    ]
    return (
        "<h3>One threshold for all species</h3>"
        + table(("", "value", "95 % interval"), rows, numbers=(1, 2))
        + say(
            f"Suggested: the median over {len(best.draws)} such draws, of each the threshold "
            "with the highest mean of row-wise and pooled F1. It is judged by the rows that "
            "chose it, which flatters a little."
        )
    )


def _species(report: Report) -> str:
    title = "Which species are ranked well: average precision"
    if not report.evaluation.species:
        return section(title, "No species of the model calls in these soundscapes.")
    said = (
        "1: every row with the species scores higher than every row without. A species with few "
        "true rows may be there by luck. AUC: the chance that a row with it outranks one without."
    )
    return section(title, said, species_bars(report.evaluation.species))


def _threshold(report: Report) -> str:
    said = (
        "One threshold for every species. A wide top means that the choice matters little; a "
        "steep flank beside the threshold in use, that it is risky."
    )
    if len(set(report.evaluation.thresholds.values())) > 1:
        said += (
            " The model has a threshold for each species: the lowest and the highest are marked."
        )
    return section("Where the threshold should lie: F1 by threshold", said, threshold_chart(report))


def _nocall(report: Report) -> str:
    title = "Is it better than silence? Row-wise F1 by share of nocall"
    curve = report.nocall_curve
    if any(math.isnan(value) for value in curve.row_f1):
        return section(title, "Needs rows with a call and rows without: here is only one kind.")
    said = (
        "The same decisions on a site that is more silent (right) or less (left). Saying nocall "
        "everywhere would score "
    )
    better = curve.beaten_from < 1.0
    said += f"better above a share of {curve.beaten_from:.2f}." if better else "better nowhere."
    return section(title, said, nocall_chart(curve))


def _reliability(report: Report) -> str:
    said = (
        "On the dotted line a score of 0.7 is right seven times in ten; above it the model is "
        "too modest, below it too sure. Bins with few pairs say little."
    )
    title = "May a score be read as a probability? True share by score"
    return section(title, said, reliability_chart(report.reliability))


def _confusions(report: Report) -> str:
    title = "What is taken for what: rows in which one species calls alone"
    found = report.confusions
    if not found.alone:
        return section(title, "There is no row with exactly one species.")
    said = (
        f"{sum(found.alone.values())} rows. Left: the species that calls. Top: what is over its "
        "threshold there, in per cent of these rows; “nothing” is silence. Rows may add up to more "
        "than 100, since several species can be heard at once."
    )
    pairs = [
        [f"{pair.rows} of {found.alone[pair.true]}", pair.true, pair.heard]
        for pair in found.pairs[:_PAIRS]
    ]
    listed = (
        table(("rows", "calls alone", "is heard"), pairs, numbers=(0,))
        if pairs
        else say("No other species is over its threshold in any of them.")
    )
    return section(title, said, confusion_matrix(found)) + listed


def _snr(report: Report) -> str:
    title = "How faint a call is still found: recall by signal-to-noise ratio"
    snr = report.snr_recall
    if snr.missing:
        return section(title, f"Left out: {snr.missing} in the data set.")
    said = (
        "Found: a 5-s chunk that holds at least 0.25 s of the call, or half of it, has the species "
        "over its threshold. The row above the plot counts the events. A few recordings fill a "
        "bin: a step between two may be their species, and not the noise."
    )
    if snr.left_out:
        said += (
            f" {snr.left_out} events are left out: of other species or files, or without an SNR."
        )
    return section(title, said, snr_chart(snr))


def _traces(report: Report) -> str:
    said = (
        "Bars: the score of each 5 s, each strip from 0 to 1. Dashed: the threshold. Below the "
        "strip, filled: the species truly calls; outlined: it may. Species that call come first "
        "(bold), then the highest other scores."
    )
    return section("The first two minutes of each soundscape", said) + _strips(report.traces)


def _pseudo_traces(report: Report) -> str:
    if not report.pseudo_traces:
        return ""
    said = (
        "Bars: the score of each 0.3 s, each strip from 0 to 1, by nets that never saw the clip. "
        "Dashed: from here on a token is sure. Bold and filled below: the clip's own species; "
        "outlined: one that its metadata name in the background. Below it the highest others."
    )
    return section("Pseudo labels along some clips", said) + _strips(report.pseudo_traces)


def _strips(traces: Sequence[Traces]) -> str:
    return "".join(f"<h3>{words(one.file)}</h3>{scroll(trace_strips(one))}" for one in traces)


_SECTIONS = (
    _figures,
    _species,
    _threshold,
    _nocall,
    _reliability,
    _confusions,
    _snr,
    _traces,
    _pseudo_traces,
)


def _range(ends: tuple[float, float]) -> str:
    return "–" if math.isnan(ends[0]) else f"{number(ends[0], 3)}–{number(ends[1], 3)}"
