"""Encoder and head of a checkpoint as two ONNX graphs, checked against torch."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from recorder.detect.mel import FRAMES_PER_TOKEN, PICTURE_FRAMES, MelConfig
from recorder.errors import ModelError
from train.nets.classifier import Classifier
from train.nets.segmenter import Encoder, GlobalAttention, Head
from train.voice.net import VoiceNet

PARITY = 1e-4
"""The largest difference between torch and onnxruntime that is taken for rounding."""

_OPSET = 18
_SMALLEST_EXPONENT = -50.0
_OUTPUTS = {"encoder": "tokens", "head": "logits", "classifier": "logits", "voice": "scores"}
_INPUTS = {"encoder": "log_mel", "head": "tokens", "classifier": "picture", "voice": "log_mel"}


class HeadByHead(nn.Module):
    """The head with one attention head after the other, for its memory.

    All heads at once hold 8 x 1920 x 1920 weights (118 MB, twice); one at a time 15 MB.
    """

    def __init__(self, head: Head, classes: int) -> None:
        super().__init__()
        self.blocks = head.attention
        self.classify = nn.Linear(head.classify.in_features, classes)
        with torch.no_grad():
            self.classify.weight.copy_(head.classify.weight[:classes])
            self.classify.bias.copy_(head.classify.bias[:classes])

    def forward(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = _attend(block, tokens)
        logits: Tensor = self.classify(tokens)
        return logits


def _attend(block: nn.Module, tokens: Tensor) -> Tensor:
    assert isinstance(block, GlobalAttention)
    width = tokens.shape[2] // block.heads
    queries, keys, values = block.query_key_value(tokens).chunk(3, dim=2)
    mixed = []
    for head in range(block.heads):
        part = slice(head * width, (head + 1) * width)
        query, key, value = queries[..., part], keys[..., part], values[..., part]
        scores = query * width**-0.5 @ key.transpose(1, 2)
        # Softmax written out, and nothing below e^-50: weights of 1e-40, which most are, change
        # nothing and take a processor a hundred times longer.
        terms = (scores - scores.amax(2, keepdim=True)).clamp(min=_SMALLEST_EXPONENT).exp()
        both = terms @ torch.cat((value, torch.ones_like(value[..., :1])), dim=2)
        mixed.append(both[..., :-1] / both[..., -1:])
    added: Tensor = tokens + block.out(torch.cat(mixed, dim=2))
    return added


def export_encoder(encoder: Encoder, path: Path, mel: MelConfig) -> None:
    """Log-mel [1, frames, bands] -> tokens [1, tokens, width]; frames a multiple of 32.

    The front end that it was trained with is written into the graph: `birdrec.mel`.
    """
    example = torch.randn(1, 12 * FRAMES_PER_TOKEN, mel.mel_bands) - 2.0
    tokens = torch.export.Dim("tokens", min=2, max=4096)
    words = {"birdrec.graph": "encoder", "birdrec.mel": json.dumps(mel.to_dict())}
    _export(encoder, path, example, dynamic={1: FRAMES_PER_TOKEN * tokens}, words=words)


def export_head(head: Head, path: Path, *, width: int, labels: list[str]) -> None:
    """Tokens [1, tokens, width] -> logits [1, tokens, labels], the first classes alone.

    Labels and the number of attention heads are written into the graph (`birdrec.labels`,
    `birdrec.heads`), and its weights have their names in the net: the incremental head reads them.
    """
    example = torch.randn(1, 48, width)
    tokens = torch.export.Dim("tokens", min=2, max=100_000)
    first = head.attention[0]
    assert isinstance(first, GlobalAttention)
    words = {
        "birdrec.graph": "head",
        "birdrec.heads": str(first.heads),
        "birdrec.labels": json.dumps(labels),
    }
    _export(HeadByHead(head, len(labels)), path, example, dynamic={1: tokens}, words=words)


def export_classifier(net: Classifier, path: Path, mel: MelConfig, labels: list[str]) -> None:
    """The picture of one chunk [1, 313, bands] -> logits [1, labels], the first classes alone."""
    example = torch.randn(1, PICTURE_FRAMES, mel.mel_bands) - 2.0
    words = {"birdrec.graph": "classifier", "birdrec.labels": json.dumps(labels)}
    _export(FirstClasses(net, len(labels)), path, example, dynamic={}, words=words)


def export_voice(net: VoiceNet, path: Path, mel: MelConfig) -> None:
    """Log-mel [1, frames, bands] -> the probability of a voice [1, tokens]."""
    example = torch.randn(1, 40 * FRAMES_PER_TOKEN, mel.mel_bands) - 2.0
    tokens = torch.export.Dim("tokens", min=2, max=4096)
    words = {"birdrec.graph": "voice", "birdrec.mel": json.dumps(mel.to_dict())}
    scores = nn.Sequential(net, nn.Sigmoid())
    _export(scores, path, example, dynamic={1: FRAMES_PER_TOKEN * tokens}, words=words)


class FirstClasses(nn.Module):
    """A classifier without the classes that stay in the lab."""

    def __init__(self, net: Classifier, classes: int) -> None:
        super().__init__()
        self.net = net
        self.classes = classes

    def forward(self, picture: Tensor) -> Tensor:
        logits: Tensor = self.net(picture)[:, : self.classes]
        return logits


def _export(
    module: nn.Module,
    path: Path,
    example: Tensor,
    *,
    dynamic: dict[int, Any],
    words: dict[str, str],
) -> None:
    name = _INPUTS[words["birdrec.graph"]]
    module = module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=[name],
            output_names=[_OUTPUTS[words["birdrec.graph"]]],
            dynamic_shapes=(dynamic,) if dynamic else None,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    if isinstance(module, HeadByHead):
        _name_weights(model.graph, module)
    onnx.helper.set_model_props(model, words)
    _forget_the_lab(model.graph)
    onnx.save(model, str(path))
    _check_parity(module, path, example, name)


def _forget_the_lab(graph: onnx.GraphProto) -> None:
    """The exporter notes where in the source each node comes from: paths of the lab's machine."""
    values = (*graph.input, *graph.output, *graph.value_info)
    for entry in (graph, *graph.node, *graph.initializer, *values):
        del entry.metadata_props[:]
        entry.ClearField("doc_string")


