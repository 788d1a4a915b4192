"""What several test files share: the packaged model, some sound, and birdrec as a program."""

from __future__ import annotations

# Before numpy: it says how many threads OpenBLAS has. Two of them on a machine that does anything
# else wait for each other so busily that a test takes ten times as long.
import recorder

# isort: split
import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import settings
from numpy.typing import NDArray

from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle, read_bundle
from recorder.detect.inference import Networks

assert os.environ["OPENBLAS_NUM_THREADS"], f"{recorder.__name__} was loaded too late"

# Nothing is left in the checkout, and a shared machine may be slow.
settings.register_profile(
    "birdrec", deadline=None, database=None, derandomize=True, max_examples=25
)
settings.load_profile("birdrec")

Sound = NDArray[np.float32]
MakeSound = Callable[..., Sound]
Birdrec = Callable[..., subprocess.CompletedProcess[str]]
ReadCsv = Callable[[Path], list[dict[str, str]]]
ReadLines = Callable[[Path], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return read_bundle(DEFAULT_BUNDLE)


@pytest.fixture(scope="session")
def networks(bundle: Bundle) -> Networks:
    return Networks(bundle)


@pytest.fixture(scope="session")
def birdlike() -> MakeSound:
    """Chirps over a bed of noise, mono float32 [seconds * rate], the same for the same seed."""

    def make(seconds: float, rate_hz: int = 32_000, seed: int = 0) -> Sound:
        generator = np.random.default_rng(seed)
        time_s = np.arange(round(seconds * rate_hz)) / rate_hz
        sound = 0.003 * generator.standard_normal(len(time_s))
        for begin_s in np.arange(0.3, seconds, 0.9):
            inside = (time_s >= begin_s) & (time_s < begin_s + 0.25)
            since = time_s[inside] - begin_s
            lowest = generator.uniform(0.05, 0.25) * rate_hz / 2
            phase = 2 * np.pi * (lowest * since + 2_000 * since**2)
            sound[inside] += 0.2 * np.sin(np.pi * since / 0.25) * np.sin(phase)
        return sound.astype(np.float32)

    return make


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> Path:
    """Four short recordings in two folders; nobody may write to them."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "b").mkdir()
    soundfile.write(folder / "90100_CMP_20140301.wav", birdlike(12.0, seed=1), 32_000)
    soundfile.write(folder / "b" / "stereo.flac", birdlike(7.0, 48_000, seed=2), 48_000)
    soundfile.write(folder / "b" / "café, wet.wav", birdlike(3.0, seed=3), 32_000)
    soundfile.write(folder / "z_2014.ogg", birdlike(5.0, seed=4), 32_000)
    return folder


@pytest.fixture(scope="session")
def birdrec() -> Birdrec:
    """Run the command line in its own process; `cwd` keeps what it writes out of the checkout."""

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "recorder.cli", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "NO_COLOR": "1"}
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def read_csv() -> ReadCsv:
    def read(path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    return read


@pytest.fixture(scope="session")
def read_lines() -> ReadLines:
    """The objects of a JSON-lines file."""

    def read(path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return read


@pytest.fixture(scope="session")
def crew_folder(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> Path:
    """What several processes or machines scan together; see `crewlab`."""
    from crewlab import make_folder

    return make_folder(tmp_path_factory.mktemp("crew"), birdlike)


@pytest.fixture(scope="session")
def crew_alone(
    tmp_path_factory: pytest.TempPathFactory, crew_folder: Path, birdrec: Birdrec
) -> dict[str, bytes]:
    """What one process makes of it."""
    from crewlab import OPTIONS, results_of

    out = tmp_path_factory.mktemp("alone")
    assert birdrec("scan", crew_folder, "--out", out, *OPTIONS, "--quiet").returncode == 1
    return results_of(out)
