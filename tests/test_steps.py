"""The three steps as recipes: what differs, and who has the last word."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.errors import ConfigError
from train.config_file import read_config

BASE = """
name = "birds"
dataset = "data"
learning_rate = 0.001
head_learning_rate = 0.01
[scenes]
snr_db = [0.0, 20.0]
[step_3]
steps = 700
[step_3.scenes]
bed_chance = 0.8
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "deep" / "birds.toml"
    file.parent.mkdir()
    file.write_text(BASE)
    return file


def test_step_1_is_the_configuration_itself(path: Path) -> None:
    first = read_config(path)
    assert (first.step, first.segmentation_share, first.steps) == (1, 0.0, 3000)
    assert first.learning_rate == 0.001


def test_step_2_shares_the_loss_and_leaves_the_rates(path: Path) -> None:
    second = read_config(path, 2)
    assert (second.step, second.segmentation_share) == (2, 0.5)
    assert (second.learning_rate, second.head_learning_rate) == (0.001, 0.01)
    assert second.scenes == read_config(path).scenes


def test_step_3_halves_the_rates_and_is_noisier(path: Path) -> None:
    third = read_config(path, 3)
    assert (third.learning_rate, third.head_learning_rate) == (0.0005, 0.005)
    assert third.scenes.snr_db == (-6.0, 14.0)
    assert third.segmentation_share == 0.5


def test_a_table_of_the_step_has_the_last_word(path: Path) -> None:
    third = read_config(path, 3)
    assert third.steps == 700
    assert third.scenes.bed_chance == 0.8


def test_a_path_of_the_command_line_counts_from_here(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent.parent)
    config = read_config(path, 2, {"pseudo_labels": Path("pseudo"), "init_from": None})
    assert (path.parent / config.pseudo_labels).resolve() == path.parent.parent / "pseudo"
    assert config.init_from == ""


def test_a_seed_of_the_command_line_replaces_the_files(path: Path) -> None:
    assert (read_config(path).seed, read_config(path, seed=7).seed) == (1, 7)
    assert read_config(path, seed=0).seed == 0


@pytest.mark.parametrize(
    ("text", "step", "words"),
    [
        ("", 4, "step 4: use 1, 2, 3"),
        ("step_2 = 5\n", 2, r"step_2 must be a table: \[step_2\]"),
        ("[step_2]\nstep = 7\n", 2, "step 7: use 1, 2, 3"),
        ("[step_2]\nsteppes = 7\n", 2, "unknown key 'steppes'; did you mean 'steps'"),
        ('optimizer = "sgd"\n', 1, "optimizer 'sgd': use adamw, over9000"),
        ('model = "segmentor"\n', 1, "model 'segmentor': use segmenter, classifier"),
        ("n_fft = 512\n", 1, "n_fft 512: use 1024, 2048"),
        ("segmentation_share = 2.0\n", 1, "segmentation_share is 2.0"),
        ("soundscape_noise = true\n", 1, "soundscape_noise needs a fold"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, step: int, words: str) -> None:
    path = tmp_path / "birds.toml"
    path.write_text(f'name = "birds"\ndataset = "data"\n{text}')
    with pytest.raises(ConfigError, match=words):
        read_config(path, step)
