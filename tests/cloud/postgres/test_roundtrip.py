"""BEGIN with its statement and COPY with its COMMIT, below psycopg's cursors, on a real PostgreSQL."""

import struct
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.pq import PipelineStatus, TransactionStatus

from cloud.postgres.roundtrip import CHUNK_BYTES, begin_and_run, copy_and_commit, prepare
from tests.support.ingest import run

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TAIL = b"\xff\xff"
COPY = b"COPY numbers FROM STDIN (FORMAT BINARY)"


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    """With a table, and a statement that adds to all its rows."""
    run(database, "CREATE TABLE numbers (n bigint PRIMARY KEY, text text NOT NULL)")
    with psycopg.connect(database, autocommit=True, prepare_threshold=None) as opened:
        prepare(opened.pgconn, b"shift", b"UPDATE numbers SET n = n + $1")
        yield opened


def rows(numbers: range, text: bytes = b"x") -> bytes:
    """What COPY reads."""
    body = [struct.pack(">hiqi", 2, 8, n, len(text)) + text for n in numbers]
    return b"".join([HEAD, *body, TAIL])


def eight(n: int) -> bytes:
    return n.to_bytes(8, "big", signed=True)


def stored(dsn: str) -> list[int]:
    return [n for (n,) in run(dsn, "SELECT n FROM numbers ORDER BY n")]


def nothing() -> None:
    """To be called before the end."""


def test_a_transaction_in_two_round_trips(connection: psycopg.Connection, database: str) -> None:
    copy_and_commit(connection.pgconn, COPY, rows(range(3)), nothing)  # no BEGIN: COMMIT only warns
    seen: list[tuple[list[int], TransactionStatus]] = []
    assert begin_and_run(connection.pgconn, b"shift", [eight(10)]) == 3
    copy_and_commit(
        connection.pgconn,
        COPY,
        rows(range(2)),
        lambda: seen.append((stored(database), connection.info.transaction_status)),
    )
    assert [numbers for numbers, _status in seen] == [[0, 1, 2]], "others see nothing before the commit"
    assert stored(database) == [0, 1, 10, 11, 12]
    assert connection.info.transaction_status == TransactionStatus.IDLE
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_buffer_of_many_chunks_arrives_whole(connection: psycopg.Connection, database: str) -> None:
    buffer = rows(range(5_000), b"y" * 1_000)
    assert len(buffer) > 10 * CHUNK_BYTES
    copy_and_commit(connection.pgconn, COPY, bytearray(buffer), nothing)
    assert run(database, "SELECT count(*), sum(length(text)) FROM numbers") == [(5_000, 5_000_000)]


def test_an_error_while_much_is_still_to_be_sent_does_not_hang(
    connection: psycopg.Connection, database: str
) -> None:
    """The server refuses the first row; we are still sending, and must hear it."""
    body = rows(range(5_000), b"y" * 1_000)
    broken = HEAD + struct.pack(">h", 7) + body[len(HEAD) :]
    assert begin_and_run(connection.pgconn, b"shift", [eight(1)]) == 0
    with pytest.raises(psycopg.errors.BadCopyFileFormat):
        copy_and_commit(connection.pgconn, COPY, broken, nothing)
    assert connection.info.transaction_status == TransactionStatus.INERROR
    connection.rollback()
    assert stored(database) == []
    copy_and_commit(connection.pgconn, COPY, rows(range(1)), nothing)
    assert stored(database) == [0]


def test_a_row_that_is_there_already_undoes_the_transaction(
    connection: psycopg.Connection, database: str
) -> None:
    copy_and_commit(connection.pgconn, COPY, rows(range(2)), nothing)
    assert begin_and_run(connection.pgconn, b"shift", [eight(10)]) == 2
    with pytest.raises(psycopg.errors.UniqueViolation):
        copy_and_commit(connection.pgconn, COPY, rows(range(9, 12)), nothing)
    connection.rollback()
    assert stored(database) == [0, 1]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([b"short"], psycopg.errors.ProtocolViolation),
        ([eight(2**63 - 1)], psycopg.errors.NumericValueOutOfRange),
    ],
)
def test_a_statement_that_fails_leaves_a_connection_that_works(
    connection: psycopg.Connection, database: str, values: list[bytes], error: type[psycopg.Error]
) -> None:
    copy_and_commit(connection.pgconn, COPY, rows(range(1, 3)), nothing)
    with pytest.raises(error):
        begin_and_run(connection.pgconn, b"shift", values)
    assert connection.pgconn.pipeline_status == PipelineStatus.OFF
    connection.rollback()
    assert begin_and_run(connection.pgconn, b"shift", [eight(5)]) == 2
    connection.rollback()
    assert stored(database) == [1, 2]


def test_a_commit_in_a_failed_transaction_is_no_commit(connection: psycopg.Connection) -> None:
    connection.execute("BEGIN")
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1 / 0")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        copy_and_commit(connection.pgconn, COPY, rows(range(1)), nothing)


def test_what_is_not_a_copy_is_said_so(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.InternalError, match="does not ask for data"):
        copy_and_commit(connection.pgconn, b"SELECT 1", b"", nothing)
    with pytest.raises(psycopg.errors.SyntaxError):
        prepare(connection.pgconn, b"bad", b"SELECT FROM WHERE")


def test_a_connection_that_is_gone_is_an_operational_error(
    connection: psycopg.Connection, database: str
) -> None:
    run(database, "SELECT pg_terminate_backend(%s, 5000)", connection.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        begin_and_run(connection.pgconn, b"shift", [eight(1)])
    with pytest.raises(psycopg.OperationalError):
        copy_and_commit(connection.pgconn, COPY, rows(range(1)), nothing)
