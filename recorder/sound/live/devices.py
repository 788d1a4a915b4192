"""The microphones that PortAudio sees, each with an id that a reboot does not change."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder.errors import AudioDeviceError

RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000, 250000, 384000)
"""Asked of a device: what microphones for birds and bats have."""

_PROC = Path("/proc/asound")
_SYS = Path("/sys/class/sound")
_ALSA_NAME = re.compile(r"\((?:plug)?hw:(\d+),(\d+)\)")
"""How PortAudio ends the name of a card: its number, and that of the device on it."""


@dataclass(frozen=True)
class Device:
    """An input as it is now."""

    index: int
    """PortAudio's; another one when cards come and go."""
    id: str
    """Stays: of the USB device, of the socket it sits in, of the card, or the name."""
    name: str
    host_api: str
    channels: int
    default_rate_hz: int
    is_default: bool


@dataclass(frozen=True)
class _Identity:
    """Two ids of one device: the short one is used unless another device has it too."""

    short: str
    long: str


def load_portaudio() -> Any:
    """The sounddevice module; AudioDeviceError that says what to install or to mend."""
    try:
        # Starts PortAudio, which reads the ALSA configuration: not before it is needed.
        import sounddevice  # type: ignore[import-untyped]
    except OSError as error:
        raise AudioDeviceError(
            "microphones need the PortAudio library, which is not installed: "
            "sudo apt-get install libportaudio2"
        ) from error
    except Exception as error:
        # Its class is in the module that could not be imported.
        if type(error).__name__ != "PortAudioError":
            raise
        raise AudioDeviceError(
            f"PortAudio does not start ({portaudio_error_text(error)}): the ALSA configuration "
            f"may be broken, look into {_alsa_files()}"
        ) from error
    return sounddevice


def portaudio_error_text(error: Exception) -> str:
    """What PortAudio said, and what the system said below it, on one line."""
    said = [str(error.args[0])] if error.args else [type(error).__name__]
    if len(error.args) > 2 and error.args[2][2]:
        said.append(str(error.args[2][2]))
    return ": ".join(" ".join(one.split()) for one in said)


def list_devices(*, proc: Path = _PROC, sys: Path = _SYS, portaudio: Any = None) -> list[Device]:
    """The inputs, in PortAudio's order, as they were when this process first asked."""
    return [device for device, _ in _listed(proc, sys, portaudio)]


def device_of(
    device_id: str, *, proc: Path = _PROC, sys: Path = _SYS, portaudio: Any = None
) -> Device:
    """The one device that has this id now; AudioDeviceError when it is not there."""
    listed = _listed(proc, sys, portaudio)
    # One of twins had its long id: it still answers to that when the other is away.
    for names in ([one.id for one, _ in listed], [identity.long for _, identity in listed]):
        if names.count(device_id) == 1:
            return listed[names.index(device_id)][0]
    raise AudioDeviceError(
        f"{device_id} is not there: unplugged, or in use by another program "
        f"({_listing([one for one, _ in listed]) or 'there is no other'})"
    )


def native_rates(device: Device, *, portaudio: Any = None) -> list[int]:
    """Which of RATES_HZ the device takes; none while another program has it."""
    portaudio = portaudio or load_portaudio()
    with _silent_libraries():
        return [rate_hz for rate_hz in RATES_HZ if _takes(portaudio, device, rate_hz)]


def find_device(devices: Sequence[Device], wanted: str | None) -> Device:
    """The device of this index, id, name or part of a name; None asks for the default input.

    AudioDeviceError when there is none, or more than one.
    """
    if not devices:
        raise AudioDeviceError(
            "there is no microphone: plug one in; if `arecord -l` lists it and `birdrec devices` "
            "does not, this user must be in the group audio"
        )
    matches = _matches(devices, wanted)
    if len(matches) == 1:
        return matches[0]
    asked = "default microphone" if wanted is None else f"microphone {wanted!r}"
    if matches:
        raise AudioDeviceError(
            f"{asked} can be any of {_listing(matches)}: say more of the name, or the id; see "
            "`birdrec devices`"
        )
    raise AudioDeviceError(
        f"there is no {asked}; there is {_listing(devices)}: use an index, an id or a part of "
        "the name; see `birdrec devices`"
    )


