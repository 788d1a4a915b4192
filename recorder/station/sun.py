"""Sunrise and sunset of a day at a place, also where the sun does not rise or set.

A *day* here is that of the sun: from midnight to midnight by the sun's own noon at the place. Where
the sun does not rise, sunrise and sunset are both its noon; where it does not set, they are the
midnights before and after: what they tend to as the polar night or day comes near.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from recorder.errors import ConfigError

_HALF_DAY_S = 43_200.0
_EXACT_S = 0.5
_RISES_DEG = 0.7891
"""The sun's radius and the air's refraction at the horizon, as `astral.sun.sunrise` has them."""


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
    height = _height_above_rising(site)
    noon_s = _noon_s(site, day)
    rise_s = _crossing_s(height, noon_s - _HALF_DAY_S, noon_s)
    set_s = _crossing_s(height, noon_s + _HALF_DAY_S, noon_s)
    polar = {0.0: "night", 2.0 * _HALF_DAY_S: "day"}.get(set_s - rise_s, "")
    return SunDay(rise_s, set_s, polar)


def _height_above_rising(site: Site) -> Callable[[float], float]:
    """Degrees from where the upper edge of the sun is seen to rise to where it is at a moment."""
    try:
        from astral import Observer
        from astral.sun import elevation
    except ImportError as error:
        raise ConfigError(
            "a schedule that follows the sun needs the package astral: pip install astral"
        ) from error
    observer = Observer(site.latitude, site.longitude)

    def height(utc_s: float) -> float:
        moment = datetime.fromtimestamp(utc_s, UTC)
        return elevation(observer, moment, with_refraction=False) + _RISES_DEG

    return height


def _noon_s(site: Site, day: date) -> float:
    """When the sun is highest: a quarter of an hour from the mean sun's noon at most."""
    from astral.julian import julianday, julianday_to_juliancentury
    from astral.sun import eq_of_time

    mean = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    mean -= timedelta(hours=site.longitude / 15.0)
    return mean.timestamp() - 60.0 * eq_of_time(julianday_to_juliancentury(julianday(mean)))


def _crossing_s(height: Callable[[float], float], midnight_s: float, noon_s: float) -> float:
    """Between a midnight and a noon, where the sun rises or sets; else the one that comes near."""
    if height(midnight_s) >= 0.0:
        return midnight_s
    if height(noon_s) <= 0.0:
        return noon_s
    below_s, above_s = midnight_s, noon_s
    while abs(above_s - below_s) > _EXACT_S:
        middle_s = (below_s + above_s) / 2.0
        if height(middle_s) < 0.0:
            below_s = middle_s
        else:
            above_s = middle_s
    return above_s
