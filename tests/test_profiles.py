"""A profile for each board: right by the recorder's own rules, and chosen by the board's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Birdrec

from recorder.config.listening import listen_options
from recorder.config.read import read_settings, template
from recorder.doctor.suggest import Machine, profile_names, read_profile, suggest, this_machine
from recorder.errors import UsageError

NAMES = ["generic", "pi3", "pi4", "pi5", "zero2w"]


def test_there_are_five() -> None:
    assert profile_names() == NAMES
    with pytest.raises(UsageError, match="use generic, pi3, pi4, pi5, zero2w"):
        read_profile("../keys")


@pytest.mark.parametrize("name", NAMES)
def test_each_goes_into_a_file_that_checks(name: str, birdrec: Birdrec, tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(template())
    done = birdrec("config", "profile", path, name)
    assert done.returncode == 0, done.stderr
    settings, profile = read_settings(path), read_profile(name)
    assert {key.path: settings[key.path] for key, _ in profile.settings} == {
        key.path: value for key, value in profile.settings
    }
    listen_options(settings).check()
    # The RAM disk counts as memory of the service, and birdrec itself needs 170 MB.
    spool_mb = settings["keep.spool_ram_mb"] or 160.0
    assert 170 + spool_mb < profile.memory_high_mb < profile.memory_max_mb


@pytest.mark.parametrize(
    ("model", "memory_mb", "name", "memory_max_mb"),
    [
        ("Raspberry Pi Zero 2 W Rev 1.0", 512, "zero2w", 330),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", 950, "pi3", 550),
        ("Raspberry Pi 4 Model B Rev 1.4", 3_900, "pi4", 700),
        ("Raspberry Pi 4 Model B Rev 1.1", 950, "pi4", 633),
        ("Raspberry Pi Compute Module 5 Rev 1.0", 7_900, "pi5", 700),
        ("Raspberry Pi 5 Model B Rev 1.0", 7_900, "pi5", 700),
        ("Raspberry Pi Model B Rev 2", 450, "generic", 300),
        ("FriendlyElec NanoPi", 1_000, "generic", 667),
        ("", 16_000, "generic", 700),
    ],
)
def test_the_board_chooses(model: str, memory_mb: int, name: str, memory_max_mb: int) -> None:
    found = suggest(Machine(model, memory_mb, 4, "aarch64"))
    assert (found.name, found.memory_max_mb) == (name, memory_max_mb)
    assert 0 < found.memory_high_mb < found.memory_max_mb


def test_the_board_says_its_name(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    machine = this_machine(tmp_path / "model")
    assert machine.model == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine.memory_mb > 100
    assert machine.cores >= 1
    assert this_machine(tmp_path / "none").model == ""


def test_doctor_suggests(birdrec: Birdrec) -> None:
    done = birdrec("doctor", "--suggest", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = suggest(this_machine())
    assert found["profile"] == expected.name
    assert found["settings"] == {key.path: value for key, value in expected.settings}
    assert found["unit"]["memory_max_mb"] == expected.memory_max_mb
    assert f"profile {expected.name}: " in birdrec("doctor", "--suggest").stdout
