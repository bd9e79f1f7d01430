"""Commands in the database. Whoever makes or ends one holds the device's row; a gateway that hands one over,
and a result that comes in, change its own row only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.core.authz import Role
from cloud.core.command import ANSWER_MS, OPEN, Happening, State, step
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction
from protocol.commands import OUTLET_KINDS

MAX_ROWS: Final = 200
SHOWN: Final = 5
_OPEN: Final = sorted(OPEN)
_SELECT: Final = (
    "SELECT c.command_id::text, c.device_id, c.epoch, c.kind, c.arguments, c.state, c.company_id,"
    " c.account_id, a.first_name, a.last_name, c.issued_ms, c.expires_ms, c.due_ms, c.delivered_ms,"
    " c.ended_ms, c.reported_ms, c.code, c.detail"
    " FROM command c JOIN account a USING (account_id) WHERE c.device_id = %s AND c.epoch = %s"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommand:
    """A command about to be written."""

    device_id: int
    command_id: str
    epoch: int
    kid: str
    counter: int
    kind: str
    arguments: Mapping[str, Any]
    sealed: bytes
    company_id: int
    account_id: int
    issued_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """A command as stored, with who asked for it."""

    command_id: str
    device_id: int
    epoch: int
    kind: str
    arguments: Mapping[str, Any]
    state: str
    company_id: int
    account_id: int
    first_name: str
    last_name: str
    issued_ms: int
    expires_ms: int
    due_ms: int | None
    delivered_ms: int | None
    ended_ms: int | None
    reported_ms: int | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Rights:
    """What the log-in of who asks may and has proved, at this moment."""

    role: Role
    two_factor: bool
    factor_ms: int | None


@dataclass(frozen=True, slots=True)
class Lately:
    """The commands of a device that count against a further one."""

    count: int
    outlet_under_way: bool


# --- asking -------------------------------------------------------------------------------------------------


async def rights(
    connection: Connection, session_hash: bytes, account_id: int, company_id: int
) -> Rights | None:
    """Of this log-in, or of an API token, which proves nobody's presence; None where it has ended, or the
    person is no member (any more).
    """
    found = await connection.execute(
        "SELECT m.role, f.two_factor, s.factor_ms FROM"
        " (SELECT account_id, company_id, factor_ms FROM web_session WHERE session_hash = %(hash)s"
        "  UNION ALL SELECT account_id, company_id, NULL FROM api_token WHERE token_hash = %(hash)s) s"
        " JOIN account a USING (account_id) JOIN membership m USING (company_id, account_id)"
        " JOIN account_factor f USING (account_id)"
        " WHERE s.account_id = %(account)s AND s.company_id = %(company)s AND a.disabled_ms IS NULL",
        {"hash": session_hash, "account": account_id, "company": company_id},
    )
    row = await found.fetchone()
    return None if row is None else Rights(Role(row[0]), row[1], row[2])


async def lately(connection: Connection, device_id: int, epoch: int, since_ms: int, now_ms: int) -> Lately:
    """Commands of this ownership since then, and whether an outlet is being switched now."""
    found = await connection.execute(
        "SELECT count(*) FILTER (WHERE issued_ms > %(since)s),"
        " coalesce(bool_or(due_ms > %(now)s AND kind = ANY(%(outlets)s)), false)"
        " FROM command WHERE device_id = %(device)s AND epoch = %(epoch)s"
        " AND (issued_ms > %(since)s OR due_ms IS NOT NULL)",
        {
            "device": device_id,
            "epoch": epoch,
            "since": since_ms,
            "now": now_ms,
            "outlets": sorted(OUTLET_KINDS),
        },
    )
    row = await found.fetchone()
    if row is None:
        raise AssertionError("an aggregate has one row")
    return Lately(*row)


async def take_counter(connection: Connection, device_id: int, now_ms: int) -> int:
    """The next counter, as :func:`cloud.core.command.next_counter` says; the device's row is held."""
    found = await connection.execute(
        "UPDATE device SET last_counter = greatest(last_counter + 1, %s) WHERE device_id = %s"
        " RETURNING last_counter",
        [now_ms, device_id],
    )
    row = await found.fetchone()
    if row is None:
        raise AssertionError("the device's row is held")
    return int(row[0])


async def insert(connection: Connection, new: NewCommand) -> None:
    """Store a command that is requested now."""
    values = {field.name: getattr(new, field.name) for field in fields(new)}
    await connection.execute(
        "INSERT INTO command (device_id, command_id, epoch, kid, counter, kind, arguments, sealed,"
        " company_id, account_id, issued_ms, expires_ms, due_ms)"
        " VALUES (%(device_id)s, %(command_id)s, %(epoch)s, %(kid)s, %(counter)s, %(kind)s, %(arguments)s,"
        " %(sealed)s, %(company_id)s, %(account_id)s, %(issued_ms)s, %(expires_ms)s, %(expires_ms)s)",
        {**values, "arguments": Jsonb(dict(new.arguments))},
    )


