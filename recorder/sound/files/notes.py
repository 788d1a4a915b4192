"""What a recorder wrote down beside the sound: when, with which device, how warm, how much power.

GUANO (guano-md.org; a chunk of a WAV, a comment elsewhere), the sentence that an AudioMoth writes
into its comment, and the time in a file's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from recorder.sound.files.extent import Extent

_LARGEST_CHUNK_BYTES = 1 << 20
_ALL_ONES = 0xFFFFFFFF
"""A length that stands in the chunk `ds64` instead."""
_NAME_TIME = re.compile(
    r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)[T_\- ](\d\d)[:\-]?(\d\d)[:\-]?(\d\d)(?!\d)"
)
_NAME_ZONE = re.compile(r"\A(?:\.\d+)?(?:(Z)|([+-])(\d\d):?(\d\d))(?![0-9A-Za-z])")
_YEARS = range(1970, 2100)
"""That recorders can have."""
_EAST_H, _WEST_H = 14, 11
"""No farther from UTC does anybody live."""
_ZONE_MINUTES = (0, 15, 30, 45)
_MOTH_TIME = re.compile(
    r"Recorded at (\d\d):(\d\d):(\d\d)(?:\.\d+)? (\d\d)/(\d\d)/(\d{4}) "
    r"\(UTC(?:([+-])(\d{1,2})(?::(\d\d))?)?\)"
)
_MOTH_DEVICE = re.compile(r"by (AudioMoth [0-9A-F]{16}|AudioMoth)")
_MOTH_GAIN = re.compile(r"at (?:gain setting (\d)|(\w+(?:-\w+)?) gain)")
_MOTH_BATTERY = re.compile(r"battery (?:state )?was (?:(less|greater) than )?(\d+\.\d+)V")
_MOTH_WARMTH = re.compile(r"temperature was (-?\d+\.\d+)C")


@dataclass(frozen=True)
class Notes:
    """Empty where nothing is said."""

    start: str = ""
    """Of the first sample, ISO 8601; with its distance to UTC where that is known."""
    start_from: str = ""
    """guano, comment, name or option."""
    recorder: str = ""
    gain: str = ""
    temperature_c: float | None = None
    battery_v: float | None = None


def read_notes(extent: Extent, name: str, comment: str) -> Notes:
    """What is known of a recording; `comment` is that of formats other than WAV."""
    texts = {"comment": comment, **dict(_wav_texts(extent))}
    if texts["comment"].startswith("GUANO|"):
        texts["guano"] = texts["comment"]
    notes = _of_guano(texts.get("guano", ""))
    moth = _of_audiomoth(texts["comment"])
    notes = _filled(notes, moth)
    return _filled(notes, _of_name(name))


def with_start(notes: Notes, start: str) -> Notes:
    """The user knows better; ValueError unless it is a time in ISO 8601, from 1970 to 2099."""
    if not start:
        return notes
    stamp = _parsed(start)
    if stamp is None:
        raise ValueError(f"{start!r} is no time")
    return replace(notes, start=_iso(stamp), start_from="option")


def _filled(notes: Notes, others: Notes) -> Notes:
    """What the first does not know, the second may."""
    missing = {
        field: getattr(others, field)
        for field in ("recorder", "gain", "temperature_c", "battery_v")
        if getattr(notes, field) in ("", None)
    }
    if not notes.start:
        missing |= {"start": others.start, "start_from": others.start_from}
    return replace(notes, **missing)


def _wav_texts(extent: Extent) -> Iterator[tuple[str, str]]:
    """The GUANO chunk and the comment of a RIFF file."""
    place, sound_bytes = 12, 0
    head = extent.at(0, 12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return
    while place + 8 <= extent.size:
        chunk = extent.at(place, 8)
        kind, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        if kind == b"ds64":
            sound_bytes = int.from_bytes(extent.at(place + 16, 8), "little")
        if kind == b"data" and length == _ALL_ONES:
            length = sound_bytes
        if not all(32 <= one < 127 for one in kind) or (kind == b"data" and not length):
            # What follows is sound: its header was never closed, or lies.
            return
        if kind in (b"guan", b"LIST") and length <= _LARGEST_CHUNK_BYTES:
            data = extent.at(place + 8, length)
            if kind == b"guan":
                yield "guano", _text(data)
            elif data[:4] == b"INFO" and (at := data.find(b"ICMT")) >= 0:
                count = int.from_bytes(data[at + 4 : at + 8], "little")
                yield "comment", _text(data[at + 8 : at + 8 + count])
        place += 8 + length + length % 2


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\0", "").strip()


def _of_guano(text: str) -> Notes:
    fields = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip()] = value.strip()
    stamp = _parsed(fields.get("Timestamp", ""))
    device = " ".join(fields.get(name, "") for name in ("Make", "Model", "Serial")).split()
    return Notes(
        start="" if stamp is None else _iso(stamp),
        start_from="" if stamp is None else "guano",
        recorder=" ".join(device) or fields.get("birdrec|Device", ""),
        gain=fields.get("Gain", "") or fields.get("OAD|Recording Settings", ""),
        temperature_c=_number(fields.get("Temperature Int") or fields.get("Temperature Ext")),
        battery_v=_number(fields.get("OAD|Battery Voltage") or fields.get("Battery Voltage")),
    )


def _of_audiomoth(comment: str) -> Notes:
    notes = Notes()
    if found := _MOTH_TIME.search(comment):
        hour, minute, second, day, month, year = map(int, found.groups()[:6])
        zone = _zone(found[7] or "+", int(found[8] or 0), int(found[9] or 0))
        start = _valid(year, month, day, hour, minute, second)
        if start is not None:
            notes = replace(notes, start=_iso(start.replace(tzinfo=zone)), start_from="comment")
    if found := _MOTH_DEVICE.search(comment):
        notes = replace(notes, recorder=found[1])
    if found := _MOTH_GAIN.search(comment):
        notes = replace(notes, gain=found[1] or found[2])
    if found := _MOTH_BATTERY.search(comment):
        notes = replace(notes, battery_v=float(found[2]))
    if found := _MOTH_WARMTH.search(comment):
        notes = replace(notes, temperature_c=float(found[1]))
    return notes


def _of_name(name: str) -> Notes:
    """`20190919_191730.WAV`, `S4A03895_20190522_000000.wav`: the recorder's own time. Of several
    the first: some names end with the time of the last sample."""
    stem = os.path.splitext(os.path.basename(name))[0]
    for found in _NAME_TIME.finditer(stem):
        start = _valid(*map(int, found.groups()))
        if start is None:
            continue
        if zone := _NAME_ZONE.match(stem[found.end() :]):
            sign, hours, minutes = zone[2] or "+", int(zone[3] or 0), int(zone[4] or 0)
            start = start.replace(tzinfo=_zone(sign, hours, minutes))
        return Notes(start=_iso(start), start_from="name")
    return Notes()


def _zone(sign: str, hours: int, minutes: int) -> timezone | None:
    """None where nobody lives so far from UTC: then it is no zone."""
    farthest_h = _WEST_H if sign == "-" else _EAST_H
    if minutes not in _ZONE_MINUTES or hours + minutes / 60 > farthest_h:
        return None
    return timezone(timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1))


def _valid(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime | None:
    """A time that recorders can have; without a zone."""
    try:
        time = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    return time if year in _YEARS else None


def _parsed(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.year in _YEARS else None


def _number(text: str | None) -> float | None:
    found = re.match(r"-?\d+(?:\.\d+)?", text or "")
    return float(found[0]) if found else None


def _iso(time: datetime) -> str:
    """To the millisecond where it has any; UTC as Z."""
    text = time.isoformat(timespec="milliseconds" if time.microsecond else "seconds")
    return text.replace("+00:00", "Z")
