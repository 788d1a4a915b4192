"""The capture child: one process that reads a microphone, and waits for nobody.

    python -m recorder.sound.capture --device-id ID [--rate HZ] [--channels N] ...

A thread reads blocks into a ring; the main thread writes them to stdout as records, a HEADER and
then a payload. Whoever reads those may be late by as much as the ring holds: what is read while
the ring is full is lost, and counted. It ends when nobody reads its records any more.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import select
import signal
import struct
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from recorder.errors import AudioDeviceError
from recorder.sound.devices import (
    Device,
    device_of,
    load_portaudio,
    native_rates,
    portaudio_error_text,
)

HEADER = struct.Struct("<BBIQQI")
"""Kind, flag, frames, frames lost just before them, CLOCK_BOOTTIME in ns, bytes of payload."""
OPENED, SOUND, LOST = 1, 2, 3
"""Kinds: a Form as JSON; interleaved samples, flag = overflowed; a reason, flag = fatal."""

_LATENCY_S = 1.0
"""Asked of the driver, which then loses nothing while this process does not run for so long."""
_POLL_S = 0.5
"""So soon is it seen that the parent is gone."""
_NICE = -10
_RATE, _CHANNELS, _FORMAT = -9997, -9998, -9994
_UNAVAILABLE = -9985
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class Wish:
    """What the parent asked for; a rate or channels of 0 = the device's own rate, one channel."""

    device_id: str
    rate_hz: int
    channels: int
    dtype: str
    ring_s: float
    block_ms: int


@dataclass(frozen=True)
class Form:
    """What the device gives."""

    device_id: str
    name: str
    rate_hz: int
    channels: int
    dtype: str


class Refusal(AudioDeviceError):
    """There is no sound: `fatal` when it will not come by waiting either."""

    def __init__(self, reason: str, *, fatal: bool) -> None:
        super().__init__(reason)
        self.fatal = fatal


@dataclass(frozen=True)
class Block:
    """The oldest block of a ring, in place."""

    samples: memoryview
    lost_frames: int
    overflowed: bool
    boottime_ns: int


