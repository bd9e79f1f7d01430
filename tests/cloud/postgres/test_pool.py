"""The pool every process opens."""

import psycopg
import pytest

from cloud.postgres.pool import make_pool


async def test_connections_are_named_and_bounded(database: str) -> None:
    async with (
        make_pool(database, name="test", statement_timeout_ms=50) as pool,
        pool.connection() as connection,
    ):
        cursor = await connection.execute(
            "SELECT current_setting('application_name'), current_setting('statement_timeout'),"
            " current_setting('lock_timeout')"
        )
        assert await cursor.fetchone() == ("smartconnect test", "50ms", "5s")
        with pytest.raises(psycopg.errors.QueryCanceled):
            await connection.execute("SELECT pg_sleep(10)")


async def test_a_dead_connection_is_replaced_before_it_is_handed_out(database: str) -> None:
    async with make_pool(database, name="test", min_size=1, max_size=1) as pool:
        async with pool.connection() as connection:
            pid = connection.info.backend_pid
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        async with pool.connection() as connection:
            assert connection.info.backend_pid != pid
