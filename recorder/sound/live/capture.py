"""The capture child: a process that reads a microphone, and waits for nobody.

    python -m recorder.sound.live.capture --device-id ID [--rate HZ] [--channels N] ...

A thread reads blocks into a ring; the main thread writes them to stdout as records, a HEADER and
then a payload. Whoever reads those may be late by as much as the ring holds: what comes while the
ring is full is lost, and counted. The process ends when nobody reads its records any more.
"""

from __future__ import annotations

import argparse
import gc
import json
import mmap
import os
import select
import signal
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from recorder.errors import AudioDeviceError
from recorder.sound.live.devices import (
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
"""Asked of the driver: while this process does not run for so long, nothing is lost."""
_POLL_S = 0.5
"""So soon is it seen that the parent is gone."""
_FIRST_POLL_S = 0.02
_NICE = -10
_RATE, _CHANNELS, _FORMAT, _UNAVAILABLE = -9997, -9998, -9994, -9985
"""Of PortAudio's errors, those that say more than that it failed."""
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class Form:
    """Sound as it is asked for (a rate of 0 = the device's own, 0 channels = 1), or as it comes."""

    device_id: str
    name: str
    rate_hz: int
    channels: int
    dtype: str


class Refusal(AudioDeviceError):
    """There is no sound; `fatal` when it will not come by waiting either."""

    def __init__(self, reason: str, *, fatal: bool = False) -> None:
        super().__init__(reason)
        self.fatal = fatal


@dataclass(frozen=True)
class Block:
    """Samples in their place in a ring."""

    samples: memoryview
    frames: int
    lost_frames: int
    """Just before these."""
    overflowed: bool
    boottime_ns: int


class Ring:
    """Blocks of one size, between a thread that never waits and one that may."""

    def __init__(self, blocks: int, *, block_frames: int, frame_bytes: int) -> None:
        self._blocks, self._frames = blocks, block_frames
        self._bytes = block_frames * frame_bytes
        # Not a bytearray: the system gives these pages when they are touched first.
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._memory = memoryview(mmap.mmap(-1, blocks * self._bytes, flags=private))
        self._held: deque[Block] = deque()
        self._first = 0
        self._lost_frames = 0
        self._overflowed = False
        self._ended = False
        self._changed = threading.Condition()

    def push(self, samples: Any, *, overflowed: bool, boottime_ns: int) -> None:
        """Copy a block in; without room it is counted as lost before the next one that has."""
        with self._changed:
            self._overflowed |= overflowed
            if len(self._held) == self._blocks:
                self._lost_frames += self._frames
                return
            begin = (self._first + len(self._held)) % self._blocks * self._bytes
            place = self._memory[begin : begin + self._bytes]
            place[:] = samples
            lost_frames, late = self._lost_frames, self._overflowed
            self._held.append(Block(place, self._frames, lost_frames, late, boottime_ns))
            self._lost_frames, self._overflowed = 0, False
            self._changed.notify()

    def end(self) -> None:
        """Nothing more will be pushed."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def oldest(self, timeout_s: float) -> Block | None:
        """Stays in its place until `release`; None when there is none within `timeout_s`."""
        with self._changed:
            if not self._held and not self._ended:
                self._changed.wait(timeout_s)
            return self._held[0] if self._held else None

    def release(self) -> None:
        """The oldest block has been used."""
        with self._changed:
            self._held.popleft()
            # An empty ring begins anew: while nobody is late, little of it is ever touched.
            self._first = (self._first + 1) % self._blocks if self._held else 0

    @property
    def over(self) -> bool:
        """Ended, and nothing is left."""
        with self._changed:
            return self._ended and not self._held


class Reader(threading.Thread):
    """All of PortAudio happens in this thread: what hangs in there holds up nothing else."""

    def __init__(self, wish: Form, *, ring_s: float, block_ms: int) -> None:
        super().__init__(name="reader", daemon=True)
        self._wish, self._ring_s, self._block_ms = wish, ring_s, block_ms
        self.decided = threading.Event()
        """The device is open, or cannot be opened."""
        self.stream: tuple[Form, Ring] | None = None
        self.refusal = Refusal("the device gives no sound")
        """Why there is no stream, or no longer."""

    def run(self) -> None:
        """Open the device, and read until that fails."""
        try:
            self._run(load_portaudio())
        except Refusal as refusal:
            self.refusal = refusal
        except AudioDeviceError as error:
            self.refusal = Refusal(str(error), fatal=True)
        except Exception as error:
            self.refusal = Refusal(f"reading failed ({error!r})")
        if self.stream is not None:
            self.stream[1].end()
        self.decided.set()

    def _run(self, portaudio: Any) -> None:
        stream, form = open_device(portaudio, self._wish, self._block_ms)
        frames = frames_of(form.rate_hz, self._block_ms)
        blocks = max(2, round(self._ring_s * form.rate_hz) // frames + 1)
        frame_bytes = form.channels * (2 if form.dtype == "int16" else 4)
        ring = Ring(blocks, block_frames=frames, frame_bytes=frame_bytes)
        self.stream = form, ring
        self.decided.set()
        try:
            _await_sound(portaudio, stream)
            while True:
                samples, overflowed = stream.read(frames)
                now_ns = time.clock_gettime_ns(_BOOTTIME)
                ring.push(samples, overflowed=overflowed, boottime_ns=now_ns)
        except portaudio.PortAudioError as error:
            text = portaudio_error_text(error)
            raise Refusal(f"the device went away ({text})") from error


def _await_sound(portaudio: Any, stream: Any) -> None:
    """Until there is a first frame: some drivers let a read before that burn the processor."""
    with suppress(portaudio.PortAudioError):
        while not stream.read_available:
            time.sleep(_FIRST_POLL_S)


def frames_of(rate_hz: int, block_ms: int) -> int:
    """Frames of a block."""
    return max(1, round(rate_hz * block_ms / 1000))


def open_device(portaudio: Any, wish: Form, block_ms: int) -> tuple[Any, Form]:
    """A running stream and the form of what it gives; Refusal when there is none."""
    try:
        device = device_of(wish.device_id, portaudio=portaudio)
    except AudioDeviceError as error:
        raise Refusal(str(error)) from error
    rate_hz, channels = wish.rate_hz or device.default_rate_hz, wish.channels or 1
    if channels > device.channels:
        has = f"{device.name} has {device.channels} channels"
        raise Refusal(f"{has}, and {channels} were asked for: ask for fewer", fatal=True)
    arguments = {
        "device": device.index,
        "samplerate": rate_hz,
        "channels": channels,
        "dtype": wish.dtype,
        "blocksize": frames_of(rate_hz, block_ms),
    }
    try:
        stream = _start(portaudio, arguments)
    except portaudio.PortAudioError as error:
        raise _refusal(portaudio, device, rate_hz, error) from error
    return stream, Form(wish.device_id, device.name, round(stream.samplerate), channels, wish.dtype)


def _start(portaudio: Any, arguments: dict[str, Any], latency: float | str = _LATENCY_S) -> Any:
    try:
        # No callback: for one, PortAudio needs memory that is both writable and executable.
        stream = portaudio.RawInputStream(latency=latency, **arguments)
        stream.start()
    except portaudio.PortAudioError:
        if latency == "high":
            raise
        return _start(portaudio, arguments, "high")
    return stream


def _refusal(portaudio: Any, device: Device, rate_hz: int, error: Exception) -> Refusal:
    code = error.args[1] if len(error.args) > 1 else 0
    if code == _RATE:
        rates = native_rates(device, portaudio=portaudio)
        instead = f"use {', '.join(map(str, rates))}" if rates else "nor any other rate"
        # A device that takes no rate at all is on its way out: that may pass.
        return Refusal(
            f"{device.name} does not take {rate_hz} Hz: {instead}",
            fatal=bool(rates),
        )
    if code == _UNAVAILABLE:
        return Refusal(f"{device.name} is in use by another program: see `fuser -v /dev/snd/*`")
    text = portaudio_error_text(error)
    fatal = code in (_CHANNELS, _FORMAT)
    return Refusal(f"{device.name} cannot be opened ({text})", fatal=fatal)


class Pipe:
    """Records to the parent; BrokenPipeError when it is gone, however that comes about."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._parent = os.getppid()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def check(self, wait_s: float = 0.0) -> None:
        """Wait for room, but not longer than that, and see whether anybody reads."""
        events = self._poll.poll(round(wait_s * 1000))
        # The reading end alone says too little: a fork of the parent may hold it open.
        if os.getppid() != self._parent or any(event & ~select.POLLOUT for _, event in events):
            raise BrokenPipeError

    def write(
        self,
        kind: int,
        payload: bytes | memoryview,
        *,
        flag: bool = False,
        frames: int = 0,
        lost_frames: int = 0,
        boottime_ns: int = 0,
    ) -> None:
        """One record."""
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
    if reader.stream is not None:
        form, ring = reader.stream
        pipe.write(OPENED, json.dumps(asdict(form)).encode())
        while not ring.over:
            block = ring.oldest(_POLL_S)
            if block is None:
                pipe.check()
                continue
            pipe.write(
                SOUND,
                block.samples,
                flag=block.overflowed,
                frames=block.frames,
                lost_frames=block.lost_frames,
                boottime_ns=block.boottime_ns,
            )
            ring.release()
    pipe.write(LOST, str(reader.refusal).encode(), flag=reader.refusal.fatal)


def _become_a_child() -> None:
    """Ctrl-C and a service manager's SIGTERM reach the whole group: the parent decides."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # What the libraries print must not make them wait for somebody to read it.
    os.set_blocking(2, False)
    with suppress(OSError):
        os.nice(_NICE)
    gc.freeze()
    gc.disable()


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="recorder.sound.live.capture")
    parser.add_argument("--device-id", required=True)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--channels", type=int, default=0)
    parser.add_argument("--dtype", choices=("int16", "int32"), default="int16")
    parser.add_argument("--ring-s", type=float, default=90.0)
    parser.add_argument("--block-ms", type=int, default=50)
    asked = parser.parse_args()
    _become_a_child()
    wish = Form(asked.device_id, "", asked.rate, asked.channels, asked.dtype)
    reader = Reader(wish, ring_s=asked.ring_s, block_ms=asked.block_ms)
    pipe = Pipe(1)
    reader.start()
    with suppress(BrokenPipeError):
        hand_on(reader, pipe)
    # Not by returning: a PortAudio that hangs would keep the process for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
