"""Quiet hours in time zones."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.notice import Topic
from cloud.core.notice_policy import Area, Place, Policy, Quiet, Scope, Window, that_count


def at(text: str, zone: str) -> int:
    """Unix ms of a local time."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


NIGHT = Quiet(22 * 60, 7 * 60, "Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2027-01-15T21:59", None),
        ("2027-01-15T22:00", "2027-01-16T07:00"),
        ("2027-01-16T00:30", "2027-01-16T07:00"),
        ("2027-01-16T06:59", "2027-01-16T07:00"),
        ("2027-01-16T07:00", None),
        ("2027-03-27T23:00", "2027-03-28T07:00"),  # the night in which an hour is missing
        ("2027-10-30T23:00", "2027-10-31T07:00"),  # and the one that has an hour more
    ],
)
def test_a_night_ends_in_the_morning_of_its_time_zone(now: str, end: str | None) -> None:
    expected = None if end is None else at(end, NIGHT.zone)
    assert NIGHT.ends_ms(at(now, NIGHT.zone)) == expected


@given(
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Chatham"]),
    st.integers(1_700_000_000_000, 1_900_000_000_000),
)
def test_the_end_lies_ahead_and_within_a_day(from_min: int, until_min: int, zone: str, now_ms: int) -> None:
    end_ms = Quiet(from_min, until_min, zone).ends_ms(now_ms)
    if end_ms is not None:
        assert now_ms < end_ms <= now_ms + 26 * 3_600_000


def test_what_is_urgent_comes_through_where_it_may() -> None:
    now_ms = at("2027-01-15T23:00", NIGHT.zone)
    policy = Policy(1, Area(), frozenset(Topic), 0, quiet=NIGHT)
    assert policy.quiet_until(Topic.LOW_BATTERY, now_ms) is None
    assert policy.quiet_until(Topic.ON_BATTERY, now_ms) is not None
    strict = Policy(1, Area(), frozenset(Topic), 0, quiet=Quiet(0, 1439, "UTC", lets_urgent=False))
    assert strict.quiet_until(Topic.LOW_BATTERY, now_ms) is not None


def test_the_nearest_site_around_a_device_counts() -> None:
    company, outer, inner, own = (
        Policy(number, area, frozenset({Topic.FAULT}), 0)
        for number, area in enumerate(
            (Area(), Area(Scope.SITE, 7), Area(Scope.SITE, 8), Area(Scope.DEVICE, 1, 5)), start=1
        )
    )
    inside, beside = Place(1, 5, 9, (7, 8)), Place(2, 5, 0)
    assert that_count((company, outer, inner, own), inside, Topic.FAULT) == (own,)
    assert that_count((company, outer, inner), inside, Topic.FAULT) == (inner,)
    assert that_count((company, outer), inside, Topic.FAULT) == (outer,)
    assert that_count((company, outer), beside, Topic.FAULT) == (company,)
    assert that_count((company, outer, inner), inside, Topic.OVERLOAD) == ()


def test_a_window_has_an_end() -> None:
    window = Window(Area(), 10, 20)
    assert [window.covers(Place(1, 1, 0), moment) for moment in (9, 10, 19, 20)] == [False, True, True, False]
