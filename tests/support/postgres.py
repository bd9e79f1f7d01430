"""A real PostgreSQL for tests: one private server a run, one fresh migrated database a test."""

import asyncio
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql

from cloud.embedded import EmbeddedPostgres
from cloud.postgres.admin import create_database
from cloud.postgres.migrate import migrate
from cloud.postgres.partitions import ensure_days

TEMPLATE: Final = "template_migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """The server of this test run; started when the first test asks for it."""
    folder = Path(tempfile.mkdtemp(prefix="sc-test-pg-"))
    try:
        with EmbeddedPostgres(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def database_template(postgres_server: EmbeddedPostgres) -> str:
    """Name of a database that has all migrations; copied for each test."""
    create_database(postgres_server.dsn("postgres"), TEMPLATE)
    migrate(postgres_server.dsn(TEMPLATE))
    ensure_days(postgres_server.dsn(TEMPLATE))
    return TEMPLATE


def drop_database(dsn: str, name: str) -> None:
    """Drop database ``name`` with all its connections; ``dsn`` names another one."""
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(postgres_server: EmbeddedPostgres, database_template: str) -> Iterator[str]:
    """Connection string of a database of this test alone, with all migrations applied."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    create_database(postgres_server.dsn("postgres"), name, database_template)
    yield postgres_server.dsn(name)
    drop_database(postgres_server.dsn("postgres"), name)


@pytest.fixture
def empty_database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Connection string of a database of this test alone, with nothing in it."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    create_database(postgres_server.dsn("postgres"), name)
    yield postgres_server.dsn(name)
    drop_database(postgres_server.dsn("postgres"), name)


async def until_someone_waits(dsn: str, count: int, timeout_s: float = 20.0) -> None:
    """Until so many connections of this database wait for a lock. TimeoutError."""
    deadline = time.monotonic() + timeout_s
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while time.monotonic() < deadline:
            found = await connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
            row = await found.fetchone()
            if row is not None and row[0] >= count:
                return
            await asyncio.sleep(0.005)
    raise TimeoutError(f"no {count} connections wait for a lock")
