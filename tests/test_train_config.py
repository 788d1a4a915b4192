"""A training configuration is checked to the last key before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

import train
from recorder.errors import ConfigError
from train.config import TrainConfig
from train.config_file import read_config

_LEAST = 'name = "toy"\ndataset = "data"\nnoise = ["noise"]\n'
_SHIPPED = sorted((Path(train.__file__).parent / "configs").glob("*.toml"))


def _read(folder: Path, text: str) -> TrainConfig:
    path = folder / "toy.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def test_two_keys_are_enough_and_the_rest_has_defaults(tmp_path: Path) -> None:
    config = _read(tmp_path, 'name = "toy"\ndataset = "data"\n')
    assert config == TrainConfig(name="toy", dataset="data")


def test_every_value_arrives_with_lists_as_tuples(tmp_path: Path) -> None:
    text = _LEAST + (
        "seed = 7\nlearning_rate = 1\nscene_chunks = [1, 2]\nscene_chances = [0.25, 0.75]\n"
        "any_bird = true\n[scenes]\nsnr_db = [0.0, 9.0]\ncomposed_share = 1\n"
    )
    config = _read(tmp_path, text)
    assert (config.seed, config.learning_rate, config.any_bird) == (7, 1, True)
    assert (config.scene_chunks, config.scene_chances) == ((1, 2), (0.25, 0.75))
    assert (config.scenes.snr_db, config.scenes.composed_share) == ((0.0, 9.0), 1)


def test_an_unknown_key_names_the_nearest_valid_one(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"'learning_rat'.*did you mean 'learning_rate'"
    ) as caught:
        _read(tmp_path, _LEAST + "learning_rat = 0.1\n")
    assert "toy.toml" in str(caught.value)


def test_an_unknown_key_of_scenes_names_the_nearest_valid_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'snr'.*'snr_db'"):
        _read(tmp_path, _LEAST + "[scenes]\nsnr = [0.0, 1.0]\n")


def test_a_table_within_a_table_is_read_and_checked_too(tmp_path: Path) -> None:
    config = _read(tmp_path, _LEAST + "[scenes.vary]\nspeed = 0.02\necho_db = [-9.0, -6.0]\n")
    assert (config.scenes.vary.speed, config.scenes.vary.echo_db) == (0.02, (-9.0, -6.0))
    with pytest.raises(ConfigError, match=r"'sped'.*'speed'"):
        _read(tmp_path, _LEAST + "[scenes.vary]\nsped = 0.02\n")
    with pytest.raises(ConfigError, match=r"scenes\.vary = 3 must be a table: \[scenes\.vary\]"):
        _read(tmp_path, _LEAST + "[scenes]\nvary = 3\n")


@pytest.mark.parametrize("key", ["dropout", "skip_attention"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_a_share_that_leaves_nothing_is_refused(tmp_path: Path, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{key} is {value}"):
        _read(tmp_path, _LEAST + f"{key} = {value}\n")


def test_a_key_like_no_other_gets_the_whole_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'zzzzzz'; known: name, dataset"):
        _read(tmp_path, _LEAST + "zzzzzz = 1\n")


@pytest.mark.parametrize(
    "line",
    [
        'steps = "many"',
        "steps = 10.5",
        "steps = true",
        "learning_rate = false",
        "learning_rate = '0.1'",
        "scene_chunks = 4",
        "any_bird = 1",
        "backbone = 18",
    ],
)
def test_a_value_of_the_wrong_type_names_its_key(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=line.split()[0]):
        _read(tmp_path, _LEAST + line + "\n")


@pytest.mark.parametrize(
    "line",
    ['noise = "noise"', "noise = [1]", 'snr_db = ["a", "b"]', "snr_db = [1.0]", "stretch_s = []"],
)
def test_a_list_with_the_wrong_things_in_it_names_its_key(tmp_path: Path, line: str) -> None:
    key = line.split()[0]
    text = 'name = "toy"\ndataset = "data"\n'
    text += f"{line}\n" if key == "noise" else f'noise = ["noise"]\n[scenes]\n{line}\n'
    with pytest.raises(ConfigError, match=key):
        _read(tmp_path, text)


def test_scenes_that_are_not_a_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scenes"):
        _read(tmp_path, _LEAST + "scenes = 3\n")


def test_chances_that_do_not_add_up_to_one_are_refused(tmp_path: Path) -> None:
    text = _LEAST + "scene_chunks = [1, 2]\nscene_chances = [0.5, 0.6]\n"
    with pytest.raises(ConfigError, match=r"1\.1, not to 1"):
        _read(tmp_path, text)


def test_scene_lengths_and_chances_must_pair(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="same length"):
        _read(tmp_path, _LEAST + "scene_chunks = [1, 2, 4]\nscene_chances = [0.5, 0.5]\n")


@pytest.mark.parametrize("key", ["steps", "batch_chunks", "evaluate_every", "threads", "width"])
def test_a_count_below_one_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is 0"):
        _read(tmp_path, _LEAST + f"{key} = 0\n")


def test_an_unknown_precision_is_met_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'half': use auto, float32, bfloat16"):
        _read(tmp_path, _LEAST + 'precision = "half"\n')


@pytest.mark.parametrize(
    "line",
    ["focal_gamma = -1.0", "[scenes]\nstretch_s = [0.0, 8.0]", "[scenes]\nstretch_s = [8.0, 1.0]"],
)
def test_a_number_out_of_range_names_its_key(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=line.splitlines()[-1].split()[0]):
        _read(tmp_path, _LEAST + line + "\n")


def test_a_classifier_has_no_tokens_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="segmentation_share: a classifier has no tokens"):
        _read(tmp_path, _LEAST + 'model = "classifier"\nsegmentation_share = 0.5\n')


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset"):
        _read(tmp_path, 'name = "toy"\nnoise = ["noise"]\n')


@pytest.mark.parametrize("text", ["name = \n", "[scenes", "name = 'a'\nname = 'b'\n"])
def test_what_is_not_toml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        _read(tmp_path, text)


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_bytes(b"name = '\xff'\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing_here\.toml"):
        read_config(tmp_path / "nothing_here.toml")


def test_configurations_are_shipped() -> None:
    assert _SHIPPED


@pytest.mark.parametrize("path", _SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_parses(path: Path) -> None:
    config = read_config(path)
    assert config.to_dict()["name"] == config.name
    assert isinstance(config.to_dict()["scenes"], dict)
