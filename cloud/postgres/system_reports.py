"""What servers say of themselves, and what waits for them: reports, attachments, intents, requests, offers.

Every function works in the caller's transaction; the server's or the registration's row is locked by it where
something is written.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from cloud.postgres.transaction import Connection
from protocol.system import Attachment, SystemReport

# --- reports ------------------------------------------------------------------------------------------------


async def note_report(connection: Connection, report: SystemReport, now_ms: int) -> bool:
    """Store what the server says; False where its counter has not grown."""
    done = await connection.execute(
        "UPDATE system_server SET counter = %(counter)s, seen_ms = %(now)s, kind = %(kind)s, name = %(name)s,"
        " product_version = %(version)s, licences = %(licences)s, uptime_s = %(uptime)s"
        " WHERE system_id = %(id)s AND counter < %(counter)s",
        {
            "id": report.system_id,
            "counter": report.counter,
            "now": now_ms,
            "kind": report.kind.value,
            "name": report.name,
            "version": report.version,
            "licences": json.dumps(list(report.licences)),
            "uptime": report.uptime_s,
        },
    )
    return done.rowcount == 1


async def note_attachment(connection: Connection, word: Attachment) -> None:
    """An attached server's own word, unless a newer one is known."""
    await connection.execute(
        "UPDATE system_server SET attached_to = %s, attached_counter = %s"
        " WHERE system_id = %s AND attached_counter < %s",
        (word.to, word.counter, word.system_id, word.counter),
    )


async def attachments(connection: Connection, system_ids: Sequence[str]) -> dict[int, str]:
    """Registrations of these servers → the Enterprise Server that theirs is attached to, both having said so;
    "" where it stands alone.
    """
    found = await connection.execute(
        "SELECT s.number, coalesce(e.system_id, '') FROM system_server s"
        " LEFT JOIN system_member m ON m.system_id = s.attached_to AND m.member_id = s.system_id"
        " LEFT JOIN system_server e ON e.system_id = m.system_id AND e.kind = 'enterprise_server'"
        " AND s.kind = 'standalone' WHERE s.system_id = ANY(%s) AND s.number IS NOT NULL",
        (list(system_ids),),
    )
    return {row[0]: row[1] for row in await found.fetchall()}


async def gone_enterprise(connection: Connection, system_id: str) -> str:
    """The System ID that this server says it is attached to, where that is retired for good; else ""."""
    found = await connection.execute(
        "SELECT e.system_id FROM system_server s JOIN system_server e ON e.system_id = s.attached_to"
        " WHERE s.system_id = %s AND e.retired_ms IS NOT NULL",
        (system_id,),
    )
    row = await found.fetchone()
    return "" if row is None else str(row[0])


async def set_members(connection: Connection, system_id: str, members: Sequence[str]) -> None:
    """Which servers the Enterprise Server says are attached to it."""
    await connection.execute(
        "DELETE FROM system_member WHERE system_id = %s AND member_id <> ALL(%s)", (system_id, list(members))
    )
    await connection.execute(
        "INSERT INTO system_member (system_id, member_id)"
        " SELECT %s, member FROM unnest(%s::text[]) AS member ON CONFLICT DO NOTHING",
        (system_id, sorted(set(members))),
    )


async def members_said(connection: Connection, system_id: str) -> list[str]:
    """Servers that this Enterprise Server has said are attached to it, whatever those say."""
    found = await connection.execute("SELECT member_id FROM system_member WHERE system_id = %s", (system_id,))
    return [row[0] for row in await found.fetchall()]


async def members_of(connection: Connection, system_id: str) -> list[str]:
    """Servers attached to this Enterprise Server, both having said so."""
    found = await connection.execute(
        "SELECT m.member_id FROM system_member m JOIN system_server s ON s.system_id = m.member_id"
        " JOIN system_server e ON e.system_id = m.system_id"
        " WHERE m.system_id = %s AND s.attached_to = m.system_id AND e.kind = 'enterprise_server'"
        " AND s.kind = 'standalone' ORDER BY m.member_id",
        (system_id,),
    )
    return [row[0] for row in await found.fetchall()]


async def enterprise_of(connection: Connection, system_id: str) -> tuple[str, int | None] | None:
    """The Enterprise Server this one is attached to, both having said so, and its registration's number."""
    found = await connection.execute(
        "SELECT e.system_id, e.number FROM system_server s"
        " JOIN system_server e ON e.system_id = s.attached_to"
        " JOIN system_member m ON m.system_id = e.system_id AND m.member_id = s.system_id"
        " WHERE s.system_id = %s AND s.kind = 'standalone' AND e.kind = 'enterprise_server'",
        (system_id,),
    )
    row = await found.fetchone()
    return None if row is None else (row[0], row[1])


