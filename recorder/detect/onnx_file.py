"""What an ONNX file holds, read without running it and without the `onnx` package.

onnxruntime allocates what a graph asks for while it loads it, follows the paths of external data,
and folds constants. So a graph is looked at before: the wire format of protocol buffers is a list
of (field number, value), and the few messages of onnx.proto that matter are read from it. Field
numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.errors import ModelError

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Of the operators that onnxruntime itself has."""
LARGEST_CONSTANT_BYTES = 512_000_000
"""A tensor that a graph makes out of nothing; the largest real ones are embeddings of 100 MB."""
_DTYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64,
    9: np.bool_, 10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip
_MAKERS = ("ConstantOfShape", "Expand", "Tile", "RandomNormal", "RandomUniform")
"""Operators that make a tensor as large as a constant says."""
_MOST_ROUNDS = 1_000_000
"""Of a loop that says beforehand how often it runs."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Fields = Iterator[tuple[int, "int | memoryview"]]


@dataclass(frozen=True)
class OnnxFile:
    """The weights of a graph by name, and the words that were written into it."""

    weights: dict[str, NDArray[np.generic]]
    metadata: dict[str, str]
    operators: tuple[str, ...]
    """One for each node, those of subgraphs included."""


def read_onnx(path: Path) -> OnnxFile:
    """Read a graph and refuse what must not be loaded.

    ModelError when the file cannot be read or is cut off, when weights lie in another file, when
    an operator is not onnxruntime's own, when a tensor is not as large as it says or far too large.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror})") from error
    reader = _Reader(path)
    try:
        reader.model(data)
    except (ValueError, IndexError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a whole ONNX file ({error}): copy the bundle again"
        ) from error
    if not reader.operators:
        raise ModelError(f"{path} is not an ONNX file, or its graph is empty")
    return OnnxFile(reader.weights, reader.metadata, tuple(reader.operators))


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights: dict[str, NDArray[np.generic]] = {}
        self.metadata: dict[str, str] = {}
        self.operators: list[str] = []

    def model(self, data: memoryview) -> None:
        for number, value in _fields(data):
            if number == 7:
                self._graph(_bytes(value))
            elif number == 14:
                entry = {key: _text(word) for key, word in _fields(_bytes(value))}
                self.metadata[entry.get(1, "")] = entry.get(2, "")
            elif number == 25:
                raise ModelError(
                    f"{self.path} defines functions of its own: only graphs of onnxruntime's own "
                    "operators are loaded"
                )

    def _graph(self, data: memoryview) -> None:
        nodes = []
        for number, value in _fields(data):
            if number == 1:
                nodes.append(_bytes(value))
            elif number == 5:
                name, tensor = self._tensor(_bytes(value))
                self.weights[name] = tensor
            elif number == 15:
                raise ModelError(f"{self.path} holds sparse weights, which are not supported")
        for node in nodes:
            self._node(node)

    def _node(self, data: memoryview) -> None:
        inputs, outputs, operator, domain, attributes = [], [], "", "", []
        for number, value in _fields(data):
            if number == 1:
                inputs.append(_text(value))
            elif number == 2:
                outputs.append(_text(value))
            elif number == 4:
                operator = _text(value)
            elif number == 5:
                attributes.append(_bytes(value))
            elif number == 7:
                domain = _text(value)
        if domain not in DOMAINS:
            raise ModelError(
                f"{self.path} needs the operator {domain}.{operator}, which onnxruntime does not "
                f"have: only operators of {', '.join(name or 'ai.onnx' for name in DOMAINS[1:])} "
                "are loaded"
            )
        self.operators.append(operator)
        shape: list[int] = []
        for attribute in attributes:
            shape += self._attribute(attribute, operator, outputs)
        constants = [self.weights.get(name) for name in inputs]
        self._check_size(shape + _asked_for(operator, constants), 4, f"its {operator}")
        self._check_rounds(operator, constants[:1])

    def _check_rounds(self, operator: str, first: list[NDArray[np.generic] | None]) -> None:
        if operator != "Loop" or not first or first[0] is None or not first[0].size:
            return
        rounds = int(first[0].ravel()[0])
        if rounds > _MOST_ROUNDS:
            raise ModelError(
                f"{self.path}: its Loop would run {rounds} times; at most {_MOST_ROUNDS} are loaded"
            )

    def _attribute(self, data: memoryview, operator: str, outputs: list[str]) -> list[int]:
        """Look into tensors and subgraphs; the numbers of an attribute called shape."""
        name, numbers = "", []
        for number, value in _fields(data):
            if number == 1:
                name = _text(value)
            elif number == 8:
                numbers += _integers(value)
            elif number in (5, 10):
                tensor = self._tensor(_bytes(value))[1]
                if operator == "Constant" and outputs:
                    self.weights[outputs[0]] = tensor
            elif number in (6, 11):
                self._graph(_bytes(value))
        if operator == "Constant" and name == "value_ints" and outputs:
            self.weights[outputs[0]] = np.array(numbers, np.int64)
        return numbers if name == "shape" and operator in _MAKERS else []

    def _tensor(self, data: memoryview) -> tuple[str, NDArray[np.generic]]:
        dims: list[int] = []
        kind, name, raw = 0, "", memoryview(b"")
        listed: list[memoryview | int] = []
        for number, value in _fields(data):
            if number == 1:
                dims += _integers(value)
            elif number == 2:
                kind = _integer(value)
            elif number in (4, 5, 7, 10, 11):
                listed.append(value)
            elif number == 8:
                name = _text(value)
            elif number == 9:
                raw = _bytes(value)
            elif number == 13 or (number == 14 and value == 1):
                raise ModelError(
                    f"{self.path}: the weights {name or 'of a tensor'} lie in another file; only "
                    "graphs that hold their weights are loaded"
                )
        dtype = np.dtype(_DTYPES.get(kind, np.uint8))
        self._check_size(dims, dtype.itemsize, f"its tensor {name!r}")
        if raw and kind in _DTYPES:
            if len(raw) != math.prod(dims) * dtype.itemsize:
                raise ValueError(f"tensor {name!r} of {dims} has {len(raw)} bytes")
            return name, np.frombuffer(raw, dtype).reshape(dims)
        if kind in (6, 7) and listed:
            return name, np.array([one for value in listed for one in _integers(value)], dtype)
        if kind in (1, 11) and listed:
            return name, np.frombuffer(b"".join(_bytes(value) for value in listed), dtype)
        # Strings, and numbers one by one: nothing that is read here.
        return name, np.empty(0, np.uint8)

    def _check_size(self, dims: list[int], item_bytes: int, what: str) -> None:
        size = math.prod(abs(one) for one in dims) * item_bytes
        if size > LARGEST_CONSTANT_BYTES:
            raise ModelError(
                f"{self.path}: {what} would have {size / 1e9:.3g} GB; at most "
                f"{LARGEST_CONSTANT_BYTES / 1e9:.1f} GB are loaded"
            )


