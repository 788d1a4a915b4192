"""Every key of `birdrec.toml`: what it says, its default, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from recorder.detect.precision import PRECISIONS
from recorder.errors import ConfigError
from recorder.species.expectation import DEFAULT_WEIGHT, HIGHEST_WEIGHT
from recorder.station.options import KEEP_AUDIO, LONGEST_CONTEXT_S, VOICE, WHEN_LATE
from recorder.station.schedule import parse_location, parse_window
from recorder.time_zone import CLOCK_WORDS, parse_clock

Value = bool | int | float | str | list[str]


@dataclass(frozen=True)
class Key:
    """One setting."""

    table: str
    name: str
    default: Value
    allowed: str
    """In words, for a person who wrote something else."""
    says: str
    """Stands above it in the template."""
    accepts: Callable[[Value], bool]
    """Of a value that has the default's type; it may raise a ConfigError that says more."""

    @property
    def path(self) -> str:
        """As it is named to a person: microphone.device."""
        return f"{self.table}.{self.name}"

    def checked(self, value: object) -> Value:
        """The value as the default's type; ConfigError says what is allowed instead."""
        found = _typed(value, self.default)
        said = f"{self.path} = {shown(value)}: "
        try:
            if found is not None and self.accepts(found):
                return found
        except ConfigError as error:
            raise ConfigError(f"{said}{error}") from error
        quoted = isinstance(value, str) and not isinstance(self.default, (str, list))
        raise ConfigError(f"{said}use {self.allowed}{', without quotes' * quoted}")


def shown(value: object) -> str:
    """As TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(map(_escaped, value)) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return repr(value)


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    return letter if letter.isprintable() else f"\\U{ord(letter):08X}"


def _typed(value: object, default: Value) -> Value | None:
    """The value as the default's type; None when it is of another."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 1 << 53 else None
    if isinstance(value, list) and isinstance(default, list):
        return list(value) if all(isinstance(one, str) for one in value) else None
    if isinstance(value, (bool, int, float, str)) and type(value) is type(default):
        return value
    return None


def _from_to(low: float, high: float) -> Callable[[Value], bool]:
    return lambda value: isinstance(value, (int, float)) and low <= value <= high


def _one_of(*allowed: Value) -> Callable[[Value], bool]:
    return lambda value: value in allowed


def _plain(value: Value) -> bool:
    return isinstance(value, str) and value.isprintable()


def _named(value: Value) -> bool:
    return _plain(value) and bool(value)


def _channel(value: Value) -> bool:
    if value == "mix":
        return True
    text = str(value)
    return text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) >= 1


def _rate(value: Value) -> bool:
    return value == 0 or _from_to(8_000, 384_000)(value)


def _seconds(value: Value) -> bool:
    return isinstance(value, float) and value >= 0.0


def _threshold(value: Value) -> bool:
    return isinstance(value, float) and 0.0 <= value < 1.0


def _limit(value: Value) -> bool:
    return isinstance(value, float) and 0.0 <= value < math.inf


def _parses(parse: Callable[[str], object]) -> Callable[[Value], bool]:
    def accepts(value: Value) -> bool:
        for one in value if isinstance(value, list) else [str(value)]:
            parse(one)
        return True

    return accepts


