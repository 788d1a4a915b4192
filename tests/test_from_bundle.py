"""A bundle comes back to the lab: the same net, to start from or to learn from, and its debts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exportlab import CONFIG, CORE, MEL
from exportlab import checkpoint as checkpoint
from toylab import TINY, write_lab

from export.bundle import write_bundle
from recorder.errors import ConfigError, ModelError
from train.learning.checkpoint import Checkpoint, read_checkpoint
from train.learning.from_bundle import bundle_checkpoint
from train.learning.loop import fit
from train.learning.teachers import read_teachers


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "toy_model"
    return write_bundle(checkpoint, out, threshold=0.5, evaluation="none").path


@pytest.mark.parametrize("cut", [True, False], ids=["some classes", "all classes"])
@torch.no_grad()
def test_a_bundle_gives_back_the_net_that_it_was_made_of(
    checkpoint: Checkpoint, tmp_path: Path, cut: bool
) -> None:
    labels = CORE if cut else checkpoint.content["labels"]
    whole = Checkpoint(checkpoint.net, {**checkpoint.content, "core": labels})
    path = write_bundle(whole, tmp_path / "toy", threshold=0.5, evaluation="none").path
    back = bundle_checkpoint(path)
    log_mel = torch.randn(2, 20 * 32, MEL.mel_bands) - 2.0
    expected = checkpoint.net(log_mel)[..., : len(labels)]
    torch.testing.assert_close(back.net(log_mel), expected, atol=1e-4, rtol=1e-4)
    assert (back.core, back.content["labels"], back.kind, back.mel) == (
        labels, labels, "segmenter", MEL,
    )  # fmt: skip
    assert not back.any_bird


def test_the_output_for_any_bird_is_a_class_again(checkpoint: Checkpoint, tmp_path: Path) -> None:
    content = {**checkpoint.content, "labels": [*CORE, "bird", "extra_two"]}
    gated = Checkpoint(checkpoint.net, content)
    path = write_bundle(gated, tmp_path / "toy", threshold=0.5, evaluation="none").path
    back = bundle_checkpoint(path)
    assert back.any_bird
    assert back.content["labels"] == [*CORE, "bird"]
    weight = checkpoint.net.state_dict()["head.classify.weight"][:4]
    torch.testing.assert_close(back.net.state_dict()["head.classify.weight"], weight)


@pytest.mark.parametrize(
    ("part", "key", "value", "reason"),
    [
        ("training", "config", {"background_tokens": 3}, "differs from its graphs by"),
        ("training", "config", {}, "background_tokens"),
        ("encoder", "backbone", "no_such_net", "no_such_net"),
        ("encoder", "width", 32, "are expected"),
    ],
)
def test_a_bundle_that_is_not_what_it_says_is_refused(
    bundle: Path, tmp_path: Path, part: str, key: str, value: object, reason: str
) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in bundle.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    details = json.loads((changed / "model.json").read_text("utf-8"))
    details[part][key] = value
    (changed / "model.json").write_text(json.dumps(details), encoding="utf-8")
    with pytest.raises(ModelError, match=f"changed cannot be trained on: .*{reason}"):
        bundle_checkpoint(changed)


def test_a_training_starts_from_a_bundle_and_owes_it_credit(bundle: Path, tmp_path: Path) -> None:
    lab = write_lab(tmp_path)
    still = {"learning_rate": 0.0, "weight_decay": 0.0}
    config = replace(TINY, width=CONFIG.width, init_from=str(bundle), **still)
    mine = read_checkpoint(fit(config, lab / "toy.toml", lab / "out"))
    weights, theirs = mine.net.state_dict(), bundle_checkpoint(bundle).net.state_dict()
    for name in ("encoder.squeeze.weight", "head.attention.1.out.weight"):
        torch.testing.assert_close(weights[name], theirs[name])
    both = mine.content["labels"].index("toy_trill"), CORE.index("toy_trill")
    torch.testing.assert_close(
        weights["head.classify.weight"][both[0]], theirs["head.classify.weight"][both[1]]
    )
    made = write_bundle(mine, tmp_path / "mine", threshold=0.5, evaluation="none")
    card = (made.path / "MODEL_CARD.md").read_text("utf-8")
    assert "starting from, taught by or averaged with other nets (toy_model)" in card
    assert {"Ada Lark", "Bo Crane", "Cy Finch"} <= set(made.details["attribution"])
    assert made.details["licence"] == "CC BY-NC-SA 4.0"


def test_a_head_of_one_block_starts_from_the_first_of_two(bundle: Path, tmp_path: Path) -> None:
    lab = write_lab(tmp_path)
    still = {"learning_rate": 0.0, "weight_decay": 0.0}
    config = replace(
        TINY, width=CONFIG.width, attention_blocks=1, init_from=str(bundle), **still
    )  # fmt: skip
    mine = read_checkpoint(fit(config, lab / "toy.toml", lab / "out"))
    weights, theirs = mine.net.state_dict(), bundle_checkpoint(bundle).net.state_dict()
    name = "head.attention.0.out.weight"
    torch.testing.assert_close(weights[name], theirs[name])
    assert "head.attention.1.out.weight" not in weights
    made = write_bundle(mine, tmp_path / "mine", threshold=0.5, evaluation="none")
    back = bundle_checkpoint(made.path).net.state_dict()
    torch.testing.assert_close(back[name], weights[name])
    more = replace(config, attention_blocks=2, init_from=str(made.path))
    with pytest.raises(ConfigError, match=r"cannot be the start .*set attention_blocks = 1 in"):
        fit(more, lab / "toy.toml", tmp_path / "more")


def test_a_bundle_teaches(bundle: Path) -> None:
    (teacher,) = read_teachers([bundle], MEL)
    assert teacher.core == CORE
    with pytest.raises(ConfigError, match="toy_model cannot teach"):
        read_teachers([bundle], replace(MEL, n_fft=1024))
