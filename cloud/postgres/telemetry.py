"""Writes batches of telemetry, one connection and one transaction each: fence, events, COPY, commit.

The fence update of ``latest`` names for each device the session, epoch and position that the writer believes
in; where the row says otherwise nothing of the batch is written. Everything here may be repeated after a lost
connection: the fence finds what a commit that was not confirmed has stored.

What is shown of a device is never older than its present ownership, whatever a snapshot says that was under
way when it began.

The first batch of an ownership says that the device is connected; later ones do not, for what a session has
sent is stored also after it has gone.

The connection is synchronous: a writer is a thread of its own and waits here, with Python's lock released.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.types.json import Jsonb

from cloud.core.batch import COPY_COLUMNS, FENCE_COLUMNS, PG_TYPE
from cloud.postgres.pool import (
    CONNECT_TIMEOUT_S,
    IDLE_IN_TRANSACTION_TIMEOUT_MS,
    KEEPALIVE,
    LOCK_TIMEOUT_MS,
    STATEMENT_TIMEOUT_MS,
)
from cloud.postgres.reported import ReportRow, store_reports
from cloud.postgres.results import ResultRow, write_results
from cloud.postgres.roundtrip import begin_and_run, copy_and_commit, prepare
from protocol import faults
from protocol.points import VALUES

MAX_COPY_OF_REJECTED: Final = 1024
DAY_S: Final = 86_400

DatabaseError = psycopg.Error
_KEEPALIVE: Final[dict[str, Any]] = dict(KEEPALIVE)
_OPTIONS: Final = {
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    "lock_timeout": LOCK_TIMEOUT_MS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
    "timezone": "UTC",
    # The fence looks its rows up one by one, in the order of its arrays: writers that meet on the same
    # devices then lock them in the same order. One plan for all sizes saves planning it 100 times a second.
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
}


_TROUBLE: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
)
"""Errors that say nothing about what is written, only about the database: also a table, column or right that
is missing while somebody upgrades it. A message must not be refused for it, its sender would delete it.
"""


class TooSlowError(Exception):
    """A statement took longer than ``statement_timeout``; less of it at once may do."""


class ConnectionTroubleError(Exception):
    """The database is away, asks to try again (deadlock, time-out), or is not as it should be."""


class FencedError(Exception):
    """Some rows of ``latest`` are not what the batch was made for; nothing was written."""


class NoPartitionError(Exception):
    """A day's partition is gone (it was closed) since the writer looked."""


