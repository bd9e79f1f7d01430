"""Samples and events for export, page by page, and what is stored about a person.

Every statement finds the rows through one of the company's own ownerships of the device: it returns what was
reported while the device was this company's, and nothing of any other time, also if the device changed hands
since the page before. Pages go on behind a mark (time, stream, seq), so nothing is open between two of them,
and each is read in the order of the key: its cost does not grow with what lies before or behind it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from cloud.postgres.devices import BITS, FLOATS
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection
from protocol.points import VALUES

AT_ONCE: Final = 1000
"""Rows of a person that are made into objects in one turn of the event loop."""

Mark = tuple[int, int, int]
"""Unix microseconds, stream, seq: behind it the next page begins."""

POINTS: Final = tuple(point.name for point in VALUES if point.name in {*BITS, *FLOATS})
SAMPLE_COLUMNS: Final = ("ts_ms", "flags", *(name for name in POINTS if name != "flags"))
EVENT_COLUMNS: Final = ("ts_ms", "kind", "time_uncertain", "received_ms", "detail")

_SAMPLES: Final = sql.SQL(
    "SELECT (extract(epoch FROM found.ts) * 1000000)::bigint, found.stream, found.seq, {columns}"
    " FROM company_samples(%(company)s, %(device)s, %(epoch)s, %(from)s, %(to)s, %(at)s, %(stream)s, %(seq)s,"
    " %(limit)s) AS found"
).format(columns=sql.SQL(", ").join(sql.Identifier("found", name) for name in SAMPLE_COLUMNS[1:]))
_EVENTS: Final = sql.SQL(
    "SELECT (extract(epoch FROM found.ts) * 1000000)::bigint, found.stream, found.seq, {columns}"
    " FROM ownership o, LATERAL ("
    "SELECT * FROM event t WHERE t.device_id = o.device_id AND t.epoch = o.epoch"
    " AND t.ts >= greatest(to_timestamp(%(from)s / 1000.0), to_timestamp(%(at)s / 1000000.0))"
    " AND t.ts < least(to_timestamp(%(to)s / 1000.0), to_timestamp(o.until_ms / 1000.0))"
    " AND (t.ts, t.stream, t.seq) > (to_timestamp(%(at)s / 1000000.0), %(stream)s, %(seq)s)"
    " ORDER BY t.ts, t.stream, t.seq LIMIT %(limit)s) AS found"
    " WHERE o.device_id = %(device)s AND o.epoch = %(epoch)s AND o.company_id = %(company)s"
    " ORDER BY found.ts, found.stream, found.seq LIMIT %(limit)s"
).format(columns=sql.SQL(", ").join(sql.Identifier("found", name) for name in EVENT_COLUMNS[1:]))
"""``least`` ignores NULL: a live ownership has no end."""


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


@dataclass(frozen=True, slots=True)
class Part:
    """Which rows: of one ownership by a company, from ``from_ms`` up to, but without, ``to_ms``."""

    company_id: int
    device_id: int
    epoch: int
    from_ms: int
    to_ms: int


async def samples(pool: Pool, part: Part, *, after: Mark, limit: int) -> list[tuple[Mark, tuple[Any, ...]]]:
    """The next samples in order of time: (mark, values in the order of SAMPLE_COLUMNS)."""
    return await _page(pool, _SAMPLES, part, after, limit)


async def events(pool: Pool, part: Part, *, after: Mark, limit: int) -> list[tuple[Mark, tuple[Any, ...]]]:
    """The next events in order of time: (mark, values in the order of EVENT_COLUMNS)."""
    return await _page(pool, _EVENTS, part, after, limit)


async def _page(
    pool: Pool, statement: sql.Composed, part: Part, after: Mark, limit: int
) -> list[tuple[Mark, tuple[Any, ...]]]:
    arguments = {
        "company": part.company_id,
        "device": part.device_id,
        "epoch": part.epoch,
        "from": part.from_ms,
        "to": part.to_ms,
        "at": after[0],
        "stream": after[1],
        "seq": after[2],
        "limit": limit,
    }
    async with pool.connection() as connection, connection.transaction():
        # The key has the order that is asked for. A planner that thinks few rows are left would read them all
        # for every page and sort them.
        await connection.execute("SET LOCAL enable_sort = off")
        found = await connection.execute(statement, arguments)
        return [(tuple(row[:3]), (row[0] // 1000, *row[3:])) for row in await found.fetchall()]


# --- a person's own data ------------------------------------------------------------------------------------

_PERSON: Final[Sequence[tuple[str, str]]] = (
    (
        "account",
        (
            "SELECT email, first_name, last_name, language, time_zone, location, address, city, zip_code,"
            " state_province, phone, promotions, privacy_ms, privacy_version,"
            " created_ms, password_ms, email_verified_ms, two_factor"
            " FROM account JOIN account_factor USING (account_id) WHERE account_id = %(account)s"
        ),
    ),
    (
        "partners",
        (
            "SELECT issuer, subject, email, connected_ms, used_ms FROM partner_identity"
            " WHERE account_id = %(account)s ORDER BY connected_ms"
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
        "passkeys",
        (
            "SELECT name, rp_id AS made_for, transports, created_ms, used_ms FROM passkey"
            " WHERE account_id = %(account)s ORDER BY created_ms, passkey_id"
        ),
    ),
    (
        "api_tokens",
        (
            "SELECT t.name, c.name AS company, t.scopes, t.created_ms, t.expires_ms, t.used_ms,"
            " t.used_network FROM api_token t JOIN company c USING (company_id)"
            " WHERE t.account_id = %(account)s ORDER BY t.token_id"
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
        "systems",
        (
            "SELECT s.number, s.slot, c.name AS company, s.from_ms, s.until_ms,"
            " s.account_id = %(account)s AS by_you, CASE WHEN s.until_ms IS NULL THEN r.system_id END"
            " AS system_id, CASE WHEN s.until_ms IS NULL THEN coalesce((SELECT jsonb_object_agg(f.field,"
            " f.value) FROM registration_field f WHERE f.number = s.number), '{}') END AS data,"
            " CASE WHEN s.until_ms IS NULL AND s.slot = 'end_user' THEN r.information_ms END"
            " AS consent_information_ms,"
            " CASE WHEN s.until_ms IS NULL AND s.slot = 'end_user' THEN r.personal_ms END"
            " AS consent_personal_ms"
            " FROM membership m JOIN company c USING (company_id) JOIN registration_slot s USING (company_id)"
            " JOIN registration r USING (number) WHERE m.account_id = %(account)s"
            " ORDER BY s.from_ms, s.number, s.slot_no"
        ),
    ),
    (
        "system_changes",
        (
            "SELECT ts_ms, number, kind, field, before, after FROM registration_audit"
            " WHERE account_id = %(account)s ORDER BY ts_ms, number, audit_no"
        ),
    ),
    (
        "system_offers",
        (
            "SELECT number, slot, kind, to_email, state, created_ms, expires_ms, closed_ms"
            " FROM registration_offer WHERE account_id = %(account)s ORDER BY created_ms, number"
        ),
    ),
    (
        "awaited_systems",
        (
            "SELECT system_id, slot, operation, number, state, reason, created_ms, expires_ms, decided_ms"
            " FROM system_intent WHERE account_id = %(account)s ORDER BY created_ms, system_id"
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
    (
        "notifications",
        (
            "SELECT n.created_ms, d.sent_to, p.name AS policy, n.items FROM notice_delivery d"
            " JOIN notice n USING (notice_id) LEFT JOIN notice_policy p ON p.policy_id = n.policy_id"
            " WHERE d.account_id = %(account)s ORDER BY d.delivery_id"
        ),
    ),
    (
        "unsubscribed",
        (
            "SELECT p.name AS policy, o.since_ms FROM notice_opt_out o JOIN notice_policy p USING (policy_id)"
            " WHERE o.account_id = %(account)s ORDER BY o.since_ms"
        ),
    ),
    (
        "acknowledged",
        (
            "SELECT device_id::text, topic, acked_ms, ack_reason FROM alarm WHERE acked_by = %(account)s"
            " ORDER BY acked_ms, device_id"
        ),
    ),
)


async def person(connection: Connection, account_id: int) -> dict[str, list[dict[str, Any]]]:
    """All that is stored about a person and the companies they are in, by kind; no secret, no hash."""
    found: dict[str, list[dict[str, Any]]] = {}
    async with connection.cursor(row_factory=dict_row) as cursor:
        for name, statement in _PERSON:
            await cursor.execute(statement.encode(), {"account": account_id})
            rows = found[name] = []
            while some := await cursor.fetchmany(AT_ONCE):
                rows += some
                await asyncio.sleep(0)  # others have their turn
    return found
