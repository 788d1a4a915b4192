"""birdrec opens no network connection, and writes nowhere but where it was told to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from conftest import MakeSound

_HIDES_TELEMETRY = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY")
"""Where one of these is set, onnxruntime would be silent without our help."""


@pytest.mark.parametrize("job", [("scan",), ("listen", "--speed", "max", "--replay")])
def test_nothing_is_sent_or_left_behind(
    tmp_path: Path, birdlike: MakeSound, job: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    soundfile.write(tmp_path / "a.wav", birdlike(12.0), 32_000)
    environment = {k: v for k, v in os.environ.items() if k not in _HIDES_TELEMETRY}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-m", "recorder.cli", *job, str(tmp_path / "a.wav")]
    command += ["--out", str(tmp_path / "out"), "--quiet"]
    trace = tmp_path / "trace"
    if shutil.which("strace"):
        command = ["strace", "-f", "-qq", "-e", "trace=socket", "-o", str(trace), *command]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []
    if trace.exists():
        sockets = [line for line in trace.read_text().splitlines() if "socket(" in line]
        assert not [line for line in sockets if "AF_UNIX" not in line]
