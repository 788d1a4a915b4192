"""The packaged model without integers, with them, and in integers alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import soundfile
from conftest import MakeSound

from export.quantize import quantize
from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle, read_bundle


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
