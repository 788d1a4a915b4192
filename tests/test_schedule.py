"""When a station listens: held against astral over a year, clocks that are changed, polar days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from astral import Observer
from astral.sun import elevation, noon, sunrise, sunset
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import ConfigError
from recorder.station.schedule import (
    ALWAYS,
    DAY_S,
    EARLIEST_UTC_S,
    Schedule,
    make_schedule,
    parse_window,
)
from recorder.station.sun import Site, sun_day

PLACES = {
    "Puerto Rico": (18.34, -65.82, "America/Puerto_Rico"),
    "Quito": (-0.18, -78.47, "America/Guayaquil"),
    "Hobart": (-42.88, 147.33, "Australia/Hobart"),
    "Vienna": (48.21, 16.37, "Europe/Vienna"),
    "Utqiagvik": (70.9, -156.8, "America/Anchorage"),
    "Nordkapp": (70.0, 25.0, "Europe/Oslo"),
    "Fiji": (-18.1, 178.4, "Pacific/Fiji"),
}
YEAR = [date(2026, 1, 1) + timedelta(days=one) for one in range(365)]


def schedule(
    *windows: str, location: str = "", clock: str = "utc", on: float = 0.0, every: float = 0.0
) -> Schedule:
    return make_schedule(
        windows, location=location, clock=clock, duty_on_min=on, duty_every_min=every
    )


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def stretches(one: Schedule, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """When it is on between two moments, by its own changes."""
    found, moment_s = [], begin_s
    while moment_s < end_s:
        change_s = one.next_change(moment_s)
        stop_s = end_s if change_s is None else min(change_s, end_s)
        if one.is_on(moment_s):
            found.append((moment_s, stop_s))
        moment_s = stop_s
    return found


@pytest.mark.parametrize("place", PLACES)
def test_sunrise_and_sunset_are_those_of_astral_all_year(place: str) -> None:
    latitude, longitude, zone = PLACES[place]
    observer, tz = Observer(latitude, longitude), ZoneInfo(zone)
    compared = agreed = 0
    for day in YEAR:
        sun = sun_day(Site(latitude, longitude), day)
        assert sun.rise_s <= sun.set_s <= sun.rise_s + DAY_S
        for mine_s, theirs in ((sun.rise_s, sunrise), (sun.set_s, sunset)):
            try:
                found = theirs(observer, datetime.fromtimestamp(mine_s, tz).date(), tzinfo=tz)
            except ValueError:
                continue
            compared += not sun.polar
            agreed += not sun.polar and abs(found.timestamp() - mine_s) < 60.0
    # Where sunrise moves by half an hour a day, astral's two steps are minutes off, or skip a day:
    # there the sun's height decides, below.
    polar = abs(latitude) > 66
    assert compared > (350 if polar else 725)
    assert agreed >= (0.96 if polar else 1.0) * compared


@pytest.mark.parametrize("place", PLACES)
def test_from_sunrise_to_sunset_is_when_the_sun_is_up(place: str) -> None:
    """Asked of the sun's height, which knows nothing of sunrise: right in polar day and night."""
    latitude, longitude, zone = PLACES[place]
    observer = Observer(latitude, longitude)
    where = f"{latitude}, {longitude}"
    day_long = schedule("sunrise to sunset", location=where, clock=zone)
    night_long = schedule("sunset to sunrise", location=where, clock=zone)
    wrong = asked = 0
    for at, day in enumerate(YEAR):
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=37 * at)
        for hour in range(0, 24, 3):
            when = moment + timedelta(hours=hour)
            height = elevation(observer, when, with_refraction=False)
            if abs(height + 0.833) < 0.5:
                continue
            asked += 1
            is_up = height > -0.833
            wrong += day_long.is_on(when.timestamp()) != is_up
            wrong += night_long.is_on(when.timestamp()) == is_up
    assert asked > 2_500
    assert wrong == 0