async def find(connection: Connection, device_id: int, epoch: int, command_id: str) -> CommandRow | None:
    """A command of this ownership."""
    async with connection.cursor(row_factory=class_row(CommandRow)) as cursor:
        await cursor.execute(
            f"{_SELECT} AND c.command_id = %s::uuid",
            [device_id, epoch, command_id],
        )
        return await cursor.fetchone()


async def newest(connection: Connection, device_id: int, epoch: int, limit: int) -> list[CommandRow]:
    """The commands of this ownership, newest first."""
    async with connection.cursor(row_factory=class_row(CommandRow)) as cursor:
        await cursor.execute(
            f"{_SELECT} ORDER BY c.counter DESC LIMIT %s",
            [device_id, epoch, min(limit, MAX_ROWS)],
        )
        return await cursor.fetchall()


async def marks(pool: Pool, device_ids: list[int]) -> dict[int, str]:
    """For each device something that changes when its newest commands do."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT l.device_id, m.mark FROM latest l, LATERAL ("
            "   SELECT string_agg(counter || state, ' ') AS mark FROM ("
            "       SELECT counter, state FROM command WHERE device_id = l.device_id AND epoch = l.epoch"
            "        ORDER BY counter DESC LIMIT %s) AS shown) AS m"
            " WHERE l.device_id = ANY(%s) AND m.mark IS NOT NULL",
            [SHOWN, device_ids],
        )
        return {device_id: mark async for device_id, mark in cursor}


# --- handing over -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parcel:
    """A signed command for a session."""

    command_id: str
    kind: str
    sealed: bytes


TAKE: Final = (
    "UPDATE command c SET state = %(delivered)s, delivered_ms = %(now)s, session_no = %(session)s,"
    " due_ms = expires_ms + %(answer)s FROM latest l"
    " WHERE c.device_id = %(device)s AND c.expires_ms > %(now)s"
    " AND (c.state = %(requested)s OR (c.state = %(delivered)s AND c.delivered_ms = %(now)s"
    "      AND c.session_no = %(session)s))"
    " AND l.device_id = c.device_id AND l.kid = c.kid AND l.kid = %(kid)s AND l.epoch = c.epoch"
    " AND l.session_no = %(session)s AND NOT l.revoked"
    " RETURNING c.command_id::text, c.kind, c.sealed, c.counter"
)


async def take(pool: Pool, device_id: int, kid: str, session_no: int, now_ms: int) -> list[Parcel]:
    """What waits for this session of the bound key, marked as delivered: nobody gets it again.

    A call that is repeated within, after a lost connection, finds what it has marked by its own ``now_ms``.
    """

    async def work(connection: Connection) -> list[Parcel]:
        found = await connection.execute(
            TAKE,
            {
                "device": device_id,
                "kid": kid,
                "session": session_no,
                "now": now_ms,
                "answer": ANSWER_MS,
                "requested": State.REQUESTED.value,
                "delivered": step(State.REQUESTED, Happening.HANDED_OVER).value,
            },
        )
        rows = sorted(await found.fetchall(), key=lambda row: row[3])
        if rows:
            await _hint(connection, device_id)
        return [Parcel(row[0], row[1], bytes(row[2])) for row in rows]

    return await in_transaction(
        pool, work, before_commit="gateway.command.before", after_commit="gateway.command.after"
    )


# --- ending -------------------------------------------------------------------------------------------------


async def overdue(connection: Connection, now_ms: int, limit: int) -> list[int]:
    """Devices with commands whose time is over."""
    found = await connection.execute(
        "SELECT DISTINCT device_id FROM command WHERE due_ms <= %s ORDER BY device_id LIMIT %s",
        [now_ms, limit],
    )
    return [row[0] for row in await found.fetchall()]


async def end_overdue(connection: Connection, device_id: int, now_ms: int) -> int:
    """Write down that the time of a device's commands is over; how many there were."""
    return await _end(connection, device_id, Happening.TIME_OVER, now_ms, due_ms=now_ms)


async def end_open(connection: Connection, device_id: int, now_ms: int) -> int:
    """The device has another owner, none, or another key: what is open ends; how many there were."""
    return await _end(connection, device_id, Happening.OWNER_CHANGED, now_ms)


async def _end(
    connection: Connection, device_id: int, what: Happening, now_ms: int, due_ms: int | None = None
) -> int:
    ended = 0
    for state in _OPEN:
        done = await connection.execute(
            "UPDATE command SET state = %(after)s, ended_ms = %(now)s, due_ms = NULL, code = %(code)s"
            " WHERE device_id = %(device)s AND state = %(before)s"
            " AND due_ms <= coalesce(%(due)s::bigint, due_ms)",
            {
                "after": step(State(state), what).value,
                "before": state,
                "device": device_id,
                "now": now_ms,
                "due": due_ms,
                "code": what.value,
            },
        )
        ended += done.rowcount
    if ended:
        await _hint(connection, device_id)
    return ended


async def _hint(connection: Connection, device_id: int) -> None:
    await connection.execute("SELECT pg_notify('device', %s)", [str(device_id)])