async def bound_keys(connection: Connection, device_ids: Sequence[int]) -> dict[tuple[int, str], bytes]:
    """Public keys of these devices' bound device keys, by device and kid."""
    found = await connection.execute(
        "SELECT device_id, kid, device_pub FROM device_key WHERE device_id = ANY(%s) AND state = 'bound'",
        (list(device_ids),),
    )
    return {(row[0], row[1]): bytes(row[2]) for row in await found.fetchall()}


async def set_ups(
    connection: Connection, system_id: str, ups: Sequence[tuple[int, str]], now_ms: int
) -> None:
    """Which UPSs are under this server (device, kid), each having said so."""
    await connection.execute(
        "DELETE FROM system_ups WHERE system_id = %s AND device_id <> ALL(%s)",
        (system_id, [device_id for device_id, _kid in ups]),
    )
    for device_id, kid in sorted(ups):
        await connection.execute(
            "INSERT INTO system_ups (device_id, system_id, kid, said_ms) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (device_id) DO UPDATE SET system_id = excluded.system_id, kid = excluded.kid,"
            " said_ms = excluded.said_ms WHERE system_ups.system_id <> excluded.system_id"
            " OR system_ups.kid <> excluded.kid",
            (device_id, system_id, kid, now_ms),
        )


async def ups_of(connection: Connection, system_id: str) -> list[int]:
    """Devices under this server."""
    found = await connection.execute(
        "SELECT device_id FROM system_ups WHERE system_id = %s ORDER BY device_id", (system_id,)
    )
    return [row[0] for row in await found.fetchall()]


async def told(connection: Connection, system_id: str, content: bytes, now_ms: int) -> int:
    """The version of the state that is told now: the last one where nothing has changed, else a new one."""
    await connection.execute(
        "UPDATE system_server SET told_version = greatest(told_version + 1, %s), told_hash = %s"
        " WHERE system_id = %s AND told_hash IS DISTINCT FROM %s",
        (now_ms, content, system_id, content),
    )
    found = await connection.execute(
        "SELECT told_version FROM system_server WHERE system_id = %s", (system_id,)
    )
    row = await found.fetchone()
    return 0 if row is None else int(row[0])


async def set_ticket(connection: Connection, system_id: str, secret_hash: bytes, until_ms: int) -> None:
    """The hash of what a link for *Register now* holds; the last one is the one that counts."""
    await connection.execute(
        "UPDATE system_server SET ticket_hash = %s, ticket_until_ms = %s WHERE system_id = %s",
        (secret_hash, until_ms, system_id),
    )


async def ticket_fits(connection: Connection, system_id: str, secret_hash: bytes, now_ms: int) -> bool:
    """Whether this is the server's present ticket."""
    found = await connection.execute(
        "SELECT 1 FROM system_server WHERE system_id = %s AND ticket_hash = %s AND ticket_until_ms > %s",
        (system_id, secret_hash, now_ms),
    )
    return await found.fetchone() is not None


async def has_ticket(connection: Connection, system_id: str, now_ms: int) -> bool:
    """Whether somebody at the server may be registering it just now."""
    found = await connection.execute(
        "SELECT 1 FROM system_server WHERE system_id = %s AND ticket_hash IS NOT NULL"
        " AND ticket_until_ms > %s",
        (system_id, now_ms),
    )
    return await found.fetchone() is not None


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """Something that a server's people are told."""

    notice_no: int
    ts_ms: int
    code: str


async def notices(connection: Connection, system_id: str, limit: int) -> list[NoticeRow]:
    """The newest ones, the oldest of them first."""
    async with connection.cursor(row_factory=class_row(NoticeRow)) as cursor:
        await cursor.execute(
            "SELECT * FROM (SELECT notice_no, ts_ms, code FROM system_notice WHERE system_id = %s"
            " ORDER BY notice_no DESC LIMIT %s) AS newest ORDER BY notice_no",
            (system_id, limit),
        )
        return await cursor.fetchall()


# --- who typed a System ID ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IntentRow:
    """Somebody typed this System ID and waits for its server's yes."""

    system_id: str
    intent_id: str
    company_id: int
    account_id: int
    company: str
    slot: str
    operation: int
    number: int | None
    replaces: str
    state: str
    reason: str
    created_ms: int
    expires_ms: int


_INTENT = (
    "SELECT i.system_id, i.intent_id::text, i.company_id, i.account_id, c.name AS company, i.slot,"
    " i.operation, i.number, i.replaces, CASE WHEN i.state = 'waiting' AND i.expires_ms <= %(now)s"
    " THEN 'expired' ELSE i.state END AS state, i.reason, i.created_ms, i.expires_ms"
    " FROM system_intent i JOIN company c USING (company_id)"
)


async def intents_of_server(connection: Connection, system_id: str, now_ms: int) -> list[IntentRow]:
    """Those that wait for this server, the oldest first; of companies that are open."""
    async with connection.cursor(row_factory=class_row(IntentRow)) as cursor:
        await cursor.execute(
            _INTENT + " WHERE i.system_id = %(id)s AND i.state = 'waiting' AND i.expires_ms > %(now)s"
            " AND c.closed_ms IS NULL ORDER BY i.created_ms, i.intent_id",
            {"id": system_id, "now": now_ms},
        )
        return await cursor.fetchall()


