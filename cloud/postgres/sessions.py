"""Log-in of device keys, where they stand, and who is connected.

A log-in writes ``device_key`` first and ``latest`` after it, in the order in which a binding does.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

import psycopg

from cloud.core.session import Standing
from cloud.postgres.pool import CONNECT_TIMEOUT_S, KEEPALIVE, Pool
from cloud.postgres.safety import DatabaseUnavailableError

P = ParamSpec("P")
T = TypeVar("T")

ANSWER_TIMEOUT_S: Final = 8.5
"""More than a checkout and a lock's time-out, so that a server that works says itself what is wrong."""
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
       l.epoch, l.session_no, l.stream, l.seq, l.watch_until_ms, o.from_ms,
       EXISTS (SELECT 1 FROM command c WHERE c.device_id = s.device_id AND c.state = 'requested'),
       coalesce(e.version, 0), coalesce(e.sealed IS NOT NULL AND e.kid = s.kid, false),
       coalesce(e.revision, 0)
FROM unnest(%s::bigint[], %s::text[]) WITH ORDINALITY AS s(device_id, kid, place)
LEFT JOIN device d ON d.device_id = s.device_id
LEFT JOIN device_key k ON k.device_id = s.device_id AND k.kid = s.kid
LEFT JOIN latest l ON l.device_id = s.device_id
LEFT JOIN ownership o ON o.device_id = s.device_id AND o.until_ms IS NULL
LEFT JOIN device_setting e ON e.device_id = s.device_id AND e.epoch = o.epoch
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


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A device key that has announced itself before."""

    device_pub: bytes
    revoked: bool


def _in_time(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The same, or DatabaseUnavailableError: also where the server hangs and neither answers nor ends."""

    @functools.wraps(function)
    async def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(function(*args, **kwargs))
        try:
            await asyncio.wait({task}, timeout=ANSWER_TIMEOUT_S)
        finally:
            if not task.done():  # it cancels its query, which takes a server that hangs seconds more
                task.cancel()
                _ending.add(task)
                task.add_done_callback(_ended)
        if not task.done():
            raise DatabaseUnavailableError(f"no answer within {ANSWER_TIMEOUT_S:.0f} s")
        try:
            return task.result()
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(str(error).strip()) from error

    return asked


_ending: Final[set[asyncio.Task[Any]]] = set()


def _ended(task: asyncio.Task[Any]) -> None:
    _ending.discard(task)
    if not task.cancelled():
        task.exception()  # said to nobody: whoever asked has been answered


@_in_time
async def find_key(pool: Pool, device_id: int, kid: str) -> StoredKey | None:
    """The stored key, if the cloud knows it. DatabaseUnavailableError."""
    async with pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        found = await connection.execute(FIND_KEY, [device_id, kid])
        row = await found.fetchone()
    return None if row is None else StoredKey(bytes(row[0]), row[1] == "revoked")


@_in_time
async def log_in(pool: Pool, device_id: int, kid: str, iat_ms: int, now_ms: int) -> bool:
    """Take the log-in of a known key, once; False where this or a newer one was taken before.

    That of a bound key raises the fence in the same transaction. DatabaseUnavailableError.
    """
    values = {"device": device_id, "kid": kid, "iat": iat_ms, "now": now_ms}
    async with pool.connection(CHECKOUT_TIMEOUT_S) as connection, connection.transaction():
        taken = await connection.execute(TAKE_LOGIN, values)
        row = await taken.fetchone()
        if row is None:
            return False
        if row[0] == "bound":
            await connection.execute(RAISE_FENCE, values)
            await connection.execute(HINT, [[str(device_id)]])
    return True


@_in_time
async def find_standings(pool: Pool, keys: Sequence[tuple[int, str]]) -> list[Standing]:
    """Where each (device_id, kid) stands. DatabaseUnavailableError."""
    async with pool.connection(CHECKOUT_TIMEOUT_S) as connection:
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
    from_ms: int | None,
    command_waits: bool,
    settings_version: int,
    settings_open: bool,
    settings_revision: int,
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
        since_ms=from_ms or 0 if owned else 0,
        command_waits=command_waits and owned,
        settings_version=settings_version if owned else 0,
        settings_open=settings_open and owned,
        settings_revision=settings_revision if owned else 0,
    )


@_in_time
async def note_heard(pool: Pool, heard: Sequence[tuple[int, int, int]]) -> None:
    """(device_id, session_no, when) of sessions that are alive. DatabaseUnavailableError."""
    if not heard:
        return
    columns = list(zip(*sorted(heard), strict=True))
    async with pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        await connection.execute(HEARD, [list(column) for column in columns])


@_in_time
async def note_come(pool: Pool, come: Sequence[tuple[int, int, int]]) -> None:
    """(device_id, session_no, when) of sessions whose device was given an owner. DatabaseUnavailableError."""
    if not come:
        return
    columns = list(zip(*sorted(come), strict=True))
    async with pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        await connection.execute(COME, [list(column) for column in columns])


@_in_time
async def note_gone(pool: Pool, gone: Sequence[tuple[int, int]]) -> None:
    """(device_id, session_no) of sessions that ended, unless a newer one began. DatabaseUnavailableError."""
    if not gone:
        return
    columns = list(zip(*sorted(gone), strict=True))
    async with pool.connection(CHECKOUT_TIMEOUT_S) as connection:
        found = await connection.execute(GONE, [list(column) for column in columns])
        left = [str(row[0]) for row in await found.fetchall()]
        if left:
            await connection.execute(HINT, [left])


async def listen(dsn: str, hint: Callable[[int], None]) -> None:
    """Call ``hint(device_id)`` for every hint that arrives, until cancelled.

    DatabaseUnavailableError when the connection cannot be made or is lost; hints are lost with it.
    """
    try:
        async with await psycopg.AsyncConnection.connect(
            dsn,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="smartconnect gateway hints",
            **_KEEPALIVE,
        ) as connection:
            await connection.execute("LISTEN device")
            async for notice in connection.notifies():
                with contextlib.suppress(ValueError):
                    hint(int(notice.payload))
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(str(error).strip()) from error
