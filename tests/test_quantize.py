"""An int8 encoder beside the float one: small, close, gated, chosen when the bundle is loaded."""

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
from conftest import Birdrec, MakeSound
from numpy.typing import NDArray
from onnx import numpy_helper

from export.bundle import file_entry
from export.gate import compare, run_gate
from export.quantize import quantize
from recorder.detect import precision
from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle, read_bundle
from recorder.detect.inference import Networks
from recorder.detect.mel import log_mel
from recorder.detect.precision import choose_precision, int8_is_exact
from recorder.errors import ModelError, UsageError
from train.from_bundle import bundle_checkpoint
from train.soundscapes import Soundscape

Floats = NDArray[np.float32]
pytestmark = pytest.mark.skipif(not int8_is_exact(), reason="int8 overflows on this processor")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> Path:
    folder = tmp_path_factory.mktemp("calibration")
    soundfile.write(folder / "a.wav", birdlike(60.0, seed=1), 32_000)
    soundfile.write(folder / "b.wav", birdlike(2.0, seed=2), 32_000)
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture(scope="module")
def float_only(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The packaged model as `birdrec export onnx` leaves it."""
    folder = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path_factory.mktemp("float") / "toy"))
    details = json.loads((folder / "model.json").read_text("utf-8"))
    del details["encoder"]["int8"]
    for name in ("encoder.int8.onnx", "gate.json", "gate.svg"):
        (folder / name).unlink()
        del details["files"][name]
    (folder / "model.json").write_text(json.dumps(details), encoding="utf-8")
    return read_bundle(folder)


@pytest.fixture(scope="module")
def both(float_only: Bundle, sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return quantize(float_only, [sound], tmp_path_factory.mktemp("int8") / "both")[0]


@pytest.fixture(scope="module")
def small(float_only: Bundle, sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return quantize(float_only, [sound], tmp_path_factory.mktemp("small") / "small", small=True)[0]


def frames(birdlike: MakeSound, bundle: Bundle) -> Floats:
    return log_mel(birdlike(32.0, seed=7), 100, bundle.mel)


def test_int8_is_a_quarter_of_the_size_and_close(
    float_only: Bundle, both: Bundle, birdlike: MakeSound
) -> None:
    sizes = {name: entry["bytes"] for name, entry in both.details["files"].items()}
    assert sizes["encoder.int8.onnx"] < 0.28 * sizes["encoder.onnx"]
    assert both.precisions == ("fp32", "int8")
    heard = frames(birdlike, both)
    exact = Networks(float_only).encode(heard)
    close = Networks(both, precision="int8").encode(heard)
    error = np.square(close - exact).sum() / np.square(exact).sum()
    # Not equal, or it was never quantized.
    assert 0.0 < error < 0.01


def test_every_convolution_is_of_integers_and_the_report_says_what_is_not(both: Bundle) -> None:
    floats = both.details["encoder"]["int8"]["float_operators"]
    assert "AveragePool x 2" in floats  # the local background
    assert not [one for one in floats if one.startswith(("Conv", "MatMul", "Gemm", "Relu"))]


def test_tiles_with_halo_are_the_whole_bit_for_bit(both: Bundle, birdlike: MakeSound) -> None:
    networks, heard = Networks(both, precision="int8"), frames(birdlike, both)
    whole, halo = networks.encode(heard), both.halo_tokens
    for begin in range(0, 100, 20):
        first, last = max(0, begin - halo), min(100, begin + 20 + halo)
        tile = networks.encode(heard[first * 32 : last * 32])[begin - first :][:20]
        np.testing.assert_array_equal(tile, whole[begin : begin + 20])


def test_a_small_bundle_fits_three_megabytes_and_says_the_same(
    float_only: Bundle, small: Bundle, birdlike: MakeSound
) -> None:
    assert small.precisions == ("int8",)
    assert sum(entry["bytes"] for entry in small.details["files"].values()) <= 3_000_000
    heard = frames(birdlike, small)
    networks, exact = Networks(small), Networks(float_only)
    tokens = exact.encode(heard)
    logits, found = exact.attend(tokens), networks.attend(tokens)
    assert 0.0 < np.abs(found - logits).max() < 5e-3 * np.abs(logits).max()
    # The head that slides reads the halved matrices as well.
    head = networks.incremental_head()
    head.push(tokens)
    np.testing.assert_allclose(head.logits(16), found[-16:], atol=1e-4)


def test_what_cannot_be_quantized(float_only: Bundle, sound: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        quantize(float_only, [sound], tmp_path)
    with pytest.raises(UsageError, match="no recording in"):
        quantize(float_only, [tmp_path], tmp_path / "new")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UsageError, match=r"could be read: broken\.wav"):
        quantize(float_only, [tmp_path], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_bundle_without_floats_cannot_be_quantized_or_trained_on(
    small: Bundle, sound: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no fp32 encoder"):
        quantize(small, [sound], tmp_path / "new")
    with pytest.raises(ModelError, match="int8 alone"):
        bundle_checkpoint(small.path)


def test_floats_run_where_they_are_and_integers_when_asked_for(both: Bundle, small: Bundle) -> None:
    assert choose_precision(both) == "fp32"
    assert choose_precision(both, "int8") == "int8"
    assert choose_precision(small) == "int8"


def test_a_processor_that_overflows_is_not_asked(
    both: Bundle, small: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "int8_is_exact", lambda: False)
    assert choose_precision(both) == "fp32"
    for bundle, wanted in ((both, "int8"), (small, "auto")):
        with pytest.raises(ModelError, match="no dot products of bytes"):
            choose_precision(bundle, wanted)


@pytest.mark.parametrize(
    ("machine", "flags", "exact"),
    [
        ("aarch64", "fp asimd", True),
        ("x86_64", "sse avx2 avx512f", False),
        ("x86_64", "avx2 avx_vnni", True),
        ("x86_64", "avx512f avx512_vnni", True),
    ],
)
def test_which_processors_overflow(
    monkeypatch: pytest.MonkeyPatch, machine: str, flags: str, exact: bool
) -> None:
    monkeypatch.setattr(precision.platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"flags\t\t: {flags}\n")
    int8_is_exact.cache_clear()
    try:
        assert int8_is_exact() == exact
    finally:
        int8_is_exact.cache_clear()


def test_what_is_not_there_or_failed_is_not_taken(
    both: Bundle, float_only: Bundle, small: Bundle
) -> None:
    with pytest.raises(ModelError, match="has no int8 encoder, only fp32"):
        choose_precision(float_only, "int8")
    with pytest.raises(ModelError, match="has no fp32 encoder, only int8"):
        choose_precision(small, "fp32")
    failed = replace(both, int8_gate="failed")
    with pytest.raises(ModelError, match="failed the gate"):
        choose_precision(failed, "int8")
    with pytest.raises(ModelError, match="failed the gate"):
        choose_precision(replace(small, int8_gate="failed"))
    with pytest.raises(UsageError, match="'half': use auto, fp32, int8"):
        choose_precision(both, "half")


# --- the gate -----------------------------------------------------------------------------------


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
    from recorder.detect.pipeline import Pipeline

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


def test_scan_says_which_precision_ran(birdrec: Birdrec, recordings: Path, tmp_path: Path) -> None:
    for wanted in ("fp32", "int8"):
        out = tmp_path / wanted
        done = birdrec("scan", recordings / "b", "--out", out, "--precision", wanted, "--scores")
        assert done.returncode == 0, done.stderr
        assert json.loads((out / "run.json").read_text())["model"]["precision"] == wanted
    first, second = (
        np.load(tmp_path / name / "scores" / "stereo.flac.npz")["scores"]
        for name in ("fp32", "int8")
    )
    assert 0.0 < np.abs(first - second).max() < 0.2
    done = birdrec("scan", recordings, "--out", tmp_path / "x", "--precision", "int4")
    assert done.returncode == 2
    assert "--precision 'int4': use auto, fp32, int8" in done.stderr
