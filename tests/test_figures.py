"""The numbers of a report's figures, worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recorder.detect.metrics import THRESHOLDS, best_threshold, pooled_f1, row_wise_f1
from train.clips.soundscapes import Soundscape, stacked
from train.judging.evaluate import LabelledScan
from train.judging.figures import Confusion, confusions, nocall_curve, reliability, traces
from train.judging.snr import EVENTS, Event, heard_in, recall_by_snr
from train.judging.thresholds import counts, suggest_threshold, threshold_curve

ANT, BEE, CAT = "ant", "bee", "cat"
Table = list[list[float]]


def _scan(*soundscapes: tuple[Table, list[str]], labels: str = "ant bee cat") -> LabelledScan:
    """Of each soundscape its scores, and for each row the species that call, `?` for unknown."""
    names = labels.split()
    files, each = [], []
    for number, (scores, rows) in enumerate(soundscapes):
        truth = np.array([[name in row.split() for name in names] for row in rows])
        unknown = np.array([[f"?{name}" in row.split() for name in names] for row in rows])
        files.append(Soundscape(Path(f"{number}.ogg"), truth, ~unknown, ~truth.any(axis=1)))
        each.append(np.array(scores, np.float32))
    return LabelledScan(names, dict.fromkeys(names, 0.5), files, each, None, "m")


@pytest.fixture
def scan() -> LabelledScan:
    """Row-wise F1 of the rows: 1, 2/3, 1, 0 and 1, 0, 1, 1."""
    first = [[0.95, 0.15, 0.15], [0.85, 0.25, 0.15], [0.15, 0.15, 0.15], [0.35, 0.15, 0.75]]
    second = [[0.25, 0.65, 0.15], [0.55, 0.15, 0.15], [0.05, 0.05, 0.05], [0.05, 0.05, 0.05]]
    return _scan(
        (first, [ANT, f"{ANT} {BEE}", "", ANT]),
        (second, [BEE, "", "", ""]),
    )


def _random_scan() -> LabelledScan:
    rng = np.random.default_rng(3)
    soundscapes, each = [], []
    for number, rows in enumerate((30, 50, 10, 40)):
        truth = rng.random((rows, 3)) < 0.2
        known = truth | (rng.random((rows, 3)) < 0.9)
        scores = rng.random((rows, 3)) * np.where(truth, 1.0, 0.5 + 0.1 * number)
        soundscapes.append(Soundscape(Path(f"{number}.ogg"), truth, known, ~truth.any(axis=1)))
        each.append(scores.astype(np.float32))
    return LabelledScan(["a", "b", "c"], dict.fromkeys("abc", 0.5), soundscapes, each, None, "m")


def test_the_curve_is_that_of_the_metrics_at_the_thresholds_of_best_threshold() -> None:
    scan = _random_scan()
    truth, known = stacked(scan.soundscapes)
    curve = threshold_curve(counts(scan))
    assert curve.thresholds == THRESHOLDS.tolist()
    for at in (0, 40, 100, 176):
        predicted = scan.scores >= THRESHOLDS[at]
        assert curve.row_f1[at] == pytest.approx(row_wise_f1(predicted, truth, known))
        assert curve.pooled_f1[at] == pytest.approx(pooled_f1(predicted, truth, known))


def test_each_draw_has_the_threshold_that_best_threshold_finds_for_it() -> None:
    scan = _random_scan()
    rng = np.random.default_rng(2)
    expected = []
    for _ in range(20):
        drawn = rng.integers(4, size=4)
        truth, known = stacked([scan.soundscapes[one] for one in drawn])
        scores: NDArray[np.float32] = np.concatenate([scan.each[one] for one in drawn])
        expected.append(best_threshold(scores, truth, known))
    found = suggest_threshold(counts(scan), draws=20, seed=2)
    assert found.draws == expected
    assert len(set(expected)) > 3
    # The lower of the two in the middle: half-way between candidates there is no figure.
    assert sorted(expected)[9] < sorted(expected)[10]
    assert found.threshold == sorted(expected)[9]


def test_the_suggested_threshold_of_two_soundscapes_that_disagree() -> None:
    """Alone, a wants more than .1 and b more than .3; together, and so in most draws, .1."""
    a = ([[0.3], [0.1]], [ANT, ""])
    b = ([[0.3], [0.8]], ["", ANT])
    found = suggest_threshold(counts(_scan(a, b, labels=ANT)), draws=200)
    assert set(found.draws) == {0.105, 0.305}
    assert (found.threshold, found.threshold_interval) == (0.105, (0.105, 0.305))
    assert (found.row_f1, found.row_f1_interval) == (0.75, (0.5, 1.0))
    assert found.pooled_f1 == pytest.approx(0.8)
    assert found.pooled_f1_interval == pytest.approx((2 / 3, 1.0))


def test_f1_by_the_share_of_nocall(scan: LabelledScan) -> None:
    curve = nocall_curve(scan)
    assert (curve.shares[0], curve.shares[5], curve.shares[-1]) == (0.0, 0.25, 1.0)
    assert curve.row_f1[0] == pytest.approx(2 / 3)
    assert curve.row_f1[5] == pytest.approx(0.75 * 2 / 3 + 0.25 * 0.75)
    assert curve.row_f1[-1] == pytest.approx(0.75)
    assert curve.always_nocall == curve.shares
    assert curve.share_here == 0.5
    # Above 8/11 silence is better: there both score 8/11.
    assert curve.beaten_from == pytest.approx(8 / 11)


def test_a_model_without_false_alarms_is_never_beaten_by_silence() -> None:
    assert nocall_curve(_scan(([[0.9], [0.1]], [ANT, ""]), labels=ANT)).beaten_from == 1.0


def test_without_silent_rows_there_is_no_curve() -> None:
    curve = nocall_curve(_scan(([[0.9], [0.1]], [ANT, ANT]), labels=ANT))
    assert all(math.isnan(value) for value in [*curve.row_f1, curve.beaten_from])


def test_reliability_counts_pairs_and_leaves_an_empty_bin_undefined(scan: LabelledScan) -> None:
    bins = reliability(scan)
    assert [one.pairs for one in bins] == [6, 10, 2, 1, 0, 1, 1, 1, 1, 1]
    shares = [one.true_share for one in bins]
    assert shares[:4] == [0.0, 0.0, 0.5, 1.0]
    assert shares[5:] == [0.0, 1.0, 0.0, 1.0, 1.0]
    assert math.isnan(bins[4].true_share)
    assert math.isnan(bins[4].mean_score)
    assert bins[2].mean_score == pytest.approx(0.25)


def test_reliability_is_of_known_pairs_and_a_score_of_1_has_a_bin() -> None:
    bins = reliability(_scan(([[1.0, 0.98, 0.0]], [f"{ANT} ?{BEE}"])))
    assert [one.pairs for one in bins] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert bins[-1].mean_score == 1.0


def test_confusions_are_of_rows_with_one_species(scan: LabelledScan) -> None:
    found = confusions(scan)
    assert found.alone == {ANT: 2, BEE: 1}
    assert found.found == {ANT: 1, BEE: 1}
    assert found.silent == {ANT: 0, BEE: 0}
    assert found.pairs == [Confusion(ANT, CAT, 1)]


def test_the_most_frequent_confusion_comes_first_and_an_unknown_one_does_not_count() -> None:
    scores = [[0.1, 0.9, 0.6], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.9, 0.9, 0.1], [0.1, 0.2, 0.1]]
    found = confusions(_scan((scores, [ANT, ANT, f"{ANT} ?{CAT}", f"{ANT} {BEE}", ANT])))
    assert found.alone == {ANT: 4}
    assert found.silent == {ANT: 2}
    assert found.pairs == [Confusion(ANT, BEE, 2), Confusion(ANT, CAT, 1)]


def test_traces_show_what_calls_in_order_and_then_the_highest_peaks() -> None:
    scores = [[0.2, 0.3, 0.4]] * 23 + [[0.6, 0.9, 0.7]] + [[0.1, 0.99, 0.1]]
    rows = ["", CAT] + [f"?{BEE}"] * 21 + [ANT] + [BEE]
    (one,) = traces(_scan((scores, rows)))
    assert [trace.label for trace in one.species] == [CAT, ANT, BEE]
    assert [len(trace.scores) for trace in one.species] == [24] * 3  # two minutes
    assert one.species[2].scores[-2:] == [0.3, 0.9]
    assert one.species[0].truth[:3] == [False, True, False]
    assert one.species[2].known[:3] == [True, True, False]


def test_no_more_than_ten_traces_unless_more_species_call() -> None:
    labels = [f"s{number:02d}" for number in range(14)]
    scores = [[0.01 * number for number in range(14)]]
    (quiet,) = traces(_scan((scores, ["s00"]), labels=" ".join(labels)))
    assert [trace.label for trace in quiet.species] == ["s00", *labels[:4:-1]]
    (busy,) = traces(_scan((scores, [" ".join(labels[:12])]), labels=" ".join(labels)))
    assert [trace.label for trace in busy.species] == labels[:12]


@pytest.mark.parametrize(
    ("start_s", "end_s", "chunks"),
    [
        (0.5, 1.5, [0]),
        (4.9, 5.1, [0, 1]),  # half of it in each
        (4.9, 5.2, [1]),
        (4.8, 6.8, [1]),
        (4.75, 6.75, [0, 1]),
        (1.0, 12.0, [0, 1, 2]),
        (19.9, 21.0, []),
        (25.0, 26.0, []),
    ],
)
def test_an_event_is_heard_in_a_chunk_that_holds_enough_of_it(
    start_s: float, end_s: float, chunks: list[int]
) -> None:
    assert heard_in(Event("f", start_s, end_s, ANT, 0.0), 4) == chunks


def test_recall_by_snr(scan: LabelledScan, tmp_path: Path) -> None:
    events = [
        "0.ogg,0.5,1.5,ant,1.0",  # found
        "0.ogg,4.9,5.4,ant,2.9",  # found in the second chunk
        "0.ogg,9.9,10.1,bee,3.0",  # missed
        "1.ogg,9.8,11.8,ant,4",  # 0.2 s in the chunk that has it: missed
        "1.ogg,4.85,5.1,bee,-1",  # found, most of it is in the first chunk
        "1.ogg,0.5,1.5,bee,13.5",  # found
        "1.ogg,0.5,1.5,wren,13.5",  # the model does not know it
        "9.ogg,0.5,1.5,ant,13.5",  # no such soundscape
        "1.ogg,0.5,1.5,ant,",  # no SNR
        "1.ogg,21.0,21.5,ant,5",  # behind the last label
    ]
    text = "\n".join(["file,start_s,end_s,label,snr_db", *events])
    (tmp_path / EVENTS).write_text(text, "utf-8")
    found = recall_by_snr(scan, tmp_path)
    assert (found.missing, found.left_out) == ("", 4)
    assert [one.low_db for one in found.bins] == [-3.0, 0.0, 3.0, 6.0, 9.0, 12.0]
    assert [one.high_db for one in found.bins] == [0.0, 3.0, 6.0, 9.0, 12.0, 15.0]
    assert [(one.events, one.found) for one in found.bins] == [
        (1, 1),
        (2, 2),
        (2, 0),
        (0, 0),
        (0, 0),
        (1, 1),
    ]
    assert [one.recall for one in found.bins if one.events] == [1.0, 1.0, 0.0, 1.0]
    assert all(math.isnan(one.recall) for one in found.bins if not one.events)


def test_without_events_or_their_snr_the_reason_is_told(scan: LabelledScan, tmp_path: Path) -> None:
    assert EVENTS in recall_by_snr(scan, tmp_path).missing
    (tmp_path / EVENTS).write_text("file,start_s,end_s,label\n0.ogg,0,1,ant\n", "utf-8")
    assert recall_by_snr(scan, tmp_path).missing.endswith("has no column snr_db")
    table = "file,start_s,end_s,label,snr_db\n0.ogg,0,1,wren,3\n"
    (tmp_path / EVENTS).write_text(table, "utf-8")
    found = recall_by_snr(scan, tmp_path)
    assert (found.bins, found.left_out) == ([], 1)
    assert "no event of the model's species" in found.missing
