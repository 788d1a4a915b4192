"""`birdrec export bench` runs on a board: no torch, every part measured, and the sums are right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from export.bench import table
from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle
from recorder.detect.precision import int8_is_exact

Birdrec = Callable[..., subprocess.CompletedProcess[str]]


def test_every_part_of_every_precision_is_measured(
    birdrec: Birdrec, bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "bench.json"
    done = birdrec("export", "bench", DEFAULT_BUNDLE, "--runs", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    wanted = [one for one in bundle.precisions if one != "int8" or int8_is_exact()]
    assert [one["precision"] for one in report["models"]] == wanted
    for one in report["models"]:
        assert set(one["ms"]) == {"mel", "encoder", "head_step", "head_whole"}
        for part in one["ms"].values():
            assert 0.0 < part["least"] <= part["median"]
        step_ms = sum(one["ms"][name]["least"] for name in ("mel", "encoder", "head_step"))
        assert one["live_x_real_time"] == pytest.approx(5000 / step_ms, rel=0.01)
        assert one["scan_x_real_time"] > 0.0
        assert one["live_peak_rss_mb"] > 20.0
        assert f"| {bundle.name} | {one['precision']} |" in done.stdout
    sizes = [one["files_mb"] for one in report["models"]]
    assert sizes == sorted(sizes, reverse=True)
    assert "ms of CPU" in table(report)


def test_it_needs_no_torch() -> None:
    code = "import sys, export.cli, export.bench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_report_that_cannot_be_written_is_said(birdrec: Birdrec) -> None:
    done = birdrec("export", "bench", DEFAULT_BUNDLE, "--runs", 1, "--out", "/proc/none.json")
    assert done.returncode == 2
    assert "--out /proc/none.json cannot be written" in done.stderr


def test_what_cannot_be_measured(birdrec: Birdrec, tmp_path: Path) -> None:
    assert birdrec("export", "bench", tmp_path / "none").returncode == 5
    assert birdrec("export", "bench", DEFAULT_BUNDLE, "--runs", 0).returncode == 2