def _asked_for(operator: str, inputs: list[NDArray[np.generic] | None]) -> list[int]:
    """Sides of what an operator makes, as far as its constant inputs tell; ValueError when they
    are no sizes."""
    known = [None if one is None or not one.size else one.ravel()[:16] for one in inputs]
    if operator in _MAKERS:
        return [int(x) for one in known if one is not None and one.dtype == np.int64 for x in one]
    if operator == "Range":
        ends = [float(one[0]) for one in known if one is not None]
        if len(ends) != 3:
            return []
        if not ends[2] or not np.isfinite(ends).all():
            raise ValueError(f"a Range of {ends}")
        return [int((ends[1] - ends[0]) / ends[2])]
    if operator == "Pad" and len(known) > 1 and known[1] is not None:
        before, after = np.array_split(known[1], 2)
        return [1 + int(a) + int(b) for a, b in zip(before, after, strict=False)]
    if operator == "Resize":
        return [int(x) for one in known[2:] if one is not None for x in one if 1 <= x < np.inf]
    return []


def _fields(data: memoryview) -> Fields:
    """(field number, value) of a message: an integer, or bytes. ValueError when it is cut off."""
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _read_varint(data, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, place = _read_varint(data, place)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if place + length > len(data):
            raise ValueError("it ends too early")
        yield key >> 3, data[place : place + length]
        place += length


def _read_varint(data: memoryview, place: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        if place >= len(data) or shift > 63:
            raise ValueError("a number is cut off")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where there should be a message")
    return value


def _text(value: int | memoryview) -> str:
    return str(_bytes(value), "utf-8")


def _integer(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where there should be a number")
    return value - (1 << 64) if value >= 1 << 63 else value


def _integers(value: int | memoryview) -> list[int]:
    """Repeated integers come one by one, or packed into bytes."""
    if isinstance(value, int):
        return [_integer(value)]
    result, place = [], 0
    while place < len(value):
        number, place = _read_varint(value, place)
        result.append(_integer(number))
    return result
