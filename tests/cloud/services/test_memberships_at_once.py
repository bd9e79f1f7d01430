"""Changes of memberships that meet each other, held where they meet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psycopg

from cloud.core.authz import Actor, Role
from cloud.core.refusal import RefusalCode
from cloud.postgres import companies as rows
from cloud.services import account_deletion, companies
from cloud.services.kit import Kit
from tests.support.kit import add_person, log_in, mailed_token, refusal_of

NOW = 1_800_000_000_000
WAIT_S = 10.0


@contextlib.asynccontextmanager
async def held(database: str, table: str) -> AsyncIterator[None]:
    """Nobody writes to this table while the block runs."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield


async def waiting(kit: Kit, wanted: int) -> None:
    """Until so many connections wait for a lock."""
    async with asyncio.timeout(WAIT_S):
        while True:
            async with kit.pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND wait_event_type = 'Lock'"
                )
                row = await cursor.fetchone()
            if row is not None and row[0] >= wanted:
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
    async with held(database, "mail"):  # the mail is what a removal writes last
        removals = [
            asyncio.create_task(
                companies.remove(
                    kit, Actor(head.account_id, head.company_id, Role.OWNER), eve.account_id, NOW
                )
            )
            for head in heads
        ]
        await waiting(kit, 2)
    await asyncio.gather(*removals)
    (home,) = await companies.mine(kit, eve.account_id)
    assert home[0] not in {head.company_id for head in heads}
    assert home[2] is Role.OWNER


async def test_who_accepts_while_the_company_closes_is_told_so_and_nobody_deadlocks(
    kit: Kit, database: str
) -> None:
    ada = await log_in(kit, await add_person(kit, "ada@example.org", NOW), NOW)
    eve = await log_in(kit, await add_person(kit, "eve@example.org", NOW), NOW)
    head = Actor(ada.account_id, ada.company_id, Role.OWNER)
    await companies.invite(kit, head, "eve@example.org", Role.ADMIN, NOW)
    token = await mailed_token(kit.pool, "eve@example.org")
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute(
            "SELECT 1 FROM company WHERE company_id = %s FOR NO KEY UPDATE", [ada.company_id]
        )
        deletion = asyncio.create_task(account_deletion.delete(kit, ada, fresh=True, now_ms=NOW))
        await waiting(kit, 1)
        joining = asyncio.create_task(refusal_of(companies.accept(kit, eve, token, NOW)))
        await waiting(kit, 2)
    await deletion
    assert await joining is RefusalCode.LINK_INVALID
    assert ada.company_id not in {
        company_id for company_id, _, _ in await companies.mine(kit, eve.account_id)
    }
