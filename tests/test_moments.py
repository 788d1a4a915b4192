"""The week and the hour of a chunk, by the site's calendar and clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.detect.occurrence import UNKNOWN
from recorder.species.moments import has_hour, of_clock, of_recording

PUERTO_RICO = ZoneInfo("America/Puerto_Rico")


def one(start: str, after_s: float = 0.0, zone: ZoneInfo | None = None) -> tuple[int, int]:
    found = of_recording(start, [after_s], zone)
    return int(found.weeks[0]), int(found.hours[0])


@pytest.mark.parametrize(
    ("day", "week"),
    [
        ("01-01", 0),
        ("01-07", 0),
        ("01-08", 1),
        ("01-21", 2),
        ("01-31", 3),
        ("02-29", 7),
        ("06-14", 21),
        ("12-22", 47),
        ("12-31", 47),
    ],
)
def test_weeks_are_quarters_of_months(day: str, week: int) -> None:
    assert one(f"2028-{day}T05:00:00") == (week, 5)


def test_whose_hour_it_is() -> None:
    assert one("") == (UNKNOWN, UNKNOWN)
    assert one("2026-05-01T23:59:58", 5.0) == (16, 0), "the recorder's own"
    assert one("2026-05-01T06:30:00-04:00") == (16, 6), "as it carries it"
    assert one("2026-05-01T06:30:00Z") == (16, UNKNOWN), "many recorders keep UTC"
    assert one("2026-05-01T02:30:00Z", 0.0, PUERTO_RICO) == (15, 22)
    assert one("2026-05-01T06:30:00+02:00", 3600.0, PUERTO_RICO) == (16, 1)
    assert one("2026-05-01T06:30:00", 0.0, PUERTO_RICO) == (16, 6), "no zone: the site's"
    assert one("9999-12-31T23:59:59", 5.0) == (UNKNOWN, UNKNOWN)
    known = [has_hour(start, None) for start in ("", "2026-05-01T06:30:00Z", "2026-05-01T06:30:00")]
    assert known == [False, False, True]
    assert has_hour("2026-05-01T06:30:00Z", PUERTO_RICO)


def test_summer_time_begins_within_a_recording() -> None:
    helsinki = ZoneInfo("Europe/Helsinki")
    hours = of_recording("2026-03-29T02:30:00+02:00", [0.0, 3_600.0], helsinki).hours
    assert hours.tolist() == [2, 4]


def test_a_clock_that_was_never_set_knows_nothing() -> None:
    found = of_clock([0.0, 1_704_067_199.0, 1_777_609_800.0], PUERTO_RICO)
    assert found.weeks.tolist() == [UNKNOWN, UNKNOWN, 16]
    assert found.hours.tolist() == [UNKNOWN, UNKNOWN, 0]


@given(
    st.datetimes(datetime(2024, 1, 2), datetime(2090, 1, 1)),
    st.lists(st.integers(0, 90_000), min_size=1, max_size=4),
)
def test_a_microphone_and_a_recording_agree(start: datetime, after_s: list[int]) -> None:
    aware = start.replace(microsecond=0, tzinfo=UTC)
    recorded = of_recording(aware.isoformat().replace("+00:00", "Z"), after_s, PUERTO_RICO)
    heard = of_clock([(aware + timedelta(seconds=one)).timestamp() for one in after_s], PUERTO_RICO)
    assert np.array_equal(recorded.weeks, heard.weeks)
    assert np.array_equal(recorded.hours, heard.hours)
