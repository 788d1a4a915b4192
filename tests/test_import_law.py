"""Arrows only go down: who may import whom, read from every file and from a real scan."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import recorder

ROOT = Path(recorder.__file__).parent.parent
ROOMS = ("recorder.sound", "recorder.detect", "recorder.keep")
FLOORS = {
    "recorder": (
        *("errors", "memory", "notify", "time_zone", "expected_cli", "sound", "detect", "keep"),
        *("ui", "species", "wrap", "station", "file_rows", "report", "onefile", "config", "crew"),
        *("doctor", "scan_record", "scan", "prior_cli", "model_cli", "report_cli", "listen_cli"),
        *("doctor_cli", "config_cli", "cli"),
    ),
    "train": (
        *("clips", "invented", "scenes", "config", "steps", "config_file", "nets", "material"),
        *("learning", "judging", "table2", "voice", "cli"),
    ),
}
"""Rooms and files from the ground up (docs/architecture.md): each knows only what is below it."""
HEAVY = ("torch", "torchvision", "timm", "pandas", "librosa", "scipy.signal")

SCAN_AND_LIST = """
import sys
import recorder.cli
sys.argv = ["birdrec", "scan", {source!r}, "--out", {out!r}, "--scores", "--quiet",
            "--formats", "csv,jsonl,raven,audacity"]
try:
    recorder.cli.main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("\\n".join(sys.modules))
"""


def source_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """The full name of everything that a file imports, wherever it does."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def forbidden(package: str, *others: str) -> list[str]:
    return [
        f"{module_name(path)} imports {name}"
        for path in source_files(package)
        for name in imports(path)
        if any(is_in(name, other) for other in others)
    ]


def test_there_is_something_to_check() -> None:
    assert len(source_files("recorder")) > 10
    assert "recorder.errors.AudioFileError" in imports(ROOT / "recorder/sound/files/audiofile.py")


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_know_only_what_is_below_them(package: str) -> None:
    floors = FLOORS[package]
    upwards = []
    for path in source_files(package):
        room = path.relative_to(ROOT / package).with_suffix("").parts[0]
        if room == "__init__":
            continue
        above = floors[floors.index(room) + 1 :]
        upwards += [
            f"{module_name(path)} imports {name}"
            for name in imports(path)
            if any(is_in(name, f"{package}.{other}") for other in above)
        ]
    assert upwards == []


def test_the_recorder_knows_neither_train_nor_export() -> None:
    assert forbidden("recorder", "train", "export") == []


def test_training_does_not_know_export() -> None:
    if not (ROOT / "train").is_dir():
        pytest.skip("an installation without the training code")
    assert forbidden("train", "export") == []


def test_the_recorder_names_no_heavy_library() -> None:
    assert forbidden("recorder", *HEAVY) == []


@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_know_themselves_and_the_errors_only(room: str) -> None:
    beyond = [
        f"{module_name(path)} imports {name}"
        for path in source_files(room.replace(".", "/"))
        for name in imports(path)
        if is_in(name, "recorder") and not (is_in(name, room) or is_in(name, "recorder.errors"))
    ]
    assert beyond == []


def test_the_errors_import_nothing_of_ours() -> None:
    names = list(imports(ROOT / "recorder" / "errors.py"))
    assert not any(is_in(name, "recorder") for name in names)


@pytest.mark.parametrize("package", ["recorder", "train", "export"])
def test_no_module_imports_itself_in_a_circle(package: str) -> None:
    graph = {
        module_name(path): {name for name in imports(path) if is_in(name, package)}
        for path in source_files(package)
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module in done:
            return
        for other in sorted(graph[module] & graph.keys() - {module}):
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_a_real_scan_loads_no_heavy_library(
    tmp_path: Path, birdlike: Callable[..., NDArray[np.float32]]
) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.flac", birdlike(6.0, 48_000), 48_000)
    program = SCAN_AND_LIST.format(source=str(tmp_path / "in"), out=str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.splitlines()
    assert "recorder.scan" in loaded
    assert [name for name in loaded if any(is_in(name, heavy) for heavy in HEAVY)] == []
