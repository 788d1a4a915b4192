"""systemd hears what it must, and nobody else is disturbed."""

from __future__ import annotations

import socket
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
