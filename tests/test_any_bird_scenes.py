"""The column of any bird: yes, no, and nobody knows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from scenery import (
    COMPOSED,
    WEAK,
    burst_recording,
    scene_maker,
    scene_of,
)

from train.scenes.maker import SceneMaker
from train.scenes.scene import ANY_BIRD, SceneConfig


def _birds(maker: SceneMaker, chunks: int, scenes_made: int = 40) -> NDArray[np.float32]:
    """[rows, (target, known, any species present, all species known)] of many scenes."""
    rows = []
    bird = maker._labels.index(ANY_BIRD)
    others = [column for column in range(len(maker._labels)) if column != bird]
    for seed in range(scenes_made):
        scene = scene_of(maker, seed, chunks)
        rows.append(
            np.stack(
                (
                    scene.target[:, bird],
                    scene.known[:, bird],
                    scene.target[:, others].max(axis=1),
                    scene.known[:, others].min(axis=1),
                ),
                axis=1,
            )
        )
    return np.concatenate(rows)


@pytest.mark.parametrize("config", [COMPOSED, WEAK], ids=["composed", "weak"])
def test_any_bird_is_there_where_a_species_is_and_absent_where_all_are(config: SceneConfig) -> None:
    recording = burst_recording("burst", 12.0, (4.0, 5.0), secondary=("second",))
    target, known, present, sure = _birds(scene_maker(config, recording, extra=("bird",)), 3).T
    np.testing.assert_array_equal(target, present)
    np.testing.assert_array_equal(known, (present > 0) | (sure > 0))
    assert (known == 0).any() or config is WEAK


def test_a_bird_of_no_class_is_any_bird_alone() -> None:
    stranger = burst_recording("bird", 12.0, (4.0, 5.0))
    maker = scene_maker(
        COMPOSED, burst_recording("burst", 12.0, (4.0, 5.0)), stranger, extra=("bird",)
    )
    target, _, present, _ = _birds(maker, 1, 80).T
    assert (target[present == 1] == 1).all()
    assert 0.1 < ((target == 1) & (present == 0)).mean() < 0.7


def test_a_frog_is_no_bird() -> None:
    frog = burst_recording("burst", 12.0, (4.0, 5.0))
    frogs = frozenset({"burst"})
    target, known, present, _ = _birds(
        scene_maker(COMPOSED, frog, extra=("bird",), not_birds=frogs), 1
    ).T
    assert present.any()
    assert not target.any()
    assert known.all()


def test_noise_that_may_hold_birds_leaves_any_bird_open_unless_one_was_put_there() -> None:
    recording = burst_recording("burst", 12.0, (4.0, 5.0))
    noisy = dataclasses.replace(COMPOSED, bed_chance=1.0)
    maker = scene_maker(noisy, recording, extra=("bird",), noise_may_hold_birds=True)
    target, known, present, _ = _birds(maker, 2).T
    np.testing.assert_array_equal(target, present)
    np.testing.assert_array_equal(known, present)
