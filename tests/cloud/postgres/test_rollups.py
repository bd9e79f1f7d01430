"""Rollups against the samples that they are made of."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from psycopg import sql

from cloud.core.chart import COARSE_S, FINE_KEPT_MS, FINE_S, Plan, Window, plan_pieces
from cloud.jobs.rollups import bring_up, look
from cloud.postgres import charts, exports, outages, rollups
from cloud.postgres.charts import Piece, read_pieces
from cloud.postgres.pool import Pool, make_pool
from protocol.points import VALUES, SampleFlag, Wire
from tests.support.ingest import NOW_MS, ONE, TWO, own_devices, run

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
POINTS = ("input_voltage", "state_of_charge")
NOW = NOW_MS // HOUR_MS * HOUR_MS + 7 * MINUTE_MS
"""Seven minutes past an hour, so that pieces that are not whole are there."""


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """Of a cloud that owns ONE and TWO, without a sample."""
    own_devices(database, [ONE, TWO])
    async with make_pool(database, name="test", max_size=6) as opened:
        yield opened


class Feed:
    """Stores samples as a writer would: rows and position in one transaction."""

    def __init__(self, pool: Pool, device_id: int = ONE, epoch: int = 1, stream: int = 2) -> None:
        self.pool, self.device_id, self.epoch, self.stream, self.seq = pool, device_id, epoch, stream, 0

    async def store(self, times_ms: Sequence[int], table: str = "telemetry", **values: float) -> None:
        """One sample at each of these times; every value is that of its minute unless it is given."""
        names = [point.name for point in VALUES]
        statement = sql.SQL(
            "INSERT INTO {} (device_id, ts, stream, seq, epoch, {}) VALUES"
            " (%s, to_timestamp(%s / 1000.0), %s, %s, %s, {})"
        ).format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(sql.Placeholder() * len(names)),
        )
        rows = []
        for ts_ms in times_ms:
            self.seq += 1
            level = float(ts_ms // MINUTE_MS % 50 + 200)
            given: Mapping[str, float] = {"ups_status": 2, "input_voltage": level, **values}
            cells = [given.get(one.name, 0 if one.wire is Wire.FIXED32 else math.nan) for one in VALUES]
            rows.append([self.device_id, ts_ms, self.stream, self.seq, self.epoch, *cells])
        async with self.pool.connection() as connection, connection.transaction():
            async with connection.cursor() as cursor:
                await cursor.executemany(statement, rows)
            await connection.execute(
                "UPDATE latest SET stream = %s, seq = %s WHERE device_id = %s",
                [self.stream, self.seq, self.device_id],
            )


async def hand_over(pool: Pool, device_id: int, epoch: int) -> None:
    """Another company owns it from now on."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(
            "UPDATE ownership SET until_ms = %s WHERE device_id = %s AND until_ms IS NULL",
            [NOW + MINUTE_MS, device_id],
        )
        await connection.execute(
            "WITH c AS (INSERT INTO company (name, created_ms) VALUES ('other', 1) RETURNING company_id)"
            " INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)"
            " SELECT %s, %s, c.company_id, o.account_id, o.kid, 1"
            "   FROM c, ownership o WHERE o.device_id = %s",
            [device_id, epoch, device_id],
        )


def minutes(ago: int, until: int = 0) -> list[int]:
    """Times a minute apart, from so many minutes ago."""
    return [NOW - one * MINUTE_MS for one in range(ago, until, -1)]


async def rolled(pool: Pool, plan: Plan, epoch: int = 1, device_id: int = ONE) -> list[Piece]:
    return await read_pieces(pool, await company_of(pool, device_id, epoch), device_id, epoch, POINTS, plan)


async def unrolled(pool: Pool, plan: Plan, epoch: int = 1, device_id: int = ONE) -> list[Piece]:
    """The same pieces, read from samples alone."""
    of_samples = Plan(plan.piece_ms, None, plan.from_ms, plan.to_ms)
    return await rolled(pool, of_samples, epoch, device_id)