def _matches(devices: Sequence[Device], wanted: str | None) -> list[Device]:
    """What is meant, by the first way of saying it that fits at all."""
    if wanted is None:
        return [one for one in devices if one.is_default] or list(devices)
    if wanted.isdecimal():
        return [one for one in devices if one.index == int(wanted)]
    part = wanted.casefold()
    ways = (
        [one for one in devices if one.id == wanted],
        [one for one in devices if one.name == wanted],
        [one for one in devices if part and part in one.name.casefold()],
    )
    return next(filter(None, ways), [])


def _listing(devices: Sequence[Device]) -> str:
    return ", ".join(f"{one.index} = {one.name} [{one.id}]" for one in devices)


def _listed(proc: Path, sys: Path, portaudio: Any) -> list[tuple[Device, _Identity]]:
    portaudio = portaudio or load_portaudio()
    hosts = [str(host["name"]) for host in portaudio.query_hostapis()]
    default = portaudio.default.device[0]
    inputs = [
        (index, info)
        for index, info in enumerate(portaudio.query_devices())
        if info["max_input_channels"] > 0
    ]
    identities = [_identity(info["name"], hosts[info["hostapi"]], proc, sys) for _, info in inputs]
    devices = [
        Device(
            index=index,
            id=device_id,
            name=info["name"],
            host_api=hosts[info["hostapi"]],
            channels=info["max_input_channels"],
            default_rate_hz=round(info["default_samplerate"]),
            is_default=index == default,
        )
        for (index, info), device_id in zip(inputs, _distinct(identities), strict=True)
    ]
    return list(zip(devices, identities, strict=True))


def _identity(name: str, host_api: str, proc: Path, sys: Path) -> _Identity:
    found = _ALSA_NAME.search(name)
    card = None if found is None else _usb(found[1], sys) or _card(found[1], proc)
    if found is None or card is None:
        return _Identity(f"name:{name}", f"name:{name} ({host_api})")
    device = "" if int(found[2]) == 0 else f"/{found[2]}"
    return _Identity(card.short + device, card.long + device)


def _usb(card: str, sys: Path) -> _Identity | None:
    """A sound card hangs on an interface; what it belongs to is the USB device above."""
    usb = (sys / f"card{card}" / "device").resolve().parent
    vendor, product = _text(usb / "idVendor"), _text(usb / "idProduct")
    if not vendor or not product:
        return None
    kind, serial = f"usb:{vendor}:{product}", _text(usb / "serial")
    if not serial:
        return _Identity(f"{kind}@{usb.name}", f"{kind}@{usb.name}")
    # Cheap microphones share one serial number: then the socket tells them apart.
    return _Identity(f"{kind}:{serial}", f"{kind}:{serial}@{usb.name}")


def _card(card: str, proc: Path) -> _Identity | None:
    name = _text(proc / f"card{card}" / "id")
    return _Identity(f"alsa:{name}", f"alsa:{name}") if name else None


def _distinct(identities: Sequence[_Identity]) -> list[str]:
    """No id twice: the long form where the short one is shared, and a number where both are."""
    shared = Counter(one.short for one in identities)
    ids: list[str] = []
    seen: Counter[str] = Counter()
    for one in identities:
        chosen = one.short if shared[one.short] == 1 else one.long
        seen[chosen] += 1
        ids.append(chosen if seen[chosen] == 1 else f"{chosen}#{seen[chosen]}")
    return ids


def _text(path: Path) -> str:
    """What a file of the kernel says, without blanks; empty when it is not there."""
    try:
        return "_".join(path.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return ""


def _takes(portaudio: Any, device: Device, rate_hz: int) -> bool:
    try:
        portaudio.check_input_settings(
            device=device.index, channels=1, dtype="int16", samplerate=rate_hz
        )
    except portaudio.PortAudioError:
        return False
    return True


def _alsa_files() -> str:
    settings = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    places = (
        os.environ.get("ALSA_CONFIG_PATH", ""),
        "~/.asoundrc",
        f"{settings}/alsa/asoundrc",
        "/etc/asound.conf",
        "/etc/alsa/conf.d",
    )
    there = [place for place in places if place and Path(os.path.expanduser(place)).exists()]
    return ", ".join(there) or "/usr/share/alsa"


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """ALSA and PortAudio print to the process's stderr what is no news to anybody here."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