def test_where_the_sun_does_not_rise_or_set() -> None:
    site = Site(70.0, 25.0)
    observer = Observer(site.latitude, site.longitude)
    kinds = [sun_day(site, day).polar for day in YEAR]
    assert 50 < kinds.count("night") < 62
    assert 68 < kinds.count("day") < 80
    winter, summer = sun_day(site, date(2026, 12, 21)), sun_day(site, date(2026, 6, 21))
    noon_s = noon(observer, date(2026, 12, 21)).timestamp()
    assert winter.rise_s == winter.set_s == pytest.approx(noon_s, abs=60)
    assert summer.set_s - summer.rise_s == DAY_S
    noon_s = noon(observer, date(2026, 6, 21)).timestamp()
    assert summer.rise_s == pytest.approx(noon_s - DAY_S / 2, abs=60)
    # They tend to it: from day to day the edges of a window move by an hour and a half at most.
    suns = [sun_day(site, day) for day in YEAR]
    for edge in ("rise_s", "set_s"):
        moves = [getattr(b, edge) - getattr(a, edge) - DAY_S for a, b in pairwise(suns)]
        assert max(map(abs, moves)) < 5_400


@pytest.mark.parametrize("place", PLACES)
def test_dawn_is_as_long_as_it_was_asked_for_on_every_day(place: str) -> None:
    latitude, longitude, zone = PLACES[place]
    dawn = schedule(
        "sunrise-01:00 to sunrise+03:00", location=f"{latitude}, {longitude}", clock=zone
    )
    begin_s = utc("2026-01-01") + 43_200 - longitude / 15 * 3600 - 43_200
    found = stretches(dawn, begin_s, begin_s + 365 * DAY_S)
    whole = [end - begin for begin, end in found if begin > begin_s and end < begin_s + 365 * DAY_S]
    assert 363 <= len(whole) <= 366
    # Near a polar day two dawns may overlap or be far apart, but each is four hours long.
    assert all(length == pytest.approx(4 * 3600, abs=1) for length in whole)


def test_a_night_at_the_edge_of_the_polar_day_is_the_sum_of_its_offsets() -> None:
    around = schedule("sunset-01:00 to sunrise+01:00", location="70.0, 25.0")
    assert not schedule("sunset to sunrise", location="70.0, 25.0").is_on(utc("2026-06-21T22:20"))
    found = stretches(around, utc("2026-06-20T10:00"), utc("2026-06-23T10:00"))
    assert [round((end - begin) / 60) for begin, end in found] == [120, 120, 120]
    short_day = schedule("sunrise+01:00 to sunset-01:00", location="70.0, 25.0")
    assert stretches(short_day, utc("2026-12-10"), utc("2027-01-05")) == []


def test_daily_windows_in_utc_and_over_midnight() -> None:
    one = schedule("04:30 to 09:00", "22:00 to 02:00")
    assert stretches(one, utc("2026-05-01"), utc("2026-05-02")) == [
        (utc("2026-05-01"), utc("2026-05-01T02:00")),
        (utc("2026-05-01T04:30"), utc("2026-05-01T09:00")),
        (utc("2026-05-01T22:00"), utc("2026-05-02")),
    ]
    touching = schedule("04:00 to 06:00", "05:00 to 08:00", "08:00 to 09:00")
    assert stretches(touching, utc("2026-05-01"), utc("2026-05-02")) == [
        (utc("2026-05-01T04:00"), utc("2026-05-01T09:00"))
    ]
    whole = schedule("00:00 to 24:00")
    assert whole.next_change(utc("2026-05-01T12:00")) is None
    assert whole.is_on(utc("2026-05-01T00:00"))


@pytest.mark.parametrize(
    ("window", "day", "begin", "end"),
    [
        # Vienna, the night in which 02:00 to 03:00 is left out.
        ("01:00 to 04:00", "2026-03-29", "2026-03-29T00:00", "2026-03-29T02:00"),
        ("02:30 to 04:00", "2026-03-29", "2026-03-29T00:30", "2026-03-29T02:00"),
        ("01:00 to 02:30", "2026-03-29", "2026-03-29T00:00", "2026-03-29T01:30"),
        ("02:10 to 02:40", "2026-03-29", "2026-03-29T00:10", "2026-03-29T01:40"),
        # The night in which 02:00 to 03:00 comes twice.
        ("01:00 to 04:00", "2026-10-25", "2026-10-24T23:00", "2026-10-25T03:00"),
        ("02:30 to 04:00", "2026-10-25", "2026-10-25T00:30", "2026-10-25T03:00"),
        ("01:00 to 02:30", "2026-10-25", "2026-10-24T23:00", "2026-10-25T01:30"),
        ("02:10 to 02:40", "2026-10-25", "2026-10-25T00:10", "2026-10-25T01:40"),
        # And one like all others.
        ("01:00 to 04:00", "2026-07-01", "2026-06-30T23:00", "2026-07-01T02:00"),
    ],
)
def test_when_the_clock_is_changed_never_less_than_what_was_asked(
    window: str, day: str, begin: str, end: str
) -> None:
    one = schedule(window, clock="Europe/Vienna")
    start_s = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Vienna")).timestamp()
    assert stretches(one, start_s, start_s + 12 * 3600) == [(utc(begin), utc(end))]


