"""`birdrec train evaluate`: a scan's own files against the truth."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recorder.detect.metrics import evaluate
from recorder.errors import ConfigError
from train.clips.soundscapes import Soundscape, read_soundscapes, stacked
from train.invented.toys import write_toy_dataset
from train.judging.evaluate import Evaluation, bootstrap_intervals, evaluate_scan

Birdrec = Callable[..., subprocess.CompletedProcess[str]]
THRESHOLD = 0.5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys") / "data"
    write_toy_dataset(
        folder, species=3, clips_per_species=2, soundscapes=3, soundscape_s=60.0, seed=1
    )
    return folder


def _labels(dataset: Path) -> list[str]:
    rows = (dataset / "split_by_session.csv").read_text("utf-8").splitlines()[1:]
    return sorted({row.split(",")[1] for row in rows})


def _scan(
    dataset: Path, out: Path, scores: list[NDArray[np.float32]], *, bird: bool = False
) -> Path:
    """What `birdrec scan --scores` would leave, with the labels in another order."""
    labels = _labels(dataset)[::-1]
    (out / "scores").mkdir(parents=True)
    for one, values in zip(read_soundscapes(dataset, labels), scores, strict=True):
        more = {"bird": values.max(axis=1)} if bird else {}
        path = out / "scores" / f"{one.path.name}.npz"
        np.savez(path, scores=values[:, ::-1], labels=np.array(labels), **more)
    run = {"thresholds": dict.fromkeys(labels, THRESHOLD)}
    (out / "run.json").write_text(json.dumps(run))
    return out


def _noisy(dataset: Path, noise: float) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [
        np.clip(0.8 * one.truth + noise * rng.random(one.truth.shape), 0, 1).astype(np.float32)
        for one in read_soundscapes(dataset, _labels(dataset))
    ]


def test_perfect_scores_are_perfect_figures(dataset: Path, tmp_path: Path) -> None:
    result = evaluate_scan(_scan(dataset, tmp_path / "o", _noisy(dataset, 0.1)), dataset)
    assert list(vars(result.scores).values()) == [1.0] * 4
    assert set(result.intervals.values()) == {(1.0, 1.0)}
    assert set(result.row_f1_at_nocall_share.values()) == {1.0}
    assert 0.2 < result.nocall_share == result.nocall_row_f1 < 0.8
    assert result.bird_auc is None


def test_figures_are_those_of_the_metrics_whatever_the_order_of_the_labels(
    dataset: Path, tmp_path: Path
) -> None:
    scores = _noisy(dataset, 1.2)
    result = evaluate_scan(_scan(dataset, tmp_path / "o", scores, bird=True), dataset)
    truth, known = stacked(read_soundscapes(dataset, _labels(dataset)))
    expected = evaluate(np.concatenate(scores), truth, known, THRESHOLD)
    assert vars(result.scores) == pytest.approx(vars(expected))
    assert result.bird_auc is not None
    assert 0.5 < result.bird_auc < 1.0
    for name, (low, high) in result.intervals.items():
        assert low <= getattr(expected, name) <= high
        assert high - low > 0.005
    shares = list(result.row_f1_at_nocall_share.values())
    assert len(set(shares)) == 4
    assert set(result.species) == set(_labels(dataset))


def test_an_interval_covers_the_soundscapes_and_not_their_rows() -> None:
    """Two soundscapes, one all right and one all wrong: the interval goes from end to end."""
    truth = np.array([[True, False], [False, True], [False, False], [False, False]])
    sure = np.ones_like(truth)
    right = np.where(truth, 1.0, -1.0).astype(np.float32)
    both = [Soundscape(Path(name), truth, sure, ~truth.any(axis=1)) for name in "ab"]
    found = bootstrap_intervals(np.concatenate((right, -right)), both, draws=100)
    assert found["row_f1"] == (0.0, 1.0)
    assert found["macro_auc"] == (0.0, 1.0)
    alone = bootstrap_intervals(right, both[:1], draws=10)
    assert alone["cmap"] == (1.0, 1.0)


def test_a_soundscape_that_was_not_scanned_is_named(dataset: Path, tmp_path: Path) -> None:
    out = _scan(dataset, tmp_path / "o", _noisy(dataset, 0.1))
    gone = sorted((out / "scores").iterdir())[1]
    gone.unlink()
    with pytest.raises(ConfigError, match=gone.name.removesuffix(".npz")):
        evaluate_scan(out, dataset)


def test_the_command_prints_figures_or_json(
    dataset: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    out = _scan(dataset, tmp_path / "o", _noisy(dataset, 1.2), bird=True)
    done = birdrec("train", "evaluate", out, "--dataset", dataset)
    assert done.returncode == 0, done.stderr
    for part in ("row-wise F1", "95 %", "shares of nocall", "any bird", "toy_"):
        assert part in done.stdout
    content = json.loads(birdrec("train", "evaluate", out, "--dataset", dataset, "--json").stdout)
    result: Evaluation = evaluate_scan(out, dataset)
    assert content == json.loads(json.dumps(result.to_dict()))
