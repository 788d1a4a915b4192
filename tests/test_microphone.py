"""A microphone that is lost, late, stopped or wrong: on an invented card, and on a real PortAudio.

The invented card is a module `sounddevice` in front of the real one, in the capture process. Its
samples count up, and it fails as the test has told it to.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pulselab
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.sound.live.capture import Ring
from recorder.sound.live.microphone import Microphone
from recorder.sound.live.source import Event, Lost, Opened, Sound

needs_pulse = pytest.mark.skipif(bool(pulselab.missing()), reason=pulselab.missing())

FAKE = """
import contextlib, json, os, signal, time
plan = json.load(open(os.path.join(os.path.dirname(__file__), "plan.json")))
class PortAudioError(Exception): pass
def say(text):
    with contextlib.suppress(BlockingIOError): os.write(2, text)
class default: device = [0, 0]
def query_hostapis(): return ({"name": "ALSA"},)
def query_devices():
    name = {"name": plan["name"], "hostapi": 0, "max_input_channels": 2}
    return [name | {"default_samplerate": 48000.0}]
def check_input_settings(*, samplerate, **_):
    if samplerate not in (44100, 48000): raise PortAudioError("Invalid sample rate", -9997)
class RawInputStream:
    read_available = 1
    def __init__(self, *, samplerate, channels, dtype, **_):
        if plan["refuse"]:
            say(b"ALSA lib pcm.c:1:(open) Slave\\nExpression failed\\n")
            raise PortAudioError(*plan["refuse"])
        if plan["hang_open"]: time.sleep(1000)
        check_input_settings(samplerate=samplerate)
        self.samplerate, self.channels, self.size = samplerate, channels, int(dtype[3:]) // 8
        self.blocks = 0
    def start(self): pass
    def read(self, frames):
        if self.blocks == plan["blocks"]: getattr(self, plan["then"])()
        if plan["noise"]: say(b"x" * 4096)
        time.sleep(plan["pace_s"])
        first = self.blocks * frames
        self.blocks += 1
        mask = (1 << 8 * self.size - 1) - 1
        counted = (frame & mask for frame in range(first, first + frames))
        samples = (one.to_bytes(self.size, "little") * self.channels for one in counted)
        return b"".join(samples), self.blocks == plan["overflow"]
    def fail(self):
        raise PortAudioError("Unanticipated host error", -9999, (0, -19, "No such device"))
    def hang(self): time.sleep(1000)
    def crash(self): os.kill(os.getpid(), signal.SIGSEGV)
"""
PLAN = {
    "name": "card",
    "refuse": None,
    "hang_open": False,
    "blocks": -1,
    "then": "fail",
    "pace_s": 0.005,
    "noise": False,
    "overflow": 0,
}


class Card:
    """The invented card, and all that is heard of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "sounddevice.py").write_text(FAKE)
        self.plan()

    def plan(self, **changes: Any) -> None:
        """What the next process finds."""
        assert changes.keys() <= PLAN.keys()
        new = self._folder / "plan.new"
        new.write_text(json.dumps(PLAN | changes))
        new.replace(self._folder / "plan.json")


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Card(tmp_path)


MakeMicrophone = Callable[..., Microphone]