def test_local_is_the_time_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/Puerto_Rico")
    time.tzset()
    try:
        one = schedule("06:00 to 07:00", clock="local")
        assert stretches(one, utc("2026-05-01"), utc("2026-05-02")) == [
            (utc("2026-05-01T10:00"), utc("2026-05-01T11:00"))
        ]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_duty_cycle_counts_from_midnight_utc_within_the_windows() -> None:
    one = schedule(on=10, every=30)
    assert stretches(one, utc("2026-05-01T00:05"), utc("2026-05-01T01:00")) == [
        (utc("2026-05-01T00:05"), utc("2026-05-01T00:10")),
        (utc("2026-05-01T00:30"), utc("2026-05-01T00:40")),
    ]
    both = schedule("05:35 to 06:45", on=10, every=30)
    assert stretches(both, utc("2026-05-01"), utc("2026-05-02T05:36")) == [
        (utc("2026-05-01T05:35"), utc("2026-05-01T05:40")),
        (utc("2026-05-01T06:00"), utc("2026-05-01T06:10")),
        (utc("2026-05-01T06:30"), utc("2026-05-01T06:40")),
        (utc("2026-05-02T05:35"), utc("2026-05-02T05:36")),
    ]
    never_met = schedule("05:12 to 05:20", on=10, every=30)
    assert not never_met.is_on(utc("2026-05-01T05:15"))
    assert never_met.next_change(utc("2026-05-01")) is None
    assert schedule(on=30, every=30).next_change(utc("2026-05-01")) is None


def test_a_clock_that_was_never_set_misses_nothing() -> None:
    one = schedule("06:00 to 06:01")
    assert one.is_on(0.0)
    assert one.is_on(EARLIEST_UTC_S - 1)
    assert not one.is_on(EARLIEST_UTC_S)
    assert one.next_change(0.0) == EARLIEST_UTC_S


def test_always() -> None:
    assert ALWAYS.is_always
    assert schedule() == Schedule(clock=UTC)
    assert ALWAYS.is_on(utc("2026-05-01"))
    assert ALWAYS.next_change(utc("2026-05-01")) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "06:00", "06:00-07:00", "6:00 to 7:00", "06:60 to 07:00", "24:01 to 25:00",
        "sunrise to 07:00", "noon to sunset", "sunrise+13:00 to sunset", "sunrise to sunrise",
        "sunrise+01:00 to sunrise-01:00", "06:00 to 06:00", "06:00 to 07:00 to 08:00",
        "sunrise +01:00 to sunset", "٠٦:00 to 07:00",
    ],
)  # fmt: skip
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_window(text)


@given(
    st.integers(-66, 66), st.integers(-180, 180), st.integers(0, 364), st.integers(0, 86_399),
    st.sampled_from([(), ("03:10 to 09:45",), ("sunset-00:30 to sunrise+00:30", "11:00 to 12:30")]),
    st.sampled_from([(0.0, 0.0), (7.0, 20.0), (1.0, 60.0)]),
)  # fmt: skip
def test_between_two_changes_nothing_changes(
    latitude: int, longitude: int, day: int, second: int, windows: tuple[str, ...],
    duty: tuple[float, float],
) -> None:  # fmt: skip
    one = schedule(*windows, location=f"{latitude}, {longitude}", on=duty[0], every=duty[1])
    moment_s = utc("2026-01-01") + day * DAY_S + second
    for _ in range(4):
        change_s = one.next_change(moment_s)
        if change_s is None:
            assert one.is_always
            return
        assert change_s > moment_s
        before = one.is_on(moment_s)
        for share in (0.1, 0.4, 0.7, 0.999):
            assert one.is_on(moment_s + share * (change_s - moment_s)) == before
        assert one.is_on(change_s) != before
        moment_s = change_s
