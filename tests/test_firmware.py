"""firmware_config: scripts, units and rules are what systemd, udev and a shell take."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIRMWARE = ROOT / "firmware_config"
UNITS = FIRMWARE / "systemd"
SCRIPTS = sorted(
    path for path in FIRMWARE.rglob("*.sh") if path.read_text().startswith("#!/bin/sh")
)
INSTALLED = "/opt/birdrec/current/bin/birdrec"


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [str(one) for one in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@needs("shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_shell_scripts_are_sound(script: Path) -> None:
    done = run("shellcheck", script)
    assert done.returncode == 0, done.stdout


@needs("systemctl")
def test_a_dry_run_of_the_installer_changes_nothing_and_names_every_file(tmp_path: Path) -> None:
    done = run(FIRMWARE / "install.sh", "--dry-run", "--wheels", tmp_path)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert line.startswith("would: ")
    said = done.stdout
    for target in ("/etc/systemd/system/birdrec.service", "/etc/birdrec/birdrec.toml"):
        assert target in said
    sources = re.findall(r"would: install -D -m 0644 (\S+) ", said)
    assert len(sources) >= 9
    assert all(Path(one).is_file() for one in sources)
    assert not Path("/opt/birdrec/files.new").exists()


def test_the_installer_says_what_it_does_not_know(tmp_path: Path) -> None:
    for words, status in (("--wat", 2), ("--wheels", 1)):
        done = run(FIRMWARE / "install.sh", words)
        assert done.returncode == status
        assert "usage" in done.stderr or "--wheels needs a folder" in done.stderr
    uname = tmp_path / "uname"
    uname.write_text("#!/bin/sh\necho armv7l\n")
    uname.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run(FIRMWARE / "install.sh", "--dry-run", env={**os.environ, "PATH": path})
    assert done.returncode == 1
    assert "armv7l is not supported: use a 64-bit system" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="this is root")
def test_the_installer_wants_root() -> None:
    done = run(FIRMWARE / "install.sh")
    assert done.returncode == 1
    assert "needs root" in done.stderr


@pytest.mark.skipif(Path("/opt/birdrec").exists(), reason="birdrec is installed here")
def test_uninstalling_what_is_not_there_says_so() -> None:
    done = run(FIRMWARE / "uninstall.sh", "--dry-run")
    assert done.returncode == 1
    assert "nothing is installed" in done.stderr


@needs("systemd-analyze")
@pytest.mark.parametrize(
    ("unit", "most"), [("birdrec", 2.0), ("birdrec-report", 1.0), ("birdrec-doctor", 2.5)]
)
def test_what_the_units_may_is_little(unit: str, most: float) -> None:
    done = run(
        "systemd-analyze", "security", "--offline=true", f"--threshold={round(most * 10)}",
        UNITS / f"{unit}.service",
    )  # fmt: skip
    if "nrecognized option" in done.stderr:
        pytest.skip("this systemd is too old to judge a file")
    assert done.returncode == 0, done.stdout[-300:]


@needs("systemd-analyze")
def test_systemd_knows_every_key(tmp_path: Path) -> None:
    """`verify` in a root of its own, and it can fail."""
    system = tmp_path / "etc/systemd/system"
    system.mkdir(parents=True)
    program = tmp_path / INSTALLED.lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    for unit in UNITS.glob("birdrec*"):
        shutil.copy(unit, system)
    names = [path.name for path in sorted(UNITS.glob("birdrec*"))]
    assert len(names) == 5

    def verified() -> str:
        # Other units of a minimal system complain of programs that it does not have.
        said = run("systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", *names)
        words = said.stdout + said.stderr
        return "\n".join(line for line in words.splitlines() if "birdrec" in line)

    assert verified() == ""
    text = (system / "birdrec.service").read_text()
    (system / "birdrec.service").write_text(text.replace("WatchdogSec", "WatchDogSec"))
    assert "WatchDogSec" in verified()


def test_the_units_run_what_the_installer_installs() -> None:
    installer = (FIRMWARE / "install.sh").read_text()
    assert "root=/opt/birdrec" in installer
    for unit in UNITS.glob("*.service"):
        text = unit.read_text()
        commands = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)
        assert commands == [INSTALLED]
        assert "User=birdrec" in text
        # systemd would take the spool on the RAM disk away after each crash.
        assert "RemoveIPC=no" in text
        for config in re.findall(r"--config (\S+)", text):
            assert f"{config}" in installer
    service = (UNITS / "birdrec.service").read_text()
    assert "Type=notify" in service
    assert re.search(r"^WatchdogSec=\d+$", service, re.MULTILINE)
    assert "StartLimitIntervalSec=0" in service
    assert "keep.out /var/lib/birdrec/station" in " ".join(installer.split())


@needs("udevadm")
def test_udev_takes_the_rules() -> None:
    rules = next((FIRMWARE / "udev").glob("*.rules"))
    done = run("udevadm", "verify", rules)
    if "nknown command" in done.stderr or "nknown operation" in done.stderr:
        pytest.skip("this udev cannot judge a file")
    assert done.returncode == 0, done.stderr


def test_nothing_that_is_installed_is_secret_or_executable_by_mistake() -> None:
    for path in FIRMWARE.rglob("*"):
        if path.is_file():
            is_script = path.read_text().startswith("#!")
            assert os.access(path, os.X_OK) == is_script, path
            assert "password=" not in path.read_text().lower()


@needs("dpkg-deb")
def test_a_package_is_made_of_the_same(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "birdrec-0.1.0-py3-none-any.whl").write_bytes(b"x")
    done = run(FIRMWARE / "make-deb", wheels, tmp_path)
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("birdrec_*.deb")
    listed = run("dpkg-deb", "--contents", package).stdout
    for name in ("firmware_config/install.sh", "firmware_config/systemd/birdrec.service", ".whl"):
        assert name in listed
    assert "Depends: python3 (>= 3.11), python3-venv" in run("dpkg-deb", "-f", package).stdout
    scripts = tmp_path / "control"
    run("dpkg-deb", "--control", package, scripts)
    for name in ("postinst", "prerm", "postrm"):
        assert os.access(scripts / name, os.X_OK)
        if shutil.which("shellcheck"):
            assert run("shellcheck", scripts / name).returncode == 0
    none = run(FIRMWARE / "make-deb", tmp_path / "none")
    assert none.returncode == 1
    assert "no wheels" in none.stderr
