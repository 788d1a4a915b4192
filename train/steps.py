"""The paper's three steps, train - segment - shift (§2.4), as recipes over one training loop.

Each returns what differs from the configuration itself; a table [step_2] or [step_3] in it has
the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from train.config import STEPS, TrainConfig

Changes = dict[str, Any]

_NOISIER_DB = 6.0


def weak(_: TrainConfig) -> Changes:
    """Step 1: the clip's label on crops of it, and the loss of whole records (§2.3)."""
    return {"step": 1}


def segment(_: TrainConfig) -> Changes:
    """Step 2: crops that hold the call by the pseudo labels of step 1, and half of the loss for
    the tokens of which these are sure."""
    return {"step": 2, "segmentation_share": 0.5}


def shift(config: TrainConfig) -> Changes:
    """Step 3: the same with more and louder backgrounds and half the rates, so that the net moves
    from clips to soundscapes."""
    scenes = config.scenes
    return {
        "step": 3,
        "segmentation_share": 0.5,
        "learning_rate": config.learning_rate / 2,
        "head_learning_rate": config.head_learning_rate / 2,
        "scenes": {
            "bed_chance": 1.0,
            "snr_db": [end - _NOISIER_DB for end in scenes.snr_db],
            "weak_snr_db": [end - _NOISIER_DB for end in scenes.weak_snr_db],
        },
    }


RECIPES: dict[int, Callable[[TrainConfig], Changes]] = dict(
    zip(STEPS, (weak, segment, shift), strict=True)
)
