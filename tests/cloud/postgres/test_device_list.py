"""The list of devices in SQL against the same rules in Python."""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import sql

from cloud.core.authz import Actor
from cloud.core.device_filters import NumberField
from cloud.core.device_query import Compare, Is, Measured, Query, parse
from cloud.core.device_state import QUIET_MS, Condition, DeviceView, condition_of
from cloud.core.fleet import Order, Place, Sort
from cloud.core.site_tree import RANKS
from cloud.postgres import device_list, devices
from cloud.postgres.device_list import Wanted
from cloud.postgres.pool import Pool, make_pool
from tests.support.claiming import make_actors
from tests.support.fleet import FIRST, fill

COUNT = 120
NOW = time.time_ns() // 1_000_000
BITS = (0, 2, 4, 8, 16, 32, 64, 68, 128, 192, 1 << 15, 1 << 21, 4 | 1 << 21, 132, 2 | 128)


def disturb(dsn: str) -> None:
    """Every device in a state of its own, the bounds of time included."""
    rng = random.Random(7)
    ages = (0, QUIET_MS - 1, QUIET_MS, QUIET_MS + 1, 5 * QUIET_MS)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number in range(COUNT):
            device_id = FIRST + number
            from_ms = NOW - rng.choice(ages)
            values: dict[str, Any] = {
                "ups_status": rng.choice(BITS),
                "battery_system_error": rng.choice((0, 0, 1, 4, 8)),
                "runtime_remaining": rng.choice((math.nan, 0.0, 119.9, 120.0, 2400.0)),
                "connected": rng.random() < 0.85,
                "smartconnect": rng.random() < 0.95,
                "ts_ms": 0 if rng.random() < 0.2 else NOW - rng.choice(ages[:3]),
                "seen_ms": rng.choice((0, from_ms - 1, from_ms, NOW - rng.choice(ages))),
            }
            assignments = sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in values
            )
            connection.execute(
                sql.SQL("UPDATE latest SET {} WHERE device_id = %(device)s").format(assignments),
                {**values, "device": device_id},
            )
            connection.execute("UPDATE ownership SET from_ms = %s WHERE device_id = %s", (from_ms, device_id))
            for seq in range(rng.choice((0, 0, 1, 2, 3))):
                kind = rng.choice(("communication_lost", "communication_restored", "on_battery"))
                connection.execute(
                    "INSERT INTO event (device_id, stream, seq, epoch, ts, received_ms, time_uncertain, kind,"
                    " detail) VALUES (%s, 1, %s, %s, to_timestamp(%s / 1000.0), %s, false, %s, '{}')",
                    (device_id, seq, rng.choice((1, 1, 2)), NOW - rng.randrange(2 * QUIET_MS), NOW, kind),
                )


@pytest.fixture
async def pool(database: str) -> Any:
    """Connections of a test."""
    async with make_pool(database, name="test", max_size=2) as opened:
        yield opened


def wanted(actor: Actor, query: Query | None = None, **changes: Any) -> Wanted:
    """All that fits, in the usual order."""
    usual = Wanted(actor.company_id, query or Query(), {}, [], Order(), None, 1000, NOW)
    return replace(usual, **changes)


async def views_of(pool: Pool, actor: Actor) -> Mapping[int, DeviceView]:
    """All devices as pages know them."""
    return await devices.company_views(pool, actor.company_id, [FIRST + n for n in range(COUNT)])


async def test_states_in_sql_are_those_of_the_pages(database: str, pool: Pool) -> None:
    actor, other = make_actors(database, 2)
    fill(database, actor, COUNT, NOW)
    disturb(database)
    views = await views_of(pool, actor)
    meant = {device_id: condition_of(view, NOW) for device_id, view in views.items()}
    assert len(set(meant.values())) == len(Condition), "every state is there"
    found = await device_list.find(pool, wanted(actor))
    assert {row.device_id: row.condition for row in found.page} == meant
    assert sum(found.found.values()) == sum(found.there.values()) == COUNT
    ranks = [RANKS[row.condition] for row in found.page]
    assert ranks == sorted(ranks)
    for condition in Condition:
        query = Query((Is((condition.value,)),))
        some = await device_list.find(pool, wanted(actor, query))
        assert {row.device_id for row in some.page} == {one for one in meant if meant[one] is condition}
        assert sum(some.found.values()) == len(some.page)
        assert sum(some.there.values()) == COUNT
    stranger = await device_list.find(pool, wanted(other))
    assert (stranger.page, stranger.there) == ([], {})


