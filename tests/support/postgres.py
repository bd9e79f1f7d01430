"""A real PostgreSQL for tests: one private server a run, one fresh migrated database a test."""

import asyncio
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
SETTINGS: Final = {"fsync": "off", "full_page_writes": "off"}
"""What outlives a power cut is not tested on this server; what outlives kills is as on any other."""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """The server of this test run; started when the first test asks for it."""
    folder = Path(tempfile.mkdtemp(prefix="sc-test-pg-"))
    try:
        with EmbeddedPostgres(folder, SETTINGS) as server:
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
def database(
    postgres_server: EmbeddedPostgres, database_template: str, request: pytest.FixtureRequest
) -> Iterator[str]:
    """Connection string of a database of this test alone, with all migrations applied and nothing else in it.

    A database is handed on from test to test and emptied in between, which costs a tenth of a new one; one
    that a test has changed otherwise (a partition more, a function, a setting) is thrown away.
    """
    server = postgres_server.dsn("postgres")
    handed_on: list[Spare] = request.session.stash.setdefault(SPARES, [])
    spare = handed_on.pop() if handed_on else None
    if spare is None:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        create_database(server, name, database_template)
        spare = Spare(name, _shape(postgres_server.dsn(name)))
    yield postgres_server.dsn(spare.name)
    if spare.uses < MOST_USES and _emptied(postgres_server.dsn(spare.name), spare):
        handed_on.append(replace(spare, uses=spare.uses + 1))
    else:
        drop_database(server, spare.name)


@dataclass(frozen=True, slots=True)
class Spare:
    """A database that a test has left, as it was when it was made."""

    name: str
    shape: tuple[object, ...]
    uses: int = 1


SPARES: Final = pytest.StashKey[list[Spare]]()
MOST_USES: Final = 40
_CATALOGUES: Final = ("attribute", "class", "constraint", "extension", "namespace", "proc", "trigger")
_SHAPE: Final = " UNION ALL ".join(
    f"SELECT '{name}', count(*), coalesce(sum(xmin::text::bigint), 0)::bigint FROM pg_{name}"
    for name in _CATALOGUES
)
"""Every change of a schema writes a row of these, with the number of its transaction."""
MIGRATED: Final = ["schema_migration", "notice_intake"]
"""Tables that migrations fill, and that nothing changes afterwards."""
_SETTINGS: Final = "SELECT count(*) FROM pg_db_role_setting"
_ROWS: Final = "SELECT '{0}', string_agg(t::text, ',' ORDER BY t) FROM {0} t"
_END_OTHERS: Final = """
SELECT pg_terminate_backend(pid, 3000) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_FILLED: Final = """
SELECT quote_ident(relname) FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> ALL(%s)
   AND pg_relation_size(oid) > 0
"""
_RESTART: Final = """
SELECT setval(quote_ident(sequencename)::regclass, start_value, false) FROM pg_sequences
 WHERE schemaname = 'public' AND last_value IS NOT NULL
"""


def _shape(dsn: str) -> tuple[object, ...]:
    """What must be as it was in a database that is handed on."""
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        return _shape_seen(connection)


def _shape_seen(connection: psycopg.Connection) -> tuple[object, ...]:
    asked = (_SHAPE, _SETTINGS, *(_ROWS.format(table) for table in MIGRATED))
    return tuple(row for query in asked for row in connection.execute(query.encode()).fetchall())


def _emptied(dsn: str, spare: Spare) -> bool:
    """Whether nobody is connected any more, nothing is in it, and it is as it was made."""
    try:
        with psycopg.connect(dsn, connect_timeout=10, options="-c lock_timeout=5s") as connection:
            connection.execute(_END_OTHERS)
            connection.execute("SET LOCAL session_replication_role = replica")
            for (table,) in connection.execute(_FILLED, [MIGRATED]).fetchall():
                connection.execute(f"DELETE FROM ONLY {table}".encode())
            connection.execute(_RESTART)
            seen = _shape_seen(connection)
    except psycopg.Error:
        return False
    return seen == spare.shape


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
