"""`birdrec export onnx` as its users meet it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toylab import TINY, write_lab

from recorder.detect.mel import MelConfig
from train.learning.loop import fit
from train.nets.segmenter import Segmenter, SegmenterConfig

Birdrec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    torch.manual_seed(0)
    config = SegmenterConfig(classes=2, width=32)
    torch.save(
        {
            "config": {"name": "toy"},
            "segmenter": config.to_dict(),
            "step": 3,
            "labels": ["wren", "todus"],
            "core": ["wren", "todus"],
            "names": {"wren": ("Genus wren", "Wren"), "todus": ("Genus todus", "Tody")},
            "sources": [("XC1.ogg", "wren", "Ada Lark", "CC0", "u")],
            "average": Segmenter(config, MelConfig()).state_dict(),
        },
        path,
    )
    return path


def test_without_soundscapes_the_maker_names_the_threshold(
    checkpoint: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("**Limits.** Toys alone.", encoding="utf-8")
    done = birdrec(
        *("export", "onnx", checkpoint, "--threshold", "0.4", "--notes", notes),
        *("--licence", "CC0", "--out", tmp_path / "toys"),
    )
    assert done.returncode == 0, done.stderr
    assert "2 species" in done.stdout
    details = json.loads((tmp_path / "toys" / "model.json").read_text("utf-8"))
    assert {label["threshold"] for label in details["labels"]} == {0.4}
    assert details["licence"] == "CC0"
    assert details["training"]["evaluation"] == "threshold 0.400 (by nothing)"
    assert "Toys alone." in (tmp_path / "toys" / "MODEL_CARD.md").read_text("utf-8")


def test_what_judged_the_training_gives_the_threshold(
    checkpoint: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    judged = tmp_path / "judged.pt"
    more = {"judged_by": "composed soundscapes", "figures": {"threshold": 0.25, "cmap": 0.5}}
    torch.save({**torch.load(checkpoint, weights_only=True), **more}, judged)
    done = birdrec("export", "onnx", judged, "--out", tmp_path / "toys")
    assert done.returncode == 0, done.stderr
    details = json.loads((tmp_path / "toys" / "model.json").read_text("utf-8"))
    assert {label["threshold"] for label in details["labels"]} == {0.25}
    said = "threshold 0.250, cmap 0.500 (by composed soundscapes)"
    assert details["training"]["evaluation"] == said


def test_what_no_clip_is_left_to_judge_has_the_threshold_of_its_twin(
    birdrec: Birdrec, tmp_path: Path
) -> None:
    lab = write_lab(tmp_path)
    twin = fit(TINY, lab / "toy.toml", lab / "twin")
    everything = replace(TINY, train_on_val=True, seed=2)
    final = fit(everything, lab / "toy.toml", lab / "final")
    command = ("export", "onnx", final, "--out", tmp_path / "toys")
    done = birdrec(*command, "--dataset", lab / "data")
    assert done.returncode == 2
    assert "they cannot judge it. Name the same training" in " ".join(done.stderr.split())
    done = birdrec(*command, "--dataset", lab / "data", "--judged-as", twin)
    assert done.returncode == 0, done.stderr
    training = json.loads((tmp_path / "toys" / "model.json").read_text("utf-8"))["training"]
    assert training["config"]["train_on_val"]
    assert "soundscapes of data; of checkpoint.pt, which knew less" in training["evaluation"]
    # What comes from a bundle whose clips nobody wrote down is not judged by them either.
    child = fit(
        replace(TINY, init_from=str(tmp_path / "toys")), lab / "toy.toml", lab / "child"
    )  # fmt: skip
    done = birdrec(
        *("export", "onnx", child, "--out", tmp_path / "more"), "--dataset", lab / "data"
    )
    assert "toys was trained on what its dataset holds out" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "nothing judged"),
        (("--threshold", "1.5"), "must lie between 0 and 1"),
        (("--threshold", "0.4", "--notes", "nowhere.md"), "nowhere.md cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(
    checkpoint: Path, birdrec: Birdrec, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = birdrec("export", "onnx", checkpoint, "--out", tmp_path / "toys", *options)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "toys").exists()