class DuplicateRowsError(Exception):
    """Rows above the stored position are in the table already: an alarm (restored backup, fault of ours)."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event to store."""

    device_id: int
    stream: int
    seq: int
    epoch: int
    ts_ms: int
    received_ms: int
    time_uncertain: bool
    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A message that was not accepted."""

    device_id: int
    ts_ms: int
    kid: str
    topic: str
    code: str
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """What ``latest`` says of a device."""

    kid: str
    session_no: int
    epoch: int
    stream: int
    seq: int
    revoked: bool


@dataclass(slots=True)
class Batch:
    """One transaction: ``copies`` and ``fence`` as :func:`cloud.core.batch.build_table` makes them.

    ``device_ids`` grow, so that writers that meet on the same devices wait for each other instead of locking
    each other out.
    """

    now_ms: int
    device_ids: Sequence[int] = ()
    fence: Sequence[bytes] = ()
    copies: Mapping[int, bytes | bytearray] = field(default_factory=dict)
    events: Sequence[EventRow] = ()
    results: Sequence[ResultRow] = ()
    reports: Sequence[ReportRow] = ()
    rejected: Sequence[RejectedRow] = ()


_ARRAYS: Final = ", ".join(f"${i}::{PG_TYPE[kind]}[]" for i, (_, kind) in enumerate(FENCE_COLUMNS, start=2))
_SHOWN: Final = ", ".join(
    f"{name} = CASE WHEN u.ts_ms >= greatest(l.ts_ms, l.shown_from_ms) THEN u.{name} ELSE l.{name} END"
    for name in ("ts_ms", *(point.name for point in VALUES))
)
FENCE: Final = (
    "UPDATE latest l SET stream = u.stream, seq = u.seq, connected = l.connected OR l.ts_ms = 0,"  # noqa: S608  names of ours alone
    f" seen_ms = greatest(l.seen_ms, $1::bigint), {_SHOWN}"
    f" FROM unnest({_ARRAYS}) AS u({', '.join(name for name, _ in FENCE_COLUMNS)})"
    " WHERE l.device_id = u.device_id AND l.session_no = u.session_no AND l.epoch = u.epoch"
    " AND l.stream = u.old_stream AND l.seq = u.old_seq AND NOT l.revoked"
)
_FENCE_NAME: Final = b"fence"
_NAMES: Final = ", ".join(name for name, _ in COPY_COLUMNS)
_TYPED: Final = ", ".join(
    f"{name} {'timestamptz' if name == 'ts' else PG_TYPE[kind]}" for name, kind in COPY_COLUMNS
)
"""Not LIKE telemetry: the gateway may add to that, and not read it."""
COPY: Final = {
    0: f"COPY telemetry ({_NAMES}) FROM STDIN (FORMAT BINARY)",
    1: f"COPY telemetry_late ({_NAMES}) FROM STDIN (FORMAT BINARY)",
}
_TABLE: Final = {0: "telemetry", 1: "telemetry_late"}
INSERT_EVENT: Final = (
    "INSERT INTO event (device_id, stream, seq, epoch, ts, received_ms, time_uncertain, kind, detail)"
    " VALUES (%s, %s, %s, %s, to_timestamp(%s / 1000.0), %s, %s, %s, %s)"
    " ON CONFLICT (device_id, stream, seq) DO NOTHING"
)
INSERT_REJECTED: Final = (
    "INSERT INTO rejected (device_id, ts_ms, kid, topic, code, reason, payload, size_bytes)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)
DAYS: Final = (
    "SELECT right(c.relname, 8) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = 'telemetry'::regclass AND NOT i.inhdetachpending AND c.relname ~ '_[0-9]{8}$'"
)
POSITIONS: Final = (
    "SELECT device_id, kid, session_no, epoch, stream, seq, revoked FROM latest WHERE device_id = ANY (%s)"
)


class Store:
    """One writer's connection. Not thread-safe: one thread, one store."""

    def __init__(self, dsn: str, name: str) -> None:
        self._dsn = dsn
        self._name = name
        self._connection: psycopg.Connection | None = None
        self.days: frozenset[int] = frozenset()
        """Days since 1970 that have a partition, as of the last look."""

    def connect(self) -> None:
        """Connect, if not connected, and look which days there are. ConnectionTroubleError."""
        if self._connection is not None and not self._connection.closed:
            return
        options = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
        try:
            self._connection = psycopg.connect(
                self._dsn,
                autocommit=True,
                application_name=f"smartconnect {self._name}",
                connect_timeout=CONNECT_TIMEOUT_S,
                options=options,
                prepare_threshold=None,  # else psycopg would forget the fence, too, after a ROLLBACK
                **_KEEPALIVE,
            )
            prepare(self._connection.pgconn, _FENCE_NAME, FENCE.encode())
            self.look_for_days()
        except (psycopg.Error, ConnectionTroubleError) as error:
            self.close()  # half a start is none: without the days every row would be a late one
            raise ConnectionTroubleError(str(error).strip()) from error

    def close(self) -> None:
        """Give the connection back; it may be opened again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def look_for_days(self) -> None:
        """Read which days have a partition. ConnectionTroubleError."""
        rows = self._run(lambda cursor: cursor.execute(DAYS).fetchall())
        self.days = frozenset(
            int(dt.datetime.strptime(text, "%Y%m%d").replace(tzinfo=dt.UTC).timestamp()) // DAY_S
            for (text,) in rows
        )

    def positions(self, device_ids: Sequence[int]) -> dict[int, Position]:
        """What ``latest`` says of these devices. ConnectionTroubleError."""
        rows = self._run(lambda cursor: cursor.execute(POSITIONS, [list(device_ids)]).fetchall())
        return {row[0]: Position(*row[1:]) for row in rows}

    def write(self, batch: Batch, *, staged: bool = False) -> None:
        """Write all of a batch, or nothing.

        ``staged`` leaves rows out that are in the table already (after DuplicateRowsError). Raises
        FencedError, NoPartitionError, DuplicateRowsError, ConnectionTroubleError; any other DatabaseError
        means that the batch itself cannot be stored.
        """
        self._run(lambda cursor: _write(cursor, batch, staged=staged))
        faults.reach("gateway.commit.after")

    def _run(self, work: Any) -> Any:
        connection = self._connection
        if connection is None or connection.closed:
            raise ConnectionTroubleError("not connected")
        try:
            with connection.cursor() as cursor:
                return work(cursor)
        except psycopg.errors.QueryCanceled as error:
            self._rollback()
            raise TooSlowError(str(error).strip()) from error
        except _TROUBLE as error:
            self._rollback()
            raise ConnectionTroubleError(str(error).strip()) from error
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        """Leave the transaction, by the connection's end where need be."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.rollback()
        except psycopg.Error:
            self.close()


