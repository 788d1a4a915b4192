"""The paper's Table 2 on toys: which nets a row needs, how they are trained, and its figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recorder.detect.metrics import Scores
from recorder.errors import UsageError
from train.config import read_config
from train.dataset import read_dataset
from train.hand_labels import read_hand_labels
from train.reproduce import NETS, Setting, _silences, with_teachers, write_hand_style_labels
from train.table2 import ROWS, reproduce, write_table
from train.toys import write_toy_dataset


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    lab = tmp_path_factory.mktemp("lab")
    noise = write_toy_dataset(
        lab / "data", species=2, clips_per_species=5, soundscapes=2, soundscape_s=15.0, seed=1
    )
    return Setting(lab / "data", (noise,), lab / "out", seeds=1, folds=2, steps=1)


@pytest.fixture(scope="module")
def said(setting: Setting) -> list[str]:
    """What is told while two rows are made."""
    lines: list[str] = []
    reproduce(setting, ["step 2", "classifier, secondary"], lines.append)
    return lines


def test_a_row_trains_its_nets_and_those_that_teach_them(setting: Setting, said: list[str]) -> None:
    assert [line.split(":")[0] for line in said[:-1]] == [
        "classifier_seed1_fold0",
        "classifier_seed1_fold1",
        "segmenter_1_seed1_fold0",
        "segmenter_1_seed1_fold1",
        "pseudo_segmenter_1_seed1",
        "segmenter_2_seed1_fold0",
        "segmenter_2_seed1_fold1",
    ]
    content = torch.load(
        setting.out / "segmenter_2_seed1_fold1" / "checkpoint.pt", weights_only=True
    )
    assert content["config"]["pseudo_labels"] == "pseudo_segmenter_1_seed1"
    assert (content["config"]["step"], content["config"]["fold"]) == (2, 1)


@pytest.mark.usefixtures("said")
def test_the_table_has_the_rows_that_were_made_and_says_which_were_not(setting: Setting) -> None:
    lines = (setting.out / "table2.md").read_text("utf-8").splitlines()
    assert len(lines) == 2 + len(ROWS)
    made = [line.split("|")[1].strip() for line in lines[2:] if "not run" not in line]
    assert made == [
        "classifier, secondary labels",
        "segmenter step 1, white and pink noise",
        "segmenter step 2, white and pink noise",
    ]
    figures = json.loads((setting.out / "figures.json").read_text("utf-8"))
    assert set(figures) == set(made)
    step_2 = figures["segmenter step 2, white and pink noise"]["1"]
    assert 0.0 < step_2["row_f1"] <= 1.0
    assert f"| {step_2['row_f1']:.3f} |" in lines[2 + 6]


@pytest.mark.usefixtures("said")
def test_the_log_has_the_configuration_of_every_net_and_no_path_of_this_machine(
    setting: Setting,
) -> None:
    text = (setting.out / "experiments.jsonl").read_text("utf-8")
    entries = [json.loads(line) for line in text.splitlines()]
    assert [(one["net"], one["fold"]) for one in entries] == [
        (name, fold) for name in ("classifier", "segmenter_1", "segmenter_2") for fold in (0, 1)
    ]
    assert all(one["config"]["steps"] == 1 and one["figures"] for one in entries)
    assert str(setting.out.parent) not in text


@pytest.mark.usefixtures("said")
def test_the_same_command_trains_nothing_twice(setting: Setting) -> None:
    again: list[str] = []
    reproduce(setting, ["step 2", "classifier, secondary"], again.append)
    assert len(again) == 1


def test_words_that_are_in_no_row_are_refused(setting: Setting) -> None:
    with pytest.raises(UsageError, match="no row holds step 7; the rows are: classifier, sec"):
        reproduce(setting, ["step 7"], print)


@pytest.mark.usefixtures("said")
def test_every_net_of_the_table_has_a_valid_configuration(setting: Setting) -> None:
    from train import reproduce as nets

    for name, net in NETS.items():
        toml = setting.out / f"{name}.toml"
        toml.write_text(nets._toml(nets._table(setting, net, 1, 0)))
        config = read_config(toml, net.step)
        assert config.scenes.composed_share == 0.0
        assert config.segmentation_share == (0.5 if net.step > 1 else 0.0)
        assert bool(config.noise) == ("forest" in name)
        assert (config.n_fft == 1024) == name.endswith("1024")


def test_teachers_come_before_their_pupils() -> None:
    assert with_teachers(["segmenter_3"]) == ["segmenter_1", "segmenter_2", "segmenter_3"]
    assert with_teachers(["classifier_hand"]) == ["classifier_hand"]


def test_silences_are_stretches_of_three_seconds_without_a_call() -> None:
    active = np.zeros(1024, bool)  # 10 s
    active[[0, 300, 1000]] = True
    found = [(round(a, 2), round(b, 2)) for a, b in _silences(active)]
    assert found == [(2.94, 9.77)]
    assert list(_silences(np.ones(1024, bool))) == []


def test_hand_style_labels_are_a_table_that_trains(setting: Setting, tmp_path: Path) -> None:
    write_hand_style_labels(read_dataset(setting.dataset), tmp_path / "marks.csv")
    marks = read_hand_labels(tmp_path / "marks.csv")
    assert all(not one.voice_s and one.nocall_s for one in marks.values())


def test_intervals_and_directions_are_those_of_the_seeds(setting: Setting, tmp_path: Path) -> None:
    first, second = ROWS[0], ROWS[1]
    base = [Scores(f1, 0.0, ap, 0.0) for f1, ap in ((0.5, 0.3), (0.6, 0.3), (0.7, 0.3))]
    better = [Scores(one.row_f1 + 0.1, 0.0, one.cmap - 0.05, 0.0) for one in base]
    found = {
        first.title: dict(enumerate(base, 1)),
        second.title: dict(enumerate(better, 1)),
    }
    path = write_table(replace(setting, out=tmp_path), found)
    line = path.read_text("utf-8").splitlines()[3]
    assert "F1 +0.100, up in 3 of 3; cmAP -0.050, up in 0 of 3" in line
    # Student's t for two degrees of freedom is 4.303; 4.303 * 0.1 / sqrt(3) = 0.248.
    assert "| 0.700 +- 0.248 |" in line


def test_every_row_that_must_beat_another_names_one_that_exists() -> None:
    titles = [row.title for row in ROWS]
    assert len(set(titles)) == len(titles)
    for row in ROWS:
        assert row.better_than in {"", *titles}
        assert set(row.nets) <= set(NETS)


def test_rows_with_recorded_backgrounds_want_some(setting: Setting, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"segmenter_3_forest.* give --noise FOLDER"):
        reproduce(replace(setting, noise=(), out=tmp_path), ["5-s chunks"], print)


@pytest.mark.usefixtures("said")
def test_another_number_of_folds_is_another_table(setting: Setting) -> None:
    with pytest.raises(UsageError, match="has 2 folds, not 3"):
        reproduce(replace(setting, folds=3), ["step 2"], print)
