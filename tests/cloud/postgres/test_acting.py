"""The second wall: a statement of the portal without any condition finds the rows of one company alone."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from cloud.core.authz import Actor
from cloud.core.schedule import Schedule
from cloud.postgres import schedules
from cloud.postgres.acting import Reason, across, acting_for, crossing, nobody
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.roles import Part, login_dsn
from cloud.postgres.schedules import ScheduleRow
from cloud.services import limits
from tests.support.claiming import make_actors
from tests.support.ingest import NOW_MS, run

CLAIM = "00000000-0000-4000-8000-000000000001"
OWNERSHIPS = "SELECT company_id FROM ownership ORDER BY 1"
ROWS = (
    "INSERT INTO device (device_id, product_id, label_pub, created_ms) VALUES (%(company)s, 'P', '', 1)",
    (
        "INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)"
        " VALUES (%(company)s, 1, %(company)s, %(account)s, 'k', 1)"
    ),
    "INSERT INTO site (company_id, name, created_ms) VALUES (%(company)s, 'Site', 1)",
)


@pytest.fixture
def people(database: str) -> list[Actor]:
    """Two people, each in a company of their own that has a device and a site."""
    made = make_actors(database, 2)
    with psycopg.connect(database) as connection:
        for actor in made:
            for statement in ROWS:
                connection.execute(
                    statement.encode(), {"company": actor.company_id, "account": actor.account_id}
                )
    return made


@pytest.fixture
async def pool(database: str, people: list[Actor]) -> AsyncIterator[Pool]:
    """The portal's pool, with one connection: whoever takes it comes after somebody else."""
    assert len(people) == 2
    dsn = login_dsn(database, Part.PORTAL)
    async with make_pool(dsn, name="portal", max_size=1, acting=True) as made:
        yield made


async def read(pool: Pool, statement: str) -> list[int]:
    """The first column."""
    async with pool.connection() as connection:
        found = await connection.execute(statement.encode())
        return [row[0] for row in await found.fetchall()]


async def test_no_condition_and_no_foreign_row(pool: Pool, people: list[Actor]) -> None:
    one, other = people
    assert await read(pool, OWNERSHIPS) == []
    for actor in (one, other, one):
        with acting_for(actor.company_id, actor.account_id):
            assert await read(pool, OWNERSHIPS) == [actor.company_id]
            assert await read(pool, "SELECT company_id FROM company") == [actor.company_id]
            assert await read(pool, "SELECT account_id FROM account") == [actor.account_id]
            assert await read(pool, "SELECT company_id FROM site") == [actor.company_id]
        assert await read(pool, OWNERSHIPS) == []


async def test_a_foreign_row_is_neither_made_nor_changed(
    pool: Pool, people: list[Actor], database: str
) -> None:
    one, other = people
    with acting_for(one.company_id, one.account_id):
        async with pool.connection() as connection:
            for statement in (
                "INSERT INTO site (company_id, name, created_ms) VALUES (%s, 'Theirs', 1)",
                "UPDATE site SET company_id = %s",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await connection.execute(statement.encode(), [other.company_id])
            done = await connection.execute("UPDATE site SET name = 'Ours'")
            assert done.rowcount == 1
            done = await connection.execute("DELETE FROM site WHERE company_id = %s", [other.company_id])
            assert done.rowcount == 0
    assert run(database, "SELECT name FROM site ORDER BY site_id") == [("Ours",), ("Site",)]


async def test_who_has_left_still_has_a_name_there(pool: Pool, people: list[Actor], database: str) -> None:
    one, other = people
    run(
        database,
        "INSERT INTO account_audit (ts_ms, account_id, company_id, kind)"
        " VALUES (1, %s, %s, 'login') RETURNING 1",
        other.account_id,
        one.company_id,
    )
    accounts = "SELECT account_id FROM account ORDER BY 1"
    with acting_for(one.company_id, one.account_id):
        assert await read(pool, accounts) == [one.account_id, other.account_id]
    with acting_for(other.company_id, other.account_id):
        assert await read(pool, accounts) == [other.account_id]


async def test_a_place_is_given_back_whosever_claim_it_was_for(
    pool: Pool, people: list[Actor], database: str
) -> None:
    one, other = people
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO claim (device_id, claim_id, company_id, account_id, state, created_ms, expires_ms)"
            " VALUES (%(company)s, %(claim)s, %(company)s, %(account)s, 'won', 1, 1)",
            {"company": other.company_id, "account": other.account_id, "claim": CLAIM},
        )
        connection.execute(
            "INSERT INTO claim_place (account_id, network, device_id, claim_id, taken_ms, expires_ms)"
            " VALUES (%s, '192.0.2.1', %s, %s, 1, %s)",
            [other.account_id, other.company_id, CLAIM, 2 * NOW_MS],
        )
    with acting_for(one.company_id, one.account_id):
        await limits.take(pool, one.account_id, "192.0.2.1", now_ms=NOW_MS)
    assert run(database, "SELECT account_id FROM claim_place") == [(one.account_id,)]