def _write(cursor: psycopg.Cursor[Any], batch: Batch, *, staged: bool) -> None:
    _begin(cursor, batch)
    if batch.events:
        _insert_events(cursor, batch.events)
    if batch.results:
        write_results(cursor, batch.results)
    if batch.reports:
        store_reports(cursor, batch.reports, batch.now_ms)
    if batch.rejected:
        cursor.executemany(INSERT_REJECTED, [_rejected_values(row) for row in batch.rejected])
    copies = list(batch.copies.items())
    last = copies.pop() if copies and not staged else None
    try:
        for late, buffer in copies:
            _copy_new(cursor, late, buffer) if staged else _copy(cursor, late, buffer)
        if last is not None:
            copy_and_commit(cursor.connection.pgconn, COPY[last[0]].encode(), last[1], _reach_commit)
            return
    except psycopg.errors.UniqueViolation as error:
        raise DuplicateRowsError(str(error)) from error
    except psycopg.errors.CheckViolation as error:
        raise NoPartitionError(str(error)) from error
    _reach_commit()
    cursor.execute("COMMIT")


def _begin(cursor: psycopg.Cursor[Any], batch: Batch) -> None:
    """Begin the transaction with the fence."""
    if not batch.device_ids:
        cursor.execute("BEGIN")
        return
    values = [batch.now_ms.to_bytes(8, "big"), *batch.fence]
    if begin_and_run(cursor.connection.pgconn, _FENCE_NAME, values) != len(batch.device_ids):
        raise FencedError
    faults.reach("gateway.fence")


def _reach_commit() -> None:
    faults.reach("gateway.commit.before")


def _copy(cursor: psycopg.Cursor[Any], late: int, buffer: Buffer) -> None:
    with cursor.copy(COPY[late]) as copy:
        copy.write(buffer)


def _copy_new(cursor: psycopg.Cursor[Any], late: int, buffer: Buffer) -> None:
    table = _TABLE[late]
    cursor.execute(f"CREATE TEMP TABLE staged ({_TYPED}) ON COMMIT DROP")
    with cursor.copy(f"COPY staged ({_NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(buffer)
    cursor.execute(f"INSERT INTO {table} ({_NAMES}) SELECT {_NAMES} FROM staged ON CONFLICT DO NOTHING")  # noqa: S608  names of ours alone
    cursor.execute("DROP TABLE staged")


def _insert_events(cursor: psycopg.Cursor[Any], events: Sequence[EventRow]) -> None:
    values = [
        (
            row.device_id,
            row.stream,
            row.seq,
            row.epoch,
            row.ts_ms,
            row.received_ms,
            row.time_uncertain,
            row.kind,
            Jsonb(dict(row.values)),
        )
        for row in sorted(events, key=lambda row: (row.device_id, row.stream, row.seq))
    ]
    cursor.executemany(INSERT_EVENT, values)
    devices = sorted({str(row.device_id) for row in events})
    cursor.execute("SELECT pg_notify('device', hint) FROM unnest(%s::text[]) AS hint", [devices])


def _rejected_values(row: RejectedRow) -> tuple[Any, ...]:
    return (
        row.device_id,
        row.ts_ms,
        row.kid,
        _storable(row.topic),
        row.code,
        _storable(row.reason),
        row.payload[:MAX_COPY_OF_REJECTED],
        len(row.payload),
    )


def _storable(text: str) -> str:
    """Text from a peer, capped; PostgreSQL stores no NUL and no lone surrogate."""
    text = text[:300].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.encode(errors="replace").decode()
