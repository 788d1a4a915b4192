"""`birdrec model`: what is there, what it knows, and whether it is whole."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle

Birdrec = Callable[..., subprocess.CompletedProcess[str]]


def test_the_list_names_the_default_first(birdrec: Birdrec, bundle: Bundle) -> None:
    result = birdrec("model", "list", "--json")
    assert result.returncode == 0, result.stderr
    first = json.loads(result.stdout)["models"][0]
    assert (first["name"], first["classes"]) == (bundle.name, len(bundle.labels))
    assert (first["path"], first["sha256"]) == (str(DEFAULT_BUNDLE), bundle.sha256)
    plain = birdrec("model", "list").stdout
    assert plain.startswith(f"{bundle.name} (default): {len(bundle.labels)} species")


def test_info_names_every_species_with_its_threshold(birdrec: Birdrec, bundle: Bundle) -> None:
    result = birdrec("model", "info", DEFAULT_BUNDLE)
    assert result.returncode == 0, result.stderr
    for label in bundle.labels:
        (line,) = (one for one in result.stdout.splitlines() if f" {label.label} " in one)
        assert label.common_name in line
        assert float(line.split()[0]) == pytest.approx(label.threshold, rel=1e-2)
    assert "licence:    CC BY-NC-SA 4.0" in result.stdout
    as_json = json.loads(birdrec("model", "info", DEFAULT_BUNDLE, "--json").stdout)
    assert "precision:  fp32, int8 (gate: passed)" in result.stdout
    assert (as_json["kind"], as_json["any_bird_threshold"]) == (
        "segmenter", bundle.any_bird_threshold,
    )  # fmt: skip
    assert [one["label"] for one in as_json["species"]] == [one.label for one in bundle.labels]


def test_a_whole_bundle_is_verified_and_a_damaged_one_refused(
    birdrec: Birdrec, bundle: Bundle, tmp_path: Path
) -> None:
    result = birdrec("model", "verify", DEFAULT_BUNDLE)
    assert result.returncode == 0, result.stderr
    assert bundle.sha256 in result.stdout
    damaged = tmp_path / "damaged"
    shutil.copytree(DEFAULT_BUNDLE, damaged)
    content = bytearray((damaged / "head.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / "head.onnx").write_bytes(content)
    result = birdrec("model", "verify", damaged)
    assert result.returncode == 5
    assert "head.onnx is damaged" in result.stderr


@pytest.mark.parametrize("command", ["info", "verify"])
def test_what_is_no_bundle_is_told(birdrec: Birdrec, tmp_path: Path, command: str) -> None:
    result = birdrec("model", command, tmp_path / "nowhere")
    assert result.returncode == 5
    assert "no model bundle at" in result.stderr
