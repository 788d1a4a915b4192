"""systemd hears what it must, and nobody else is disturbed."""

from __future__ import annotations

import ctypes.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.notify import Notifier


def test_words_arrive_and_a_status_only_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notifier = Notifier()
        notifier.ready()
        notifier.status("one")
        notifier.status("one")
        notifier.alive()
        notifier.stopping()
        said = [manager.recv(100).decode() for _ in range(4)]
    assert said == ["READY=1", "STATUS=one", "WATCHDOG=1", "STOPPING=1"]
    notifier.alive()  # nobody listens any more


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready()


@pytest.mark.skipif(
    ctypes.util.find_library("portaudio") is None, reason="PortAudio is not installed"
)
def test_a_microphone_that_is_waited_for_is_no_hang(tmp_path: Path) -> None:
    """The system's start goes on, and the watchdog is fed while each try ends."""
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(place))
        heard.settimeout(60)
        command = [sys.executable, "-m", "recorder.cli", "listen", "--device", "name:none of these"]
        child = subprocess.Popen(
            [*command, "--wait", "inf", "--out", str(tmp_path / "out"), "--quiet"],
            env={**os.environ, "NOTIFY_SOCKET": str(place)},
            stderr=subprocess.DEVNULL,
        )
        try:
            said = [heard.recv(1000).decode() for _ in range(6)]
        finally:
            child.terminate()
            assert child.wait(30) == 0
    assert said[0].startswith("STATUS=waiting for the microphone")
    assert "READY=1" in said
    assert said.count("WATCHDOG=1") >= 2