async def intents_of_company(connection: Connection, company_id: int, now_ms: int) -> list[IntentRow]:
    """What the company waits for, the newest first."""
    async with connection.cursor(row_factory=class_row(IntentRow)) as cursor:
        await cursor.execute(
            _INTENT + " WHERE i.company_id = %(company)s AND i.state = 'waiting' AND i.expires_ms > %(now)s"
            " ORDER BY i.created_ms DESC",
            {"company": company_id, "now": now_ms},
        )
        return await cursor.fetchall()


async def find_intent(
    connection: Connection, system_id: str, intent_id: str, now_ms: int
) -> IntentRow | None:
    """One of them, as it stands."""
    async with connection.cursor(row_factory=class_row(IntentRow)) as cursor:
        await cursor.execute(
            _INTENT + " WHERE i.system_id = %(id)s AND i.intent_id = %(intent)s::uuid",
            {"id": system_id, "intent": intent_id, "now": now_ms},
        )
        return await cursor.fetchone()


async def expire_intents(connection: Connection, system_id: str, now_ms: int) -> None:
    """Close those whose time is over, so that they are in nobody's way."""
    await connection.execute(
        "UPDATE system_intent SET state = 'expired', decided_ms = %s"
        " WHERE system_id = %s AND state = 'waiting' AND expires_ms <= %s",
        (now_ms, system_id, now_ms),
    )


async def cancel_intents(connection: Connection, company_id: int, now_ms: int) -> None:
    """A company waits for no server any more."""
    await connection.execute(
        "UPDATE system_intent SET state = 'cancelled', decided_ms = %s"
        " WHERE company_id = %s AND state = 'waiting'",
        (now_ms, company_id),
    )


async def add_intent(connection: Connection, intent: IntentRow) -> str:
    """Wait for the server's yes; the company's own open one, if any, is changed instead. Its name."""
    done = await connection.execute(
        "INSERT INTO system_intent (system_id, intent_id, company_id, account_id, slot, operation, number,"
        " replaces, created_ms, expires_ms) VALUES (%s, %s::uuid, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (system_id, company_id) WHERE state = 'waiting' DO UPDATE SET slot = excluded.slot,"
        " account_id = excluded.account_id, operation = excluded.operation, number = excluded.number,"
        " replaces = excluded.replaces, created_ms = excluded.created_ms, expires_ms = excluded.expires_ms"
        " RETURNING intent_id::text",
        (
            *(intent.system_id, intent.intent_id, intent.company_id, intent.account_id, intent.slot),
            *(intent.operation, intent.number, intent.replaces, intent.created_ms, intent.expires_ms),
        ),
    )
    row = await done.fetchone()
    return "" if row is None else str(row[0])


async def close_intent(
    connection: Connection, system_id: str, intent_id: str, state: str, reason: str, now_ms: int
) -> bool:
    """How it ended; False where it has ended already."""
    done = await connection.execute(
        "UPDATE system_intent SET state = %s, reason = %s, decided_ms = %s"
        " WHERE system_id = %s AND intent_id = %s::uuid AND state = 'waiting'",
        (state, reason, now_ms, system_id, intent_id),
    )
    return done.rowcount == 1


# --- offline requests ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request that was answered with a code."""

    system_id: str
    nonce: bytes
    operation: int
    number: int
    company_id: int
    code: str
    day: int
    made_ms: int


async def find_request(connection: Connection, system_id: str, nonce: bytes) -> RequestRow | None:
    """The answer that was given to it."""
    async with connection.cursor(row_factory=class_row(RequestRow)) as cursor:
        await cursor.execute(
            "SELECT system_id, nonce, operation, number, company_id, code, day, made_ms FROM system_request"
            " WHERE system_id = %s AND nonce = %s",
            (system_id, nonce),
        )
        return await cursor.fetchone()


async def newest_code(connection: Connection, system_id: str, number: int) -> RequestRow | None:
    """The last code that was made for this server and registration."""
    async with connection.cursor(row_factory=class_row(RequestRow)) as cursor:
        await cursor.execute(
            "SELECT system_id, nonce, operation, number, company_id, code, day, made_ms FROM system_request"
            " WHERE system_id = %s AND number = %s ORDER BY made_ms DESC LIMIT 1",
            (system_id, number),
        )
        return await cursor.fetchone()


async def put_request(connection: Connection, row: RequestRow) -> None:
    """Keep the answer to a request; a code that has expired gives way to a new one."""
    await connection.execute(
        "INSERT INTO system_request (system_id, nonce, operation, number, company_id, code, day, made_ms)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (system_id, nonce) DO UPDATE"
        " SET code = excluded.code, day = excluded.day, made_ms = excluded.made_ms",
        (
            *(row.system_id, row.nonce, row.operation, row.number, row.company_id),
            *(row.code, row.day, row.made_ms),
        ),
    )
