"""When a station listens: always, in windows of the day or around the sun, in a duty cycle.

Pure: a moment goes in, and whether it is one to listen comes out. Windows are turned into stretches
of seconds since 1970, a day of the calendar at a time; only the sun's need `astral`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import chain

from recorder.errors import ConfigError
from recorder.station.sun import Site, sun_day
from recorder.time_zone import parse_clock

DAY_S = 86_400.0
EARLIEST_UTC_S = 1_704_067_200.0
"""2024: a clock that says less was never set, and nothing is missed because of it."""

_CLOCK_TIME = re.compile(r"(\d\d):(\d\d)", re.ASCII)
_SUN_TIME = re.compile(r"(sunrise|sunset)(?:([+-])(\d\d):(\d\d))?", re.ASCII)
_MOST_OFFSET_S = 12 * 3600
_DAYS_AHEAD = 400
"""A change that does not come within a year and a month does not come."""

Stretch = tuple[float, float]
"""[from, to) in seconds since 1970."""


@dataclass(frozen=True)
class Edge:
    """Where a window begins or ends."""

    base: str
    """clock, sunrise or sunset."""
    offset_s: int
    """From midnight, or from the sun's event."""


@dataclass(frozen=True)
class Window:
    """A part of each day."""

    begin: Edge
    end: Edge

    @property
    def of_the_sun(self) -> bool:
        return self.begin.base != "clock"


def parse_window(text: str) -> Window:
    """`06:00 to 09:30` or `sunrise-01:00 to sunrise+03:00`; ConfigError for anything else."""
    parts = text.split(" to ")
    if len(parts) != 2:
        raise ConfigError(f"the window {text!r} is not of the form FROM to TO")
    begin, end = (_edge(part.strip()) for part in parts)
    if (begin.base == "clock") != (end.base == "clock"):
        raise ConfigError(f"the window {text!r} mixes a time of day with one of the sun")
    if begin.base == end.base != "clock" and begin.offset_s >= end.offset_s:
        raise ConfigError(f"the window {text!r} ends before it begins")
    if begin == end:
        raise ConfigError(f"the window {text!r} has no length: for all day say 00:00 to 24:00")
    return Window(begin, end)


def _edge(text: str) -> Edge:
    clock, sun = _CLOCK_TIME.fullmatch(text), _SUN_TIME.fullmatch(text)
    if clock is not None:
        offset_s = 3600 * int(clock[1]) + 60 * int(clock[2])
        if int(clock[2]) < 60 and offset_s <= DAY_S:
            return Edge("clock", offset_s)
    if sun is not None:
        hours, minutes = int(sun[3] or 0), int(sun[4] or 0)
        offset_s = 3600 * hours + 60 * minutes
        if minutes < 60 and offset_s <= _MOST_OFFSET_S:
            return Edge(sun[1], -offset_s if sun[2] == "-" else offset_s)
    raise ConfigError(
        f"{text!r} is no time: use 00:00 to 24:00, or sunrise or sunset with up to -12:00 or +12:00"
    )


def parse_location(text: str) -> Site | None:
    """`18.34, -65.82` as latitude and longitude; None of an empty text, ConfigError otherwise."""
    if not text:
        return None
    number = r"([+-]?\d{1,3}(?:\.\d+)?)"
    found = re.fullmatch(rf"{number}\s*,\s*{number}", text, re.ASCII)
    if found is None or abs(float(found[1])) > 90.0 or abs(float(found[2])) > 180.0:
        raise ConfigError(
            f"the location {text!r} is no place: use latitude -90 to 90 and longitude -180 to 180"
        )
    return Site(float(found[1]), float(found[2]))


