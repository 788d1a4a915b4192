"""A bundle is believed only after every check; each mutation of a good one is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recorder.detect.bundle import DEFAULT_BUNDLE, SCHEMA_VERSION, Bundle, read_bundle
from recorder.detect.inference import Networks
from recorder.detect.mel import MelConfig
from recorder.errors import ModelError

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packaged bundle, to be spoilt."""
    return Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "spoilt"))


def edit(bundle: Path, change: Edit) -> None:
    path = bundle / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def refusal(bundle: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_bundle(bundle)
    return str(caught.value)


def test_the_packaged_bundle_is_good(bundle: Bundle, networks: Networks) -> None:
    assert bundle.labels
    assert all(0.0 < label.threshold < 1.0 for label in bundle.labels)
    assert bundle.mel == MelConfig()
    assert (bundle.window_tokens, bundle.hop_tokens) == (1920, 960)
    manifest = (DEFAULT_BUNDLE / "model.json").read_bytes()
    assert bundle.sha256 == hashlib.sha256(manifest).hexdigest()
    assert networks.bundle is bundle


def test_a_copy_is_the_same_model(copy: Path, bundle: Bundle) -> None:
    again = read_bundle(copy)
    assert (again.sha256, again.labels) == (bundle.sha256, bundle.labels)


def test_a_folder_without_model_json(copy: Path) -> None:
    (copy / "model.json").unlink()
    assert "model.json" in refusal(copy)
    assert str(copy) in refusal(copy)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert str(tmp_path / "gone") in refusal(tmp_path / "gone")


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"birds"])
def test_bad_json(copy: Path, content: bytes) -> None:
    (copy / "model.json").write_bytes(content)
    assert "model.json" in refusal(copy)
    assert "not valid JSON" in refusal(copy)


@pytest.mark.parametrize("content", ["[]", "null", "7", '"text"', "{}"])
def test_json_of_another_kind(copy: Path, content: str) -> None:
    (copy / "model.json").write_text(content)
    assert "model.json" in refusal(copy)


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, "1", None])
def test_another_schema_version(copy: Path, version: object) -> None:
    edit(copy, lambda content: content.update(schema_version=version))
    assert "model.json: schema version" in refusal(copy)


@pytest.mark.parametrize("graph", ["encoder.onnx", "head.onnx"])
def test_one_changed_byte_of_a_graph(copy: Path, graph: str) -> None:
    content = bytearray((copy / graph).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / graph).write_bytes(content)
    assert f"{graph} is damaged" in refusal(copy)


@pytest.mark.parametrize("graph", ["encoder.onnx", "head.onnx"])
def test_a_missing_graph(copy: Path, graph: str) -> None:
    (copy / graph).unlink()
    assert f"{graph} cannot be read" in refusal(copy)


@pytest.mark.parametrize("threshold", [float("nan"), 2, 0, 1, -0.1, "0.5", None, True])
def test_a_threshold_that_is_no_probability(copy: Path, threshold: object) -> None:
    edit(copy, lambda content: content["labels"][1].update(threshold=threshold))
    assert "model.json: threshold of" in refusal(copy)


def test_two_labels_of_one_name(copy: Path) -> None:
    edit(copy, lambda content: content["labels"].append(content["labels"][0]))
    assert "not all different" in refusal(copy)
    assert "model.json" in refusal(copy)


def test_no_labels_at_all(copy: Path) -> None:
    edit(copy, lambda content: content.update(labels=[]))
    assert "model.json" in refusal(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"fmin_hz": "50"},
        {"hop_samples": 313},
        {"mel_norm": "slaney"},
        {"pre_emphasis": 0.97},
        {"tokens_per_chunk": 15},
    ],
)
def test_a_front_end_that_is_not_this_one(copy: Path, change: dict[str, object]) -> None:
    if "fmin_hz" in change:
        edit(copy, lambda content: content["mel"].pop("fmin_hz"))
    else:
        edit(copy, lambda content: content["mel"].update(change))
    assert "model.json" in refusal(copy)


@pytest.mark.parametrize(
    "change",
    [{"window_tokens": 1900}, {"window_tokens": 960}, {"hop_tokens": 0}, {"hop_tokens": 961}],
)
def test_windows_that_do_not_fit_together(copy: Path, change: dict[str, int]) -> None:
    edit(copy, lambda content: content["head"].update(change))
    assert "model.json: window_tokens" in refusal(copy)


@pytest.mark.parametrize("change", [{"halo_tokens": -1}, {"width": 0}])
def test_an_encoder_that_cannot_be(copy: Path, change: dict[str, int]) -> None:
    edit(copy, lambda content: content["encoder"].update(change))
    assert "model.json" in refusal(copy)


@pytest.mark.parametrize(
    ("place", "value"),
    [("halo_tokens", "six"), ("halo_tokens", None), ("width", [256]), ("width", "wide")],
)
def test_numbers_that_are_not_numbers(copy: Path, place: str, value: object) -> None:
    edit(copy, lambda content: content["encoder"].update({place: value}))
    assert "model.json" in refusal(copy)


@pytest.mark.parametrize("key", ["name", "mel", "labels", "encoder", "head", "files"])
def test_anything_missing(copy: Path, key: str) -> None:
    edit(copy, lambda content: content.pop(key))
    assert "model.json" in refusal(copy)


def test_a_graph_with_another_number_of_labels_is_refused(copy: Path) -> None:
    edit(copy, lambda content: content["labels"].pop())
    with pytest.raises(ModelError, match=r"another labels than model\.json promises"):
        Networks(read_bundle(copy))


def test_a_graph_with_another_width_is_refused(copy: Path) -> None:
    edit(copy, lambda content: content["encoder"].update(width=content["encoder"]["width"] + 1))
    with pytest.raises(ModelError, match=r"model\.json promises"):
        Networks(read_bundle(copy))


@pytest.mark.parametrize(
    ("graph", "precision"),
    [
        ("encoder.onnx", "fp32"),
        ("encoder.int8.onnx", "int8"),
        ("head.onnx", "fp32"),
        ("head.onnx", "int8"),
    ],
)
def test_a_file_that_is_no_graph_is_refused(copy: Path, graph: str, precision: str) -> None:
    content = b"this is not a graph"
    (copy / graph).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit(copy, lambda details: details["files"][graph].update(sha256=digest))
    with pytest.raises(ModelError, match=graph):
        Networks(read_bundle(copy), precision=precision)


def test_swapped_graphs_are_refused(copy: Path) -> None:
    (copy / "head.onnx").write_bytes((copy / "encoder.onnx").read_bytes())

    def same_hash(details: dict[str, Any]) -> None:
        details["files"]["head.onnx"] = details["files"]["encoder.onnx"]

    edit(copy, same_hash)
    with pytest.raises(ModelError):
        Networks(read_bundle(copy))