def _name_weights(graph: onnx.GraphProto, head: HeadByHead) -> None:
    """Give each linear layer its own matrix, [in, out], and bias under its name in the net.

    The exporter calls matrices by number, and layers whose values are equal share them.
    """
    kept = {entry.name for entry in graph.initializer}
    layers = [(name, one) for name, one in head.named_modules() if isinstance(one, nn.Linear)]
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in kept]
    named: dict[str, onnx.TensorProto] = {}
    for (name, layer), product in zip(layers, products, strict=True):
        added = next(node for node in graph.node if product.output[0] in node.input)
        place = next(place for place, one in enumerate(added.input) if one in kept)
        product.input[1], added.input[place] = f"{name}.weight", f"{name}.bias"
        matrix, bias = layer.weight.detach().T.contiguous().numpy(), layer.bias.detach().numpy()
        named[f"{name}.weight"] = numpy_helper.from_array(matrix, f"{name}.weight")
        named[f"{name}.bias"] = numpy_helper.from_array(bias, f"{name}.bias")
    used = {name for node in graph.node for name in node.input}
    for entry in list(graph.initializer):
        if entry.name in named or entry.name not in used:
            graph.initializer.remove(entry)
    graph.initializer.extend(named.values())


def _check_parity(module: nn.Module, path: Path, example: Tensor, name: str) -> None:
    """Same numbers as torch, on the example and, if it may have any length, on three times that."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    longer = torch.cat((example, example.flip(1), example * 0.5), dim=1)
    for value in (example, example.flip(1) if name == "picture" else longer):
        with torch.no_grad():
            expected = module(value).numpy()
        found = session.run(None, {name: value.numpy()})[0]
        difference = float(np.abs(found - expected).max())
        if not difference <= PARITY * max(1.0, float(np.abs(expected).max())):
            raise ModelError(f"{path} differs from torch by {difference:.2g}: not exported")
