"""Sunrise and sunset of a day at a place, also where the sun does not rise or set.

A *day* here is that of the sun: from midnight to midnight by the sun's own noon at the place. Where
the sun does not rise, sunrise and sunset are both its noon; where it does not set, they are the
midnights before and after: what they tend to as the polar night or day comes near.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from recorder.errors import ConfigError

_HALF_DAY_S = 43_200.0
_HALF_DAY = timedelta(seconds=_HALF_DAY_S)


@dataclass(frozen=True)
class Site:
    """A place in degrees, north and east positive."""

    latitude: float
    longitude: float


@dataclass(frozen=True)
class SunDay:
    """A day's sunrise and sunset, in seconds since 1970."""

    rise_s: float
    set_s: float
    polar: str = ""
    """`day` where the sun does not set, `night` where it does not rise."""


@lru_cache(maxsize=64)
def sun_day(site: Site, day: date) -> SunDay:
    """Of the day whose noon at the place is on this date; ConfigError without `astral`."""
    try:
        from astral import Observer, SunDirection
        from astral.julian import julianday, julianday_to_juliancentury
        from astral.sun import eq_of_time, zenith
    except ImportError as error:
        raise ConfigError(
            "a schedule that follows the sun needs the package astral: pip install astral"
        ) from error
    observer = Observer(site.latitude, site.longitude)
    mean = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    mean -= timedelta(hours=site.longitude / 15.0)
    # Of the mean sun, then of the true one: they differ by a quarter of an hour at most.
    noon = mean - timedelta(minutes=eq_of_time(julianday_to_juliancentury(julianday(mean))))
    noon_s = noon.timestamp()
    rise_s = _transit_s(observer, noon, SunDirection.RISING)
    set_s = _transit_s(observer, noon, SunDirection.SETTING)
    polar = ""
    if rise_s is None and set_s is None:
        polar = "day" if zenith(observer, noon) < 90.0 else "night"
    reach_s = 0.0 if polar == "night" else _HALF_DAY_S
    return SunDay(
        noon_s - reach_s if rise_s is None else rise_s,
        noon_s + reach_s if set_s is None else set_s,
        polar,
    )


def _transit_s(observer: Any, noon: datetime, direction: Any) -> float | None:
    """When the sun crosses the horizon within the half day before or after noon, if it does."""
    from astral.sun import SUN_APPARENT_RADIUS, time_of_transit

    rises = direction.name == "RISING"
    first, last = (noon - _HALF_DAY, noon) if rises else (noon, noon + _HALF_DAY)
    for near in (0, -1, 1):
        # Which date astral means depends on the longitude.
        day = (noon + timedelta(days=near)).date()
        with suppress(ValueError):
            found = time_of_transit(observer, day, 90.0 + SUN_APPARENT_RADIUS, direction)
            if first <= found <= last:
                return found.timestamp()
    return None
