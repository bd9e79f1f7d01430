"""The start-up check of the database's durability."""

import psycopg
import pytest
from psycopg import sql

from cloud.postgres.safety import DatabaseUnavailableError, UnsafeDatabaseError, check_safety


def test_accepts_the_private_server(database: str) -> None:
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
