"""The README shows what really happens: its commands exist, and its table is what they print."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _birdrec(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recorder.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("script", sorted(set(re.findall(r"(?:scripts|bench)/[\w.-]+", README))))
def test_every_script_it_names_exists(script: str) -> None:
    assert (ROOT / script).exists()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_every_file_it_links_to_exists(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`?birdrec ([a-z]+)", README))))
def test_every_command_it_names_has_help(command: str) -> None:
    if command not in {"scan", "train", "export"}:
        pytest.skip("a word, not a command")
    assert _birdrec(command, "--help").returncode == 0


def test_the_transcript_names_the_species_that_the_example_gives(tmp_path: Path) -> None:
    result = _birdrec("scan", "examples", "--out", str(tmp_path))
    assert result.returncode == 0
    shown = README.split("```console")[1].split("```")[0]
    species = re.findall(r"^ ([A-Z][\w'\- ]+?)  +([A-Z][a-z]+ [a-z]+)  +\d", shown, re.MULTILINE)
    assert len(species) >= 3
    for common_name, scientific_name in species:
        assert common_name in result.stdout
        assert scientific_name in result.stdout


def test_it_says_how_many_calls_of_the_example_are_found_and_how_many_are_not_there(
    tmp_path: Path,
) -> None:
    assert _birdrec("scan", "examples", "--out", str(tmp_path)).returncode == 0
    with (ROOT / "examples" / "truth.csv").open(newline="", encoding="utf-8") as lines:
        spans = [
            (r["label"], float(r["start_s"]), float(r["end_s"])) for r in csv.DictReader(lines)
        ]
    true = {(c, label) for label, a, b in spans for c in range(24) if a < 5 * c + 5 and b > 5 * c}
    with (tmp_path / "detections.csv").open(newline="", encoding="utf-8") as lines:
        found = {(int(float(r["start_s"]) // 5), r["label"]) for r in csv.DictReader(lines)}
    said = re.search(r"finds (\d+) of (\d+) true pairs.*?names (\d+) more", README, re.DOTALL)
    assert said is not None
    counts = len(true & found), len(true), len(found - true)
    assert counts == (int(said[1]), int(said[2]), int(said[3]))
