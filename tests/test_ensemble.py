"""Several nets as one: the order of §2.5, pinned by numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toylab import TINY, write_lab

from recorder.errors import UsageError
from train.judging.ensemble import combined, score_soundscapes
from train.judging.evaluate import evaluate_scan
from train.learning.loop import fit
from train.nets.predict import average_known


def _nets(*kinds: str) -> list[Any]:
    return [SimpleNamespace(kind=kind) for kind in kinds]


def _one(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_both_kinds_weigh_seven_to_three_however_many_there_are() -> None:
    nets = _nets("segmenter", "segmenter", "classifier")
    found = combined(nets, [_one(0.6, 0.0), _one(0.8, 0.0), _one(0.5, 1.0)])
    segmenters = (0.36 + 0.64) / 2
    expected = [np.sqrt(0.7 * segmenters + 0.3 * 0.25), np.sqrt(0.3)]
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_one_kind_alone_is_its_own_power_average() -> None:
    found = combined(_nets("classifier", "classifier"), [_one(0.6), _one(0.8)])
    np.testing.assert_allclose(found[0], np.sqrt(0.5), atol=1e-6)
    np.testing.assert_allclose(combined(_nets("segmenter"), [_one(0.25)])[0], 0.25, atol=1e-6)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = write_lab(tmp_path_factory.mktemp("lab"), soundscapes=2)
    fit(TINY, lab / "toy.toml", lab / "segmenter")
    fit(replace(TINY, model="classifier"), lab / "toy.toml", lab / "classifier")
    return lab


def test_what_it_writes_is_evaluated_like_a_scan(lab: Path, tmp_path: Path) -> None:
    paths = [lab / kind / "checkpoint.pt" for kind in ("segmenter", "classifier")]
    said: list[str] = []
    threshold = score_soundscapes(paths, lab / "data", tmp_path, say=said.append)
    assert said == []
    result = evaluate_scan(tmp_path, lab / "data")
    assert set(result.thresholds.values()) == {threshold}
    assert set(result.thresholds) == {"toy_trill", "toy_upsweep"}
    with np.load(sorted((tmp_path / "scores").iterdir())[0]) as kept:
        assert kept["scores"].shape == (3, 2)
        assert kept["chunk_end_s"].tolist() == [5.0, 10.0, 15.0]


def test_nets_of_other_classes_are_refused(lab: Path, tmp_path: Path) -> None:
    other = fit(replace(TINY, labels_excluded=("toy_trill",)), lab / "toy.toml", tmp_path / "other")
    with pytest.raises(UsageError, match="knows other classes"):
        score_soundscapes(
            [lab / "segmenter" / "checkpoint.pt", other], lab / "data", tmp_path / "out", say=print
        )


def test_it_is_told_that_a_net_knows_what_the_soundscapes_are_made_of(
    lab: Path, tmp_path: Path
) -> None:
    everything = replace(TINY, train_on_val=True)
    path = fit(everything, lab / "toy.toml", tmp_path / "everything")
    said: list[str] = []
    score_soundscapes([path], lab / "data", tmp_path / "out", say=said.append)
    assert len(said) == 1
    assert "was trained on 2 clips that split_by_session.csv holds out" in said[0]
    # So is a net that comes from it, whose soundscapes would judge it while it trains.
    child = replace(TINY, init_from=str(path))
    told: list[str] = []
    fit(child, lab / "toy.toml", tmp_path / "child", say=told.append)
    assert any("the figures flatter" in line for line in told)


def test_who_does_not_know_a_class_has_no_vote() -> None:
    nan = float("nan")
    found = average_known([_one(0.6, nan, nan), _one(0.8, 0.5, nan)])
    np.testing.assert_allclose(found[0], [np.sqrt(0.5), 0.5, 0.0], atol=1e-6)
