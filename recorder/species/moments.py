"""From the time of a chunk to the week and the hour that tables of occurrence are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

import numpy as np

from recorder.detect.occurrence import UNKNOWN, Moments

_EARLIEST_UTC_S = 1_704_067_200.0
"""2024: a clock that says less was never set."""
_QUARTER_DAYS = 7

Place = tuple[int, int]
"""(week 0..47, hour 0..23)."""


def of_recording(start: str, after_s: Iterable[float], zone: tzinfo | None) -> Moments:
    """So many seconds after the start of a recording, which is ISO 8601, or empty: not known.

    Without a zone a start is the recorder's own time, and taken for the site's. With one it is
    turned into the `zone` of the site; where that is None, the distance to UTC that it carries is
    the site's, but of UTC itself only the week is taken: many recorders keep it, few live by it.
    """
    first = datetime.fromisoformat(start.replace("Z", "+00:00")) if start else None
    return _gathered(_after(first, seconds, zone) for seconds in after_s)


def of_clock(utc_s: Iterable[float], zone: tzinfo | None) -> Moments:
    """Seconds since 1970 in the `zone` of the site, None = the machine's own.

    A clock that was never set, before 2024, knows nothing.
    """
    return _gathered(
        _of(datetime.fromtimestamp(one, zone)) if one >= _EARLIEST_UTC_S else (UNKNOWN, UNKNOWN)
        for one in utc_s
    )


def has_hour(start: str, zone: tzinfo | None) -> bool:
    """Is the hour of a recording known?"""
    return bool((of_recording(start, [0.0], zone).hours != UNKNOWN).all())


def _after(first: datetime | None, seconds: float, zone: tzinfo | None) -> Place:
    if first is None:
        return UNKNOWN, UNKNOWN
    try:
        when = first + timedelta(seconds=seconds)
        if first.tzinfo is not None and zone is not None:
            when = when.astimezone(zone)
    except OverflowError:
        # A year that no calendar has.
        return UNKNOWN, UNKNOWN
    week, hour = _of(when)
    only_utc = first.tzinfo is not None and zone is None and not first.utcoffset()
    return week, UNKNOWN if only_utc else hour


def _of(when: datetime) -> Place:
    """Weeks as eBird counts them: four a month, the last one longer."""
    return 4 * (when.month - 1) + min((when.day - 1) // _QUARTER_DAYS, 3), when.hour


def _gathered(places: Iterable[Place]) -> Moments:
    pairs = np.array(list(places), np.intp).reshape(-1, 2)
    return Moments(pairs[:, 0], pairs[:, 1])
