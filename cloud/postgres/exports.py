"""Samples and events for export, page by page, and what is stored about a person.

Every statement finds the rows through the company's own ownerships of the device: it returns what was
reported while the device was this company's, and nothing of any other time, also if the device changed hands
since the page before. Pages go on behind a mark (time, stream, seq), so nothing is open between two of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from cloud.postgres.devices import BITS, FLOATS
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection
from protocol.points import VALUES

Mark = tuple[int, int, int]
"""Unix microseconds, stream, seq: behind it the next page begins."""

POINTS: Final = tuple(point.name for point in VALUES if point.name in {*BITS, *FLOATS})
SAMPLE_COLUMNS: Final = ("ts_ms", "flags", *(name for name in POINTS if name != "flags"))
EVENT_COLUMNS: Final = ("ts_ms", "kind", "time_uncertain", "received_ms", "detail")

_MICROS: Final = sql.SQL("(extract(epoch FROM t.ts) * 1000000)::bigint")
_OWN: Final = sql.SQL(
    " FROM {table} t JOIN ownership o ON o.device_id = t.device_id AND o.epoch = t.epoch"
    " WHERE t.device_id = %(device)s AND o.company_id = %(company)s"
    " AND (o.until_ms IS NULL OR t.ts < to_timestamp(o.until_ms / 1000.0))"
    " AND t.ts >= to_timestamp(%(from)s / 1000.0) AND t.ts < to_timestamp(%(to)s / 1000.0)"
    " AND t.ts >= to_timestamp(%(at)s / 1000000.0)"
    " AND (t.ts, t.stream, t.seq) > (to_timestamp(%(at)s / 1000000.0), %(stream)s, %(seq)s)"
    " ORDER BY t.ts, t.stream, t.seq LIMIT %(limit)s"
)


@dataclass(frozen=True, slots=True)
class Tenure:
    """One time in which a company owned a device; ``until_ms`` None: it does now."""

    epoch: int
    from_ms: int
    until_ms: int | None


async def tenures(pool: Pool, company_id: int, device_id: int) -> tuple[str, list[Tenure]]:
    """The device's Product ID and this company's ownerships of it, oldest first; none for a stranger."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT d.product_id, o.epoch, o.from_ms, o.until_ms FROM ownership o JOIN device d"
            " USING (device_id) WHERE o.device_id = %s AND o.company_id = %s ORDER BY o.epoch",
            (device_id, company_id),
        )
        rows = await found.fetchall()
    return (rows[0][0] if rows else ""), [Tenure(*row[1:]) for row in rows]


def _arguments(
    company_id: int, device_id: int, from_ms: int, to_ms: int, mark: Mark, limit: int
) -> Mapping[str, int]:
    return {
        "company": company_id,
        "device": device_id,
        "from": from_ms,
        "to": to_ms,
        "at": mark[0],
        "stream": mark[1],
        "seq": mark[2],
        "limit": limit,
    }


