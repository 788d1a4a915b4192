"""Ids that stay when indices change, on invented /proc, /sys and PortAudio."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulselab
import pytest

from recorder.errors import AudioDeviceError
from recorder.sound.live import devices as module
from recorder.sound.live.devices import (
    RATES_HZ,
    Device,
    device_of,
    find_device,
    list_devices,
    load_portaudio,
    native_rates,
)


@dataclass
class Machine:
    """Sound cards in a folder, and a PortAudio that lists them."""

    folder: Path
    names: list[str] = field(default_factory=list)
    rates: tuple[int, ...] = (48_000,)
    default: int = 0

    @property
    def trees(self) -> dict[str, Any]:
        proc, sys_ = self.folder / "proc", self.folder / "class"
        return {"proc": proc, "sys": sys_, "portaudio": self.portaudio}

    @property
    def portaudio(self) -> Any:
        class PortAudioError(Exception):
            pass

        def check(*, device: int, channels: int, dtype: str, samplerate: int) -> None:
            assert (channels, dtype) == (1, "int16")
            assert device < len(self.names)
            os.write(2, b"Expression failed\n")
            if samplerate not in self.rates:
                raise PortAudioError("Invalid sample rate", -9997)

        return SimpleNamespace(
            PortAudioError=PortAudioError,
            default=SimpleNamespace(device=[self.default, self.default]),
            query_hostapis=lambda: ({"name": "ALSA"}, {"name": "OSS"}),
            query_devices=lambda: [self._info(name) for name in self.names],
            check_input_settings=check,
        )

    def _info(self, name: str) -> dict[str, Any]:
        return {
            "name": name.removeprefix("out:").removeprefix("oss:"),
            "hostapi": 1 if name.startswith("oss:") else 0,
            "max_input_channels": 0 if name.startswith("out:") else 2,
            "default_samplerate": 44_100.0,
        }

    def usb(self, card: int, port: str, *, serial: str = "", product: str = "4321") -> None:
        usb = self.folder / "devices" / "usb1" / port
        interface = usb / f"{port}:1.0"
        interface.mkdir(parents=True, exist_ok=True)
        (usb / "idVendor").write_text("0d8c\n")
        (usb / "idProduct").write_text(f"{product}\n")
        if serial:
            (usb / "serial").write_text(f"{serial}\n")
        self._card(card, "Device", interface)

    def board(self, card: int, name: str) -> None:
        place = self.folder / "devices" / "platform" / "soc"
        place.mkdir(parents=True, exist_ok=True)
        self._card(card, name, place)

    def _card(self, card: int, name: str, place: Path) -> None:
        known = self.folder / "proc" / f"card{card}"
        known.mkdir(parents=True, exist_ok=True)
        (known / "id").write_text(f"{name}\n")
        link = self.folder / "class" / f"card{card}" / "device"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(place)

    def ids(self) -> list[str]:
        return [one.id for one in list_devices(**self.trees)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def device(index: int, name: str, *, is_default: bool = False, id: str = "") -> Device:
    return Device(index, id or f"name:{name}", name, "ALSA", 1, 48_000, is_default)


def test_each_kind_of_card_has_its_kind_of_id(machine: Machine) -> None:
    machine.usb(1, "1-1.2", serial="AB 12")
    machine.usb(2, "1-1.3")
    machine.board(3, "sndrpihifiberry")
    machine.names = [
        "out:HDMI: 0 (hw:0,0)",
        "AudioMoth: USB Audio (hw:1,0)",
        "AudioMoth: USB Audio #1 (hw:1,1)",
        "Cheap: USB Audio (hw:2,0)",
        "I2S: dai (hw:3,0)",
        "Gone: pcm (hw:7,0)",
        "pulse",
    ]
    assert machine.ids() == [
        "usb:0d8c:4321:AB_12",
        "usb:0d8c:4321:AB_12/1",
        "usb:0d8c:4321@1-1.3",
        "alsa:sndrpihifiberry",
        "name:Gone: pcm (hw:7,0)",
        "name:pulse",
    ]


def test_only_inputs_are_listed_and_keep_portaudios_index(machine: Machine) -> None:
    machine.names = ["out:speaker", "pulse", "default"]
    machine.default = 2
    found = list_devices(**machine.trees)
    assert [(one.index, one.name, one.is_default) for one in found] == [
        (1, "pulse", False),
        (2, "default", True),
    ]
    assert (found[0].host_api, found[0].channels, found[0].default_rate_hz) == ("ALSA", 2, 44_100)


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2))))
def test_an_id_is_the_same_card_whatever_its_number_is(
    machine: Machine, order: Sequence[int]
) -> None:
    for card, which in enumerate(order):
        machine.usb(card, f"1-{which + 1}", serial="" if which else "S", product=f"000{which}")
    machine.names = [f"Mic: USB Audio (hw:{card},0)" for card in range(3)]
    ids = {0: "usb:0d8c:0000:S", 1: "usb:0d8c:0001@1-2", 2: "usb:0d8c:0002@1-3"}
    for which, device_id in ids.items():
        assert device_of(device_id, **machine.trees).index == list(order).index(which)


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
def test_twins_with_one_serial_number_are_told_apart_by_their_sockets(
    machine: Machine, numbers: tuple[int, int]
) -> None:
    machine.usb(numbers[0], "1-1", serial="0001")
    machine.usb(numbers[1], "1-2", serial="0001")
    machine.names = [f"Twin: USB Audio (hw:{number},0)" for number in numbers]
    first, second = machine.ids()
    assert (first, second) == ("usb:0d8c:4321:0001@1-1", "usb:0d8c:4321:0001@1-2")
    # Alone it has the short id, and still answers to the long one: its own, not its twin's.
    machine.names.pop(0)
    assert machine.ids() == ["usb:0d8c:4321:0001"]
    assert device_of(second, **machine.trees).id == "usb:0d8c:4321:0001"
    with pytest.raises(AudioDeviceError, match="is not there"):
        device_of(first, **machine.trees)


def test_no_two_devices_share_an_id(machine: Machine) -> None:
    machine.names = ["pulse", "oss:pulse", "pulse"]
    assert machine.ids() == ["name:pulse (ALSA)", "name:pulse (OSS)", "name:pulse (ALSA)#2"]


def test_a_device_that_is_away_is_not_replaced_by_another(machine: Machine) -> None:
    machine.usb(1, "1-1", serial="A")
    machine.names = ["Mic: USB Audio (hw:1,0)"]
    with pytest.raises(AudioDeviceError, match=r"usb:0d8c:4321:B is not there.*0 = Mic"):
        device_of("usb:0d8c:4321:B", **machine.trees)


def test_native_rates_are_those_that_portaudio_takes_and_it_prints_nothing(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.names, machine.rates = ["pulse"], (250_000, 44_100, 12_345)
    found = list_devices(**machine.trees)
    assert native_rates(found[0], portaudio=machine.portaudio) == [44_100, 250_000]
    assert set(RATES_HZ) > {8_000, 384_000}
    assert capfd.readouterr().err == ""


SHELF = [
    device(0, "USB Mic: Audio (hw:1,0)", id="usb:1:2:3"),
    device(3, "pulse", is_default=True),
    device(4, "pulse monitor"),
]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (None, 3),
        ("3", 3),
        ("usb:1:2:3", 0),
        ("pulse", 3),
        ("MONITOR", 4),
        ("name:pulse monitor", 4),
        ("usb mic", 0),
    ],
)
def test_a_device_is_found_by_what_one_would_say(wanted: str | None, index: int) -> None:
    assert find_device(SHELF, wanted).index == index


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("1", r"there is no microphone '1'; there is 0 = USB Mic.*birdrec devices"),
        ("bat", r"no microphone 'bat'; .*4 = pulse monitor \[name:pulse monitor\]"),
        ("", "no microphone ''"),
        ("ul", r"'ul' can be any of 3 = pulse \[name:pulse\], 4 = pulse monitor"),
    ],
)
def test_what_is_not_there_or_not_clear_is_said(wanted: str, message: str) -> None:
    with pytest.raises(AudioDeviceError, match=message):
        find_device(SHELF, wanted)


def test_without_a_default_the_only_input_is_meant() -> None:
    assert find_device([device(5, "mic")], None).index == 5
    with pytest.raises(AudioDeviceError, match="default microphone can be any of"):
        find_device([device(5, "mic"), device(6, "other")], None)


def test_no_input_at_all_is_one_clear_message() -> None:
    with pytest.raises(AudioDeviceError, match="there is no microphone: plug one in"):
        find_device([], "anything")


BROKEN = "class PortAudioError(Exception): pass\nraise PortAudioError('no', -9999, (0, -2, 'pcm'))"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise OSError('PortAudio library not found')", "apt-get install libportaudio2"),
        (BROKEN, r"no: pcm\): the ALSA configuration may be broken, look into .*\.asoundrc"),
    ],
)
def test_a_portaudio_that_does_not_load_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    (tmp_path / "sounddevice.py").write_text(program)
    (tmp_path / ".asoundrc").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AudioDeviceError, match=message):
        load_portaudio()


def test_this_module_needs_neither_numpy_nor_portaudio() -> None:
    program = f"import sys, {module.__name__}; print({{'numpy', 'sounddevice'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(bool(pulselab.missing()), reason=pulselab.missing())
def test_the_real_portaudio_lists_the_virtual_microphone(tmp_path: Path) -> None:
    program = "from recorder.sound.live.devices import *; print([d.id for d in list_devices()])"
    with pulselab.PulseLab(tmp_path / "lab") as lab:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **lab.environment},
            capture_output=True,
            text=True,
            check=True,
        )
    assert pulselab.ID in done.stdout
    assert done.stderr == ""


@pytest.mark.skipif(bool(pulselab.missing()), reason=pulselab.missing())
def test_a_broken_alsa_configuration_is_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / ".asoundrc").write_text("pcm.x {")
    program = "from recorder.sound.live.devices import *; list_devices()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "AudioDeviceError: PortAudio does not start" in done.stderr
    assert "look into ~/.asoundrc" in done.stderr
