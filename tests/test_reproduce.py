"""The paper's Table 2 on toys: which nets a row needs, how they are trained, and its figures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from recorder.detect.mel import SAMPLE_RATE_HZ
from recorder.detect.metrics import Scores
from recorder.errors import ConfigError, UsageError
from train.clips.dataset import Clip, Dataset, read_dataset
from train.clips.hand_labels import read_hand_labels
from train.config_file import read_config
from train.invented.toys import write_toy_dataset
from train.table2.hand_style import _silences, write_hand_style_labels
from train.table2.nets import NETS, with_teachers
from train.table2.rows import ROWS
from train.table2.setting import Setting, checkpoint_of, in_toml, table_of
from train.table2.table import reproduce, write_table


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
    assert len(lines) == 2 + sum(not row.large for row in ROWS)
    made = [line.split("|")[1].strip() for line in lines[2:] if "not run" not in line]
    assert made == [
        "classifier, secondary labels",
        "segmenter step 1, white and pink noise",
        "segmenter step 2, white and pink noise",
    ]
    figures = json.loads((setting.out / "figures.json").read_text("utf-8"))
    assert (figures["setting"]["steps"], figures["setting"]["folds"]) == (1, 2)
    assert set(figures["rows"]) == set(made)
    step_2 = figures["rows"]["segmenter step 2, white and pink noise"]["1"]
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


@pytest.mark.usefixtures("said")
def test_rows_that_have_figures_need_no_net_any_more(setting: Setting, tmp_path: Path) -> None:
    """The nets of a seed may be deleted: its figures stay in the table."""
    for name in ("figures.json", "experiments.jsonl"):
        shutil.copy(setting.out / name, tmp_path)
    elsewhere, again = replace(setting, out=tmp_path), list[str]()
    path = reproduce(elsewhere, ["step 2", "classifier, secondary"], again.append)
    assert again == [f"seed 1 is in {path}"]
    assert path.read_text("utf-8") == (setting.out / "table2.md").read_text("utf-8")
    with pytest.raises(UsageError, match=r"made with .*'steps': 1.* not .*'steps': 2"):
        reproduce(replace(elsewhere, steps=2), [], again.append)


@pytest.mark.usefixtures("said")
def test_two_trainings_beside_each_other_give_the_same_nets(
    setting: Setting, tmp_path: Path
) -> None:
    beside = replace(setting, out=tmp_path, jobs=2)
    lines: list[str] = []
    reproduce(beside, ["step 1"], lines.append)
    assert sorted(line.split(":")[0] for line in lines[:-1]) == [
        "segmenter_1_seed1_fold0",
        "segmenter_1_seed1_fold1",
    ]
    for fold in (0, 1):
        ours, theirs = (
            torch.load(checkpoint_of(one, "segmenter_1", 1, fold), weights_only=True)["average"]
            for one in (beside, setting)
        )
        for name, weight in theirs.items():
            # One thread rounds otherwise than two.
            torch.testing.assert_close(ours[name], weight, rtol=1e-2, atol=1e-3)


def test_a_row_is_written_as_soon_as_its_nets_are_trained(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a run which is stopped later has not trained them for nothing."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("train.table2.reproduce._teach", stopped)
    broken = replace(setting, out=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        reproduce(broken, ["step 2"], print)
    lines = (tmp_path / "table2.md").read_text("utf-8").splitlines()[2:]
    made = [line.split("|")[1].strip() for line in lines if "not run" not in line]
    assert made == ["segmenter step 1, white and pink noise"]


def test_words_that_are_in_no_row_are_refused(setting: Setting) -> None:
    with pytest.raises(UsageError, match=r"no row holds ResNe.*--large has more"):
        reproduce(setting, ["ResNe"], print)
    with pytest.raises(UsageError, match="no row holds step 7; the rows are: classifier, sec"):
        reproduce(setting, ["step 7"], print)


@pytest.mark.usefixtures("said")
def test_every_net_of_the_table_has_a_valid_configuration(setting: Setting) -> None:
    for name, net in NETS.items():
        toml = setting.out / f"{name}.toml"
        toml.write_text(in_toml(table_of(setting, net, 1, 0)))
        config = read_config(toml, net.step)
        assert config.scenes.composed_share == 0.67
        assert config.segmentation_share == (0.5 if net.step > 1 else 0.0)
        assert bool(config.noise) == ("forest" in name)
        assert (config.n_fft == 1024) == name.endswith("1024")


@pytest.mark.parametrize("name", ["segmenter_2", "segmenter_3_forest"])
def test_what_the_table_leaves_out_its_nets_leave_out(
    setting: Setting, tmp_path: Path, name: str
) -> None:
    less = replace(setting, labels_excluded=("toy_trill",), noise_excluded=("rain", "wind_0"))
    toml = tmp_path / "net.toml"
    toml.write_text(in_toml(table_of(less, NETS[name], 1, 0)))
    config = read_config(toml, NETS[name].step)
    assert config.labels_excluded == ("toy_trill",)
    assert config.noise_excluded == ("rain", "wind_0")


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


def test_hand_style_labels_leave_long_clips_alone(tmp_path: Path) -> None:
    call = 0.3 * np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ)
    for seconds in (15, 17):
        silence = np.zeros((seconds - 1) * SAMPLE_RATE_HZ)
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, np.concatenate([call, silence]).clip(-1, 1), SAMPLE_RATE_HZ)
    clips = tuple(Clip(tmp_path / name, "wren") for name in ("15.wav", "17.wav"))
    write_hand_style_labels(Dataset(tmp_path, clips), tmp_path / "marks.csv")
    assert list(read_hand_labels(tmp_path / "marks.csv")) == ["wren/15.wav"]


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


def test_a_row_that_beats_several_others_gets_a_verdict_for_each(
    setting: Setting, tmp_path: Path
) -> None:
    (row,) = (one for one in ROWS if len(one.better_than) > 1)
    found = {title: {1: Scores(0.5, 0.0, 0.3, 0.0)} for title in row.better_than[:-1]}
    found[row.better_than[-1]] = {1: Scores(0.7, 0.0, 0.3, 0.0)}
    found[row.title] = {1: Scores(0.6, 0.0, 0.4, 0.0)}
    path = write_table(replace(setting, out=tmp_path), found)
    lines = path.read_text("utf-8").splitlines()
    verdicts = lines[2 + ROWS.index(row)].rstrip(" |").split("|")[-1].strip().split("<br>")
    *better, last = row.better_than
    up = "F1 +0.100, up in 1 of 1; cmAP +0.100, up in 1 of 1"
    down = "F1 -0.100, up in 0 of 1; cmAP +0.100, up in 1 of 1"
    assert verdicts == [*(f"{title}: {up}" for title in better), f"{last}: {down}"]


def test_every_row_that_must_beat_another_names_one_that_exists() -> None:
    titles = [row.title for row in ROWS]
    assert len(set(titles)) == len(titles)
    for row in ROWS:
        assert set(row.better_than) <= set(titles)
        assert set(row.nets) <= set(NETS)


def test_rows_with_recorded_backgrounds_want_some(setting: Setting, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"segmenter_3_forest.* give --noise FOLDER"):
        reproduce(replace(setting, noise=(), out=tmp_path), ["5-s chunks"], print)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"noise_excluded": ("rian",)}, "noise_excluded: no background has 'rian'"),
        ({"labels_excluded": ("toy_tril",)}, "--exclude-label.* did you mean 'toy_trill'"),
        ({"dataset": Path("nowhere")}, "nowhere"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(
    setting: Setting, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    """The next command, put right, would be refused as another table's."""
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=words):
        reproduce(replace(setting, out=out, **change), ["5-s chunks"], print)
    assert not out.exists()


