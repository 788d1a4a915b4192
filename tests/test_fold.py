"""A mean of pixels and the 1 x 1 convolution after it as one convolution."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.fold import fold_means

_IN, _OUT = 3, 5


def _graph(*, rows: int, readers: int = 1) -> onnx.ModelProto:
    """AveragePool 2 x 2, then as many 1 x 1 convolutions of it."""
    weight = np.random.default_rng(0).standard_normal((_OUT, _IN, 1, 1)).astype(np.float32)
    made = [f"made_{number}" for number in range(readers)]
    pool = helper.make_node(
        "AveragePool", ["x"], ["mean"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
    )
    nodes = [
        helper.make_node("Conv", ["mean", f"weight_{name}"], [name], kernel_shape=[1, 1])
        for name in made
    ]
    return helper.make_model(
        helper.make_graph(
            [pool, *nodes],
            "means",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, _IN, rows, 8])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made],
            [numpy_helper.from_array(weight, f"weight_{name}") for name in made],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def _before(model: onnx.ModelProto) -> onnx.ModelProto:
    """With a layer in front, so that the picture that is averaged is an inner one."""
    for node in model.graph.node:
        if node.op_type == "AveragePool":
            node.input[0] = "inner"
    model.graph.node.insert(0, helper.make_node("Relu", ["x"], ["inner"]))
    return model


def _run(model: onnx.ModelProto, picture: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    result: np.ndarray = session.run(None, {"x": picture})[0]
    return result


def test_one_convolution_gives_the_same_sums() -> None:
    model = _before(_graph(rows=6))
    picture = np.random.default_rng(1).standard_normal((1, _IN, 6, 8)).astype(np.float32)
    expected = _run(model, picture)
    assert fold_means(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Relu", "Conv"]
    np.testing.assert_allclose(_run(model, picture), expected, atol=1e-6)


@pytest.mark.parametrize(("rows", "readers"), [(7, 1), (6, 2)])
def test_what_would_not_be_the_same_stays(rows: int, readers: int) -> None:
    """A row over, whose mean is of half as many; and a mean that somebody else reads too."""
    model = _before(_graph(rows=rows, readers=readers))
    assert fold_means(model) == 0
    assert model.graph.node[1].op_type == "AveragePool"
