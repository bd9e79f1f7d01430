"""Runtime calibrations on a schedule: when the next one is due, and when one is tried that could not begin.

A calibration that is due begins when every step of an ordinary one is there (mains, no fault, connected).
Where one is missing it is tried again every quarter of an hour for half a day: then this one is left out, for
nobody expects it at another time of day. After a success or an omission the next one follows in the rhythm.
"""

from dataclasses import dataclass, replace
from typing import Final

DAY_MS: Final = 86_400_000
AGAIN_MS: Final = 900_000
GIVE_UP_MS: Final = 43_200_000
MIN_DAYS: Final = 30
"""A calibration ages the battery; more often it learns nothing."""
MAX_DAYS: Final = 366
AHEAD_MS: Final = 2 * 366 * DAY_MS


@dataclass(frozen=True, slots=True)
class Schedule:
    """``missing``: the safety step that the last try lacked, empty where it lacked none."""

    every_days: int
    due_ms: int
    try_ms: int
    missing: str = ""


def begun(every_days: int, first_ms: int) -> Schedule:
    """A schedule as a person sets it up."""
    return Schedule(every_days, first_ms, first_ms)


def is_usable(every_days: int, first_ms: int, now_ms: int) -> bool:
    """Whether somebody may set this up: the first one within two years, and not in the past."""
    return MIN_DAYS <= every_days <= MAX_DAYS and now_ms <= first_ms <= now_ms + AHEAD_MS


def after_try(schedule: Schedule, missing: str, now_ms: int) -> Schedule:
    """The schedule after a try that lacked ``missing``, or nothing (empty)."""
    if missing and now_ms + AGAIN_MS < schedule.due_ms + GIVE_UP_MS:
        return replace(schedule, try_ms=now_ms + AGAIN_MS, missing=missing)
    rhythm_ms = schedule.every_days * DAY_MS
    passed = max(0, now_ms - schedule.due_ms) // rhythm_ms
    next_ms = schedule.due_ms + (passed + 1) * rhythm_ms
    return replace(schedule, due_ms=next_ms, try_ms=next_ms, missing=missing)
