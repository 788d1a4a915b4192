"""A small net that knows two tones, as somebody else would hand it over."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

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
