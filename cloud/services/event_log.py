"""The log of what happened: a page of it, how many are newer, one event with what happened around it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cloud.core.authz import Actor
from cloud.postgres import event_log
from cloud.postgres.event_log import Happened, Place, Sought
from cloud.postgres.pool import Pool

PAGE: Final = 50
MAX_FILE: Final = 10_000
"""Events of a file at once."""
MAX_NEWER: Final = 100
"""More than these are not counted."""
AROUND_MS: Final = 600_000
"""So long before and after an event its surroundings are."""
AROUND: Final = 20
HOUR_MS: Final = 3_600_000
STEPS_MS: Final = (2 * HOUR_MS, 48 * HOUR_MS, 720 * HOUR_MS)
"""How far back is looked first, piece by piece: companies with many devices find a page of events in their
last hours, and only those who find less there have their whole past read."""
TOO_LONG: Final = 1 << 63
"""No number of the database is as long."""
_PLACE: Final = re.compile(r"([0-9]{1,16})\.([0-9]{1,19})\.([0-9]{1,19})\.([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogPage:
    """Events, the newest first, and where the next page begins: "" at the end."""

    events: Sequence[Happened]
    older: str


def text_of(place: Place) -> str:
    """A place as addresses carry it."""
    return f"{place.ts_us}.{place.device_id}.{place.stream}.{place.seq}"


def place_of(text: str) -> Place:
    """The place that an address names. ValueError."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    place = Place(*map(int, found.groups()))
    if place.ts_us > event_log.LAST_US or max(place.device_id, place.stream, place.seq) >= TOO_LONG:
        raise ValueError(text)
    return place


async def look(
    pool: Pool, actor: Actor, sought: Sought, now_ms: int, *, before: Place | None = None, limit: int = PAGE
) -> LogPage:
    """A page of the company's events that are sought, those before a place."""
    mine = replace(sought, company_id=actor.company_id)
    end_ms = now_ms if before is None else before.ts_us // 1000
    found: list[Happened] = []
    for from_ms in (*(max(0, end_ms - step) for step in STEPS_MS), 0):
        found += await event_log.read(
            pool, mine, limit=limit + 1 - len(found), from_ms=from_ms, before=before
        )
        if len(found) > limit:
            break
        before = Place(from_ms * 1000, 0, 0, 0)
    more = len(found) > limit
    return LogPage(found[:limit], text_of(found[limit - 1].place) if more else "")


async def count_newer(pool: Pool, actor: Actor, sought: Sought, after: Place) -> int:
    """How many events that are sought came after a place, at most :data:`MAX_NEWER`."""
    mine = replace(sought, company_id=actor.company_id)
    found = await event_log.read(pool, mine, limit=MAX_NEWER, from_ms=after.ts_us // 1000, after=after)
    return len(found)


async def find(pool: Pool, actor: Actor, device_id: int, stream: int, seq: int) -> Happened | None:
    """One event of a device of the company's; None where there is none, or it is somebody else's."""
    if max(stream, seq) >= TOO_LONG:
        return None
    return await event_log.find(pool, actor.company_id, device_id, stream, seq)


async def around(pool: Pool, actor: Actor, event: Happened) -> list[Happened]:
    """What else happened to the device within ten minutes before and after, the newest first."""
    sought = Sought(actor.company_id, event.row.device_id)
    first_ms = max(0, event.row.ts_ms - AROUND_MS)
    end = Place(event.place.ts_us + AROUND_MS * 1000, 0, 0, 0)
    older = await event_log.read(pool, sought, limit=AROUND, from_ms=first_ms, before=event.place)
    newer = await event_log.read(
        pool, sought, limit=AROUND, from_ms=event.row.ts_ms, before=end, after=event.place
    )
    return newer + older
