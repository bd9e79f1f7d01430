"""The start-up check of the database's durability."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cloud.embedded import EmbeddedPostgres
from cloud.postgres.safety import DatabaseUnavailableError, UnsafeDatabaseError, check_safety


def test_accepts_the_private_server(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        check_safety(server.dsn())


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_refuses_a_server_that_may_lose_what_it_confirmed(database: str, setting: str) -> None:
    """The tests' own server is one."""
    with pytest.raises(UnsafeDatabaseError, match=f"{setting} = off"):
        check_safety(database)


def test_refuses_a_database_that_confirms_too_early(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
    with pytest.raises(UnsafeDatabaseError, match="synchronous_commit = off"):
        check_safety(database)


def test_says_when_there_is_no_server(tmp_path: object) -> None:
    with pytest.raises(DatabaseUnavailableError):
        check_safety(f"postgresql://x@/x?host={tmp_path}")
