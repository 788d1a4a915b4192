"""A microphone without hardware: a private PulseAudio server whose null sink is listened to.

What is played into the sink comes out of its monitor at the sink's pace, bit for bit where the
rates are the same. Everything lives in one temporary folder and listens on a unix socket only.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

ID = "name:pulse"
"""What `birdrec devices` calls it."""
_TOOLS = ("pulseaudio", "pactl", "pacat", "paplay")
_ASOUNDRC = "pcm.pulse { type pulse }\nctl.pulse { type pulse }\n"
_START_S = 10.0


def missing() -> str:
    """Why there can be no such microphone here; empty when there can."""
    tools = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if tools:
        return f"{', '.join(tools)} not installed: apt-get install pulseaudio pulseaudio-utils"
    if ctypes.util.find_library("portaudio") is None:
        return "PortAudio not installed: apt-get install libportaudio2"
    plugins = Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")
    return "" if any(plugins) else "no ALSA plug-in: apt-get install libasound2-plugins"


class PulseLab:
    """One server; `environment` makes a program use it, and nothing else."""

    def __init__(
        self, folder: Path, *, rate_hz: int = 48_000, sample_format: str = "s16le"
    ) -> None:
        self._folder, self._rate_hz, self._format = folder, rate_hz, sample_format
        (folder / "run").mkdir(mode=0o700, parents=True)
        (folder / ".asoundrc").write_text(_ASOUNDRC)
        (folder / "client.conf").write_text("autospawn = no\n")
        self._socket = folder / "native"
        self._script = folder / "server.pa"
        self._script.write_text(
            f"load-module module-native-protocol-unix socket={self._socket} auth-anonymous=1\n"
        )
        self.environment = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "XDG_CONFIG_HOME": str(folder),
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_CLIENTCONFIG": str(folder / "client.conf"),
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._players: list[subprocess.Popen[bytes]] = []
        self._module = ""

    def start(self) -> None:
        """The server, with the sink."""
        self._socket.unlink(missing_ok=True)
        shutil.rmtree(self._folder / "run" / "pulse", ignore_errors=True)
        command = ["pulseaudio", "-n", "-F", str(self._script), "--daemonize=no"]
        command += ["--exit-idle-time=-1", "--disable-shm=1", "--realtime=0", "--high-priority=0"]
        self._server = self._popen(command)
        deadline_s = time.monotonic() + _START_S
        while self._pactl("info") is None:
            assert time.monotonic() < deadline_s, "the server does not answer"
            time.sleep(0.05)
        self.load_sink()

    def load_sink(self) -> None:
        """Plug the microphone in."""
        form = f"rate={self._rate_hz} channels=1 format={self._format}"
        module = self._pactl("load-module", "module-null-sink", "sink_name=forest", *form.split())
        assert module is not None, "no sink"
        self._module = module.strip()
        assert self._pactl("set-default-source", "forest.monitor") is not None

    def unload_sink(self) -> None:
        """Pull it out."""
        assert self._pactl("unload-module", self._module) is not None

    def kill(self) -> None:
        """kill -9 of the server."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM to the server."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """The server does nothing more, and does not say so."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)

    def play(self, path: Path) -> subprocess.Popen[bytes]:
        """Start to play a file into the sink."""
        player = self._popen(["paplay", "--device=forest", str(path)])
        self._players.append(player)
        return player

    def close(self) -> None:
        """End everything that was started here."""
        for process in [*self._players, self._server]:
            if process is not None:
                process.kill()
                process.wait()
        self._players, self._server = [], None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _signal(self, number: int) -> None:
        assert self._server is not None
        self._server.send_signal(number)
        self._server.wait()
        self._server = None

    def _pactl(self, *arguments: str) -> str | None:
        done = subprocess.run(
            ["pactl", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
        )
        return done.stdout if done.returncode == 0 else None

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
