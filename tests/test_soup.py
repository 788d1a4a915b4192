"""The mean of the weights of nets that come from one another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toylab import TINY, write_lab

from export.bundle import write_bundle
from recorder.errors import ConfigError, UsageError
from train.learning.checkpoint import read_checkpoint
from train.learning.loop import fit
from train.learning.soup import write_soup


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`first`, and two nets that go on from it: one with a class less, one with a block less."""
    lab = write_lab(tmp_path_factory.mktemp("lab"))
    first = fit(TINY, lab / "toy.toml", lab / "first")
    on = replace(TINY, init_from=str(first), seed=2, learning_rate=0.05)
    fit(replace(on, labels_excluded=("toy_trill",)), lab / "toy.toml", lab / "narrow")
    fit(replace(on, attention_blocks=1), lab / "toy.toml", lab / "flat")
    return lab


def net(lab: Path, name: str) -> Path:
    return lab / name / "checkpoint.pt"


def test_it_is_the_mean_of_the_weights_and_owes_all_of_them(lab: Path, tmp_path: Path) -> None:
    paths = [net(lab, "flat"), net(lab, "first")]
    mean = read_checkpoint(write_soup(paths, tmp_path / "mean.pt"))
    flat, first = (read_checkpoint(path).net.state_dict() for path in paths)
    assert set(mean.net.state_dict()) == set(flat)
    for name, value in mean.net.named_parameters():
        torch.testing.assert_close(value, (flat[name] + first[name]) / 2)
    assert not torch.equal(flat["encoder.squeeze.weight"], first["encoder.squeeze.weight"])
    assert [one["name"] for one in mean.content["ancestors"]] == ["toy, seed 1"]
    assert mean.content["figures"] == {}


def test_what_only_the_first_knows_stays_as_it_is(lab: Path, tmp_path: Path) -> None:
    paths = [net(lab, "first"), net(lab, "narrow")]
    mean = read_checkpoint(write_soup(paths, tmp_path / "mean.pt"))
    first, narrow = (read_checkpoint(path) for path in paths)
    name = "head.classify.weight"
    rows, theirs = first.net.state_dict()[name], narrow.net.state_dict()[name]
    labels = mean.content["labels"]
    assert labels == ["toy_trill", "toy_upsweep"]
    assert narrow.content["labels"] == ["toy_upsweep"]
    found = mean.net.state_dict()[name]
    torch.testing.assert_close(found[0], rows[0])
    torch.testing.assert_close(found[1], (rows[1] + theirs[0]) / 2)


def test_a_bundle_may_be_one_of_them_but_not_the_first(lab: Path, tmp_path: Path) -> None:
    first = net(lab, "first")
    bundle = write_bundle(
        read_checkpoint(first), tmp_path / "toys", threshold=0.5, evaluation="none"
    )
    mean = read_checkpoint(write_soup([first, bundle.path], tmp_path / "mean.pt"))
    name = "encoder.squeeze.weight"
    expected = read_checkpoint(first).net.state_dict()[name]
    torch.testing.assert_close(mean.net.state_dict()[name], expected, atol=1e-6, rtol=1e-5)
    with pytest.raises(UsageError, match="is a bundle: name a checkpoint first"):
        write_soup([bundle.path, first], tmp_path / "no.pt")


def test_what_has_no_mean_is_refused(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name two or more"):
        write_soup([net(lab, "first")], tmp_path / "no.pt")
    classifier = fit(replace(TINY, model="classifier"), lab / "toy.toml", tmp_path / "classifier")
    with pytest.raises(ConfigError, match="cannot be the start of this net"):
        write_soup([net(lab, "first"), classifier], tmp_path / "no.pt")
    with pytest.raises(UsageError, match=r"the mean cannot be written to .*there is none yet"):
        write_soup([net(lab, "first"), net(lab, "narrow")], tmp_path / "nowhere" / "no.pt")


def test_nets_that_were_begun_apart_are_said(lab: Path, tmp_path: Path) -> None:
    said: list[str] = []
    write_soup([net(lab, "flat"), net(lab, "first")], tmp_path / "mean.pt", say=said.append)
    assert not said
    apart = fit(replace(TINY, seed=7), lab / "toy.toml", lab / "apart")
    write_soup([net(lab, "first"), apart], tmp_path / "mean.pt", say=said.append)
    assert len(said) == 1
    assert "knows nothing" in said[0]


def test_the_mean_is_written_over_none_of_its_nets_and_no_other_file(
    lab: Path, tmp_path: Path
) -> None:
    paths = [net(lab, "flat"), net(lab, "first")]
    with pytest.raises(UsageError, match="is one of the nets"):
        write_soup(paths, paths[1])
    (tmp_path / "a.wav").write_bytes(b"RIFF of somebody")
    with pytest.raises(UsageError, match="is no mean of nets"):
        write_soup(paths, tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == b"RIFF of somebody"
