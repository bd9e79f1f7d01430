"""Log-in of device keys, where they stand, and who is connected (design section 3).

A log-in writes ``device_key`` first and ``latest`` after it, in the order in which a binding does.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from cloud.core.session import Standing
from cloud.postgres.pool import CONNECT_TIMEOUT_S, KEEPALIVE, Pool
from cloud.postgres.safety import DatabaseUnavailableError

CHECKOUT_TIMEOUT_S: Final = 3.0
"""A CONNECT waits this long for a connection; then the server is unavailable, and the device comes again."""

_KEEPALIVE: Final[dict[str, Any]] = dict(KEEPALIVE)

FIND_KEY: Final = "SELECT device_pub, state FROM device_key WHERE device_id = %s AND kid = %s"
TAKE_LOGIN: Final = (
    "UPDATE device_key SET login_ms = %(iat)s"
    " WHERE device_id = %(device)s AND kid = %(kid)s AND login_ms < %(iat)s AND state <> 'revoked'"
    " RETURNING state"
)
RAISE_FENCE: Final = (
    "UPDATE latest SET session_no = %(iat)s, connected = true, seen_ms = %(now)s"
    " WHERE device_id = %(device)s AND kid = %(kid)s AND session_no < %(iat)s"
)
STANDINGS: Final = """
SELECT coalesce(d.last_epoch, 0), k.kid IS NOT NULL, coalesce(k.state = 'revoked', false),
       coalesce(k.login_ms, 0),
       coalesce(k.state = 'bound' AND l.kid = k.kid AND NOT l.revoked AND o.kid = k.kid, false),
       l.epoch, l.session_no, l.stream, l.seq, l.watch_until_ms
FROM unnest(%s::bigint[], %s::text[]) WITH ORDINALITY AS s(device_id, kid, place)
LEFT JOIN device d ON d.device_id = s.device_id
LEFT JOIN device_key k ON k.device_id = s.device_id AND k.kid = s.kid
LEFT JOIN latest l ON l.device_id = s.device_id
LEFT JOIN ownership o ON o.device_id = s.device_id AND o.until_ms IS NULL
ORDER BY s.place"""
HEARD: Final = """
WITH mine AS MATERIALIZED (
    SELECT l.device_id, u.session_no, u.seen_ms
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS u(device_id, session_no, seen_ms)
    JOIN latest l ON l.device_id = u.device_id AND l.session_no = u.session_no
    ORDER BY l.device_id FOR UPDATE OF l SKIP LOCKED)
UPDATE latest l SET seen_ms = greatest(l.seen_ms, m.seen_ms)
FROM mine m WHERE l.device_id = m.device_id AND l.session_no = m.session_no"""
"""Rows that a writer has locked are left out: it notes the same."""
COME: Final = """
WITH mine AS MATERIALIZED (
    SELECT l.device_id, u.session_no, u.seen_ms
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS u(device_id, session_no, seen_ms)
    JOIN latest l ON l.device_id = u.device_id AND l.session_no = u.session_no
    ORDER BY l.device_id FOR UPDATE OF l)
UPDATE latest l SET connected = true, seen_ms = greatest(l.seen_ms, m.seen_ms)
FROM mine m WHERE l.device_id = m.device_id AND l.session_no = m.session_no"""
GONE: Final = """
WITH mine AS MATERIALIZED (
    SELECT l.device_id, u.session_no FROM unnest(%s::bigint[], %s::bigint[]) AS u(device_id, session_no)
    JOIN latest l ON l.device_id = u.device_id AND l.session_no = u.session_no
    ORDER BY l.device_id FOR UPDATE OF l)
UPDATE latest l SET connected = false
FROM mine m WHERE l.device_id = m.device_id AND l.session_no = m.session_no AND l.connected
RETURNING l.device_id"""
"""Locks its rows in the order in which writers do."""
HINT: Final = "SELECT pg_notify('device', hint) FROM unnest(%s::text[]) AS hint"
ENSURE_DAYS: Final = "SELECT ensure_telemetry_days((now() AT TIME ZONE 'UTC')::date - %s, %s)"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A device key that has announced itself before."""

    device_pub: bytes
    revoked: bool


@contextlib.asynccontextmanager
async def _database() -> AsyncIterator[None]:
    try:
        yield
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(str(error).strip()) from error


