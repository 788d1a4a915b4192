"""The gate compares an int8 encoder with the float one, and nobody runs what failed it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from conftest import Birdrec
from int8lab import both as both
from int8lab import float_only as float_only
from int8lab import small as small
from int8lab import sound as sound
from onnx import numpy_helper

from export.gate import compare, run_gate
from export.quantize import quantize
from recorder.detect.bundle import Bundle, file_entry, read_bundle
from recorder.detect.inference import Networks
from recorder.detect.pipeline import Pipeline
from recorder.detect.precision import choose_precision, int8_is_exact
from recorder.errors import ModelError, UsageError
from train.clips.soundscapes import Soundscape

pytestmark = pytest.mark.skipif(not int8_is_exact(), reason="int8 overflows on this processor")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """The example soundscape with its own true rows, cut to a minute."""
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "train_soundscapes").mkdir()
    example = next(Path("examples").glob("*.flac"))
    samples, rate = soundfile.read(example, dtype="float32")
    ogg = folder / "train_soundscapes" / "1_TOY_20260501.ogg"
    with soundfile.SoundFile(ogg, "w", rate, 1, format="OGG") as stream:
        # All at once overflows the encoder's stack.
        for begin in range(0, len(samples), rate):
            stream.write(samples[begin : begin + rate])
    rows = ["row_id,site,audio_id,seconds,birds"]
    networks = Networks(bundle, precision="fp32")
    # Truth by the float model itself: then every class is judged, and a spoilt one must lose.
    pipeline = Pipeline(networks)
    results = pipeline.push(samples) + pipeline.finish()
    for one in results:
        birds = [
            label.label
            for label, score in zip(bundle.labels, one.scores, strict=False)
            if score >= 0.3
        ]
        end_s = 5 * (one.index + 1)
        rows.append(f"1_TOY_{end_s},TOY,1,{end_s},{' '.join(birds) or 'nocall'}")
    (folder / "train_soundscape_labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_the_gate_lets_a_good_encoder_pass_and_the_recorder_knows(
    both: Bundle, dataset: Path, tmp_path: Path
) -> None:
    copy = read_bundle(Path(shutil.copytree(both.path, tmp_path / "copy")))
    assert copy.int8_gate == "not run"
    report = run_gate(copy, dataset)
    assert report["passed"], report["reasons"]
    assert report["rows"] == 24
    assert 0.0 < report["token_drift"]["mean"] <= report["token_drift"]["largest"]
    assert len(report["worst"]) == 10
    after = read_bundle(copy.path)
    assert after.int8_gate == "passed"
    assert json.loads((copy.path / "gate.json").read_text()) == report
    assert (copy.path / "gate.svg").read_text().startswith("<svg xmlns")


def spoil(bundle: Bundle, folder: Path) -> Bundle:
    """Turn one layer's weights around, and hash it again: a mistake that no hash will find."""
    path = Path(shutil.copytree(bundle.path, folder / "spoilt"))
    graph = onnx.load(str(path / "encoder.int8.onnx"))
    weights = [one for one in graph.graph.initializer if len(one.dims) == 4]
    chosen = weights[len(weights) // 2]
    values = numpy_helper.to_array(chosen)
    chosen.CopyFrom(numpy_helper.from_array(values[::-1].copy(), chosen.name))
    onnx.save(graph, str(path / "encoder.int8.onnx"))
    details: dict[str, Any] = json.loads((path / "model.json").read_text("utf-8"))
    details["files"]["encoder.int8.onnx"] = file_entry(path / "encoder.int8.onnx")
    (path / "model.json").write_text(json.dumps(details), encoding="utf-8")
    return read_bundle(path)


def test_the_gate_refuses_a_spoilt_encoder_and_nobody_runs_it(
    both: Bundle, dataset: Path, tmp_path: Path, birdrec: Birdrec
) -> None:
    spoilt = spoil(both, tmp_path)
    done = birdrec("export", "gate", spoilt.path, "--dataset", dataset)
    assert done.returncode == 5
    assert "is refused: cmAP changes by -" in done.stderr
    report = json.loads((spoilt.path / "gate.json").read_text())
    assert not report["passed"]
    assert "failed" in (spoilt.path / "gate.svg").read_text()
    after = read_bundle(spoilt.path)
    assert choose_precision(after) == "fp32"
    with pytest.raises(ModelError, match="failed the gate"):
        Networks(after, precision="int8")


def test_a_small_bundle_is_compared_with_the_one_it_was_made_of(
    small: Bundle, both: Bundle, dataset: Path, tmp_path: Path
) -> None:
    copy = read_bundle(Path(shutil.copytree(small.path, tmp_path / "copy")))
    with pytest.raises(UsageError, match="--against"):
        run_gate(copy, dataset)
    assert run_gate(copy, dataset, both)["passed"]
    with pytest.raises(UsageError, match="do not know the same species"):
        run_gate(copy, dataset, replace(both, labels=both.labels[:-1]))


def test_the_commands_from_floats_to_a_bundle_that_passed(
    birdrec: Birdrec, float_only: Bundle, sound: Path, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    done = birdrec("export", "quantize", float_only.path, "--sound", sound, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "still computed in floats: Add x 1, AveragePool x 2" in done.stdout
    assert f"next: birdrec export gate {out} --dataset DATA\n" in done.stdout
    # What the gate has seen is another encoder once it is quantized again.
    done = birdrec("export", "gate", out, "--dataset", dataset)
    assert done.returncode == 0, done.stderr
    assert "24 rows, fp32 -> int8: row_f1" in done.stdout
    again, _ = quantize(read_bundle(out), [sound], tmp_path / "again")
    assert again.int8_gate == "not run"
    assert not (again.path / "gate.json").exists()


def test_a_bundle_without_int8_has_nothing_to_compare(float_only: Bundle, dataset: Path) -> None:
    with pytest.raises(UsageError, match="birdrec export quantize"):
        run_gate(float_only, dataset)


@pytest.mark.parametrize(
    ("loses", "reason"),
    [
        (lambda scores, _: scores, ""),
        (lambda scores, truth: np.where(truth, scores - 0.5, scores), "loses"),
        (lambda scores, _: np.full_like(scores, np.nan), "40 scores are not numbers"),
    ],
    ids=["same", "one class lost", "nan"],
)
def test_each_limit_of_the_gate(bundle: Bundle, loses: Any, reason: str) -> None:
    classes = len(bundle.labels)
    rng = np.random.default_rng(0)
    truth = rng.random((40, classes)) < 0.3
    scores = np.where(truth, 0.6, 0.3) + rng.uniform(-0.1, 0.1, truth.shape)
    scores = scores.astype(np.float32)
    tokens = np.repeat(scores, 16, axis=0)
    one = Soundscape(Path("x.ogg"), truth, np.ones_like(truth), ~truth.any(axis=1))
    moved = scores.copy()
    moved[:, 0] = loses(scores[:, 0], truth[:, 0])
    report = compare(bundle, [one], [(scores, tokens)], [(moved, tokens)])
    assert report["passed"] == (not reason)
    assert any(reason in one for one in report["reasons"]) or not reason
