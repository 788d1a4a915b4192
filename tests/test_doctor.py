"""Each line of the doctor is green on what is well, red on what is not, and says what to do."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound
from pulselab import PulseLab, missing

from recorder.doctor import machine, service, sound
from recorder.doctor.check import FAULT, OK, UNKNOWN, Check
from recorder.doctor.examine import is_ready
from recorder.doctor.expected import check_expected
from recorder.species.expectation import Asked
from recorder.station.options import ListenOptions

NAMES = [
    "config", "device", "levels", "model", "species", "disk", "clock", "schedule", "temperature",
    "power", "unit", "ports",
]  # fmt: skip


@dataclass
class FakeClock:
    wall: float = 1_790_000_000.0
    knows: bool = True

    def boottime_s(self) -> float:
        return 100.0

    def wall_s(self) -> float:
        return self.wall

    def synced(self) -> bool:
        return self.knows

    def boot_id(self) -> str:
        return "boot"


@pytest.fixture
def no_card(tmp_path: Path) -> dict[str, str]:
    """An ALSA configuration with no device in it."""
    (tmp_path / "asound.conf").write_text("pcm.nothing { type null }\n")
    return {**os.environ, "ALSA_CONFIG_PATH": str(tmp_path / "asound.conf")}


def examined(environment: dict[str, str], *arguments: object) -> tuple[int, dict[str, Check]]:
    done = subprocess.run(
        [sys.executable, "-m", "recorder.cli", "doctor", "--json", *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    checks = [Check(**one) for one in found["checks"]]
    assert [one.name for one in checks] == NAMES
    assert found["ok"] == is_ready(checks) == (done.returncode == 0)
    for one in checks:
        assert one.detail
        assert bool(one.advice) == (one.status != OK), one
    return done.returncode, {one.name: one for one in checks}


def test_without_a_microphone_it_says_so_and_goes_on(
    no_card: dict[str, str], tmp_path: Path
) -> None:
    code, found = examined(no_card, "--out", tmp_path / "not yet")
    assert code == 1
    assert found["device"].status == FAULT
    assert found["levels"].status == UNKNOWN
    assert (found["model"].status, found["disk"].status) == (OK, OK)
    assert list(tmp_path.glob("*")) == [tmp_path / "asound.conf"], "nothing is left behind"


def test_a_wrong_configuration_is_one_red_line(no_card: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("[keep]\naudoi = 'all'\n")
    code, found = examined(no_card, "--config", tmp_path / "b.toml")
    assert code == 1
    assert found["config"].status == FAULT
    assert "did you mean keep.audio?" in found["config"].detail


def test_a_list_that_would_keep_it_from_starting_is_a_fault(tmp_path: Path) -> None:
    birds, prior = tmp_path / "birds.txt", tmp_path / "prior.csv"
    assert check_expected(ListenOptions()).status == OK
    found = check_expected(ListenOptions(expects=Asked(species=birds)))
    assert (found.status, "No such file" in found.detail) == (FAULT, True)
    birds.write_text("Bananaquitt\nturdus_plumbeus\n")
    prior.write_text("label,hour,frequency\nbanana,6,0.5\n")
    found = check_expected(ListenOptions(expects=Asked(birds, prior)))
    assert found.status == OK
    for words in (
        "1 species)",
        "weight 0.5",
        "did you mean Bananaquit?",
        "the machine's time zone",
    ):
        assert words in found.detail
    found = check_expected(ListenOptions(expects=Asked(birds, prior, timezone="Mars/Olympus")))
    assert found.status == FAULT


def test_the_screen_says_what_to_do(birdrec: Birdrec, tmp_path: Path) -> None:
    done = birdrec("doctor", "--out", tmp_path)
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines if not line.startswith(" ")] == NAMES
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith((FAULT, UNKNOWN)):
            assert after.strip().startswith("-> ")


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_a_microphone_is_heard_and_a_dead_one_found(tmp_path: Path, birdlike: MakeSound) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(60.0, 48_000), 48_000, subtype="PCM_16")
    settings = tmp_path / "b.toml"
    settings.write_text(f"[microphone]\ndevice = 'pulse'\n[keep]\nout = '{tmp_path}/out'\n")
    with PulseLab(tmp_path / "lab") as lab:
        environment = {**os.environ, **lab.environment}
        _, silent = examined(environment, "--config", settings)
        assert silent["device"].status == OK
        assert silent["levels"].status == FAULT
        assert "dead" in silent["levels"].detail
        lab.play(tmp_path / "a.wav")
        time.sleep(0.5)
        _, found = examined(environment, "--config", settings)
        assert found["levels"].status == OK, found["levels"]
        assert -60.0 < float(found["levels"].detail.split()[0]) < -10.0
        station = subprocess.Popen(
            [sys.executable, "-m", "recorder.cli", "listen", "--config", str(settings), "--quiet"],
            env=environment,
        )
        try:
            deadline_s = time.monotonic() + 60
            while not (tmp_path / "out/station.sqlite").exists():
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
            time.sleep(1.0)
            _, busy = examined(environment, "--config", settings)
        finally:
            station.send_signal(signal.SIGTERM)
            assert station.wait(30) == 0
        assert f"birdrec (process {station.pid}) listens to name:pulse" in busy["device"].detail
        assert (busy["device"].status, busy["levels"].status) == (OK, OK)
        assert busy["ports"].status == OK


def test_a_server_that_hangs_does_not_hang_the_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever PortAudio does in there, its process is ended."""
    (tmp_path / "recorder").mkdir()
    (tmp_path / "recorder/__init__.py").write_text("")
    (tmp_path / "recorder/cli.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sound, "_ASK_S", 1.0)
    found, device = sound.check_device(ListenOptions())
    assert (found.status, device) == (FAULT, None)
    assert "does not answer within 1 s" in found.detail


def test_what_a_running_station_says_is_what_counts(tmp_path: Path, birdrec: Birdrec) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(3 * 32_000, np.float32), 32_000)
    out = tmp_path / "out"
    heard = ("listen", "--replay", tmp_path / "a.wav", "--speed", "max", "--out", out)
    assert birdrec(*heard).returncode == 0
    assert service.holder_of(out) is None
    device, levels = service.check_station(out, 17)
    assert (device.status, levels.status) == (OK, OK)
    row = {"kind": "health", "run": 1, "problem": "deaf", "begins": True, "detail": "no capsule"}
    with (out / "detections.jsonl").open("a") as journal:
        journal.write(json.dumps(row) + "\n")
    assert birdrec(*heard, "--duration", "1").returncode == 0
    # A run that began after it knows nothing of it; of its own run it stays until it is over.
    assert service.check_station(out, 17)[1].status == OK
    with (out / "detections.jsonl").open("a") as journal:
        journal.write(json.dumps({**row, "run": 3}) + "\n")
    assert birdrec(*heard, "--duration", "1").returncode == 0
    assert service.running_station(out).problems == {"deaf": "no capsule"}
    device, levels = service.check_station(out, 17)
    assert (levels.status, levels.detail) == (FAULT, "deaf: no capsule")
    os.utime(out / "detections.jsonl", (0, 0))
    assert service.check_station(out, 17)[0].status == FAULT
    assert service.check_station(tmp_path / "none", 17)[0].status == UNKNOWN


