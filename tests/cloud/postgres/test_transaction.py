"""Transactions that are repeated until they commit."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from cloud.postgres import transaction
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.safety import DatabaseUnavailableError
from cloud.postgres.transaction import Connection, in_transaction


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, name="test", max_size=2) as opened:
        await in_transaction(opened, make_table)
        yield opened


async def make_table(connection: Connection) -> None:
    await connection.execute("CREATE TABLE pair (name text PRIMARY KEY, n integer)")
    await connection.execute("INSERT INTO pair VALUES ('a', 0), ('b', 0)")


async def test_a_deadlock_is_repeated_until_both_have_committed(pool: Pool) -> None:
    both = asyncio.Barrier(2)
    tries: list[str] = []

    async def add(order: str) -> None:
        async def work(connection: Connection) -> None:
            tries.append(order)
            await connection.execute("UPDATE pair SET n = n + 1 WHERE name = %s", (order[0],))
            if len(tries) <= 2:
                await both.wait()
            await connection.execute("UPDATE pair SET n = n + 1 WHERE name = %s", (order[1],))

        await in_transaction(pool, work)

    await asyncio.gather(add("ab"), add("ba"))
    assert len(tries) == 3
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT n FROM pair")).fetchall()
    assert rows == [(2,), (2,)]


async def test_an_error_of_the_work_rolls_back_and_is_raised_once(pool: Pool) -> None:
    tries = 0

    async def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        await connection.execute("UPDATE pair SET n = 9")
        raise LookupError

    with pytest.raises(LookupError):
        await in_transaction(pool, work)
    assert tries == 1
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT DISTINCT n FROM pair")).fetchall()
    assert rows == [(0,)]


async def test_a_database_that_never_answers_is_said_to_be_unavailable(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "FIRST_PAUSE_S", 0.0)
    tries = 0

    async def work(_connection: Connection) -> None:
        nonlocal tries
        tries += 1
        raise psycopg.errors.AdminShutdown("terminating connection")

    with pytest.raises(DatabaseUnavailableError, match="terminating"):
        await in_transaction(pool, work)
    assert tries == transaction.ATTEMPTS
