"""The encoder in 8-bit integers: a second graph beside the first, to pass the gate (`export.gate`).

Static quantization in QDQ form: weights int8 per output channel, activations uint8 with the range
that they had on real recordings (the smallest and the largest; a percentile is finer, and no safe
default). The front of the encoder, which takes the background from the log-mel, the tokens and the
head stay float.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.bundle import GATE_FIGURE, GATE_REPORT
from export.fold import fold_means
from recorder.detect.bundle import ENCODER_FILES, HEAD_FILE, Bundle, file_entry, read_bundle
from recorder.detect.mel import (
    SAMPLE_RATE_HZ,
    TOKEN_SAMPLES,
    log_mel,
    samples_needed,
)
from recorder.errors import AudioFileError, ModelError, UsageError
from recorder.sound.files.finder import find_recordings
from recorder.sound.files.whole import read_mono

Floats = NDArray[np.float32]

WHOLE_RANGE = 100.0
"""Percentile: nothing is cut off."""
SMALLEST_PERCENTILE = 99.0
_TILE_TOKENS = 108
_TILES = 120
"""Of 34 s: an hour of sound, evenly from all recordings."""
_INTEGER = ("Conv", "Relu", "Add", "MaxPool", "AveragePool")
_HALVED = ("blocks.", "classify.")


def quantize(
    bundle: Bundle,
    sound: list[Path],
    out: Path,
    *,
    small: bool = False,
    percentile: float = WHOLE_RANGE,
    first_float: bool = False,
) -> tuple[Bundle, list[str]]:
    """Write the bundle `out`: this one with an int8 encoder, calibrated on recordings in `sound`.

    `small` leaves the float encoder out and keeps the head's matrices in half precision. The int8
    encoder has not passed the gate then: the recorder takes it only when it is told to, or when it
    is all there is. Activations beyond the `percentile` of their absolute values are cut off, which
    makes the steps of the others finer; `first_float` leaves the first convolution, whose input is
    the log-mel itself, in floats. Returns the new bundle and the operators that stayed float.
    UsageError when `out` exists, or nothing can be calibrated on.
    """
    if "fp32" not in bundle.precisions:
        raise UsageError(f"{bundle.path} has no fp32 encoder to make an int8 one of")
    if not SMALLEST_PERCENTILE <= percentile <= WHOLE_RANGE:
        raise UsageError(f"--percentile {percentile}: use {SMALLEST_PERCENTILE:g} to 100")
    if out.exists():
        raise UsageError(f"--out {out} exists already: choose another name")
    tiles = list(_tiles(bundle, sound))
    new = out.with_name(out.name + ".tmp")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(bundle.path, new)
    encoder = new / ENCODER_FILES["int8"]
    _quantize(bundle.encoder_path(), encoder, tiles, percentile=percentile, first_float=first_float)
    floats = float_operators(encoder)
    details = json.loads((new / "model.json").read_text(encoding="utf-8"))
    details["name"] = out.name
    for name in (GATE_REPORT, GATE_FIGURE):
        # Of another encoder.
        (new / name).unlink(missing_ok=True)
        details["files"].pop(name, None)
    whole = percentile == WHOLE_RANGE
    ranges = "smallest and largest" if whole else f"percentile {percentile:g}"
    details["encoder"]["int8"] = {
        "weights": "int8, per channel",
        "activations": "uint8",
        "calibrated_on": f"{len(tiles)} tiles of {_TILE_TOKENS} tokens, {ranges}",
        "float_operators": floats,
        "gate": "not run",
    }
    if small:
        (new / ENCODER_FILES["fp32"]).unlink()
        del details["files"][ENCODER_FILES["fp32"]]
        _halve(new / HEAD_FILE)
    for name in (HEAD_FILE, ENCODER_FILES["int8"]):
        details["files"][name] = file_entry(new / name)
    (new / "model.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    read_bundle(new)
    new.rename(out)
    return read_bundle(out), floats


def _tiles(bundle: Bundle, sound: list[Path]) -> Iterator[Floats]:
    """Log-mel [1, frames, bands], evenly from all recordings; UsageError when there is none."""
    found = [one for one in find_recordings(tuple(sound), leave_out=bundle.path) if not one.problem]
    if not found:
        raise UsageError(f"no recording in {', '.join(map(str, sound))} to calibrate on")
    each = max(1, _TILES // len(found))
    needed = samples_needed(_TILE_TOKENS, bundle.mel)
    count, bad = 0, []
    for one in found[:: max(1, len(found) // _TILES)]:
        try:
            samples = read_mono(one.path, SAMPLE_RATE_HZ)
        except AudioFileError as error:
            bad.append(f"{one.name}: {error}")
            continue
        places = max(1, (len(samples) - needed) // TOKEN_SAMPLES)
        for place in np.linspace(0, places - 1, min(each, places)).astype(int):
            piece = samples[place * TOKEN_SAMPLES :][:needed]
            padded = np.pad(piece, (0, needed - len(piece)))
            count += 1
            yield log_mel(padded, _TILE_TOKENS, bundle.mel)[np.newaxis]
    if not count:
        raise UsageError(f"no recording to calibrate on could be read: {'; '.join(bad[:3])}")


class _Tiles(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, tiles: list[Floats]) -> None:
        self._left = iter(tiles)

    def get_next(self) -> dict[str, Floats] | None:
        tile = next(self._left, None)
        return None if tile is None else {"log_mel": tile}


def _quantize(
    source: Path, target: Path, tiles: list[Floats], *, percentile: float, first_float: bool
) -> None:
    whole = percentile == WHOLE_RANGE
    method = CalibrationMethod.MinMax if whole else CalibrationMethod.Percentile
    options = {} if whole else {"CalibPercentile": percentile, "SymmetricCalibration": False}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        folded = onnx.load(str(prepared))
        fold_means(folded)
        onnx.save(folded, str(prepared))
        nodes = folded.graph.node
        convolutions = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
        first = convolutions[1 if first_float else 0]
        quantize_static(
            str(prepared),
            str(target),
            _Tiles(tiles),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=[one.name for one in nodes[first:] if one.op_type in _INTEGER],
            calibrate_method=method,
            extra_options=options,
        )
    model = onnx.load(str(target))
    _keep_tokens_float(model.graph)
    words = {entry.key: entry.value for entry in onnx.load(str(source)).metadata_props}
    onnx.helper.set_model_props(model, words)
    onnx.save(model, str(target))


def _keep_tokens_float(graph: onnx.GraphProto) -> None:
    """Do not round what the last convolution gives: the tokens' few large numbers would coarsen all
    others, and rounding them was half of the whole error.

    It spans all rows of its input and one column, so it becomes the product of each column with a
    matrix: integers still, and the same bits whatever the length (a float convolution's depend on
    it).
    """
    kept = {entry.name: entry for entry in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    conv = next(node for node in reversed(graph.node) if node.op_type == "Conv")
    column, weight, bias = (made_by[name] for name in conv.input)
    quantized = numpy_helper.to_array(kept[weight.input[0]])  # [width, features, rows, 1]
    if quantized.shape[3] != 1:
        raise ModelError(f"the last convolution of the encoder is {quantized.shape}: not 1 wide")
    width = len(quantized)
    matrix = np.ascontiguousarray(quantized.reshape(width, -1).T)
    offset = numpy_helper.to_array(kept[bias.input[0]]) * numpy_helper.to_array(kept[bias.input[1]])
    graph.initializer.extend(
        [
            numpy_helper.from_array(matrix, "tokens.weight.quantized"),
            numpy_helper.from_array(offset.astype(np.float32), "tokens.bias"),
            numpy_helper.from_array(np.array([0, 0, -1]), "tokens.shape"),
        ]
    )
    # All that came after it made tokens of its output, which the product gives at once.
    after = list(graph.node)[list(graph.node).index(conv) :]
    for node in (*after, column, weight, bias):
        graph.node.remove(node)
    make = onnx.helper.make_node
    graph.node.extend(
        [
            make("Transpose", [column.input[0]], ["tokens.turned"], perm=[0, 3, 1, 2]),
            make("Reshape", ["tokens.turned", "tokens.shape"], ["tokens.column"]),
            make("DequantizeLinear", ["tokens.column", *column.input[1:]], ["tokens.input"]),
            make(
                "DequantizeLinear",
                ["tokens.weight.quantized", *weight.input[1:]],
                ["tokens.weight"],
                axis=1,
            ),
            make("MatMul", ["tokens.input", "tokens.weight"], ["tokens.product"]),
            make("Add", ["tokens.product", "tokens.bias"], [graph.output[0].name]),
        ]
    )
    used = {name for node in graph.node for name in node.input}
    for entry in list(graph.initializer):
        if entry.name not in used:
            graph.initializer.remove(entry)
    del graph.value_info[:]


def float_operators(encoder: Path) -> list[str]:
    """What onnxruntime computes in floats in the graph as it runs it, "operator x count"."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(encoder), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(str(optimized)).graph
    integer = {
        entry
        for node in graph.node
        if node.op_type.startswith("Q") or node.op_type == "DequantizeLinear"
        for entry in (*node.input[:1], *node.output)
    }
    counts = Counter(
        node.op_type
        for node in graph.node
        if not node.op_type.startswith(("QLinear", "Quantize", "Dequantize", "MatMulInteger"))
        and not (node.op_type.endswith("MaxPool") and node.input[0] in integer)
    )
    return [f"{name} x {count}" for name, count in sorted(counts.items())]


def _halve(head: Path) -> None:
    """Keep the matrices in half precision; they are cast back once, when the graph is loaded."""
    model = onnx.load(str(head))
    graph = model.graph
    for place, entry in enumerate(list(graph.initializer)):
        if len(entry.dims) != 2 or not entry.name.startswith(_HALVED):
            continue
        halved = numpy_helper.to_array(entry).astype(np.float16)
        graph.initializer[place].CopyFrom(numpy_helper.from_array(halved, entry.name))
        for node in graph.node:
            for at, name in enumerate(node.input):
                if name == entry.name:
                    node.input[at] = f"{entry.name}.float"
        cast = onnx.helper.make_node(
            "Cast", [entry.name], [f"{entry.name}.float"], to=onnx.TensorProto.FLOAT
        )
        graph.node.insert(0, cast)
    onnx.save(model, str(head))