async def find_key(pool: Pool, device_id: int, kid: str) -> StoredKey | None:
    """The stored key, if the cloud knows it. DatabaseUnavailableError."""
    async with _database(), pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        found = await connection.execute(FIND_KEY, [device_id, kid])
        row = await found.fetchone()
    return None if row is None else StoredKey(bytes(row[0]), row[1] == "revoked")


async def log_in(pool: Pool, device_id: int, kid: str, iat_ms: int, now_ms: int) -> bool:
    """Take the log-in of a known key, once; False where this or a newer one was taken before.

    That of a bound key raises the fence in the same transaction. DatabaseUnavailableError.
    """
    values = {"device": device_id, "kid": kid, "iat": iat_ms, "now": now_ms}
    async with _database(), pool.connection(CHECKOUT_TIMEOUT_S) as connection, connection.transaction():
        taken = await connection.execute(TAKE_LOGIN, values)
        row = await taken.fetchone()
        if row is None:
            return False
        if row[0] == "bound":
            await connection.execute(RAISE_FENCE, values)
            await connection.execute(HINT, [[str(device_id)]])
    return True


async def find_standings(pool: Pool, keys: Sequence[tuple[int, str]]) -> list[Standing]:
    """Where each (device_id, kid) stands. DatabaseUnavailableError."""
    async with _database(), pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        found = await connection.execute(STANDINGS, [[key[0] for key in keys], [key[1] for key in keys]])
        return [_standing(*row) for row in await found.fetchall()]


def _standing(
    last_epoch: int,
    known: bool,
    revoked: bool,
    login_ms: int,
    owned: bool,
    epoch: int | None,
    session_no: int | None,
    stream: int | None,
    seq: int | None,
    watch_until_ms: int | None,
) -> Standing:
    return Standing(
        known=known,
        revoked=revoked,
        owned=owned,
        epoch=epoch if owned and epoch is not None else last_epoch,
        stream=stream or 0,
        seq=seq or 0,
        login_ms=login_ms,
        session_no=session_no or 0,
        watch_until_ms=watch_until_ms or 0 if owned else 0,
    )


async def note_heard(pool: Pool, heard: Sequence[tuple[int, int, int]]) -> None:
    """(device_id, session_no, when) of sessions that are alive. DatabaseUnavailableError."""
    if not heard:
        return
    columns = list(zip(*sorted(heard), strict=True))
    async with _database(), pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        await connection.execute(HEARD, [list(column) for column in columns])


async def note_come(pool: Pool, come: Sequence[tuple[int, int, int]]) -> None:
    """(device_id, session_no, when) of sessions whose device was given an owner. DatabaseUnavailableError."""
    if not come:
        return
    columns = list(zip(*sorted(come), strict=True))
    async with _database(), pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        await connection.execute(COME, [list(column) for column in columns])


async def note_gone(pool: Pool, gone: Sequence[tuple[int, int]]) -> None:
    """(device_id, session_no) of sessions that ended, unless a newer one began. DatabaseUnavailableError."""
    if not gone:
        return
    columns = list(zip(*sorted(gone), strict=True))
    async with _database(), pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        found = await connection.execute(GONE, [list(column) for column in columns])
        left = [str(row[0]) for row in await found.fetchall()]
        if left:
            await connection.execute(HINT, [left])


async def ensure_days(pool: Pool, before: int, days: int) -> int:
    """Make the partitions from ``before`` days ago on, as far as they are missing; how many were made."""
    async with _database(), pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        found = await connection.execute(ENSURE_DAYS, [before, days])
        row = await found.fetchone()
    return 0 if row is None else int(row[0])


async def listen(dsn: str, hint: Callable[[int], None]) -> None:
    """Call ``hint(device_id)`` for every hint that arrives, until cancelled.

    DatabaseUnavailableError when the connection cannot be made or is lost; hints are lost with it.
    """
    async with (
        _database(),
        await psycopg.AsyncConnection.connect(
            dsn,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="smartconnect gateway hints",
            **_KEEPALIVE,
        ) as connection,
    ):
        await connection.execute("LISTEN device")
        async for notice in connection.notifies():
            with contextlib.suppress(ValueError):
                hint(int(notice.payload))
