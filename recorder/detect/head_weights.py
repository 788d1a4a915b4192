"""The weights of a head's graph, for what computes it without onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recorder.detect.attention import AttentionWeights
from recorder.detect.onnx_file import OnnxFile
from recorder.errors import ModelError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HeadWeights:
    """One or two blocks and the classes (§2.3 has two)."""

    blocks: tuple[AttentionWeights, ...]
    classify: Floats  # [width, outputs]
    classify_bias: Floats
    heads: int


def head_weights(graph: OnnxFile) -> HeadWeights:
    """The weights of a head's graph; ModelError when it is not one of ours."""
    try:
        named = {name: np.asarray(value, np.float32) for name, value in graph.weights.items()
                 if name.startswith(("blocks.", "classify."))}  # fmt: skip
        blocks = tuple(
            AttentionWeights(
                named[f"blocks.{number}.query_key_value.weight"],
                named[f"blocks.{number}.query_key_value.bias"],
                named[f"blocks.{number}.out.weight"],
                named[f"blocks.{number}.out.bias"],
            )
            for number in range(2 if any(name.startswith("blocks.1.") for name in named) else 1)
        )
        return HeadWeights(
            blocks,
            named["classify.weight"],
            named["classify.bias"],
            int(graph.metadata["birdrec.heads"]),
        )
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"the head's graph has no {error}: export the model again with this version"
        ) from error
