"""Pseudo labels: each clip is read by the nets that never saw it, and comes back as it was read."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toylab import TINY, write_lab

from recorder.detect.mel import MelConfig
from recorder.errors import ConfigError
from train.clips.dataset import key, read_dataset
from train.clips.folds import make_folds, read_folds, write_folds
from train.clips.recordings import load_recordings
from train.judging.pseudo_traces import pseudo_traces
from train.learning.checkpoint import read_checkpoint
from train.learning.loop import fit
from train.learning.out_of_fold import token_scores, write_pseudo_labels
from train.scenes.pseudo import read_pseudo_labels

CONFIG = replace(TINY, any_bird=True)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data` in two folds, and the nets `fold_0` and `fold_1`."""
    lab = write_lab(tmp_path_factory.mktemp("lab"), clips_per_species=5)
    dataset = read_dataset(lab / "data")
    write_folds(lab / "data" / "folds.csv", make_folds(dataset, 2, seed=1, kept={}), dataset.clips)
    for fold in (0, 1):
        fit(replace(CONFIG, fold=fold, seed=1 + fold), lab / "toy.toml", lab / f"fold_{fold}")
    return lab


@pytest.fixture(scope="module")
def pseudo(lab: Path) -> Path:
    write_pseudo_labels(_nets(lab), lab / "data", lab / "pseudo", say=lambda _: None)
    return lab / "pseudo"


def _nets(lab: Path) -> list[Path]:
    return [lab / f"fold_{fold}" / "checkpoint.pt" for fold in (0, 1)]


def test_each_clip_is_read_by_the_net_that_never_saw_it(lab: Path, pseudo: Path) -> None:
    nets = [read_checkpoint(path) for path in _nets(lab)]
    folds = read_folds(lab / "data" / "folds.csv")
    labels = nets[0].content["labels"]
    store = read_pseudo_labels(pseudo, labels)
    clips = [
        clip for clip in read_dataset(lab / "data").clips if _path(pseudo, key(clip)).is_file()
    ]
    assert len(clips) == 8  # of ten clips the split keeps two for the soundscapes
    for clip in clips:
        scores = store.of(clip, labels)
        assert scores is not None
        recording = load_recordings([clip], MelConfig()).recordings[0]
        expected = token_scores(nets[folds.of[key(clip)]], recording, labels)
        np.testing.assert_allclose(scores / 255, expected, atol=0.5 / 255 + 1e-6)
        other = token_scores(nets[1 - folds.of[key(clip)]], recording, labels)
        assert np.abs(other - expected).max() > 1 / 255


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.npz"


def test_where_they_come_from_is_written_down(lab: Path, pseudo: Path) -> None:
    known = json.loads((pseudo / "pseudo_labels.json").read_text("utf-8"))
    assert [net["fold"] for net in known["nets"]] == [0, 1]
    assert sum(net["clips_read"] for net in known["nets"]) == 8
    assert known["clips_without"] == 2
    assert len({net["sha256"] for net in known["nets"]}) == 2
    assert str(lab) not in json.dumps(known)


def test_classes_come_in_the_order_that_is_asked_for(lab: Path, pseudo: Path) -> None:
    labels = read_checkpoint(_nets(lab)[0]).content["labels"]
    clip = next(c for c in read_dataset(lab / "data").clips if _path(pseudo, key(c)).is_file())
    forward = read_pseudo_labels(pseudo, labels).of(clip, labels)
    backward = read_pseudo_labels(pseudo, labels).of(clip, labels[::-1])
    assert forward is not None
    assert backward is not None
    np.testing.assert_array_equal(forward[:, ::-1], backward)


def test_along_some_clips_they_are_shown_beside_those_of_another_step(
    lab: Path, pseudo: Path, tmp_path: Path
) -> None:
    shutil.copytree(pseudo, tmp_path / "second")
    found = pseudo_traces([pseudo, tmp_path / "second"], lab / "data")
    assert [one.file.split(", ")[1] for one in found] == ["pseudo", "second"] * 2
    assert len({one.file.split("/")[0] for one in found}) == 2  # one clip a species
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert [trace.scores for trace in first.species] == [t.scores for t in second.species]
    one = found[0]
    own = one.species[0]
    assert own.label == one.file.split("/")[0]
    assert all(own.truth)
    assert not any(any(trace.truth) for trace in one.species[1:])
    clip = next(c for c in read_dataset(lab / "data").clips if key(c) == one.file.split(", ")[0])
    labels = read_checkpoint(_nets(lab)[0]).content["labels"]
    kept = read_pseudo_labels(pseudo, labels).of(clip, labels)
    assert kept is not None
    np.testing.assert_allclose(own.scores, kept[:192, labels.index(own.label)] / 255)
    assert pseudo_traces([], lab / "data") == []


def test_clips_that_are_in_no_folder_cannot_be_shown(pseudo: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "pseudo_labels.json").write_text('{"labels": ["toy_trill"], "clips": []}')
    write_lab(tmp_path)
    with pytest.raises(ConfigError, match=r"no clip of .* has pseudo labels in all"):
        pseudo_traces([pseudo, tmp_path / "empty"], tmp_path / "data")


