"""Words to systemd (sd_notify): ready, what goes on, and that sound is still being analysed."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Does nothing where systemd does not listen."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""

    def ready(self) -> None:
        """Sound arrives, or a microphone is waited for."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`, sent when it has changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog: called as sound is analysed, never by a timer alone."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """What is left is being written."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(0.5)
                channel.sendto(text.encode(), self._address)
        except OSError:
            # Nobody listens any more: recording matters more.
            return
