"""A model bundle as a checkpoint again: to start from what somebody else trained, or learn from it.

Of the classes only those are there that left the lab. What the graphs have folded together
(normalisation into convolutions) stays so: the net says the same, and trains on from there.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from recorder.detect.bundle import Bundle, read_bundle
from recorder.detect.mel import FRAMES_PER_TOKEN
from recorder.errors import ConfigError, ModelError
from train.learning.checkpoint import Checkpoint
from train.nets.backbones import probe_shape
from train.nets.segmenter import Segmenter, SegmenterConfig
from train.scenes.scene import ANY_BIRD

_PARITY = 1e-4
"""The largest difference between graph and net that is taken for rounding."""


def bundle_checkpoint(folder: Path) -> Checkpoint:
    """Rebuild the segmenter of a bundle; ModelError when its graphs are not those of one."""
    bundle = read_bundle(folder)
    if "fp32" not in bundle.precisions:
        raise ModelError(f"{folder} cannot be trained on: its encoder is there as int8 alone")
    try:
        config = _config(bundle)
        net = Segmenter(config, bundle.mel).eval()
        _fill_encoder(net, onnx.load(str(bundle.encoder_path())).graph, bundle)
        _fill_head(net, onnx.load(str(bundle.head_path)).graph)
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder} cannot be trained on: {error}") from error
    _check(net, bundle)
    labels = [one.label for one in bundle.labels]
    content = {
        "config": {
            "name": bundle.name,
            "train_on_val": bundle.details["training"]["config"].get("train_on_val", False),
        },
        "segmenter": config.to_dict(),
        "n_fft": bundle.mel.n_fft,
        "labels": [*labels, ANY_BIRD] if bundle.any_bird else labels,
        "core": labels,
        "names": {one.label: (one.scientific_name, one.common_name) for one in bundle.labels},
        "sources": [
            ("", "", author, bundle.details.get("licence", ""), "")
            for author in bundle.details.get("attribution", []) or [""]
        ],
    }
    return Checkpoint(net, content)


def _config(bundle: Bundle) -> SegmenterConfig:
    trained = bundle.details["training"]["config"]
    return SegmenterConfig(
        classes=bundle.outputs,
        backbone=bundle.details["encoder"]["backbone"],
        width=bundle.width,
        attention_blocks=trained.get("attention_blocks", 2),
        background_tokens=trained["background_tokens"],
    )


def _fill_encoder(net: Segmenter, graph: onnx.GraphProto, bundle: Bundle) -> None:
    """Convolution by convolution as they run: equal weights may have one name in the graph."""
    kept = _initializers(graph)
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    order = _run_order(net.encoder, bundle)
    convolutions = [one for one in order if isinstance(one, nn.Conv2d)]
    next_one = dict(pairwise(order))
    for convolution, node in zip(convolutions, nodes, strict=True):
        _put(convolution.weight, kept[node.input[1]])
        # A bias of zeros is left out of the graph.
        bias = kept[node.input[2]] if len(node.input) > 2 else np.zeros(len(convolution.weight))
        norm = next_one.get(convolution)
        if isinstance(norm, nn.BatchNorm2d):
            # New statistics are mean 0 and variance 1: with this weight it adds its bias alone.
            nn.init.constant_(norm.weight, (1.0 + norm.eps) ** 0.5)
            _put(norm.bias, bias)
        else:
            assert convolution.bias is not None
            _put(convolution.bias, bias)


def _run_order(encoder: nn.Module, bundle: Bundle) -> list[nn.Module]:
    """Convolutions and normalisations, one after the other as they run."""
    order: list[nn.Module] = []
    watched = [
        module.register_forward_hook(lambda one, *_: order.append(one))
        for module in encoder.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    with torch.no_grad():
        encoder(torch.zeros(probe_shape(bundle.mel.mel_bands)))
    for hook in watched:
        hook.remove()
    return order


def _fill_head(net: Segmenter, graph: onnx.GraphProto) -> None:
    kept = _initializers(graph)
    made_by = {name: node for node in graph.node for name in node.output}
    linears = [one for one in net.head.modules() if isinstance(one, nn.Linear)]
    products = [node for node in graph.node if node.op_type == "MatMul"]
    weighted = [node for node in products if _weight(node, kept, made_by) is not None]
    for linear, node in zip(linears, weighted, strict=True):
        rows = len(linear.weight)
        weight = _weight(node, kept, made_by)
        assert weight is not None
        # More classes were trained than left the lab: the graph cuts off those behind.
        _put(linear.weight, weight[:rows])
        added = next((one for one in graph.node if node.output[0] in one.input), None)
        biases = [kept[name] for name in added.input if name in kept] if added else []
        _put(linear.bias, biases[0] if biases else np.zeros(rows))


def _weight(
    node: onnx.NodeProto, kept: dict[str, np.ndarray], made_by: dict[str, onnx.NodeProto]
) -> np.ndarray | None:
    """[out, in] of a linear layer; None of a product of two things that were computed."""
    name = node.input[1]
    if name in kept:
        return np.asarray(kept[name].T)
    source = made_by[name]
    while source.input[0] in made_by and source.op_type in ("Transpose", "Slice"):
        source = made_by[source.input[0]]
    return kept.get(source.input[0])


def _initializers(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in graph.initializer}


@torch.no_grad()
def _put(parameter: Tensor, values: np.ndarray) -> None:
    if parameter.shape != values.shape:
        raise ValueError(f"weights of {values.shape} where {tuple(parameter.shape)} are expected")
    parameter.copy_(torch.tensor(values, dtype=torch.float32))


@torch.no_grad()
def _check(net: Segmenter, bundle: Bundle) -> None:
    """The net says what the graphs say, on noise."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, 12 * FRAMES_PER_TOKEN, bundle.mel.mel_bands)
    log_mel = torch.randn(shape, generator=generator) - 2.0
    value = log_mel.numpy()
    for path in (bundle.encoder_path(), bundle.head_path):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        value = session.run(None, {session.get_inputs()[0].name: value})[0]
    difference = float(np.abs(net(log_mel).numpy() - value).max())
    if not difference <= _PARITY * max(1.0, float(np.abs(value).max())):
        raise ModelError(
            f"{bundle.path} cannot be trained on: a net with its weights differs from its graphs "
            f"by {difference:.2g}"
        )
