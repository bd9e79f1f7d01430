"""What a device's own words make of its battery."""

from datetime import date

import pytest

from cloud.core.battery import Health, battery_of, result_of
from tests.cloud.core.test_device_state import view

TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("errors", "replace_by", "health"),
    [
        (0, None, Health.GOOD),
        (0, "2029-01-01", Health.GOOD),
        (0, "2027-01-01", Health.REPLACE_SOON),
        (0, "2026-11-20", Health.REPLACE),
        (1 << 2, "2029-01-01", Health.REPLACE),
        (1 << 0, "2026-01-01", Health.DISCONNECTED),
        (0, "soon", Health.GOOD),
        (0, 20290101, Health.GOOD),
    ],
)
def test_health_follows_the_ups_and_its_date(errors: int, replace_by: object, health: Health) -> None:
    told = {} if replace_by is None else {"battery_replace_by": replace_by}
    device = view(settings=told, bits={"battery_system_error": errors})
    assert battery_of(device, TODAY).health is health


def test_days_are_counted_from_today() -> None:
    told = {"battery_install_date": "2024-11-21", "battery_replace_by": "2026-11-01"}
    battery = battery_of(view(settings=told), TODAY)
    assert (battery.age_days, battery.days_left) == (730, -20)
    future = battery_of(view(settings={"battery_install_date": "2027-01-01"}), TODAY)
    assert future.age_days == 0


@pytest.mark.parametrize(
    ("told", "said", "expected"),
    [
        ({}, None, (None, None, False, Health.GOOD)),
        ({}, date(2024, 11, 21), (date(2024, 11, 21), date(2028, 11, 21), True, Health.GOOD)),
        ({}, date(2020, 1, 1), (date(2020, 1, 1), date(2024, 1, 1), True, Health.REPLACE_SOON)),
        (
            {"battery_install_date": "2019-01-01", "battery_replace_by": "2023-01-01"},
            date(2026, 11, 1),
            (date(2026, 11, 1), date(2030, 11, 1), True, Health.GOOD),
        ),
        (
            {"battery_install_date": "2025-01-01", "battery_replace_by": "2030-01-01"},
            date(2020, 1, 1),
            (date(2025, 1, 1), date(2030, 1, 1), False, Health.GOOD),
        ),
        (
            {"battery_replace_by": "2026-01-01"},
            date(2023, 1, 1),
            (date(2023, 1, 1), date(2026, 1, 1), False, Health.REPLACE),
        ),
    ],
)
def test_the_owner_knows_of_a_newer_battery(
    told: dict[str, object], said: date | None, expected: tuple[object, ...]
) -> None:
    found = battery_of(view(settings=told), TODAY, said)
    assert (found.installed, found.replace_by, found.estimated, found.health) == expected
    assert found.said is (said is not None and found.installed == said)


@pytest.mark.parametrize(
    ("celsius", "found"),
    [(None, (False, False)), (29.9, (False, False)), (30.0, (True, False)), (40.0, (True, True))],
)
def test_warmth_is_named(celsius: float | None, found: tuple[bool, bool]) -> None:
    battery = battery_of(view(values={"battery_temperature": celsius}), TODAY)
    assert (battery.warm, battery.hot) == found


def test_before_anything_was_measured_nothing_is_known() -> None:
    assert battery_of(view(ts_ms=0), TODAY).health is Health.UNKNOWN


def test_results_are_cut_short() -> None:
    result = result_of("self_test", 5, {"result": "passed" * 20, "why": None})
    assert (len(result.result), result.why, result.ts_ms) == (40, "", 5)