class Ring:
    """Blocks of one size between a thread that never waits and one that may."""

    def __init__(self, blocks: int, *, block_frames: int, frame_bytes: int) -> None:
        self._blocks, self._block_frames = blocks, block_frames
        self._block_bytes = block_frames * frame_bytes
        self._memory = memoryview(bytearray(blocks * self._block_bytes))
        self._held: deque[Block] = deque()
        self._first = 0
        self._lost_frames = 0
        self._overflowed = False
        self._ended = False
        self._changed = threading.Condition()

    def push(self, samples: Any, *, overflowed: bool, boottime_ns: int) -> None:
        """Copy a block in; when there is no room it is counted as lost before the next one."""
        with self._changed:
            self._overflowed |= overflowed
            if len(self._held) == self._blocks:
                self._lost_frames += self._block_frames
                return
            slot = (self._first + len(self._held)) % self._blocks
            place = self._memory[slot * self._block_bytes : (slot + 1) * self._block_bytes]
            place[:] = samples
            self._held.append(Block(place, self._lost_frames, self._overflowed, boottime_ns))
            self._lost_frames, self._overflowed = 0, False
            self._changed.notify()

    def end(self) -> None:
        """Nothing more will be pushed."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def oldest(self, timeout_s: float) -> Block | None:
        """Left in its place until `release`; None when there is none within `timeout_s`."""
        with self._changed:
            if not self._held and not self._ended:
                self._changed.wait(timeout_s)
            return self._held[0] if self._held else None

    def release(self) -> None:
        """The oldest block has been used."""
        with self._changed:
            self._held.popleft()
            # An empty ring begins anew: as long as nobody is late, little of it is ever touched.
            self._first = (self._first + 1) % self._blocks if self._held else 0

    @property
    def over(self) -> bool:
        """Ended, and nothing is left."""
        with self._changed:
            return self._ended and not self._held


class Reader(threading.Thread):
    """All of PortAudio happens in this thread: what hangs in there holds up nothing else."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(name="reader", daemon=True)
        self._wish = wish
        self.decided = threading.Event()
        """The device is open, or could not be opened."""
        self.form: Form | None = None
        self.ring: Ring
        """There is one when there is a form."""
        self.refusal = Refusal("the device gives no reason", fatal=False)
        """Why it ended."""

    def run(self) -> None:
        """Open the device, and read it until that fails."""
        try:
            portaudio = load_portaudio()
        except AudioDeviceError as error:
            self.refusal = Refusal(str(error), fatal=True)
            self.decided.set()
            return
        try:
            stream, self.form = open_device(portaudio, self._wish)
            self._read(stream)
        except Refusal as refusal:
            self.refusal = refusal
        except AudioDeviceError as error:
            self.refusal = Refusal(str(error), fatal=False)
        except portaudio.PortAudioError as error:
            reason = f"the device went away ({portaudio_error_text(error)})"
            self.refusal = Refusal(reason, fatal=False)
        except Exception as error:
            self.refusal = Refusal(f"reading failed ({error!r})", fatal=False)
        finally:
            self._finish()

    def _read(self, stream: Any) -> None:
        assert self.form is not None
        frames = block_frames(self.form.rate_hz, self._wish.block_ms)
        blocks = max(2, round(self._wish.ring_s * self.form.rate_hz) // frames + 1)
        frame_bytes = self.form.channels * (2 if self.form.dtype == "int16" else 4)
        self.ring = Ring(blocks, block_frames=frames, frame_bytes=frame_bytes)
        self.decided.set()
        while True:
            samples, overflowed = stream.read(frames)
            now_ns = time.clock_gettime_ns(_BOOTTIME)
            self.ring.push(samples, overflowed=overflowed, boottime_ns=now_ns)

    def _finish(self) -> None:
        if self.decided.is_set():
            self.ring.end()
        self.decided.set()


def block_frames(rate_hz: int, block_ms: int) -> int:
    """Frames that are read at once."""
    return max(1, round(rate_hz * block_ms / 1000))


def open_device(portaudio: Any, wish: Wish) -> tuple[Any, Form]:
    """The running stream and its form; AudioDeviceError, fatal or not, when there is none."""
    device = device_of(wish.device_id, portaudio=portaudio)
    rate_hz = wish.rate_hz or device.default_rate_hz
    channels = wish.channels or 1
    if channels > device.channels:
        raise Refusal(
            f"{device.name} has {device.channels} channels, not {channels}: ask for one of these",
            fatal=True,
        )
    try:
        stream = _started(portaudio, device, rate_hz, channels, wish)
    except portaudio.PortAudioError as error:
        raise _refusal(portaudio, device, rate_hz, error) from error
    return stream, Form(wish.device_id, device.name, round(stream.samplerate), channels, wish.dtype)


def _started(portaudio: Any, device: Device, rate_hz: int, channels: int, wish: Wish) -> Any:
    for latency in (_LATENCY_S, "high"):
        try:
            # No callback: PortAudio would need memory that is both writable and executable.
            stream = portaudio.RawInputStream(
                device=device.index,
                samplerate=rate_hz,
                channels=channels,
                dtype=wish.dtype,
                latency=latency,
                blocksize=block_frames(rate_hz, wish.block_ms),
            )
            stream.start()
        except portaudio.PortAudioError:
            if latency == "high":
                raise
        else:
            return stream
    raise AssertionError("one of the two returns or raises")


def _refusal(portaudio: Any, device: Device, rate_hz: int, error: Exception) -> Refusal:
    code = error.args[1] if len(error.args) > 1 else 0
    if code == _RATE:
        rates = native_rates(device, portaudio=portaudio)
        allowed = ", ".join(map(str, rates))
        # A device that takes no rate at all is going away, or in use.
        return Refusal(
            f"{device.name} does not take {rate_hz} Hz"
            + (f": use one of {allowed} Hz" if rates else ", nor any other rate"),
            fatal=bool(rates),
        )
    if code in (_CHANNELS, _FORMAT):
        return Refusal(f"{device.name}: {portaudio_error_text(error)}", fatal=True)
    if code == _UNAVAILABLE:
        return Refusal(
            f"{device.name} is in use by another program: `fuser -v /dev/snd/*` says which",
            fatal=False,
        )
    return Refusal(
        f"{device.name} cannot be opened ({portaudio_error_text(error)})", fatal=False
    )


class Pipe:
    """Records to the parent; BrokenPipeError when it is gone, however that comes about."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._parent = os.getppid()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def check(self, wait_s: float = 0.0) -> None:
        """Wait until there is room, and see whether anybody reads."""
        events = self._poll.poll(round(wait_s * 1000))
        # The reading end may live on in a process that the parent has forked.
        if os.getppid() != self._parent or any(event & ~select.POLLOUT for _, event in events):
            raise BrokenPipeError

    def write(self, kind: int, payload: Any, *fields: int, flag: bool = False) -> None:
        """One record; `fields` are frames, frames lost before, and the time in ns."""
        frames, lost_frames, boottime_ns = fields or (0, 0, 0)
        head = HEADER.pack(kind, flag, frames, lost_frames, boottime_ns, len(payload))
        for part in (head, payload):
            left = memoryview(part)
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:
                    self.check(_POLL_S)


def hand_on(reader: Reader, pipe: Pipe) -> None:
    """Write all records, from opened to lost; BrokenPipeError when nobody wants them."""
    while not reader.decided.wait(_POLL_S):
        pipe.check()
    if reader.form is not None:
        pipe.write(OPENED, json.dumps(asdict(reader.form)).encode())
        frames = block_frames(reader.form.rate_hz, block_ms=reader.block_ms)
        while not reader.ring.over:
            block = reader.ring.oldest(_POLL_S)
            if block is None:
                pipe.check()
                continue
            pipe.write(
                SOUND,
                block.samples,
                frames,
                block.lost_frames,
                block.boottime_ns,
                flag=block.overflowed,
            )
            reader.ring.release()
    pipe.write(LOST, str(reader.refusal).encode(), flag=reader.refusal.fatal)
