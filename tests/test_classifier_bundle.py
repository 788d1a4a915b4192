"""Somebody else's net under the same scan: a small one that knows two tones, made here."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from recorder.detect.bundle import DEFAULT_BUNDLE
from recorder.detect.classifier import window_offsets
from recorder.detect.models import load_model, precision_of, read_model
from recorder.errors import ModelError, UsageError
from recorder.wrap import Listening, wrap

Floats = NDArray[np.float32]
Birdrec = Callable[..., subprocess.CompletedProcess[str]]
ReadCsv = Callable[[Path], list[dict[str, str]]]

RATE_HZ, WINDOW_S = 48_000, 3.0
TONES_HZ = {"Sonus altus_High Tone": 6_000.0, "Sonus gravis_Low Tone": 1_500.0}
LISTENING = Listening(RATE_HZ, WINDOW_S, "sigmoid", 0.5)


def tone_net(rank: int = 2, logits: str = "logits") -> onnx.ModelProto:
    """Mean loudness after a filter for each tone, as a logit: one convolution over samples."""
    time_s = np.arange(512) / RATE_HZ
    filters = np.stack([np.cos(2 * np.pi * hz * time_s) for hz in TONES_HZ.values()])
    shape: list[Any] = [1, "samples"] if rank == 2 else [1, 1, "samples"]
    make = helper.make_node
    nodes = [
        make("Reshape", ["sound", "three"], ["wide"]),
        make("Conv", ["wide", "filters"], ["heard"], strides=[61]),
        make("Abs", ["heard"], ["loud"]),
        make("ReduceMean", ["loud"], ["mean"], axes=[2], keepdims=0),
        make("Mul", ["mean", "gain"], ["scaled"]),
        make("Sub", ["scaled", "offset"], [logits]),
    ]
    weights = [
        numpy_helper.from_array((filters[:, np.newaxis] / 256).astype(np.float32), "filters"),
        numpy_helper.from_array(np.array([1, 1, -1]), "three"),
        numpy_helper.from_array(np.float32(200.0), "gain"),
        numpy_helper.from_array(np.float32(5.0), "offset"),
    ]
    graph = helper.make_graph(
        nodes,
        "tones",
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, 2]),
            helper.make_tensor_value_info("loud", TensorProto.FLOAT, None),
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    path.write_text("\n".join(TONES_HZ) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "tones.onnx"
    onnx.save(tone_net(), str(path))
    return path


@pytest.fixture(scope="module")
def tones(net: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    listening = Listening(RATE_HZ, WINDOW_S, "sigmoid", 0.5, output_name="logits")
    return wrap(net, labels, tmp_path_factory.mktemp("wrapped") / "tones", listening).path


def sound(seconds: float, rate_hz: int, calls: dict[float, float], length_s: float = 2.0) -> Floats:
    """Faint noise with tones: {start in seconds: Hz}."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    result = 1e-4 * np.random.default_rng(0).standard_normal(len(time_s))
    for start_s, hz in calls.items():
        inside = (time_s >= start_s) & (time_s < start_s + length_s)
        result[inside] += 0.3 * np.sin(2 * np.pi * hz * time_s[inside])
    return result.astype(np.float32)


