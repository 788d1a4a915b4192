"""A graph is looked at before it is loaded: what would hurt is refused, whatever its hash says."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from recorder.detect.bundle import DEFAULT_BUNDLE, read_bundle
from recorder.detect.inference import Networks
from recorder.detect.onnx_file import read_onnx
from recorder.errors import ModelError

FORTY_GB = [10_000_000_000]


def model_of(
    nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto] | None = None
) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "g", [value], [result], weights or []))


def written(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_onnx(written(model, folder))
    assert "net.onnx" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, np.float64])
def test_weights_are_read_as_onnx_reads_them(tmp_path: Path, dtype: type) -> None:
    values = (100 * np.random.default_rng(0).standard_normal((3, 4))).astype(dtype)
    model = model_of(
        [helper.make_node("Add", ["x", "w"], ["y"])], [numpy_helper.from_array(values, "w")]
    )
    helper.set_model_props(model, {"birdrec.graph": "toy", "empty": ""})
    read = read_onnx(written(model, tmp_path))
    np.testing.assert_array_equal(read.weights["w"], values)
    assert read.weights["w"].dtype == dtype
    assert read.metadata == {"birdrec.graph": "toy", "empty": ""}
    assert read.operators == ("Add",)


@pytest.mark.parametrize("graph", ["encoder.onnx", "encoder.int8.onnx", "head.onnx"])
def test_every_weight_of_the_packaged_graphs(graph: str) -> None:
    read = read_onnx(DEFAULT_BUNDLE / graph)
    model = onnx.load(str(DEFAULT_BUNDLE / graph))
    for entry in model.graph.initializer:
        # Numbers one by one are zero points, which nothing reads.
        if entry.dims and entry.raw_data:
            np.testing.assert_array_equal(
                read.weights[entry.name], numpy_helper.to_array(entry).reshape(entry.dims)
            )
    assert len(read.operators) == len(model.graph.node)
    assert read.metadata["birdrec.graph"] in graph


def test_weights_in_another_file(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones(3, np.float32), "w")
    onnx.external_data_helper.set_external_data(weights, "../../etc/shadow")
    weights.ClearField("raw_data")
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], [weights])
    assert "weights w lie in another file" in refusal(model, tmp_path)


def test_an_operator_that_onnxruntime_does_not_have(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Phone", ["x"], ["y"], domain="home")])
    assert "home.Phone" in refusal(model, tmp_path)


def test_one_hidden_in_a_branch(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Phone", ["x"], ["z"], domain="home")], "inner", [], []
    )
    node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    assert "home.Phone" in refusal(model_of([node]), tmp_path)


def test_functions_of_its_own(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])])
    model.functions.append(helper.make_function("home", "F", [], [], [], []))
    assert "functions of its own" in refusal(model, tmp_path)


def test_forty_gigabytes_out_of_nothing(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array(FORTY_GB), "shape")
    constant = helper.make_node("Constant", [], ["shape"], value=shape)
    numbers = helper.make_node("Constant", [], ["shape"], value_ints=FORTY_GB)
    listed = helper.make_tensor("shape", TensorProto.INT64, [1], FORTY_GB)
    for maker in ("ConstantOfShape", "Expand", "Tile"):
        node = helper.make_node(maker, ["x", "shape"][maker == "ConstantOfShape" :], ["y"])
        for model in (
            model_of([node], [shape]),
            model_of([node], [listed]),
            model_of([constant, node]),
            model_of([numbers, node]),
        ):
            assert "would have 40 GB" in refusal(model, tmp_path)
    node = helper.make_node("RandomNormal", [], ["y"], shape=FORTY_GB)
    assert "would have 40 GB" in refusal(model_of([node]), tmp_path)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64])
@pytest.mark.parametrize("raw", [False, True])
def test_what_becomes_large_only_when_it_runs(tmp_path: Path, kind: int, raw: bool) -> None:
    def numbers(name: str, *values: int) -> onnx.TensorProto:
        array = np.array(values, helper.tensor_dtype_to_np_dtype(kind))
        data = array.tobytes() if raw else array.tolist()
        return helper.make_tensor(name, kind, [len(values)], data, raw=raw)

    ends = [numbers("a", 0), numbers("b", 10_000_000_000), numbers("c", 1)]
    ranged = helper.make_node("Range", ["a", "b", "c"], ["y"])
    assert "its Range would have 40 GB" in refusal(model_of([ranged], ends), tmp_path)
    ends[2] = numbers("c", 0)
    assert "Range of" in refusal(model_of([ranged], ends), tmp_path)
    resized = helper.make_node("Resize", ["x", "", "s"], ["y"])
    model = model_of([resized], [numbers("s", 100_000, 100_000)])
    assert "its Resize would have 40 GB" in refusal(model, tmp_path)


def test_large_edges_and_loops_without_an_end(tmp_path: Path) -> None:
    pads = helper.make_tensor("p", TensorProto.INT64, [4], [0, 50_000, 100_000, 50_000])
    padded = helper.make_node("Pad", ["x", "p"], ["y"])
    assert "its Pad would have 40 GB" in refusal(model_of([padded], [pads]), tmp_path)
    rounds = helper.make_tensor("n", TensorProto.INT64, [1], [10**12])
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "body", [], [])
    loop = helper.make_node("Loop", ["n", ""], ["y"], body=body)
    assert "would run 1000000000000 times" in refusal(model_of([loop], [rounds]), tmp_path)


def test_a_tensor_that_says_it_is_larger_than_it_is(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones(3, np.float32), "w")
    weights.dims[0] = 4
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], [weights])
    assert "not a whole ONNX file" in refusal(model, tmp_path)
    weights.dims[0] = FORTY_GB[0]
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], [weights])
    assert "would have 40 GB" in refusal(model, tmp_path)


@given(st.data())
def test_any_cut_and_any_changed_byte_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = (DEFAULT_BUNDLE / "head.onnx").read_bytes()
    # The names and numbers of nodes are at the start, weights are most of the rest.
    place = data.draw(st.integers(0, 30_000) | st.integers(0, len(whole) - 1))
    path = tmp_path_factory.mktemp("cut") / "net.onnx"
    path.write_bytes(whole[:place])
    with pytest.raises(ModelError):
        read_onnx(path)
    path.write_bytes(
        whole[:place] + data.draw(st.binary(min_size=1, max_size=1)) + whole[place + 1 :]
    )
    # Any other exception fails the test.
    with suppress(ModelError):
        read_onnx(path)


@pytest.mark.parametrize("content", [b"", b"birds", b"\x00" * 64, b"\xff" * 64, b"{}"])
def test_what_is_no_graph_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.onnx is not"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (model_of([helper.make_node("Phone", ["x"], ["y"], domain="home")]), "home.Phone"),
        (model_of([helper.make_node("RandomNormal", [], ["y"], shape=FORTY_GB)]), "40 GB"),
    ],
)
@pytest.mark.parametrize("name", ["encoder.onnx", "head.onnx"])
def test_a_bundle_with_the_right_hash_of_a_bad_graph(
    tmp_path: Path, name: str, graph: onnx.ModelProto, reason: str
) -> None:
    folder = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "spoilt"))
    data = graph.SerializeToString()
    (folder / name).write_bytes(data)
    details = json.loads((folder / "model.json").read_text("utf-8"))
    details["files"][name]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "model.json").write_text(json.dumps(details), encoding="utf-8")
    bundle = read_bundle(folder)
    with pytest.raises(ModelError, match=reason):
        Networks(bundle, precision="fp32")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mel": {"fmin_hz": 60.0}}, "another mel .*fmin_hz is 60.0 there, 50.0 in the graph"),
        ({"mel": {"n_fft": 1024}}, "another mel .*n_fft is 1024 there, 2048 in the graph"),
    ],
)
def test_a_model_json_of_another_front_end(
    tmp_path: Path, change: dict[str, dict[str, float]], reason: str
) -> None:
    folder = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "spoilt"))
    details = json.loads((folder / "model.json").read_text("utf-8"))
    details["mel"].update(change["mel"])
    (folder / "model.json").write_text(json.dumps(details), encoding="utf-8")
    with pytest.raises(ModelError, match=reason):
        Networks(read_bundle(folder))


def test_a_model_json_with_its_labels_in_another_order(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "spoilt"))
    details = json.loads((folder / "model.json").read_text("utf-8"))
    details["labels"].reverse()
    (folder / "model.json").write_text(json.dumps(details), encoding="utf-8")
    with pytest.raises(ModelError, match="another labels"):
        Networks(read_bundle(folder))