NUMBERS: Mapping[NumberField, Callable[[DeviceView], float | None]] = {
    NumberField.RUNTIME: lambda view: view.values["runtime_remaining"],
    NumberField.CHARGE: lambda view: view.values["state_of_charge"],
    NumberField.LOAD: lambda view: view.values["output_real_power_pct"],
    NumberField.WATTS: lambda view: view.load_w,
    NumberField.TEMPERATURE: lambda view: view.values["battery_temperature"],
    NumberField.LASTSEEN: lambda view: (NOW - view.seen_ms) / 1000,
}
LIMITS = {
    NumberField.RUNTIME: 1000,
    NumberField.CHARGE: 80,
    NumberField.LOAD: 37,
    NumberField.WATTS: 700,
    NumberField.TEMPERATURE: 27,
    NumberField.LASTSEEN: 30,
}
HOLDS: Mapping[Compare, Callable[[float, float], bool]] = {
    Compare.LESS: lambda value, limit: value < limit,
    Compare.AT_MOST: lambda value, limit: value <= limit,
    Compare.MORE: lambda value, limit: value > limit,
    Compare.AT_LEAST: lambda value, limit: value >= limit,
}


async def test_numbers_are_compared_and_unknown_ones_are_neither(database: str, pool: Pool) -> None:
    (actor,) = make_actors(database, 1)
    fill(database, actor, COUNT, NOW)
    views = await views_of(pool, actor)
    for field, read in NUMBERS.items():
        known = {one: value for one, view in views.items() if (value := read(view)) is not None}
        for compare, holds in HOLDS.items():
            term = Measured(field, compare, Decimal(LIMITS[field]))
            meant = {one for one, value in known.items() if holds(value, LIMITS[field])}
            assert meant, (field, compare)
            for query, expected in (
                (Query((term,)), meant),
                (Query((replace(term, negated=True),)), set(views) - meant),
            ):
                found = await device_list.find(pool, wanted(actor, query))
                assert {row.device_id for row in found.page} == expected, (field, compare)


async def test_pages_hold_every_device_once_in_every_order(database: str, pool: Pool) -> None:
    (actor,) = make_actors(database, 1)
    fill(database, actor, COUNT, NOW)
    for sort in Sort:
        for backwards in (False, True):
            order = Order(sort, backwards)
            whole = (await device_list.find(pool, wanted(actor, order=order))).page
            assert len({row.device_id for row in whole}) == COUNT
            keys = [(row.place.number, row.place.text, row.device_id) for row in whole]
            assert keys == sorted(keys, reverse=backwards), order
            unknown = [math.isinf(row.place.number) for row in whole]
            assert unknown == sorted(unknown), "what is not known comes last"
            seen: list[int] = []
            after: Place | None = None
            while page := (
                await device_list.find(pool, wanted(actor, order=order, after=after, limit=50))
            ).page:
                seen += [row.device_id for row in page]
                after = page[-1].place
            assert seen == [row.device_id for row in whole], order
            back = list(seen[-7:])
            before: Place | None = whole[-7].place
            while page := (
                await device_list.find(pool, wanted(actor, order=order, before=before, limit=50))
            ).page:
                back = [*(row.device_id for row in page), *back]
                before = page[0].place
            assert back == seen, order


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("smart-ups", COUNT),
        ("FLT000000007", 1),
        ("id:flt000000007", 1),
        ("serial:AS0000000119", 1),
        ("model:SRT", COUNT // 3),
        ("model:srt5k", COUNT // 3),
        ("name:rack", COUNT * 3 // 4),
        ("-name:rack", COUNT // 4),
        ("firmware:15.1", COUNT),
        ("100%", 0),
        ("FLT_0000000", 0),
        ("rack model:SRT is:trouble", 3),
    ],
)
async def test_texts_are_found_in_any_case_and_as_they_are(
    database: str, pool: Pool, text: str, count: int
) -> None:
    (actor,) = make_actors(database, 1)
    fill(database, actor, COUNT, NOW)
    found = await device_list.find(pool, wanted(actor, parse(text)))
    assert len(found.page) == count