KEYS = (
    Key(
        "microphone", "device", "", "an index, a name or an id in quotes",
        "Which microphone: its id (see `birdrec devices`), which a reboot does not change, a name\n"
        'or part of one, or an index. "" is the default input.',
        _plain,
    ),
    Key(
        "microphone", "channel", "1", '"1", "2" ... or "mix"',
        'Which channel of it is analysed: "1", "2" ..., or "mix" for the mean of all.',
        _channel,
    ),
    Key(
        "microphone", "rate_hz", 0, "0, or 8000 to 384000",
        "Sample rate in Hz; 0 is the device's own.",
        _rate,
    ),
    Key("microphone", "bits", 16, "16 or 24", "Of a sample: 16 or 24.", _one_of(16, 24)),
    Key(
        "microphone", "wait_s", 5.0, "0 or more seconds, or inf",
        "How many seconds to wait at the start for a microphone that is not there yet; inf waits\n"
        "for ever. A microphone that goes away later is always waited for.",
        _seconds,
    ),
    Key(
        "analysis", "model", "", "the path of a bundle in quotes",
        'The model bundle, a folder; "" is the one that comes with birdrec.',
        _plain,
    ),
    Key(
        "analysis", "precision", "auto", " or ".join(f'"{one}"' for one in PRECISIONS),
        'Of the encoder: "fp32", "int8" (faster on a Raspberry Pi 5, refused where it would be\n'
        'wrong), or "auto": fp32 where the bundle has it.',
        _one_of(*PRECISIONS),
    ),
    Key(
        "analysis", "threshold", 0.0, "0, or a number below 1",
        "From which score on a species is said to be there, 0 to 1, one for all species.\n"
        "0 takes the model's own thresholds.",
        _threshold,
    ),
    Key(
        "analysis", "threads", 1, "1 to 16",
        "Threads of the net. One is enough for a microphone, even on a small board.",
        _from_to(1, 16),
    ),
    Key(
        "analysis", "when_late", "queue", " or ".join(f'"{one}"' for one in WHEN_LATE),
        'When the board is too slow: "queue" (sound waits in the spool), or "thin" (every other\n'
        "ten seconds are left out, and counted).",
        _one_of(*WHEN_LATE),
    ),
    Key(
        "analysis", "record_only", False, "true or false",
        "true keeps all sound and analyses nothing.",
        _one_of(True, False),
    ),
    Key(
        "keep", "out", "birdrec-station", "the path of a folder in quotes",
        "The folder of the results. A relative path starts where birdrec is started.",
        _named,
    ),
    Key(
        "keep", "audio", "none", " or ".join(f'"{one}"' for one in KEEP_AUDIO),
        'Which sound is kept, as FLAC: "none", "clips" (around what was detected), or "all".',
        _one_of(*KEEP_AUDIO),
    ),
    Key(
        "keep", "voice", "auto", " or ".join(f'"{one}"' for one in VOICE),
        'Sound in which a person speaks: "drop" keeps the detections and not the sound, "keep"\n'
        'keeps it too; "auto" drops clips and keeps recordings of all sound as they are.',
        _one_of(*VOICE),
    ),
    Key(
        "keep", "clip_context_s", 3.0, f"0 to {LONGEST_CONTEXT_S:g}",
        "Seconds of a clip before and after the bird's chunks.",
        _from_to(0.0, LONGEST_CONTEXT_S),
    ),
    Key(
        "keep", "clips_per_species", 100, "1 to 1000000",
        "So many clips of each species are kept, the best.",
        _from_to(1, 1_000_000),
    ),
    Key(
        "keep", "days", 0.0, "0 or more",
        "Older sound goes, but for the ten best clips of a species. 0 is no limit.",
        _limit,
    ),
    Key(
        "keep", "gb", 0.0, "0 or more",
        "Of kept sound in all; what is wanted least goes. 0 is no limit.",
        _limit,
    ),
    Key(
        "keep", "min_free_mb", 500.0, "0 or more",
        "Left free on the disk: clips and recordings stop before.",
        _limit,
    ),
    Key(
        "keep", "spool_ram_mb", 0.0, "0 or more",
        "Of the RAM disk, for sound that waits to be analysed; what is more waits in the folder.\n"
        "0 takes a sixth of the memory, 160 at most.",
        _limit,
    ),
    Key(
        "site", "location", "", '"latitude, longitude" in degrees',
        "Where the microphone stands, for sunrise and sunset: latitude and longitude in degrees,\n"
        'north and east positive: "18.34, -65.82".',
        _parses(parse_location),
    ),
    Key(
        "site", "species", "", "the path of a list in quotes",
        "A list of the species that can occur there, a name a line; others are written as\n"
        '"rejected", never as detections. "" lets all that the model knows occur.',
        _plain,
    ),
    Key(
        "site", "prior", "", "the path of a table in quotes",
        "How often each species is met there, by week and hour: eBird's bar chart, or a CSV.\n"
        'Scores are lowered where it is rare; "" lowers none. Hours are those of schedule.clock.',
        _plain,
    ),
    Key(
        "site", "prior_weight", DEFAULT_WEIGHT, f"0 to {HIGHEST_WEIGHT:g}",
        "How much that table counts; 0 is not at all.",
        _from_to(0.0, HIGHEST_WEIGHT),
    ),
    Key(
        "schedule", "windows", [],
        '"06:00 to 09:30", or "sunrise-01:00 to sunrise+03:00", each in quotes, in a list',
        "When to listen; [] is always. Times of day, or before and after sunrise and sunset:\n"
        '["04:30 to 09:00", "22:00 to 02:00"], ["sunrise-01:00 to sunrise+03:00"],\n'
        '["sunset-00:30 to sunrise+00:30"]. Outside of them nothing is recorded.',
        _parses(parse_window),
    ),
    Key(
        "schedule", "clock", "local", CLOCK_WORDS,
        'Whose times of day these are: "local" (the machine\'s time zone), "utc", or the name\n'
        'of a time zone, as "America/Puerto_Rico".',
        _parses(parse_clock),
    ),
    Key(
        "schedule", "duty_on_min", 0.0, "0 to 1440",
        "Within the windows, listen so many minutes of each `duty_every_min`; 0 is all the time.",
        _from_to(0.0, 1440.0),
    ),
    Key(
        "schedule", "duty_every_min", 0.0, "0 to 1440",
        "The length of the cycle in minutes, counted from midnight UTC; it must divide a day.",
        _from_to(0.0, 1440.0),
    ),
)  # fmt: skip

TABLES = {
    "microphone": "The microphone.",
    "analysis": "The model, and what it does.",
    "keep": "Where results and sound are kept, and for how long.",
    "site": "The place.",
    "schedule": "When to listen.",
}
"""In the order of the template."""
