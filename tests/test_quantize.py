"""An int8 encoder beside the float one: small, close, and run only when asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Birdrec, MakeSound
from int8lab import both as both
from int8lab import float_only as float_only
from int8lab import small as small
from int8lab import sound as sound
from numpy.typing import NDArray

from export.quantize import quantize
from recorder.detect import precision
from recorder.detect.bundle import Bundle
from recorder.detect.inference import Networks
from recorder.detect.mel import log_mel
from recorder.detect.precision import choose_precision, int8_is_exact
from recorder.errors import ModelError, UsageError
from train.learning.from_bundle import bundle_checkpoint

Floats = NDArray[np.float32]
pytestmark = pytest.mark.skipif(not int8_is_exact(), reason="int8 overflows on this processor")


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


def test_a_percentile_cuts_off_and_the_first_convolution_may_stay_float(
    float_only: Bundle, both: Bundle, sound: Path, birdlike: MakeSound, tmp_path: Path
) -> None:
    cut, _ = quantize(float_only, [sound], tmp_path / "cut", percentile=99.99, first_float=True)
    said = cut.details["encoder"]["int8"]
    assert "percentile 99.99" in said["calibrated_on"]
    assert "Conv x 1" in said["float_operators"]
    assert not any("Conv" in one for one in both.details["encoder"]["int8"]["float_operators"])
    heard = frames(birdlike, cut)
    exact = Networks(float_only).encode(heard)
    found = Networks(cut, precision="int8").encode(heard)
    whole = Networks(both, precision="int8").encode(heard)
    assert not np.array_equal(found, whole)
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.97
    for percentile in (98.9, 100.1, float("nan")):
        with pytest.raises(UsageError, match="use 99 to 100"):
            quantize(float_only, [sound], tmp_path / "no", percentile=percentile)


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
    assert 0.0 < np.abs(first - second).mean() < 0.02
    done = birdrec("scan", recordings, "--out", tmp_path / "x", "--precision", "int4")
    assert done.returncode == 2
    assert "--precision 'int4': use auto, fp32, int8" in done.stderr
