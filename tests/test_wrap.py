"""`birdrec model wrap` makes a bundle of a net that fits, and leaves nothing of another."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from tonelab import (
    LISTENING,
    RATE_HZ,
    WINDOW_S,
    Birdrec,
    tone_net,
)
from tonelab import labels as labels
from tonelab import net as net
from tonelab import tones as tones

from recorder.detect.bundle import DEFAULT_BUNDLE
from recorder.detect.models import load_model, precision_of, read_model
from recorder.errors import ModelError, UsageError
from recorder.wrap import Listening, wrap


def test_the_command_wraps_a_net_and_says_how_to_use_it(
    birdrec: Birdrec, labels: Path, tmp_path: Path
) -> None:
    onnx.save(tone_net(rank=3), str(tmp_path / "tones.onnx"))
    done = birdrec(
        "model", "wrap", tmp_path / "tones.onnx", "--labels", labels, "--rate", RATE_HZ,
        "--window", WINDOW_S, "--output", "logits", "--out", tmp_path / "mine",
        "--licence", "CC0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"birdrec scan FOLDER --model {tmp_path / 'mine'}" in done.stdout
    info = json.loads(birdrec("model", "info", tmp_path / "mine", "--json").stdout)
    assert (info["name"], info["classes"], info["window_s"], info["licence"]) == (
        "mine", 2, 3.0, "CC0",
    )  # fmt: skip
    verified = birdrec("model", "verify", tmp_path / "mine")
    assert verified.returncode == 0, verified.stderr
    assert "mine: whole, and it runs (as exported)" in verified.stdout


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"output_name": ""}, r"no one output ''; it has logits, loud"),
        ({"output_name": "nothing"}, r"no one output 'nothing'"),
        ({"input_name": "nothing"}, r"no one input 'nothing'; it has sound"),
        ({"output_name": "loud"}, r"numbers for a window, model.json promises 2 labels"),
        ({"activation": "relu"}, r"activation 'relu': use sigmoid, softmax, none"),
        ({"sample_rate_hz": 100}, r"sample_rate_hz 100 must lie between 8000 and 192000"),
        ({"window_s": 0.0}, r"window_s must lie above 0"),
        ({"window_s": 100.0}, r"window_s must lie above 0 and up to 60"),
        ({"window_s": float("nan")}, r"missing or malformed"),
        ({"window_s": 0.001}, r"does not run"),
    ],
)
def test_what_does_not_fit_the_net_leaves_nothing_behind(
    net: Path, labels: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    fields = {**vars(LISTENING), "output_name": "logits", **change}
    with pytest.raises(ModelError, match=reason):
        wrap(net, labels, tmp_path / "x", Listening(**fields))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a b\nA  B_c\n", "line 2 names 'A  B' a second time"),
    ],
)
def test_labels_that_cannot_be(net: Path, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(UsageError, match=reason):
        wrap(net, tmp_path / "labels.txt", tmp_path / "x", LISTENING)
    with pytest.raises(UsageError, match="cannot be read as text"):
        wrap(net, tmp_path / "none.txt", tmp_path / "x", LISTENING)


def test_what_cannot_be_wrapped(net: Path, labels: Path, tones: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        wrap(net, labels, tones, LISTENING)
    with pytest.raises(UsageError, match="cannot be copied"):
        wrap(tmp_path / "none.onnx", labels, tmp_path / "x", LISTENING)
    with pytest.raises(UsageError, match="--threshold 1"):
        wrap(net, labels, tmp_path / "x", Listening(RATE_HZ, 3.0, "sigmoid", 1.0))
    (tmp_path / "text.onnx").write_text("birds")
    with pytest.raises(ModelError, match="is not"):
        wrap(tmp_path / "text.onnx", labels, tmp_path / "x", LISTENING)


def edited(bundle: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    copy = Path(shutil.copytree(bundle, folder / "edited"))
    details = json.loads((copy / "model.json").read_text("utf-8"))
    change(details)
    (copy / "model.json").write_text(json.dumps(details), encoding="utf-8")
    return copy


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(kind="oracle"), "kind 'oracle': use segmenter or classifier"),
        (lambda d: d.pop("classifier"), "'classifier' is missing or malformed"),
        (lambda d: d["classifier"].update(front_end="picture"), "a picture is of 5 s at 32 kHz"),
        (lambda d: d["classifier"].update(front_end="wavelets"), "front_end 'wavelets'"),
        (lambda d: d["files"].clear(), "'model.onnx' is missing"),
        (lambda d: d["files"].update({"../x": {"sha256": ""}}), "files lie in the bundle itself"),
        (lambda d: d.update(schema_version=2), "schema version 2"),
    ],
)
def test_a_bundle_that_is_not_what_it_says(
    tones: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        read_model(edited(tones, tmp_path, change))


def test_a_graph_of_another_number_of_labels(tones: Path, tmp_path: Path) -> None:
    bundle = read_model(edited(tones, tmp_path, lambda details: details["labels"].pop()))
    with pytest.raises(ModelError, match=r"gives 2 numbers for a window, model\.json promises 1"):
        load_model(bundle)


def test_a_graph_that_was_swapped(tones: Path, tmp_path: Path) -> None:
    """The right hash of a graph that wants something else."""
    copy = Path(shutil.copytree(tones, tmp_path / "copy"))
    data = (DEFAULT_BUNDLE / "head.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(data)
    details = json.loads((copy / "model.json").read_text("utf-8"))
    details["files"]["model.onnx"]["sha256"] = hashlib.sha256(data).hexdigest()
    details["classifier"]["output"] = ""
    (copy / "model.json").write_text(json.dumps(details), encoding="utf-8")
    with pytest.raises(ModelError, match="does not run"):
        load_model(read_model(copy))


def test_there_is_no_precision_to_choose(tones: Path) -> None:
    with pytest.raises(ModelError, match="leave --precision out"):
        precision_of(read_model(tones), "int8")
    with pytest.raises(UsageError, match="use auto, fp32, int8"):
        precision_of(read_model(tones), "int9")