@pytest.fixture
def listen() -> Iterator[MakeMicrophone]:
    """Makes microphones, and closes them whatever happens."""
    made: list[Microphone] = []

    def make(device_id: str = "name:card", **options: Any) -> Microphone:
        made.append(Microphone(device_id, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def hear(
    microphone: Microphone, seconds: float, *, until: type[Event] | None = None
) -> list[Event]:
    """Everything it says for so long, or up to the first event of a kind."""
    events: list[Event] = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        event = microphone.read(0.1)
        if event is not None:
            events.append(event)
            if until is not None and isinstance(event, until):
                break
    return events


def kinds(events: list[Event]) -> list[str]:
    """Opened, Sound, Lost: a kind once where it repeats."""
    names = [type(event).__name__ for event in events]
    return [name for place, name in enumerate(names) if place == 0 or name != names[place - 1]]


def sounds(events: list[Event]) -> list[Sound]:
    return [event for event in events if isinstance(event, Sound)]


def gone(process: int) -> bool:
    """No such process, or nothing of it but its exit code."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def children() -> list[int]:
    """The capture processes of this one."""
    tasks = Path("/proc/self/task").iterdir()
    found = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    commands = {one: Path(f"/proc/{one}/cmdline").read_bytes() for one in found}
    return [one for one, command in commands.items() if b"sound.live.capture" in command]


# The ring, in memory


@given(
    blocks=st.integers(1, 6),
    steps=st.lists(st.sampled_from(["push", "overflow", "pop"]), max_size=80),
)
def test_a_ring_gives_every_frame_in_order_or_counts_it(blocks: int, steps: list[str]) -> None:
    frames = 3
    ring = Ring(blocks, block_frames=frames, frame_bytes=2)
    expected: deque[tuple[bytes, int, bool, int]] = deque()
    lost, overflowed, pushed, taken = 0, False, 0, 0
    for step in steps:
        if step != "pop":
            samples = pushed.to_bytes(2, "little") * frames
            ring.push(samples, overflowed=step == "overflow", boottime_ns=pushed)
            overflowed |= step == "overflow"
            if len(expected) == blocks:
                lost += frames
            else:
                expected.append((samples, lost, overflowed, pushed))
                lost, overflowed = 0, False
            pushed += 1
            continue
        block = ring.oldest(0.0)
        if not expected:
            assert block is None
            continue
        assert block is not None
        seen = (bytes(block.samples), block.lost_frames, block.overflowed, block.boottime_ns)
        assert seen == expected.popleft()
        taken += block.frames + block.lost_frames
        ring.release()
    left = sum(frames + before for _, before, _, _ in expected)
    assert taken + left + lost == pushed * frames


def test_a_ring_is_over_when_it_has_ended_and_is_empty() -> None:
    ring = Ring(2, block_frames=1, frame_bytes=2)
    ring.push(b"ab", overflowed=False, boottime_ns=1)
    ring.end()
    assert not ring.over
    assert ring.oldest(10.0) is not None
    ring.release()
    assert ring.over
    assert ring.oldest(10.0) is None


# An invented card


@pytest.mark.parametrize(("dtype", "channels"), [("int16", 1), ("int32", 2)])
def test_samples_come_as_the_card_gave_them(
    card: Card, listen: MakeMicrophone, dtype: str, channels: int
) -> None:
    card.plan(blocks=20, overflow=3)
    microphone = listen(channels=channels, dtype=dtype)
    events = hear(microphone, 5.0, until=Lost)
    assert events[0] == Opened("name:card", "card", 48_000, channels)
    assert isinstance(events[-1], Lost)
    assert events[-1].reason == "the device went away (Unanticipated host error: No such device)"
    heard = sounds(events)
    assert [one.overflowed for one in heard] == [place == 2 for place in range(20)]
    assert [one.lost_frames for one in heard] == [0] * 20
    assert np.diff([one.boottime_ns for one in heard]).min() > 0
    samples = np.concatenate([one.frames for one in heard])
    assert samples.dtype == dtype
    counted = np.arange(20 * 2400)
    if dtype == "int16":
        counted &= 0x7FFF
    assert np.array_equal(samples, np.repeat(counted[:, np.newaxis], channels, axis=1))


def test_what_a_late_parent_loses_is_counted_to_the_frame(
    card: Card, listen: MakeMicrophone
) -> None:
    blocks = 600
    card.plan(blocks=blocks, pace_s=0.002)
    microphone = listen(ring_s=1.0)
    assert kinds(hear(microphone, 5.0, until=Opened)) == ["Opened"]
    time.sleep(1.0)
    at = 0
    heard = sounds(hear(microphone, 10.0, until=Lost))
    for one in heard:
        at += one.lost_frames
        assert one.frames[0, 0] == at & 0x7FFF
        at += len(one.frames)
    assert at == blocks * 2400
    assert sum(one.lost_frames for one in heard) > 100 * 2400


def test_a_device_that_is_lost_is_opened_again(card: Card, listen: MakeMicrophone) -> None:
    card.plan(blocks=5)
    microphone = listen(retry_s=0.3)
    assert kinds(hear(microphone, 5.0, until=Lost)) == ["Opened", "Sound", "Lost"]
    card.plan(name="other")
    away = hear(microphone, 1.5)
    # Several attempts have failed by now, in the same way: that is one event.
    assert kinds(away) == ["Lost"]
    assert len(away) == 1
    assert isinstance(away[0], Lost)
    assert "name:card is not there" in away[0].reason
    card.plan()
    assert kinds(hear(microphone, 5.0, until=Sound)) == ["Opened", "Sound"]


def test_a_stream_that_hangs_is_lost_within_its_time(card: Card, listen: MakeMicrophone) -> None:
    card.plan(blocks=5, then="hang")
    microphone = listen(silent_s=0.7)
    hear(microphone, 5.0, until=Sound)
    (child,) = children()
    began_s = time.monotonic()
    events = hear(microphone, 5.0, until=Lost)
    assert events[-1] == Lost("the device gives no sound for 0.7 s")
    assert time.monotonic() - began_s < 1.5
    assert gone(child)


def test_a_pause_of_the_reader_is_no_silence_of_the_device(
    card: Card, listen: MakeMicrophone
) -> None:
    card.plan(pace_s=0.05)
    microphone = listen(silent_s=0.5)
    hear(microphone, 5.0, until=Sound)
    time.sleep(1.5)
    events = hear(microphone, 0.5)
    assert kinds(events) == ["Sound"]
    assert len(events) > 25
    assert sum(one.lost_frames for one in sounds(events)) == 0


def test_a_crash_of_the_child_is_a_loss_with_its_signal(card: Card, listen: MakeMicrophone) -> None:
    card.plan(blocks=3, then="crash")
    microphone = listen()
    lost = hear(microphone, 5.0, until=Lost)[-1]
    assert isinstance(lost, Lost)
    assert "the capture process ended (Segmentation fault" in lost.reason
    assert not lost.final


@pytest.mark.parametrize(
    ("refuse", "reason", "final"),
    [
        (["Busy", -9985], "card is in use by another program", False),
        (["Host", -9999, [0, -5, "I/O"]], r"cannot be opened \(Host: I/O\) \(Slave\)", False),
        (["Bad format", -9994], r"cannot be opened \(Bad format\)", True),
        (["Invalid rate", -9997], "does not take 48000 Hz: use 44100, 48000", True),
    ],
)
def test_a_device_that_cannot_be_opened_says_why(
    card: Card, listen: MakeMicrophone, refuse: list[Any], reason: str, final: bool
) -> None:
    card.plan(refuse=refuse)
    microphone = listen()
    lost = hear(microphone, 5.0, until=Lost)[-1]
    assert isinstance(lost, Lost)
    assert lost.final is final
    assert re.search(reason, lost.reason)


def test_what_has_worked_is_never_given_up(card: Card, listen: MakeMicrophone) -> None:
    card.plan(blocks=3)
    microphone = listen(retry_s=0.2)
    hear(microphone, 5.0, until=Lost)
    card.plan(refuse=["Invalid rate", -9997])
    lost = hear(microphone, 5.0, until=Lost)[-1]
    assert isinstance(lost, Lost)
    assert not lost.final
    card.plan()
    assert kinds(hear(microphone, 5.0, until=Sound)) == ["Opened", "Sound"]


@pytest.mark.parametrize("plan", [{}, {"blocks": 1, "then": "hang"}, {"hang_open": True}])
def test_close_ends_the_child_at_once(
    card: Card, listen: MakeMicrophone, plan: dict[str, Any]
) -> None:
    card.plan(**plan)
    microphone = listen()
    hear(microphone, 1.0)
    (child,) = children()
    began_s = time.monotonic()
    microphone.close()
    assert time.monotonic() - began_s < 1.0
    assert not Path(f"/proc/{child}").exists()
    assert microphone.read(1.0) == Lost("closed", final=True)


@pytest.mark.usefixtures("card")
def test_ctrl_c_and_a_service_managers_sigterm_are_for_the_parent(listen: MakeMicrophone) -> None:
    microphone = listen()
    hear(microphone, 5.0, until=Sound)
    (child,) = children()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(child, number)
    assert kinds(hear(microphone, 0.3)) == ["Sound"]
    assert children() == [child]


def test_libraries_that_print_without_end_hold_up_nothing(
    card: Card, listen: MakeMicrophone, capfd: pytest.CaptureFixture[str]
) -> None:
    card.plan(noise=True, pace_s=0.005)
    microphone = listen()
    hear(microphone, 5.0, until=Opened)
    # Nobody reads the pipe: it is full after 16 blocks.
    time.sleep(0.7)
    heard = sounds(hear(microphone, 0.3))
    assert len(heard) > 80
    assert sum(one.lost_frames for one in heard) == 0
    assert capfd.readouterr() == ("", "")


PARENT = """
import sys
from recorder.sound.live.microphone import Microphone
microphone = Microphone("name:card")
for _ in range(5): microphone.read(0.2)
print(microphone._child._process.pid, flush=True)
while True: microphone.read(1.0)
"""


@pytest.mark.parametrize("plan", [{}, {"blocks": 1, "then": "hang"}, {"hang_open": True}])
def test_a_child_dies_with_its_parent(card: Card, plan: dict[str, Any]) -> None:
    card.plan(**plan)
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.kill()
    deadline_s = time.monotonic() + 2.0
    while not gone(child):
        assert time.monotonic() < deadline_s, "an orphan"
        time.sleep(0.05)


# A real PortAudio, on a virtual microphone


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pulselab.PulseLab]:
    with pulselab.PulseLab(tmp_path / "lab") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def noise_file(path: Path, seconds: float, rate_hz: int, dtype: str) -> NDArray[np.integer[Any]]:
    """White noise of the whole range, in which every stretch is the only one of its kind."""
    limits = np.iinfo(dtype)
    generator = np.random.default_rng(5)
    noise = generator.integers(limits.min, limits.max, round(seconds * rate_hz), dtype=dtype)
    soundfile.write(path, noise, rate_hz, subtype={"int16": "PCM_16", "int32": "PCM_32"}[dtype])
    return noise


def place_of(stretch: NDArray[Any], within: NDArray[Any]) -> int:
    """Where it begins; exact."""
    for place in np.flatnonzero(within == stretch[0]):
        if np.array_equal(within[place : place + len(stretch)], stretch):
            return int(place)
    raise AssertionError("not one stretch of what was played")


@needs_pulse
@pytest.mark.parametrize(("rate_hz", "dtype"), [(32_000, "int32"), (48_000, "int16")])
def test_what_is_played_is_captured_bit_for_bit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listen: MakeMicrophone,
    rate_hz: int,
    dtype: str,
) -> None:
    sample_format = {"int16": "s16le", "int32": "s32le"}[dtype]
    noise = noise_file(tmp_path / "noise.wav", 1.5, rate_hz, dtype)
    folder = tmp_path / "lab"
    with pulselab.PulseLab(folder, rate_hz=rate_hz, sample_format=sample_format) as lab:
        for name, value in lab.environment.items():
            monkeypatch.setenv(name, value)
        microphone = listen(pulselab.ID, sample_rate_hz=rate_hz, dtype=dtype)
        assert kinds(hear(microphone, 5.0, until=Sound)) == ["Opened", "Sound"]
        lab.play(tmp_path / "noise.wav")
        heard = sounds(hear(microphone, 2.2))
    samples = np.concatenate([one.frames[:, 0] for one in heard])
    first, last = np.flatnonzero(samples)[[0, -1]]
    stretch = samples[first : last + 1]
    assert len(stretch) > rate_hz
    place_of(stretch, noise)


STOPPED = """
import sys, time
import numpy as np
from recorder.sound.live.microphone import Microphone
from recorder.sound.live.source import Sound
microphone = Microphone(sys.argv[1], sample_rate_hz=48000)
events = []
while not (events and isinstance(events[-1], Sound)):
    event = microphone.read(0.2)
    if event is not None: events.append(event)
print("sound", flush=True)
end_s = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end_s:
    event = microphone.read(0.2)
    if event is not None: events.append(event)
microphone.close()
assert all(isinstance(event, Sound) and not event.lost_frames for event in events[1:])
np.save(sys.argv[2], np.concatenate([event.frames[:, 0] for event in events[1:]]))
"""


@needs_pulse
def test_a_parent_that_is_stopped_loses_nothing(lab: pulselab.PulseLab, tmp_path: Path) -> None:
    noise = noise_file(tmp_path / "noise.wav", 5.5, 48_000, "int16")
    out = tmp_path / "heard.npy"
    command = [sys.executable, "-c", STOPPED, pulselab.ID, str(out), "6.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"sound\n"
            lab.play(tmp_path / "noise.wav")
            time.sleep(0.7)
            parent.send_signal(signal.SIGSTOP)
            time.sleep(4.0)
            parent.send_signal(signal.SIGCONT)
            assert parent.wait(timeout=15.0) == 0
        finally:
            parent.kill()
    samples = np.load(out)
    first, last = np.flatnonzero(samples)[[0, -1]]
    assert last - first > 5 * 48_000
    place_of(samples[first : last + 1], noise)


@needs_pulse
def test_a_gap_of_a_full_ring_is_as_long_as_it_says(
    lab: pulselab.PulseLab, tmp_path: Path, listen: MakeMicrophone
) -> None:
    noise = noise_file(tmp_path / "noise.wav", 4.0, 48_000, "int16")
    microphone = listen(pulselab.ID, sample_rate_hz=48_000, ring_s=0.5)
    hear(microphone, 5.0, until=Sound)
    lab.play(tmp_path / "noise.wav")
    heard = sounds(hear(microphone, 0.8))
    time.sleep(2.0)
    heard += sounds(hear(microphone, 0.5))
    begin = next(place for place, one in enumerate(heard) if one.frames.all()) + 1
    at = place_of(heard[begin].frames[:, 0], noise)
    for one in heard[begin:]:
        at += one.lost_frames
        assert np.array_equal(one.frames[:, 0], noise[at : at + len(one.frames)])
        at += len(one.frames)
    assert sum(one.lost_frames for one in heard) > 12_000


@needs_pulse
def test_a_server_that_dies_and_a_microphone_that_is_pulled_out_come_back(
    lab: pulselab.PulseLab, listen: MakeMicrophone
) -> None:
    microphone = listen(pulselab.ID, sample_rate_hz=48_000)
    hear(microphone, 5.0, until=Sound)
    for away, back in ((lab.kill, lab.start), (lab.unload_sink, lab.load_sink)):
        away()
        began_s = time.monotonic()
        assert kinds(hear(microphone, 5.0, until=Lost))[-1] == "Lost"
        assert time.monotonic() - began_s < 2.0
        assert "Sound" not in kinds(hear(microphone, 0.8))
        back()
        began_s = time.monotonic()
        assert kinds(hear(microphone, 8.0, until=Sound))[-2:] == ["Opened", "Sound"]
        assert time.monotonic() - began_s < 5.0


@needs_pulse
def test_a_server_that_hangs_is_a_lost_device(
    lab: pulselab.PulseLab, listen: MakeMicrophone
) -> None:
    microphone = listen(pulselab.ID, sample_rate_hz=48_000)
    hear(microphone, 5.0, until=Sound)
    lab.freeze()
    began_s = time.monotonic()
    assert hear(microphone, 5.0, until=Lost)[-1] == Lost("the device gives no sound for 2 s")
    assert time.monotonic() - began_s < 2.5
    lab.thaw()
    assert kinds(hear(microphone, 8.0, until=Sound)) == ["Opened", "Sound"]


@needs_pulse
@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("device_id", "options", "reason", "final"),
    [
        ("usb:0d8c:0014:X", {}, r"usb:0d8c:0014:X is not there.*0 = pulse", False),
        (pulselab.ID, {"sample_rate_hz": 999_999}, "pulse does not take 999999 Hz: use", True),
        (pulselab.ID, {"channels": 99}, "pulse has 32 channels, and 99 were asked for", True),
    ],
)
def test_what_cannot_be_is_said_by_a_real_portaudio(
    listen: MakeMicrophone,
    device_id: str,
    options: dict[str, int],
    reason: str,
    final: bool,
) -> None:
    lost = hear(listen(device_id, **options), 5.0, until=Lost)[-1]
    assert isinstance(lost, Lost)
    assert lost.final is final
    assert re.search(reason, lost.reason)