async def company_of(pool: Pool, device_id: int, epoch: int) -> int:
    """Whose this ownership is."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT company_id FROM ownership WHERE device_id = %s AND epoch = %s", [device_id, epoch]
        )
        return int((await found.fetchall())[0][0])


def day(piece_ms: int = 0) -> Plan:
    """The last day in pieces of five minutes, or wider ones."""
    return plan_pieces(Window(NOW - 24 * HOUR_MS, NOW), piece_ms or FINE_S * 1000, NOW)


def month() -> Plan:
    """Thirty days in hours."""
    return plan_pieces(Window(NOW - 30 * 24 * HOUR_MS, NOW), HOUR_MS, NOW)


def known(values: charts.Values) -> list[float]:
    """Numbers alone; -1 where there is none."""
    return [-1.0 if value is None else value for value in values]


def same(found: Sequence[Piece], expected: Sequence[Piece]) -> None:
    """The same pieces; means may differ by what a ``real`` leaves out."""
    assert [one.ts_ms for one in found] == [one.ts_ms for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.samples, one.on_battery, one.imported) == (
            other.samples,
            other.on_battery,
            other.imported,
        )
        assert one.lows == pytest.approx(other.lows)
        assert one.highs == pytest.approx(other.highs)
        assert known(one.means) == pytest.approx(known(other.means), rel=1e-5)


async def state(pool: Pool, device_id: int = ONE) -> tuple[int, int]:
    """(done, how many rollups)."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT s.done_ms, (SELECT count(*) FROM rollup r WHERE r.device_id = s.device_id)"
            " FROM rollup_state s WHERE s.device_id = %s",
            [device_id],
        )
        row = await found.fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def test_long_windows_are_what_the_samples_say(pool: Pool) -> None:
    feed = Feed(pool)
    await feed.store(minutes(300, 200))
    await feed.store(minutes(200, 190), ups_status=4, state_of_charge=80.0)
    await feed.store(minutes(120))
    await bring_up(pool, ONE, NOW)
    done_ms, count = await state(pool)
    assert NOW - 30 * MINUTE_MS < done_ms <= NOW - 20 * MINUTE_MS
    assert count > 40
    for plan in (day(), day(3 * FINE_S * 1000), day(2 * HOUR_MS), month()):
        found = await rolled(pool, plan)
        same(found, await unrolled(pool, plan))
        assert sum(one.samples for one in found) == 230


async def test_rollups_are_read_where_there_are_some(pool: Pool) -> None:
    await Feed(pool).store(minutes(300))
    await bring_up(pool, ONE, NOW)
    async with pool.connection() as connection:
        await connection.execute("UPDATE rollup SET input_voltage_mean = 7")
    means = {one.means[0] for one in await rolled(pool, day())}
    assert 7.0 in means
    assert len(means) > 1, "the newest pieces are read from samples"


async def test_each_epoch_has_pieces_of_its_own(pool: Pool) -> None:
    await hand_over(pool, ONE, 9)
    first, second = Feed(pool, epoch=1), Feed(pool, epoch=9, stream=3)
    cut = NOW - 93 * MINUTE_MS
    await first.store([one for one in minutes(180) if one < cut], input_voltage=201.0)
    await second.store([one for one in minutes(180) if one >= cut], input_voltage=243.0)
    await bring_up(pool, ONE, NOW)
    for plan in (day(), month()):
        assert {one.means[0] for one in await rolled(pool, plan, 1)} == {201.0}
        assert {one.means[0] for one in await rolled(pool, plan, 9)} == {243.0}
    shared = cut // HOUR_MS * HOUR_MS
    for epoch in (1, 9):
        assert shared in {one.ts_ms for one in await rolled(pool, month(), epoch)}


