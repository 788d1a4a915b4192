"""A microphone that comes back: the parent's side of the capture child.

PortAudio never sees a device that is plugged in after it was started, and may hang when one is
pulled out. So each attempt is a process of its own, which can be killed.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from recorder.sound.live.capture import HEADER, LOST, OPENED, SOUND
from recorder.sound.live.source import Event, Lost, Opened, Sound

_START_S = 20.0
"""For the child to start Python and PortAudio, on a busy small board."""
_FIRST_S = 10.0
"""For the first block of a device that is open."""
_END_S = 0.8
"""For a killed process to be gone, unless a driver holds it."""
_READ_BYTES = 1 << 16
_NOISE_BYTES = 4096
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class _Record:
    kind: int
    flag: bool
    lost_frames: int
    boottime_ns: int
    payload: bytes


class Microphone:
    """A `Source` of one device, by its stable id; read and closed by one thread at a time."""

    def __init__(
        self,
        device_id: str,
        *,
        sample_rate_hz: int = 0,
        channels: int = 1,
        dtype: str = "int16",
        ring_s: float = 90.0,
        retry_s: float = 1.0,
        silent_s: float = 2.0,
    ) -> None:
        """A rate of 0 is the device's own, 0 channels are 1; `dtype` is int16 or int32.

        The parent may be late by `ring_s`; a stream is lost when it gives nothing for `silent_s`.
        """
        self._command = [sys.executable, "-P", "-m", "recorder.sound.live.capture"]
        self._command += ["--device-id", device_id, "--rate", str(sample_rate_hz)]
        self._command += ["--channels", str(channels), "--dtype", dtype, "--ring-s", str(ring_s)]
        self._dtype = np.dtype(dtype)
        self._retry_s, self._silent_s = retry_s, silent_s
        self._child: _Child | None = None
        self._next_start_s = 0.0
        self._channels = 0
        """Of the open stream; 0 when there is none."""
        self._sounded = False
        """The open stream has given a block."""
        self._known_good = False
        """A stream has been open: what forbids another one can only be passing."""
        self._told = ""
        """The last reason, until there is a stream again."""
        self._end: Lost | None = None

    def read(self, timeout_s: float) -> Event | None:
        """The next event; None when nothing has come within `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while self._end is None:
            left_s = max(0.0, deadline_s - time.monotonic())
            event = self._start(left_s) if self._child is None else self._hear(self._child, left_s)
            if event is not None or not left_s:
                return event
        return self._end

    def rest(self) -> None:
        """End the child, and let the device sleep until the next `read`."""
        self._drop()
        self._next_start_s = 0.0

    def close(self) -> None:
        """End the child, whatever it is doing; every further `read` is a final Lost."""
        self._drop()
        self._end = Lost("closed", final=True)

    def _start(self, wait_s: float) -> Event | None:
        """A new child, when it is time for one."""
        due_s = self._next_start_s - time.monotonic()
        if due_s > 0:
            time.sleep(min(due_s, wait_s))
            return None
        self._next_start_s = time.monotonic() + self._retry_s
        self._channels, self._sounded = 0, False
        try:
            self._child = _Child(self._command)
        except OSError as error:
            return self._lose(f"the capture process cannot be started ({error.strerror})")
        return None

    def _hear(self, child: _Child, wait_s: float) -> Event | None:
        limit_s, trouble = self._patience()
        record = child.record(min(wait_s, limit_s - child.silent_s))
        if record is not None:
            return self._event(child, record)
        if child.ended:
            return self._lose(f"the capture process ended ({child.last_words()})")
        if child.silent_s >= limit_s:
            return self._lose(f"{trouble} for {limit_s:g} s")
        return None

    def _patience(self) -> tuple[float, str]:
        if not self._channels:
            return _START_S, "the device does not open"
        return self._silent_s if self._sounded else _FIRST_S, "the device gives no sound"

    def _event(self, child: _Child, record: _Record) -> Event | None:
        if record.kind == OPENED:
            form = json.loads(record.payload)
            self._channels, self._known_good, self._told = form["channels"], True, ""
            return Opened(form["device_id"], form["name"], form["rate_hz"], self._channels)
        if record.kind == SOUND:
            self._sounded = True
            frames = np.frombuffer(record.payload, self._dtype).reshape(-1, self._channels)
            return Sound(frames, record.lost_frames, record.flag, record.boottime_ns)
        assert record.kind == LOST
        alsa = "" if self._channels else child.alsa_words()
        reason = record.payload.decode() + (f" ({alsa})" if alsa else "")
        return self._lose(reason, fatal=record.flag)

    def _lose(self, reason: str, *, fatal: bool = False) -> Event | None:
        """Told once, until it is another reason; a stream that gave sound is replaced at once."""
        self._drop()
        if not self._sounded:
            self._next_start_s = time.monotonic() + self._retry_s
        if fatal and not self._known_good:
            self._end = Lost(reason, final=True)
        elif reason == self._told:
            return None
        self._told = reason
        return self._end or Lost(reason)

    def _drop(self) -> None:
        if self._child is not None:
            self._child.kill()
        self._child = None


class _Child:
    """One capture process, its records, and the last that its libraries printed."""

    def __init__(self, command: Sequence[str]) -> None:
        paths = [os.environ.get("PYTHONPATH", ""), str(_ROOT)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            # Ctrl-Z stops the parent alone.
            process_group=0,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._records: IO[bytes] = self._process.stdout
        self._noise: IO[bytes] = self._process.stderr
        self._selector = selectors.DefaultSelector()
        for stream in (self._records, self._noise):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)
        self._buffer = bytearray()
        self._printed = b""
        self.ended = False
        """No record will follow."""
        self.silent_s = 0.0
        """Waited for, in vain, since something came last."""

    def record(self, wait_s: float) -> _Record | None:
        """The next one; None when it is not there within `wait_s`, or after a stderr line."""
        found = self._whole()
        if found is None:
            self._listen(max(0.0, wait_s))
            found = self._whole()
        return found

    def _whole(self) -> _Record | None:
        if len(self._buffer) < HEADER.size:
            return None
        kind, flag, _, lost_frames, boottime_ns, size = HEADER.unpack_from(self._buffer)
        end = HEADER.size + size
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return _Record(kind, bool(flag), lost_frames, boottime_ns, payload)

    def _listen(self, wait_s: float) -> None:
        began_s = time.monotonic()
        ready = [key.fileobj for key, _ in self._selector.select(wait_s)]
        if self._records in ready:
            self.silent_s = 0.0
            self._take()
        else:
            # Not the time by the clock: this process may have been stopped, and the child not.
            self.silent_s += min(wait_s, time.monotonic() - began_s)
        if self._noise in ready:
            self._take_noise()

    def _take(self) -> None:
        data = os.read(self._records.fileno(), _READ_BYTES)
        self._buffer += data
        self.ended = not data

    def _take_noise(self) -> list[str]:
        with suppress(BlockingIOError):
            data = os.read(self._noise.fileno(), _READ_BYTES)
            self._printed = (self._printed + data)[-_NOISE_BYTES:]
            if not data and self._noise in self._selector.get_map():
                self._selector.unregister(self._noise)
        return self._printed.decode(errors="replace").splitlines()

    def alsa_words(self) -> str:
        """The last that ALSA printed: it often knows more than PortAudio's error."""
        return next(filter(None, map(_alsa_words, reversed(self._take_noise()))), "")

    def last_words(self) -> str:
        """How it ended, and what it printed last."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_END_S)
        code = self._process.returncode
        how = "still there" if code is None else f"exit code {code}"
        if code is not None and code < 0:
            how = signal.strsignal(-code) or f"signal {-code}"
        return ": ".join([how, *self._take_noise()[-1:]])

    def kill(self) -> None:
        """SIGKILL, for nothing else ends a PortAudio that hangs; then nothing of it is left."""
        self._selector.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_END_S)
        self._records.close()
        self._noise.close()


def _alsa_words(line: str) -> str:
    found = re.match(r"ALSA lib \S+ (.+)", line)
    return found[1] if found else ""
