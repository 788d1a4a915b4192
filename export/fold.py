"""Of a mean of pixels and the 1 x 1 convolution after it one convolution: the same sums.

In integers onnxruntime takes six times as long for the mean (QLinearAveragePool) as for the larger
convolution, and rounds once more.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper


def fold_means(model: onnx.ModelProto) -> int:
    """Fold, in place, each AveragePool that only one 1 x 1 Conv reads; returns how many.

    Only where no pixel is left over: at the edge of an odd picture the mean is of fewer.
    """
    graph, inferred = model.graph, onnx.shape_inference.infer_shapes(model).graph
    rows = {entry.name: entry.type.tensor_type.shape for entry in inferred.value_info}
    weights = {entry.name: entry for entry in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    readers = [name for node in graph.node for name in node.input]
    folded = 0
    for conv in [node for node in graph.node if node.op_type == "Conv"]:
        mean = made_by.get(conv.input[0])
        if mean is None or mean.op_type != "AveragePool" or readers.count(mean.output[0]) != 1:
            continue
        kernel = _attribute(mean, "kernel_shape", [])
        shape = rows.get(mean.input[0])
        whole = (
            _attribute(conv, "kernel_shape", []) == [1, 1]
            and _attribute(conv, "strides", [1, 1]) == [1, 1]
            and _attribute(mean, "strides", [1, 1]) == kernel
            and not any(_attribute(mean, "pads", [0]))
            and shape is not None
            and len(shape.dim) == 4
            # The columns are whole tokens, of 32 frames.
            and shape.dim[2].dim_value > 0
            and shape.dim[2].dim_value % kernel[0] == 0
        )
        if not whole:
            continue
        weight = weights[conv.input[1]]
        values = numpy_helper.to_array(weight)
        spread = np.broadcast_to(values / np.prod(kernel), (*values.shape[:2], *kernel))
        weight.CopyFrom(
            numpy_helper.from_array(spread.astype(values.dtype, order="C"), weight.name)
        )
        for entry in list(conv.attribute):
            if entry.name in ("kernel_shape", "strides"):
                conv.attribute.remove(entry)
        make = onnx.helper.make_attribute
        conv.attribute.extend([make("kernel_shape", kernel), make("strides", kernel)])
        conv.input[0] = mean.input[0]
        graph.node.remove(mean)
        folded += 1
    # What was inferred of the pictures in between is of the graph as it was.
    del graph.value_info[:]
    return folded


def _attribute(node: onnx.NodeProto, name: str, default: list[int]) -> list[int]:
    for entry in node.attribute:
        if entry.name == name:
            return list(onnx.helper.get_attribute_value(entry))
    return default