def test_a_disk_without_room_or_rights_is_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.check_disk(tmp_path / "a" / "b", 1.0).status == OK
    assert machine.check_disk(tmp_path, 1e12).status == FAULT
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(machine, "_SLOWEST_MB_S", 1e9)
    assert "too slow" in machine.check_disk(tmp_path, 1.0).advice
    found = machine.check_disk(Path("/proc/1"), 0.0)
    assert found.status == FAULT


def test_the_clock(tmp_path: Path) -> None:
    rtc = tmp_path / "class/rtc/rtc0/since_epoch"
    for clock, status in (
        (FakeClock(), OK),
        (FakeClock(knows=False), FAULT),
        (FakeClock(wall=86_400.0), FAULT),
    ):
        assert machine.check_clock(clock, sys=tmp_path).status == status
    rtc.parent.mkdir(parents=True)
    rtc.write_text("1790000003\n")
    assert machine.check_clock(FakeClock(knows=False), sys=tmp_path).status == OK
    rtc.write_text("1690000003\n")
    assert machine.check_clock(FakeClock(knows=False), sys=tmp_path).status == FAULT


def test_temperature_and_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.check_temperature(sys=tmp_path).status == UNKNOWN
    assert machine.check_power(sys=tmp_path).status == UNKNOWN
    zone = tmp_path / "class/thermal/thermal_zone0/temp"
    zone.parent.mkdir(parents=True)
    for text, status in (("45312\n", OK), ("80000\n", FAULT), ("?\n", UNKNOWN)):
        zone.write_text(text)
        assert machine.check_temperature(sys=tmp_path).status == status
    tool = tmp_path / "vcgencmd"
    for answer, status, words in (
        ("throttled=0x0", OK, "no under-voltage"),
        ("throttled=0x50005", FAULT, "under-voltage now, throttled now, under-voltage since"),
        ("throttled=0x80000", OK, "no under-voltage"),
        ("error", UNKNOWN, "neither"),
    ):
        tool.write_text(f"#!/bin/sh\necho {answer}\n")
        tool.chmod(0o755)
        found = machine.check_power(sys=tmp_path)
        assert (found.status, words in found.detail) == (status, True), found
    kernel = tmp_path / "devices/platform/soc/soc:firmware/get_throttled"
    kernel.parent.mkdir(parents=True)
    kernel.write_text("10000\n")
    assert machine.check_power(sys=tmp_path).detail == "under-voltage since the start"
    kernel.unlink()
    alarm = tmp_path / "class/hwmon/hwmon1"
    alarm.mkdir(parents=True)
    (alarm / "name").write_text("rpi_volt\n")
    (alarm / "in0_lcrit_alarm").write_text("1\n")
    assert machine.check_power(sys=tmp_path).detail == "under-voltage now"


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        ({"LoadState": "not-found"}, UNKNOWN, "not installed"),
        ({}, UNKNOWN, "not installed"),
        ({"LoadState": "loaded", "ActiveState": "failed", "SubState": "failed"}, FAULT, "failed"),
        ({"LoadState": "loaded", "ActiveState": "activating"}, FAULT, "activating"),
        (
            {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "disabled"},
            FAULT, "disabled",
        ),
        (
            {
                "LoadState": "loaded", "ActiveState": "active", "SubState": "running",
                "UnitFileState": "enabled", "NRestarts": "3",
            },
            OK, "active (running), 3 restarts",
        ),
    ],
)  # fmt: skip
def test_the_unit(found: dict[str, str], status: str, words: str) -> None:
    check = service.judged_unit(found)
    assert (check.status, words in check.detail) == (status, True)


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that is called birdrec, and listens."""
    script = tmp_path / "birdrec"
    script.write_text(
        "import socket\ns = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\ninput()\n"
    )
    child = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield child
    child.communicate("\n")


def test_a_port_that_birdrec_opens_is_found(impostor: subprocess.Popen[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert impostor.stdout is not None
        port = impostor.stdout.readline().strip()
        found = service.check_ports()
    assert found.status == FAULT
    assert f"tcp port {port} (process {impostor.pid})" in found.detail
    assert found.detail.count("port ") == 1, "our own socket is not one of birdrec"


def test_a_lock_that_is_held_is_seen(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("4711\n")
    assert service.holder_of(tmp_path) is None
    with (tmp_path / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert service.holder_of(tmp_path) == 4711
    assert service.holder_of(tmp_path) is None
    assert service.holder_of(tmp_path / "none") is None