async def test_a_company_reads_the_time_of_its_own_ownership_alone(pool: Pool) -> None:
    await hand_over(pool, ONE, 9)
    for epoch, stream in ((1, 2), (9, 3)):
        await Feed(pool, epoch=epoch, stream=stream).store(minutes(180), state_of_charge=50.0)
    await bring_up(pool, ONE, NOW)
    spans = [(NOW - HOUR_MS, NOW)]
    companies = [await company_of(pool, ONE, epoch) for epoch in (1, 9)]
    for company_id, own in zip(companies, (1, 9), strict=True):
        for epoch in (1, 9):
            found = [
                bool(await read_pieces(pool, company_id, ONE, epoch, POINTS, month())),
                bool(await read_pieces(pool, company_id, ONE, epoch, POINTS, day())),
                bool(await charts.stored_from_ms(pool, company_id, ONE, epoch)),
                await outages.lowest_charges(pool, company_id, ONE, epoch, spans) == [50.0],
                bool(
                    await exports.samples(
                        pool,
                        exports.Part(company_id, ONE, epoch, 0, NOW + HOUR_MS),
                        after=(0, 0, 0),
                        limit=9,
                    )
                ),
            ]
            assert found == [epoch == own] * len(found), (own, epoch)


async def test_a_spool_that_comes_late_is_rolled_up_where_it_belongs(pool: Pool) -> None:
    feed = Feed(pool)
    await feed.store(minutes(600, 500))
    await bring_up(pool, ONE, NOW)
    await feed.store(minutes(500, 300))  # hours later
    await bring_up(pool, ONE, NOW + rollups.PERIOD_MS)
    same(await rolled(pool, day()), await unrolled(pool, day()))
    done_ms, _ = await state(pool)
    assert NOW - 310 * MINUTE_MS <= done_ms <= NOW - 300 * MINUTE_MS


async def test_what_came_in_another_order_is_found_by_counting(pool: Pool) -> None:
    feed = Feed(pool)
    await feed.store(minutes(600))
    await bring_up(pool, ONE, NOW)
    await feed.store([one + 1000 for one in minutes(580, 400)], input_voltage=111.0)
    await bring_up(pool, ONE, NOW + rollups.PERIOD_MS)
    assert min(one.lows[0] or 0 for one in await rolled(pool, day())) > 111.0
    later = NOW + rollups.SWEEP_MS + rollups.PERIOD_MS
    assert await rollups.due(pool, later, 10) != []
    assert await rollups.sweep(pool, ONE, later) == 4
    same(await rolled(pool, day()), await unrolled(pool, day()))
    assert await rollups.sweep(pool, ONE, later) == 0
    assert await rollups.sweep(pool, ONE, later + rollups.SWEEP_MS) == 0


async def test_rows_of_days_without_a_partition_count(pool: Pool) -> None:
    old = NOW - 20 * 24 * HOUR_MS
    feed = Feed(pool)
    await feed.store([old + one * MINUTE_MS for one in range(90)], "telemetry_late")
    await feed.store(minutes(90))
    await bring_up(pool, ONE, NOW)
    found = await rolled(pool, month())
    same(found, await unrolled(pool, month()))
    assert sum(one.samples for one in found) == 180
    assert (await state(pool))[1] > 10
    assert await charts.stored_from_ms(pool, await company_of(pool, ONE, 1), ONE, 1) == 1, (
        "it was owned before"
    )


async def test_the_future_is_in_no_piece(pool: Pool) -> None:
    feed = Feed(pool)
    await feed.store(minutes(120))
    ahead = int(SampleFlag.FROM_FUTURE)
    await feed.store([one + 500 for one in minutes(100, 60)], flags=ahead, input_voltage=999.0)
    await bring_up(pool, ONE, NOW)
    found = await rolled(pool, month())
    assert sum(one.samples for one in found) == 120
    assert max(one.highs[0] or 0 for one in found) < 999.0
    await Feed(pool, TWO).store([NOW - HOUR_MS], flags=ahead)
    await bring_up(pool, TWO, NOW)
    assert await rolled(pool, month(), device_id=TWO) == []


