"""The nets of the paper's Table 2, and who learns from whom. What the paper leaves open is written
here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Table = dict[str, Any]

HAND_STYLE = "hand_labels.csv"


@dataclass(frozen=True)
class Net:
    """How one of the nets is trained."""

    changes: Table = field(default_factory=dict)
    """Of the common configuration."""
    step: int = 1
    taught_by: str = ""
    """The net whose pseudo labels it learns from, and in step 3 whose weights it starts with."""


_CLASSIFIER = {
    "model": "classifier",
    "optimizer": "adamw",
    "average_decay": 0.99,
    "weight_decay": 0.02,
}
_QUIET = {"bed_chance": 0.0, "own_noise_chance": 0.0}
"""White and pink noise alone."""
_ANYWHERE = {"edge_crop_share": 0.0, "loud_crops": False}
"""Crops from anywhere, whatever is in them (§3)."""

NETS: dict[str, Net] = {
    # §3: all clips, secondary labels as they are.
    "classifier": Net({**_CLASSIFIER, "scenes": {**_QUIET, **_ANYWHERE}}),
    # §2.2: smart crop, clips of at most 60 s, stretches marked as nocall.
    "classifier_hand": Net(
        {**_CLASSIFIER, "max_clip_s": 60.0, "hand_labels": HAND_STYLE, "scenes": _QUIET}
    ),
    "segmenter_1": Net({"scenes": {**_QUIET, **_ANYWHERE}}),
    "segmenter_2": Net({"scenes": _QUIET}, 2, "segmenter_1"),
    "segmenter_3": Net({"scenes": _QUIET}, 3, "segmenter_2"),
    "segmenter_3_soundscapes": Net({"soundscape_noise": True}, 3, "segmenter_2"),
    "segmenter_3_forest": Net({"noise": True}, 3, "segmenter_2"),
    "segmenter_3_forest_1024": Net({"noise": True, "n_fft": 1024}, 3, "segmenter_2"),
    # The paper's own sizes. Without ImageNet weights their normalisation must learn.
    "segmenter_3_forest_resnext50": Net(
        {
            "noise": True,
            "backbone": "resnext50_32x4d",
            "width": 512,
            "batch_norm": True,
            "init_from": "",
        },
        3,
        "segmenter_2",
    ),
    "classifier_resnest50": Net(
        {
            **_CLASSIFIER,
            "backbone": "resnest50d",
            "batch_norm": True,
            "max_clip_s": 60.0,
            "hand_labels": HAND_STYLE,
            "scenes": _QUIET,
        }
    ),
}
"""`noise: True` stands for the folders of recorded backgrounds that were given."""


def generation(name: str) -> int:
    """How many nets stand before it in its line of teachers."""
    taught_by = NETS[name].taught_by
    return 1 + generation(taught_by) if taught_by else 0


def with_teachers(wanted: Iterable[str]) -> list[str]:
    """These nets and all that they learn from, in the order of NETS: teachers come first."""
    needed = set(wanted)
    for name in reversed(NETS):
        if name in needed and NETS[name].taught_by:
            needed.add(NETS[name].taught_by)
    return [name for name in NETS if name in needed]