async def test_a_new_owners_schedule_takes_the_place_of_the_last_ones(
    pool: Pool, people: list[Actor], database: str
) -> None:
    device_id = people[0].company_id
    for epoch, actor in enumerate(people, 1):
        row = ScheduleRow(Schedule(30, NOW_MS, NOW_MS), epoch, actor.company_id, actor.account_id)
        with acting_for(actor.company_id, actor.account_id):
            async with pool.connection() as connection:
                await schedules.put(connection, device_id, row, NOW_MS)
    assert run(database, "SELECT company_id FROM calibration_schedule") == [(people[1].company_id,)]


async def test_looking_across_ends_where_it_was_said(pool: Pool, people: list[Actor]) -> None:
    one, _ = people
    both = [actor.company_id for actor in people]

    @crossing(Reason.OWNERSHIP)
    async def look() -> list[int]:
        return await read(pool, OWNERSHIPS)

    with acting_for(one.company_id, one.account_id):
        assert await look() == both
        assert await read(pool, OWNERSHIPS) == [one.company_id]
        with across(Reason.UPKEEP):
            assert await read(pool, OWNERSHIPS) == both
            with nobody():
                assert await read(pool, OWNERSHIPS) == []
        assert await read(pool, OWNERSHIPS) == [one.company_id]


async def test_tasks_at_the_same_time_keep_apart(pool: Pool, people: list[Actor]) -> None:
    async def own(actor: Actor) -> list[int]:
        with acting_for(actor.company_id, actor.account_id):
            return [row for _ in range(5) for row in await read(pool, OWNERSHIPS)]

    found = await asyncio.gather(*(own(actor) for actor in people * 3))
    assert found == [[actor.company_id] * 5 for actor in people * 3]


async def test_a_connection_that_died_is_replaced_by_one_that_is_told(
    pool: Pool, people: list[Actor], database: str
) -> None:
    one, _ = people
    with acting_for(one.company_id, one.account_id):
        assert await read(pool, OWNERSHIPS) == [one.company_id]
        run(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
            "%portal",
        )
        assert await read(pool, OWNERSHIPS) == [one.company_id]


def test_who_is_not_the_portal_is_not_bound(database: str, people: list[Actor]) -> None:
    both = [(actor.company_id,) for actor in people]
    assert run(database, OWNERSHIPS) == both
    for part in (Part.GATEWAY, Part.JOBS):
        assert run(login_dsn(database, part), OWNERSHIPS) == both


def test_telemetry_has_no_wall_that_would_slow_it(database: str) -> None:
    walls = {name for (name,) in run(database, "SELECT relname FROM pg_class WHERE relrowsecurity")}
    assert {"account", "membership", "ownership", "claim", "api_token"} <= walls
    assert not [name for name in walls if name.startswith(("telemetry", "latest", "event", "rollup"))]