async def samples(
    pool: Pool, company_id: int, device_id: int, *, from_ms: int, to_ms: int, after: Mark, limit: int
) -> list[tuple[Mark, tuple[Any, ...]]]:
    """The next samples in order of time: (mark, values in the order of SAMPLE_COLUMNS)."""
    columns = sql.SQL(", ").join(sql.Identifier("t", name) for name in SAMPLE_COLUMNS[1:])
    one = sql.SQL("(SELECT {micros} AS at, t.stream, t.seq, {columns}").format(
        micros=_MICROS, columns=columns
    )
    tables = sql.SQL(" UNION ALL ").join(
        sql.Composed([one, _OWN.format(table=sql.Identifier(table)), sql.SQL(")")])
        for table in ("telemetry", "telemetry_late")
    )
    statement = sql.SQL("SELECT * FROM ({tables}) AS found ORDER BY at, stream, seq LIMIT %(limit)s").format(
        tables=tables
    )
    async with pool.connection() as connection:
        found = await connection.execute(
            statement, _arguments(company_id, device_id, from_ms, to_ms, after, limit)
        )
        return [((row[0], row[1], row[2]), (row[0] // 1000, *row[3:])) for row in await found.fetchall()]


async def events(
    pool: Pool, company_id: int, device_id: int, *, from_ms: int, to_ms: int, after: Mark, limit: int
) -> list[tuple[Mark, tuple[Any, ...]]]:
    """The next events in order of time: (mark, values in the order of EVENT_COLUMNS)."""
    statement = sql.SQL("SELECT {micros}, t.stream, t.seq, t.kind, t.time_uncertain, t.received_ms, t.detail")
    async with pool.connection() as connection:
        found = await connection.execute(
            statement.format(micros=_MICROS) + _OWN.format(table=sql.Identifier("event")),
            _arguments(company_id, device_id, from_ms, to_ms, after, limit),
        )
        return [((row[0], row[1], row[2]), (row[0] // 1000, *row[3:])) for row in await found.fetchall()]


# --- a person's own data ------------------------------------------------------------------------------------

_PERSON: Final[Sequence[tuple[str, str]]] = (
    (
        "account",
        (
            "SELECT email, first_name, last_name, language, time_zone, location, address, city, zip_code,"
            " state_province, phone, promotions, privacy_ms, created_ms, password_ms, email_verified_ms,"
            " EXISTS (SELECT 1 FROM totp WHERE totp.account_id = account.account_id"
            "   AND confirmed_ms IS NOT NULL) AS two_factor"
            " FROM account WHERE account_id = %(account)s"
        ),
    ),
    (
        "companies",
        (
            "SELECT c.name, m.role, m.created_ms AS member_since_ms, c.created_ms, c.business_type,"
            " c.area_of_focus, c.industry_segment, c.address, c.city, c.zip_code, c.location,"
            " c.state_province, c.contact_name, c.contact_email, c.contact_phone"
            " FROM membership m JOIN company c USING (company_id) WHERE m.account_id = %(account)s"
            " ORDER BY m.created_ms, c.company_id"
        ),
    ),
    (
        "log_ins",
        (
            "SELECT created_ms, seen_ms, expires_ms, address, user_agent FROM web_session"
            " WHERE account_id = %(account)s ORDER BY created_ms"
        ),
    ),
    (
        "devices",
        (
            "SELECT o.device_id::text, d.product_id, d.model, d.sku, d.serial, d.firmware, o.name,"
            " o.description, o.time_zone, c.name AS company, o.from_ms AS owned_since_ms"
            " FROM membership m JOIN company c USING (company_id)"
            " JOIN ownership o ON o.company_id = m.company_id AND o.until_ms IS NULL"
            " JOIN device d USING (device_id) WHERE m.account_id = %(account)s"
            " ORDER BY o.from_ms, o.device_id"
        ),
    ),
    (
        "ownerships",
        (
            "SELECT o.device_id::text, d.product_id, c.name AS company, o.name, o.from_ms, o.until_ms,"
            " o.ended_by, o.account_id = %(account)s AS by_you"
            " FROM membership m JOIN company c USING (company_id) JOIN ownership o USING (company_id)"
            " JOIN device d USING (device_id) WHERE m.account_id = %(account)s"
            " ORDER BY o.from_ms, o.device_id"
        ),
    ),
    (
        "claims",
        (
            "SELECT k.device_id::text, d.product_id, k.state, k.reason, k.created_ms, k.expires_ms,"
            " k.decided_ms FROM claim k JOIN device d USING (device_id) WHERE k.account_id = %(account)s"
            " ORDER BY k.created_ms, k.device_id"
        ),
    ),
    (
        "account_audit",
        (
            "SELECT ts_ms, kind, detail, address FROM account_audit WHERE account_id = %(account)s"
            " ORDER BY ts_ms, audit_id"
        ),
    ),
    (
        "device_audit",
        (
            "SELECT ts_ms, device_id::text, kind, detail FROM device_audit WHERE account_id = %(account)s"
            " ORDER BY ts_ms, device_id, audit_id"
        ),
    ),
    (
        "mails",
        (
            "SELECT created_ms, to_address, subject, kind, sent_ms FROM mail WHERE account_id = %(account)s"
            " ORDER BY created_ms, mail_id"
        ),
    ),
)


async def person(connection: Connection, account_id: int) -> dict[str, list[dict[str, Any]]]:
    """All that is stored about a person and the companies they are in, by kind; no secret, no hash."""
    found: dict[str, list[dict[str, Any]]] = {}
    async with connection.cursor(row_factory=dict_row) as cursor:
        for name, statement in _PERSON:
            await cursor.execute(statement.encode(), {"account": account_id})
            found[name] = await cursor.fetchall()
    return found
