"""Which microphone `--device` means: by its stable id, as it was when the folder was begun.

An index means another card after a reboot. What it meant first in a folder it goes on meaning.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from recorder.errors import AudioDeviceError
from recorder.keep.journal import Record
from recorder.keep.station_log import StationLog
from recorder.sound.live.devices import Device, find_device, list_devices
from recorder.sound.live.microphone import Microphone
from recorder.station.options import ListenOptions

_SETTING = "device"
_ID_BEGINS = ("usb:", "alsa:", "name:")
_SERVER_CHANNELS = 2


@dataclass(frozen=True)
class _Known:
    """What `wanted` meant when the folder was begun."""

    wanted: str
    id: str
    channels: int


def open_microphone(
    options: ListenOptions, log: StationLog, tell: Callable[[str], None]
) -> Microphone:
    """The source for `--device`; AudioDeviceError when nothing like it is there or was known."""
    wanted = options.device or ""
    known = _known(log)
    if known is None or known.wanted != wanted:
        device = _found(options)
        if device is None:
            # Not there yet, and named in a way that cannot mean another: wait for it.
            return _microphone(options, _Known(wanted, wanted, 1))
        known = _Known(wanted, device.id, device.channels)
        value = json.dumps({"wanted": wanted, "id": device.id, "channels": device.channels})
        record: Record = {"kind": "setting", "key": _SETTING, "value": value}
        log.add([record], 0.0)
        tell(f"listening to {device.name} ({device.id})")
    elif (other := _other_card(wanted, known)) is not None:
        tell(
            f"--device {wanted} meant {known.id} when {options.out} was begun, and still does; "
            f"for {other.name} say --device {other.id}"
        )
    return _microphone(options, known)


def _found(options: ListenOptions) -> Device | None:
    """The device that is meant; None where an id may be waited for, AudioDeviceError elsewhere."""
    try:
        return find_device(list_devices(), options.device)
    except AudioDeviceError:
        if options.wait_s > 0.0 and (options.device or "").startswith(_ID_BEGINS):
            return None
        raise


def _microphone(options: ListenOptions, known: _Known) -> Microphone:
    # A sound server promises dozens of channels, none of which is a microphone's own.
    most = _SERVER_CHANNELS if known.id.startswith("name:") else known.channels
    return Microphone(
        known.id,
        sample_rate_hz=options.rate_hz,
        channels=min(most, known.channels) if options.channel == "mix" else int(options.channel),
        dtype="int16" if options.bits == 16 else "int32",
    )


def _known(log: StationLog) -> _Known | None:
    value = log.store.setting(_SETTING)
    return None if value is None else _Known(**json.loads(value))


def _other_card(wanted: str, known: _Known) -> Device | None:
    """Another card that has the index today."""
    return next(
        (one for one in list_devices() if str(one.index) == wanted and one.id != known.id), None
    )