async def test_it_may_be_done_again_and_by_many(pool: Pool, database: str) -> None:
    await Feed(pool).store(minutes(400))
    await Feed(pool, TWO).store(minutes(100))
    await asyncio.gather(*(bring_up(pool, device_id, NOW) for device_id in (ONE, TWO) * 3))
    before = run(database, "SELECT * FROM rollup ORDER BY device_id, width_s, ts")
    assert {row[0] for row in before} == {ONE, TWO}
    run(database, "DELETE FROM rollup_state")
    await bring_up(pool, ONE, NOW)
    await bring_up(pool, TWO, NOW)
    again = run(database, "SELECT * FROM rollup ORDER BY device_id, width_s, ts")
    assert again == before
    run(database, "DELETE FROM rollup_state")
    assert await look(pool) == 2


async def test_a_device_without_news_is_left_alone(pool: Pool) -> None:
    await Feed(pool).store(minutes(60))
    assert sorted(await rollups.due(pool, NOW, 10)) == [ONE, TWO]
    for device_id in (ONE, TWO):
        await bring_up(pool, device_id, NOW)
    assert await rollups.due(pool, NOW + rollups.PERIOD_MS, 10) == []
    await Feed(pool, stream=3).store([NOW])
    assert await rollups.due(pool, NOW, 10) == [], "not before its time"
    assert await rollups.due(pool, NOW + rollups.PERIOD_MS, 10) == [ONE]


async def test_a_rollup_outlives_its_telemetry(pool: Pool, database: str) -> None:
    feed = Feed(pool)
    await feed.store(minutes(400))
    await bring_up(pool, ONE, NOW)
    before = await rolled(pool, day())
    run(database, "DELETE FROM telemetry WHERE ts < to_timestamp(%s / 1000.0)", NOW - 200 * MINUTE_MS)
    await feed.store([NOW - 300 * MINUTE_MS], "telemetry_late", input_voltage=5.0)
    run(database, "DELETE FROM rollup_state")
    await bring_up(pool, ONE, NOW)
    same(await rolled(pool, day()), before)


async def test_pieces_of_five_minutes_go_when_they_are_old(pool: Pool, database: str) -> None:
    await Feed(pool).store(minutes(400))
    await bring_up(pool, ONE, NOW)
    later = NOW + FINE_KEPT_MS - 200 * MINUTE_MS
    await rollups.sweep(pool, ONE, later)
    left = run(
        database,
        "SELECT width_s, min(ts) < to_timestamp(%s / 1000.0) FROM rollup GROUP BY 1",
        NOW - 201 * MINUTE_MS,
    )
    assert {row[0]: row[1] for row in left} == {FINE_S: False, COARSE_S: True}


async def test_many_days_are_rolled_up_a_day_at_a_time(pool: Pool) -> None:
    times = [NOW - one * 2 * HOUR_MS for one in range(12 * 18, 0, -1)]
    await Feed(pool).store(times, "telemetry_late")
    steps = 0
    while await rollups.roll(pool, ONE, NOW):
        steps += 1
    assert 17 <= steps <= 19
    same(await rolled(pool, month()), await unrolled(pool, month()))


async def test_a_point_that_is_none_is_refused(pool: Pool) -> None:
    with pytest.raises(ValueError, match="no such points"):
        await read_pieces(pool, 1, ONE, 1, ["input_voltage; DROP TABLE telemetry"], day())


async def test_an_imported_past_is_rolled_up_from_its_beginning(pool: Pool) -> None:
    await Feed(pool).store(minutes(100))
    await bring_up(pool, ONE, NOW)
    imported = Feed(pool, stream=1)
    imported_flag = int(SampleFlag.IMPORTED)
    await imported.store(minutes(400, 300), flags=imported_flag)
    async with pool.connection() as connection:
        await rollups.begin_again(connection, ONE)
    await bring_up(pool, ONE, NOW)
    found = await rolled(pool, day())
    same(found, await unrolled(pool, day()))
    assert {one.imported for one in found} == {True, False}
