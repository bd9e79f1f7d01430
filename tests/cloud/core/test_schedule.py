"""The rhythm of scheduled calibrations."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.core.schedule import AGAIN_MS, AHEAD_MS, DAY_MS, GIVE_UP_MS, Schedule, after_try, begun, is_usable

NOW = 1_800_000_000_000
MONTHLY = begun(30, NOW)


def test_a_schedule_begins_soon_enough_and_not_too_often() -> None:
    assert is_usable(30, NOW, NOW)
    assert is_usable(366, NOW + AHEAD_MS, NOW)
    assert not is_usable(29, NOW, NOW)
    assert not is_usable(367, NOW, NOW)
    assert not is_usable(30, NOW - 1, NOW)
    assert not is_usable(30, NOW + AHEAD_MS + 1, NOW)


def test_after_a_success_the_next_one_keeps_the_time_of_day() -> None:
    late = NOW + 5 * AGAIN_MS
    assert after_try(MONTHLY, "", late) == begun(30, NOW + 30 * DAY_MS)


def test_what_cannot_begin_is_tried_again_for_half_a_day_and_then_left_out() -> None:
    schedule, at_ms, tries = MONTHLY, NOW, 0
    while schedule.due_ms == NOW:
        schedule = after_try(schedule, "on_battery", at_ms)
        at_ms, tries = schedule.try_ms, tries + 1
    assert tries == GIVE_UP_MS // AGAIN_MS
    assert schedule == Schedule(30, NOW + 30 * DAY_MS, NOW + 30 * DAY_MS, "on_battery")


@given(st.integers(30, 366), st.integers(0, 4_000 * DAY_MS), st.sampled_from(["", "device_offline"]))
def test_the_next_try_is_always_ahead_and_in_the_rhythm(every_days: int, late_ms: int, missing: str) -> None:
    after = after_try(begun(every_days, NOW), missing, NOW + late_ms)
    assert after.try_ms > NOW + late_ms
    assert (after.due_ms - NOW) % (every_days * DAY_MS) == 0
    assert after.due_ms in {NOW, after.try_ms}