@pytest.mark.usefixtures("pseudo")
def test_steps_2_and_3_learn_from_them(lab: Path) -> None:
    said: list[str] = []
    second = replace(
        CONFIG, step=2, segmentation_share=0.5, pseudo_labels="pseudo", steps=2, evaluate_every=2
    )
    content = torch.load(
        fit(second, lab / "toy.toml", lab / "second", say=said.append), weights_only=True
    )
    assert content["config"]["pseudo_labels"] == "pseudo"
    assert not [line for line in said if "no pseudo labels" in line]
    without = replace(second, segmentation_share=0.0)
    other = torch.load(fit(without, lab / "toy.toml", lab / "without"), weights_only=True)
    assert not torch.equal(
        content["net"]["head.classify.weight"], other["net"]["head.classify.weight"]
    )


def test_step_2_without_pseudo_labels_says_how_to_make_them(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"step 2 needs pseudo labels: .*pseudo-label"):
        fit(replace(CONFIG, step=2, segmentation_share=0.5), lab / "toy.toml", tmp_path)


def test_a_clip_without_pseudo_labels_is_told_and_still_used(lab: Path, pseudo: Path) -> None:
    provenance = pseudo / "pseudo_labels.json"
    kept = provenance.read_text("utf-8")
    content = json.loads(kept)
    provenance.write_text(json.dumps({**content, "clips": content["clips"][1:]}))
    said: list[str] = []
    second = replace(CONFIG, step=2, segmentation_share=0.5, pseudo_labels="pseudo")
    fit(second, lab / "toy.toml", lab / "one_lacks", say=said.append)
    provenance.write_text(kept)
    assert "1 clips have no pseudo labels: no token of them is sure" in said


def test_a_damaged_file_is_named(lab: Path, pseudo: Path) -> None:
    some = sorted(pseudo.rglob("*.npz"))[0]
    kept = some.read_bytes()
    some.write_bytes(kept[:50])
    second = replace(CONFIG, step=2, segmentation_share=0.5, pseudo_labels="pseudo")
    with pytest.raises(ConfigError, match=f"{some.name} is damaged"):
        fit(second, lab / "toy.toml", lab / "damaged")
    some.write_bytes(kept)


def test_a_folder_without_them_or_without_a_class_is_refused(pseudo: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pseudo labels in"):
        read_pseudo_labels(tmp_path, ["wren"])
    with pytest.raises(ConfigError, match="lack the classes wren"):
        read_pseudo_labels(pseudo, ["bird", "wren"])


def test_nets_that_saw_the_clips_are_refused(lab: Path, tmp_path: Path) -> None:
    first, second = _nets(lab)
    content = torch.load(first, weights_only=True)
    content["config"]["fold"] = 1
    torch.save(content, tmp_path / "liar.pt")
    with pytest.raises(ConfigError, match=r"was trained on .* the folds have changed"):
        write_pseudo_labels([tmp_path / "liar.pt"], lab / "data", tmp_path / "out", say=print)
    (tmp_path / "data").mkdir()
    for path in (lab / "data").iterdir():
        if path.name != "split_by_session.csv":
            (tmp_path / "data" / path.name).symlink_to(path)
    content["config"]["fold"] = -1
    torch.save(content, tmp_path / "all.pt")
    with pytest.raises(ConfigError, match="held no clip out"):
        write_pseudo_labels([tmp_path / "all.pt"], tmp_path / "data", tmp_path / "out", say=print)
    assert second.is_file()


def test_a_net_that_started_from_one_of_another_fold_is_refused(lab: Path, tmp_path: Path) -> None:
    second = replace(CONFIG, fold=0, seed=3, init_from="fold_1/checkpoint.pt")
    path = fit(second, lab / "toy.toml", tmp_path / "second")
    with pytest.raises(
        ConfigError, match=r"toy, seed 2, from which .* comes, was trained on 4 of the clips"
    ):
        write_pseudo_labels([path], lab / "data", tmp_path / "out", say=print)


def test_a_net_that_started_from_one_of_its_own_fold_reads(lab: Path, tmp_path: Path) -> None:
    second = replace(CONFIG, fold=0, seed=3, init_from="fold_0/checkpoint.pt")
    path = fit(second, lab / "toy.toml", tmp_path / "second")
    known = write_pseudo_labels([path], lab / "data", tmp_path / "out", say=lambda _: None)
    assert known["nets"][0]["clips_read"] == 4


def test_a_net_that_comes_from_one_of_which_nobody_knows_what_it_heard_is_refused(
    lab: Path, tmp_path: Path
) -> None:
    content = torch.load(_nets(lab)[0], weights_only=True)
    bundle = {"name": "toy_model", "attribution": [], "licences": [], "clips": None}
    torch.save({**content, "ancestors": [bundle]}, tmp_path / "second.pt")
    with pytest.raises(ConfigError, match="comes from toy_model, of which nobody knows"):
        write_pseudo_labels([tmp_path / "second.pt"], lab / "data", tmp_path / "out", say=print)


def test_pseudo_labels_of_another_length_are_refused(lab: Path, pseudo: Path) -> None:
    some = sorted(pseudo.rglob("*.npz"))[0]
    kept = some.read_bytes()
    with np.load(some) as content:
        np.savez_compressed(some, scores=content["scores"][1:])
    second = replace(CONFIG, step=2, segmentation_share=0.5, pseudo_labels="pseudo")
    with pytest.raises(ConfigError, match=r"have \d+ tokens, the clip has \d+"):
        fit(second, lab / "toy.toml", lab / "shorter")
    some.write_bytes(kept)
