"""The rows of the paper's Table 2: which nets, and what is done with what they say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A row of the table: which nets, and what is done with what they say."""

    title: str
    nets: tuple[str, ...]
    sliding: bool = False
    """§2.5(3)."""
    averaged: bool = False
    """§2.5(2), over the folds; without it the figures of the folds' nets are averaged."""
    corrected: bool = False
    """§2.5(1), for classifiers."""
    alone: bool = False
    """5-s chunks one by one instead of the whole record."""
    better_than: tuple[str, ...] = ()
    """The titles of the rows that it beats in the paper."""
    large: bool = False
    """Of nets of the paper's own size, for a GPU."""
    paper_f1: float | None = None
    """Of the paper's local cross-validation, where it has this row."""


_FIRST = "classifier, secondary labels"
_HAND = "+ hand-style nocall labels, clips up to 60 s, smart crop, PP2"
_QUIET = "segmenter step 3, white and pink noise"
_FOREST = "segmenter step 3, recorded backgrounds, + sliding window"
_SOUNDSCAPES = "segmenter step 3, silent stretches of soundscapes"
_COARSE = "segmenter step 3, recorded backgrounds, n_fft 1024"
_WHOLE = "the same, whole record"

ROWS = (
    Row(_FIRST, ("classifier",), paper_f1=0.7138),
    Row(_HAND, ("classifier_hand",), averaged=True, better_than=(_FIRST,), paper_f1=0.7316),
    Row(
        "the same, PP2 and 3",
        ("classifier_hand",),
        sliding=True,
        averaged=True,
        better_than=(_HAND,),
        paper_f1=0.7393,
    ),
    Row(
        "the same, PP1 and 2",
        ("classifier_hand",),
        averaged=True,
        corrected=True,
        better_than=(_HAND,),
        paper_f1=0.7531,
    ),
    Row(
        "the same, all PP",
        ("classifier_hand",),
        sliding=True,
        averaged=True,
        corrected=True,
        better_than=("the same, PP1 and 2",),
        paper_f1=0.7611,
    ),
    Row("segmenter step 1, white and pink noise", ("segmenter_1",), sliding=True),
    Row(
        "segmenter step 2, white and pink noise",
        ("segmenter_2",),
        sliding=True,
        better_than=("segmenter step 1, white and pink noise",),
    ),
    Row(
        _QUIET,
        ("segmenter_3",),
        sliding=True,
        better_than=("segmenter step 2, white and pink noise",),
        paper_f1=0.7064,
    ),
    Row(
        _SOUNDSCAPES,
        ("segmenter_3_soundscapes",),
        sliding=True,
        better_than=(_QUIET,),
        paper_f1=0.7778,
    ),
    Row("segmenter step 3, recorded backgrounds, 5-s chunks", ("segmenter_3_forest",), alone=True,
        paper_f1=0.7499),
    Row(_WHOLE, ("segmenter_3_forest",),
        better_than=("segmenter step 3, recorded backgrounds, 5-s chunks",), paper_f1=0.7654),
    Row(
        _FOREST,
        ("segmenter_3_forest",),
        sliding=True,
        better_than=(_WHOLE, _SOUNDSCAPES, _COARSE),
        paper_f1=0.7790,
    ),
    Row(
        _COARSE,
        ("segmenter_3_forest_1024",),
        sliding=True,
    ),
    Row(
        "segmenter step 3, recorded backgrounds, ResNeXt50",
        ("segmenter_3_forest_resnext50",),
        sliding=True,
        large=True,
    ),
    Row(
        "classifier, ResNeSt50, all PP",
        ("classifier_resnest50",),
        sliding=True,
        averaged=True,
        corrected=True,
        large=True,
    ),
    Row(
        "both: segmenter 0.7, classifier 0.3",
        ("segmenter_3_forest", "classifier_hand"),
        sliding=True,
        averaged=True,
        corrected=True,
        better_than=(_FOREST,),
        paper_f1=0.8004,
    ),
)  # fmt: skip
