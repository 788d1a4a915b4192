"""A second of the microphone, and the model that hears it. Nothing here may hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import DEFAULT_BUNDLE
from recorder.detect.models import load_model, precision_of, read_model
from recorder.doctor.check import Check, fault, ok, unknown
from recorder.errors import AudioDeviceError, ModelError
from recorder.sound.live.devices import Device, find_device
from recorder.sound.live.health import MicrophoneHealth
from recorder.sound.live.microphone import Microphone
from recorder.sound.live.source import Lost, Opened, Sound
from recorder.station.intake import as_floats
from recorder.station.options import ListenOptions

Floats = NDArray[np.float32]

_ROOT = Path(__file__).parents[2]
_ASK_S = 30.0
_SOUND_S = 45.0
"""For a second of sound, on a small board that starts Python and PortAudio first."""
_POP_S = 0.5
"""Microphones click when they are opened."""
_TRIAL_S = 20
_SLOWEST = 2.0


def check_device(options: ListenOptions) -> tuple[Check, Device | None]:
    """The microphone that is meant; PortAudio is asked in a process that can be ended."""
    command = [sys.executable, "-P", "-m", "recorder.cli", "devices", "--json"]
    paths = [os.environ.get("PYTHONPATH", ""), str(_ROOT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_ASK_S, check=False
        )
    except subprocess.TimeoutExpired:
        found = f"PortAudio does not answer within {_ASK_S:.0f} s"
        return fault("device", found, "pull the microphone out and in; arecord -l"), None
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["no word"])[-1].removeprefix("birdrec: ")
        return fault("device", words, "see the line above, then ask again"), None
    try:
        device = find_device(_listed(done.stdout), options.device)
    except AudioDeviceError as error:
        return fault("device", str(error), "plug it in, or set microphone.device"), None
    rate_hz = options.rate_hz or device.default_rate_hz
    return ok("device", f"{device.name} [{device.id}], {rate_hz} Hz"), device


def _listed(text: str) -> list[Device]:
    """From `birdrec devices --json`."""
    names = Device.__dataclass_fields__
    return [Device(**{name: one[name] for name in names}) for one in json.loads(text)["devices"]]


def check_levels(options: ListenOptions, device: Device | None) -> Check:
    """A second of sound, judged as `listen` judges it."""
    if device is None:
        return unknown("levels", "there is no microphone to hear", "see the device above")
    try:
        second, rate_hz = _second(options, device)
    except AudioDeviceError as error:
        return fault("levels", str(error), "see docs/listening.md; is another program using it?")
    health = MicrophoneHealth(rate_hz, second.shape[1])
    ills = health.look(second)
    said = f"{health.level_dbfs:.1f} dBFS, peak {health.peak_dbfs:.1f}"
    if ills:
        return fault("levels", f"{said}: {', '.join(ills)}", "; ".join(ills.values()))
    return ok("levels", f"{said} over a second")


def _second(options: ListenOptions, device: Device) -> tuple[Floats, int]:
    """(a second [frames, channels] after the click of opening, its rate); AudioDeviceError."""
    mixed = options.channel == "mix"
    channels = min(device.channels, 2) if mixed else int(options.channel)
    dtype = "int16" if options.bits == 16 else "int32"
    source = Microphone(device.id, sample_rate_hz=options.rate_hz, channels=channels, dtype=dtype)
    parts: list[Floats] = []
    rate_hz, deadline_s, reason = 0, time.monotonic() + _SOUND_S, "it gives none"
    try:
        while time.monotonic() < deadline_s:
            event = source.read(0.5)
            if isinstance(event, Opened):
                rate_hz, parts = event.sample_rate_hz, []
            elif isinstance(event, Sound):
                parts.append(as_floats(event.frames)[0])
            elif isinstance(event, Lost):
                reason = event.reason
                break
            if rate_hz and sum(map(len, parts)) >= round((1.0 + _POP_S) * rate_hz):
                sound = np.concatenate(parts)[round(_POP_S * rate_hz) :][:rate_hz]
                return (sound if mixed else sound[:, channels - 1 : channels]), rate_hz
    finally:
        source.close()
    raise AudioDeviceError(f"no second of sound: {reason}")


def check_model(options: ListenOptions) -> Check:
    """Hashes, graphs, and how fast it is here."""
    try:
        bundle = read_model(options.model or DEFAULT_BUNDLE)
        precision = precision_of(bundle, options.precision)
        rolling = load_model(bundle, precision, threads=options.threads).rolling()
        noise = np.random.default_rng(0).standard_normal(_TRIAL_S * bundle.sample_rate_hz)
        began_s = time.monotonic()
        rolling.push((0.01 * noise).astype(np.float32))
        speed = _TRIAL_S / (time.monotonic() - began_s)
    except ModelError as error:
        return fault("model", str(error), "birdrec model verify FOLDER; copy it again")
    said = f"{bundle.name} ({precision}) is whole, and {speed:.0f} x real time here"
    if speed < _SLOWEST:
        return fault(
            "model", said, "too slow for a live microphone: analysis.precision, a better board"
        )
    return ok("model", said)