@dataclass(frozen=True)
class Schedule:
    """The union of its windows, and the duty cycle within them."""

    windows: tuple[Window, ...] = ()
    """None = always."""
    site: Site | None = None
    clock: tzinfo | None = None
    """Of the times of day; None = the machine's own."""
    duty_on_s: float = 0.0
    duty_every_s: float = 0.0
    """0 = no cycle."""

    @property
    def is_always(self) -> bool:
        return not self.windows and not self.duty_every_s

    def is_on(self, utc_s: float) -> bool:
        """Is this a moment to listen? So it is while the clock was never set."""
        if self.is_always or utc_s < EARLIEST_UTC_S:
            return True
        if self.duty_every_s and utc_s % self.duty_every_s >= self.duty_on_s:
            return False
        if not self.windows:
            return True
        day = self._date(utc_s)
        # A window may begin the evening before, and one of the sun lies by its own noon.
        return any(
            begin <= utc_s < end
            for near in range(-2, 3)
            for begin, end in self._stretches(day + timedelta(days=near))
        )

    def next_change(self, utc_s: float) -> float | None:
        """When listening begins or ends next; None where it never does."""
        if self.is_always:
            return None
        before = self.is_on(utc_s)
        # A whole year of them is looked at only where nothing changes before.
        for candidate_s in chain((EARLIEST_UTC_S,), self._edges(max(utc_s, EARLIEST_UTC_S))):
            if candidate_s > utc_s and self.is_on(candidate_s) != before:
                return candidate_s
        return None

    def _edges(self, utc_s: float) -> Iterator[float]:
        """Every moment from this one on at which something may change, in order."""
        for ahead in range(_DAYS_AHEAD if self.windows else 2):
            yield from self._edges_of(utc_s + ahead * DAY_S)

    def _edges_of(self, from_s: float) -> list[float]:
        """Those of the 24 hours that begin with a moment."""
        day = self._date(from_s)
        edges = {
            edge
            for near in range(-2, 4)
            for stretch in self._stretches(day + timedelta(days=near))
            for edge in stretch
        }
        if self.duty_every_s:
            first = from_s // self.duty_every_s
            for cycle in range(round(DAY_S / self.duty_every_s) + 1):
                begin_s = (first + cycle) * self.duty_every_s
                edges |= {begin_s, begin_s + self.duty_on_s}
        return sorted(edge for edge in edges if from_s <= edge < from_s + DAY_S)

    def _date(self, utc_s: float) -> date:
        return datetime.fromtimestamp(utc_s, self.clock).date()

    def _stretches(self, day: date) -> list[Stretch]:
        """When the windows of a day are, those that have no length left out."""
        found = [
            self._of_the_sun(window, day) if window.of_the_sun else self._of_the_clock(window, day)
            for window in self.windows
        ]
        return [(begin, end) for begin, end in found if begin < end]

    def _of_the_sun(self, window: Window, day: date) -> Stretch:
        assert self.site is not None
        sun = sun_day(self.site, day)
        begin_s = sun.rise_s if window.begin.base == "sunrise" else sun.set_s
        end_s = sun.rise_s if window.end.base == "sunrise" else sun.set_s
        if (window.begin.base, window.end.base) == ("sunset", "sunrise"):
            end_s = sun_day(self.site, day + timedelta(days=1)).rise_s
        return begin_s + window.begin.offset_s, end_s + window.end.offset_s

    def _of_the_clock(self, window: Window, day: date) -> Stretch:
        """Where the clock is changed, the earlier instant begins and the later one ends."""
        begin, end = window.begin.offset_s, window.end.offset_s
        last_day = day if end > begin else day + timedelta(days=1)
        return min(self._instants(day, begin)), max(self._instants(last_day, end))

    def _instants(self, day: date, offset_s: int) -> list[float]:
        """What a time on the clock's face can mean: two where the clock is changed, else one."""
        day += timedelta(days=offset_s // int(DAY_S))
        seconds = offset_s % int(DAY_S)
        face = datetime.combine(day, time(seconds // 3600, seconds // 60 % 60), self.clock)
        return [face.replace(fold=fold).timestamp() for fold in (0, 1)]


ALWAYS = Schedule()


def make_schedule(
    windows: Sequence[str], *, location: str, clock: str, duty_on_min: float, duty_every_min: float
) -> Schedule:
    """What a configuration says, checked as a whole; ConfigError."""
    site = parse_location(location)
    parsed = tuple(parse_window(one) for one in windows)
    if site is None and any(one.of_the_sun for one in parsed):
        raise ConfigError(
            "schedule.windows follow the sun, and site.location is empty: say where, as "
            'location = "18.34, -65.82"'
        )
    if (duty_on_min > 0.0) != (duty_every_min > 0.0) or duty_on_min > duty_every_min:
        raise ConfigError(
            f"schedule.duty_on_min = {duty_on_min:g} of duty_every_min = {duty_every_min:g}: use "
            "0 and 0, or a part and a longer whole, as 10 and 30"
        )
    every_s = round(duty_every_min * 60.0)
    if every_s and (every_s < 60 or DAY_S % every_s):
        raise ConfigError(
            f"schedule.duty_every_min = {duty_every_min:g} does not divide a day: use minutes of "
            "which a whole number makes 1440, as 30"
        )
    zone = parse_clock(clock)
    return Schedule(parsed, site, zone, duty_on_min * 60.0, float(every_s))
