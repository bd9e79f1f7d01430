"""Changes of memberships that meet each other, held where they meet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psycopg

from cloud.core.authz import Actor, Role
from cloud.postgres import companies as rows
from cloud.services import companies
from cloud.services.kit import Kit
from tests.support.kit import add_person

NOW = 1_800_000_000_000
WAIT_S = 10.0


@contextlib.asynccontextmanager
async def held(database: str, table: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Nobody writes to this table while the block runs."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield connection


async def waiting(connection: psycopg.AsyncConnection, count: int) -> None:
    """Until so many others wait for a lock."""
    async with asyncio.timeout(WAIT_S):
        while True:
            cursor = await connection.execute(
                "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid IN"
                " (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
            )
            row = await cursor.fetchone()
            if row is not None and row[0] >= count:
                return
            await asyncio.sleep(0.01)


async def test_two_companies_that_remove_the_same_person_at_once_leave_them_one(
    kit: Kit, database: str
) -> None:
    heads = [await add_person(kit, f"{name}@example.org", NOW) for name in ("ada", "bob")]
    eve = await add_person(kit, "eve@example.org", NOW)
    async with kit.pool.connection() as connection:
        await connection.execute("DELETE FROM membership WHERE account_id = %s", [eve.account_id])
        for head in heads:
            await rows.add_member(connection, head.company_id, eve.account_id, Role.VIEWER, NOW)
    async with held(database, "mail") as holder:  # the mail is what a removal writes last
        removals = [
            asyncio.create_task(
                companies.remove(
                    kit, Actor(head.account_id, head.company_id, Role.OWNER), eve.account_id, NOW
                )
            )
            for head in heads
        ]
        await waiting(holder, 2)
    await asyncio.gather(*removals)
    (home,) = await companies.mine(kit, eve.account_id)
    assert home[0] not in {head.company_id for head in heads}
    assert home[2] is Role.OWNER