@pytest.mark.parametrize("rate_hz", [48_000, 32_000, 44_100])
def test_scan_finds_the_tones_in_their_chunks(
    birdrec: Birdrec, read_csv: ReadCsv, tones: Path, tmp_path: Path, rate_hz: int
) -> None:
    samples = sound(23.0, rate_hz, {1.5: 6_000.0, 11.5: 1_500.0, 20.5: 6_000.0})
    soundfile.write(tmp_path / "field.wav", samples, rate_hz)
    out = tmp_path / "out"
    done = birdrec("scan", tmp_path / "field.wav", "--model", tones, "--out", out, "--scores")
    assert done.returncode == 0, done.stderr
    rows = [
        (row["start_s"], row["label"], row["scientific_name"], row["common_name"])
        for row in read_csv(out / "detections.csv")
    ]
    high, low = (f"{name.split('_')[0]}|{name.split('_')[1]}".split("|") for name in TONES_HZ)
    assert rows == [
        ("0", "sonus_altus", *high),
        ("10", "sonus_gravis", *low),
        ("20", "sonus_altus", *high),
    ]
    assert [row["birds"] for row in read_csv(out / "chunks.csv")] == [
        "sonus_altus", "nocall", "sonus_gravis", "nocall", "sonus_altus",
    ]  # fmt: skip
    scores = np.load(out / "scores" / "field.wav.npz")
    assert scores["scores"].shape == (5, 2)
    assert "bird" not in scores.files or scores["bird"].size == 0
    events = read_csv(out / "events.csv")
    assert {row["label"] for row in events} == {"sonus_altus", "sonus_gravis"}
    assert json.loads((out / "run.json").read_text())["model"]["precision"] == "as exported"


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=8))
def test_blocks_of_any_size_give_the_same(tones: Path, sizes: list[int]) -> None:
    model = load_model(read_model(tones))
    samples = sound(17.3, RATE_HZ, {3.0: 6_000.0, 9.5: 1_500.0})
    whole = model.pipeline()
    expected = whole.push(samples) + whole.finish()
    pipeline, results, place = model.pipeline(), [], 0
    while place < len(samples):
        for size in sizes:
            results += pipeline.push(samples[place : place + size])
            place += size
    results += pipeline.finish()
    assert [one.index for one in results] == list(range(4))
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.token_scores, other.token_scores)


@given(st.integers(1, 400), st.just(100))
def test_windows_cover_every_chunk_and_stay_within_it_if_they_fit(window: int, chunk: int) -> None:
    offsets = window_offsets(window, chunk)
    covered = np.zeros(chunk, bool)
    for offset in offsets:
        covered[max(0, offset) : offset + window] = True
        if window <= chunk:
            assert 0 <= offset <= chunk - window
    assert covered.all()
    assert len(offsets) == max(1, -(-chunk // window))


def test_a_window_longer_than_a_chunk_lies_around_it(
    net: Path, labels: Path, tmp_path: Path
) -> None:
    listening = Listening(RATE_HZ, 9.0, "sigmoid", 0.5, output_name="logits")
    model = load_model(wrap(net, labels, tmp_path / "wide", listening))
    samples = sound(20.0, RATE_HZ, {11.0: 6_000.0}, length_s=3.0)
    pipeline = model.pipeline()
    results = pipeline.push(samples) + pipeline.finish()
    high = [float(one.scores[0]) for one in results]
    # Heard by the windows -2..7, 3..12, 8..17 and 13..22 s for 0, 1, 3 and 1 s of it.
    assert high[2] > high[1] > high[0]
    assert high[2] > high[3] > high[0]


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("softmax", [0.5, 0.5]), ("sigmoid", [0.0067, 0.0067])],
)
def test_what_makes_probabilities_of_numbers(
    net: Path, labels: Path, tmp_path: Path, activation: str, expected: list[float]
) -> None:
    listening = Listening(RATE_HZ, WINDOW_S, activation, 0.5, output_name="logits")
    pipeline = load_model(wrap(net, labels, tmp_path / "x", listening)).pipeline()
    pipeline.push(np.zeros(100, np.float32))
    (result,) = pipeline.finish()
    np.testing.assert_allclose(result.scores, expected, atol=1e-3)


def test_numbers_that_are_no_probabilities_are_never_nocall(
    birdrec: Birdrec, net: Path, labels: Path, tmp_path: Path
) -> None:
    listening = Listening(RATE_HZ, WINDOW_S, "none", 0.5, output_name="logits")
    model = wrap(net, labels, tmp_path / "raw", listening).path
    soundfile.write(tmp_path / "field.wav", sound(6.0, RATE_HZ, {}), RATE_HZ)
    done = birdrec("scan", tmp_path / "field.wav", "--model", model, "--out", tmp_path / "out")
    assert done.returncode == 1
    manifest = json.loads((tmp_path / "out" / "manifest.jsonl").read_text())
    assert manifest["status"] == "failed"
    assert "is its activation 'none'?" in manifest["reason"]


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
