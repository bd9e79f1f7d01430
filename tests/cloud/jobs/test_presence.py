"""Devices that are not heard: told once, by however many processes, and never for a gateway's sake."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from cloud.core.absence import Verdict
from cloud.jobs.presence import look
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.presence import BREAK_MS, candidates, note_listening
from cloud.services.presence import settle
from protocol import faults
from tests.support.ingest import ONE, TWO, own_devices

AFTER_MS = 120_000
LONG_AGO_MS = 600_000


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """Of a cloud that owns ONE and TWO, whose gateway has listened for long; both were heard just now."""
    own_devices(database, [ONE, TWO])
    async with make_pool(database, name="test", max_size=8) as opened:
        await note_listening(opened, now() - LONG_AGO_MS, starts=True)
        change(database, "UPDATE listening SET beat_ms = %s", now())
        change(database, "UPDATE ownership SET from_ms = 1")
        heard(database, ONE, 0)
        heard(database, TWO, 0)
        yield opened


def now() -> int:
    return time.time_ns() // 1_000_000


def change(dsn: str, statement: str, *values: object) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(statement, values)


def heard(dsn: str, device_id: int, ago_ms: int, *, connected: bool = True) -> None:
    statement = "UPDATE latest SET seen_ms = %s, connected = %s WHERE device_id = %s"
    change(dsn, statement, now() - ago_ms, connected, device_id)


def told(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT device_id, kind FROM event ORDER BY device_id, seq").fetchall()


async def test_an_absence_and_its_end_are_told_once_by_many_processes(database: str, pool: Pool) -> None:
    await look(pool, AFTER_MS)
    assert told(database) == []
    heard(database, ONE, AFTER_MS + 5_000, connected=False)
    heard(database, TWO, 20_000, connected=False)
    for _ in range(2):
        await asyncio.gather(*(look(pool, AFTER_MS) for _ in range(5)))
        assert told(database) == [(ONE, "device_offline")]
    heard(database, ONE, 0)
    for _ in range(2):
        await asyncio.gather(*(look(pool, AFTER_MS) for _ in range(5)))
        assert told(database) == [(ONE, "device_offline"), (ONE, "device_online")]
    with psycopg.connect(database) as connection:
        times = connection.execute(
            "SELECT (extract(epoch FROM ts) * 1000)::bigint, detail->'lasted_s' FROM event ORDER BY seq"
        ).fetchall()
    (away_ms, _), (back_ms, lasted_s) = times
    assert lasted_s == pytest.approx((back_ms - away_ms) / 1000, abs=0.1)
    assert lasted_s == pytest.approx(AFTER_MS / 1000 + 5, abs=5)


async def test_a_gateway_that_starts_or_is_away_tells_of_nobody(database: str, pool: Pool) -> None:
    heard(database, ONE, LONG_AGO_MS - 1, connected=False)
    await note_listening(pool, now(), starts=True)
    assert await look(pool, AFTER_MS) == 0
    change(database, "UPDATE listening SET since_ms = 1, beat_ms = %s", now() - BREAK_MS - 10_000)
    assert await look(pool, AFTER_MS) == 0, "none listens"
    await note_listening(pool, now(), starts=False)
    assert await look(pool, AFTER_MS) == 0, "the one that listens again was away"
    change(database, "UPDATE listening SET since_ms = 1")
    await note_listening(pool, now(), starts=False)
    assert await look(pool, AFTER_MS) == 1


async def test_only_what_has_changed_is_looked_at(database: str, pool: Pool) -> None:
    """Else every round would lock the device of everybody who is away, or whose gateway is."""

    async def found() -> list[int]:
        return await candidates(pool, now(), AFTER_MS, 10)

    assert await found() == []
    heard(database, ONE, AFTER_MS + 5_000)
    heard(database, TWO, AFTER_MS + 5_000, connected=False)
    assert await found() == [TWO]
    change(database, "UPDATE listening SET beat_ms = 1")
    assert await found() == []
    change(database, "UPDATE listening SET beat_ms = %s", now())
    await look(pool, AFTER_MS)
    assert await found() == []
    heard(database, TWO, 0)
    assert await found() == [TWO]


async def test_the_next_owner_is_told_nothing_of_an_old_absence(database: str, pool: Pool) -> None:
    heard(database, ONE, LONG_AGO_MS, connected=False)
    await look(pool, AFTER_MS)
    change(database, "UPDATE ownership SET until_ms = %s WHERE device_id = %s", now(), ONE)
    assert await look(pool, AFTER_MS) == 0
    assert told(database) == [(ONE, "device_offline")]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT * FROM absence").fetchall() == []


@pytest.mark.parametrize("point", ["presence.tell.before", "presence.tell.after"])
async def test_a_process_that_breaks_at_the_commit_loses_and_repeats_nothing(
    database: str, pool: Pool, point: str
) -> None:
    heard(database, ONE, LONG_AGO_MS, connected=False)

    def breaks(name: str) -> None:
        raise RuntimeError(name)

    faults.arm(point, 1, breaks)
    with pytest.raises(RuntimeError):
        await settle(pool, ONE, now(), AFTER_MS)
    verdict = await settle(pool, ONE, now(), AFTER_MS)
    assert verdict is (Verdict.BEGINS if point.endswith("before") else Verdict.NOTHING)
    assert told(database) == [(ONE, "device_offline")]