@pytest.mark.usefixtures("said")
def test_another_number_of_folds_is_another_table(setting: Setting) -> None:
    three = replace(setting, folds=3)
    with pytest.raises(UsageError, match=r"made with .*'folds': 2.*, not .*'folds': 3"):
        reproduce(three, ["step 2"], print)
    # Before any row has figures there is the table of folds alone.
    (setting.out / "figures.json").unlink()
    with pytest.raises(UsageError, match="has 2 folds, not 3"):
        reproduce(three, ["step 2"], print)


@pytest.mark.usefixtures("said")
def test_other_backgrounds_are_another_table(setting: Setting, tmp_path: Path) -> None:
    """Refused from the start, before anything is scored: nets that are finished tell nothing of
    it."""
    other = tmp_path / "other_noise"
    other.mkdir()
    with pytest.raises(UsageError, match=r"made with .*'noise'.*other_noise"):
        reproduce(replace(setting, noise=(other,)), ["step 2"], print)


def test_rows_without_recorded_backgrounds_hear_none(setting: Setting) -> None:
    """Neither files nor the own noise of other recordings."""
    for name in ("classifier", "classifier_hand", "segmenter_1", "segmenter_2", "segmenter_3"):
        scenes = table_of(setting, NETS[name], 1, 0)["scenes"]
        assert scenes["bed_chance"] == scenes["own_noise_chance"] == 0.0
    assert not table_of(setting, NETS["segmenter_1"], 1, 0)["scenes"]["loud_crops"]


def test_step_3_goes_on_from_the_weights_of_step_2_of_its_fold(setting: Setting) -> None:
    table = table_of(setting, NETS["segmenter_3_forest"], 2, 1)
    assert table["init_from"] == "segmenter_2_seed2_fold1/checkpoint.pt"
    assert "init_from" not in table_of(setting, NETS["segmenter_2"], 2, 1)
