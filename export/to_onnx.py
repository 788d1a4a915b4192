"""Encoder and head of a checkpoint as two ONNX graphs, checked against torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from recorder.detect.mel import FRAMES_PER_TOKEN
from recorder.errors import ModelError
from train.segmenter import Encoder, GlobalAttention, Head

PARITY = 1e-4
"""The largest difference between torch and onnxruntime that is taken for rounding."""

_OPSET = 18


class HeadByHead(nn.Module):
    """The head with one attention head after the other, for its memory.

    All heads at once hold 8 x 1920 x 1920 weights (118 MB, twice); one at a time 15 MB.
    """

    def __init__(self, head: Head, classes: int) -> None:
        super().__init__()
        self.blocks = head.attention
        self.classify = head.classify
        self.classes = classes

    def forward(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = _attend(block, tokens)
        weight, bias = self.classify.weight[: self.classes], self.classify.bias[: self.classes]
        return nn.functional.linear(tokens, weight, bias)


def _attend(block: nn.Module, tokens: Tensor) -> Tensor:
    assert isinstance(block, GlobalAttention)
    width = tokens.shape[2] // block.heads
    queries, keys, values = block.query_key_value(tokens).chunk(3, dim=2)
    mixed = []
    for head in range(block.heads):
        part = slice(head * width, (head + 1) * width)
        query, key, value = queries[..., part], keys[..., part], values[..., part]
        weights = (query * width**-0.5 @ key.transpose(1, 2)).softmax(-1)
        mixed.append(weights @ value)
    added: Tensor = tokens + block.out(torch.cat(mixed, dim=2))
    return added


def export_encoder(encoder: Encoder, path: Path, *, mel_bands: int) -> None:
    """Log-mel [1, frames, bands] -> tokens [1, tokens, width]; frames a multiple of 32."""
    example = torch.randn(1, 12 * FRAMES_PER_TOKEN, mel_bands) - 2.0
    tokens = torch.export.Dim("tokens", min=2, max=4096)
    _export(encoder, path, example, name="log_mel", dynamic={1: FRAMES_PER_TOKEN * tokens})


def export_head(head: Head, path: Path, *, width: int, classes: int) -> None:
    """Tokens [1, tokens, width] -> logits [1, tokens, classes], the first `classes` alone."""
    example = torch.randn(1, 48, width)
    tokens = torch.export.Dim("tokens", min=2, max=100_000)
    _export(HeadByHead(head, classes), path, example, name="tokens", dynamic={1: tokens})


def _export(
    module: nn.Module, path: Path, example: Tensor, *, name: str, dynamic: dict[int, Any]
) -> None:
    module = module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=[name],
            output_names=["tokens" if name == "log_mel" else "logits"],
            dynamic_shapes=(dynamic,),
            verbose=False,
        )
    assert program is not None
    onnx.save(program.model_proto, str(path))
    _check_parity(module, path, example, name)


def _check_parity(module: nn.Module, path: Path, example: Tensor, name: str) -> None:
    """Same numbers as torch, on the example's length and on three times that."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for value in (example, torch.cat((example, example.flip(1), example * 0.5), dim=1)):
        with torch.no_grad():
            expected = module(value).numpy()
        found = session.run(None, {name: value.numpy()})[0]
        difference = float(np.abs(found - expected).max())
        if not difference <= PARITY * max(1.0, float(np.abs(expected).max())):
            raise ModelError(f"{path} differs from torch by {difference:.2g}: not exported")
