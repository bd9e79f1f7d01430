"""BEGIN and COMMIT that travel with their neighbours, on a real PostgreSQL."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from cloud.postgres.roundtrip import CHUNK_BYTES, begin_and_run, copy_and_commit, prepare

COPY = b"COPY kept FROM STDIN"


@pytest.fixture
def connection(empty_database: str) -> Iterator[psycopg.Connection]:
    """With a table of numbers, and a statement that adds one of eight bytes."""
    with psycopg.connect(empty_database, autocommit=True, prepare_threshold=None) as made:
        made.execute("CREATE TABLE kept (number bigint PRIMARY KEY)")
        prepare(made.pgconn, b"add", b"INSERT INTO kept SELECT n FROM generate_series(1, $1::bigint) AS n")
        yield made


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def kept(connection: psycopg.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY number")]


def test_begins_and_says_how_many_rows_were_touched(connection: psycopg.Connection) -> None:
    assert begin_and_run(connection.pgconn, b"add", [number(3)]) == 3
    assert connection.info.transaction_status == TransactionStatus.INTRANS
    connection.rollback()
    assert begin_and_run(connection.pgconn, b"add", [number(0)]) == 0
    connection.rollback()
    assert kept(connection) == []


def test_copies_and_commits_what_was_begun(connection: psycopg.Connection) -> None:
    seen: list[TransactionStatus] = []
    begin_and_run(connection.pgconn, b"add", [number(2)])
    connection.execute("INSERT INTO kept VALUES (9)")
    copy_and_commit(
        connection.pgconn, COPY, b"4\n5\n", lambda: seen.append(connection.info.transaction_status)
    )
    assert seen == [TransactionStatus.ACTIVE]
    assert connection.info.transaction_status == TransactionStatus.IDLE
    assert kept(connection) == [1, 2, 4, 5, 9]


def test_a_large_buffer_goes_in_parts(connection: psycopg.Connection) -> None:
    count = 10 * CHUNK_BYTES // 8
    begin_and_run(connection.pgconn, b"add", [number(0)])
    buffer = "".join(f"{n}\n" for n in range(1_000_000, 1_000_000 + count)).encode()
    assert len(buffer) == 10 * CHUNK_BYTES
    copy_and_commit(connection.pgconn, COPY, buffer, lambda: None)
    assert len(kept(connection)) == count


def test_an_error_of_the_statement_is_raised_and_can_be_rolled_back(connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO kept VALUES (2)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        begin_and_run(connection.pgconn, b"add", [number(3)])
    connection.rollback()
    assert kept(connection) == [2]


@pytest.mark.parametrize(
    ("copy", "buffer", "error"),
    [
        (COPY, b"1\n", psycopg.errors.UniqueViolation),
        (COPY, b"one\n", psycopg.errors.InvalidTextRepresentation),
        (b"COPY nowhere FROM STDIN", b"", psycopg.errors.UndefinedTable),
    ],
)
def test_a_copy_that_fails_commits_nothing(
    connection: psycopg.Connection, copy: bytes, buffer: bytes, error: type[psycopg.Error]
) -> None:
    connection.execute("INSERT INTO kept VALUES (1)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO kept VALUES (7)")
    with pytest.raises(error):
        copy_and_commit(connection.pgconn, copy, buffer, lambda: None)
    connection.rollback()
    assert kept(connection) == [1]


def test_a_failed_transaction_is_not_taken_for_a_commit(connection: psycopg.Connection) -> None:
    connection.execute("BEGIN")
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1 / 0")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        copy_and_commit(connection.pgconn, COPY, b"4\n", lambda: None)
    connection.rollback()
    assert kept(connection) == []


def test_a_lost_connection_is_an_operational_error(connection: psycopg.Connection) -> None:
    def leave() -> None:
        with psycopg.connect(connection.info.dsn, password=connection.info.password) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])

    begin_and_run(connection.pgconn, b"add", [number(1)])
    with pytest.raises(psycopg.OperationalError):
        copy_and_commit(connection.pgconn, COPY, b"4\n", leave)
    with pytest.raises(psycopg.OperationalError):
        begin_and_run(connection.pgconn, b"add", [number(1)])
