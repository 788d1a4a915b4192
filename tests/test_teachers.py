"""Distillation: the mean of several nets, class by class, and a student that comes closer to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toylab import TINY, write_lab
from typer.testing import CliRunner

from recorder.detect.mel import MelConfig
from recorder.errors import ConfigError
from train import cli
from train.config_file import read_config
from train.learning.checkpoint import read_checkpoint
from train.learning.loop import fit
from train.learning.teachers import Teachers, read_teachers

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two teachers: `both` knows both species, `one` the upsweep alone."""
    lab = write_lab(tmp_path_factory.mktemp("lab"))
    fit(replace(TINY, seed=5), lab / "toy.toml", lab / "both")
    fit(replace(TINY, seed=6, labels_excluded=("toy_trill",)), lab / "toy.toml", lab / "one")
    return lab


def _paths(lab: Path) -> list[Path]:
    return [lab / name / "checkpoint.pt" for name in ("both", "one")]


def test_each_class_is_the_mean_over_the_teachers_that_know_it(lab: Path) -> None:
    labels = ["toy_upsweep", "owl", "toy_trill"]
    teachers = Teachers(read_teachers(_paths(lab), MelConfig()), labels, CPU)
    log_mel = torch.randn(2, 512, 128) - 2.0
    said = teachers.say(log_mel)
    both, one = (read_checkpoint(path).net for path in _paths(lab))
    with torch.no_grad():
        of_both, of_one = both(log_mel).sigmoid(), one(log_mel).sigmoid()
    assert teachers.known.tolist() == [1.0, 0.0, 1.0]
    torch.testing.assert_close(said[..., 0], (of_both[..., 1] + of_one[..., 0]) / 2)
    torch.testing.assert_close(said[..., 2], of_both[..., 0])
    assert not said[..., 1].any()


def test_a_student_comes_closer_to_its_teacher(lab: Path) -> None:
    """With the teachers' part of the loss alone, whatever the labels say."""
    content = torch.load(_paths(lab)[0], weights_only=True)
    content["average"]["head.classify.bias"] += 3.0  # it hears both, everywhere
    (lab / "sure").mkdir()
    torch.save(content, lab / "sure" / "checkpoint.pt")
    config = replace(
        TINY,
        teachers=("sure/checkpoint.pt",),
        distil_share=1.0,
        steps=15,
        evaluate_every=15,
        average_decay=0.0,
        learning_rate=0.05,
        precision="float32",
    )
    student = read_checkpoint(fit(config, lab / "toy.toml", lab / "student")).content
    bias = student["average"]["head.classify.bias"]
    assert (bias > content["average"]["head.classify.bias"] - 3.0 + 0.1).all()


def test_the_command_names_its_teachers_from_here(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab)
    (lab / "toy.toml").write_text(
        'name = "toy"\ndataset = "data"\nnoise = ["noise"]\nsteps = 1\nbatch_chunks = 1\n'
        "scene_chunks = [1]\nscene_chances = [1.0]\nwidth = 32\nwarmup_steps = 1\nthreads = 1\n"
    )
    teachers = ["--teacher", "both/checkpoint.pt", "--teacher", "one/checkpoint.pt"]
    done = CliRunner().invoke(cli.app, ["distil", "toy.toml", *teachers, "--out", "by_command"])
    assert done.exit_code == 0, done.output
    config = read_checkpoint(lab / "by_command" / "checkpoint.pt").content["config"]
    assert config["teachers"] == ("both/checkpoint.pt", "one/checkpoint.pt")


def test_who_cannot_teach_is_refused(lab: Path, tmp_path: Path) -> None:
    classifier = fit(replace(TINY, model="classifier"), lab / "toy.toml", lab / "classifier")
    with pytest.raises(ConfigError, match="must be a segmenter with n_fft 2048"):
        read_teachers([classifier], MelConfig())
    with pytest.raises(ConfigError, match="must be a segmenter with n_fft 1024"):
        read_teachers(_paths(lab), MelConfig(n_fft=1024))
    nothing_to_decode = replace(TINY, dataset="nowhere", teachers=(str(classifier),))
    with pytest.raises(ConfigError, match="cannot teach"):
        fit(nothing_to_decode, lab / "toy.toml", tmp_path / "early")
    path = tmp_path / "toy.toml"
    path.write_text('name = "a"\ndataset = "b"\nmodel = "classifier"\nteachers = ["c.pt"]\n')
    with pytest.raises(ConfigError, match="only a segmenter can learn from them"):
        read_config(path)


def test_a_teacher_of_other_birds_is_refused(lab: Path) -> None:
    with pytest.raises(ConfigError, match=r"toy cannot teach: it knows toy_trill.* none of"):
        Teachers(read_teachers(_paths(lab), MelConfig()), ["owl", "wren"], CPU)
