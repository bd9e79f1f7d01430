"""Alarms in the database: new events folded into them, what is to be decided, what people were told.

Every function works in the caller's transaction. Order of locks: the row of a company in ``notice_company``,
then its alarms.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import dict_row

from cloud.core.notice import Alarm, Topic
from cloud.core.notice_plan import Key, Told
from cloud.core.notice_policy import Place
from cloud.postgres.transaction import Connection

_ALARM: Final = "epoch, stream, seq, began_ms, changed_ms, ended_ms, changes, once, detail, acked_ms"
Rows = Mapping[Key, Alarm]


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event nobody has looked at. ``company_id`` is None where the ownership it came in is over."""

    device_id: int
    stream: int
    seq: int
    epoch: int
    at_ms: int
    received_ms: int
    kind: str
    detail: Mapping[str, Any]
    company_id: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm that a person sees: what stands now on a device of the company."""

    device_id: int
    topic: str
    subject: str
    began_ms: int
    detail: str
    acked_ms: int | None
    acked_by: str
    ack_reason: str
    product_id: str
    name: str
    model: str
    site: str


async def hold_intake(connection: Connection) -> bool:
    """Whether nobody else folds events at this moment; nobody does until the transaction ends."""
    found = await connection.execute("SELECT 1 FROM notice_intake FOR UPDATE SKIP LOCKED")
    return await found.fetchone() is not None


async def new_events(connection: Connection, limit: int) -> list[NewEvent]:
    """The oldest ones; those of one device in the order in which they happened."""
    found = await connection.execute(
        "SELECT e.device_id, e.stream, e.seq, e.epoch, (extract(epoch FROM e.ts) * 1000)::bigint,"
        " e.received_ms, e.kind, e.detail, o.company_id FROM"
        " (SELECT * FROM event WHERE NOT noticed ORDER BY received_ms LIMIT %s) e"
        " LEFT JOIN ownership o ON o.device_id = e.device_id AND o.epoch = e.epoch AND o.until_ms IS NULL"
        " ORDER BY e.device_id, e.stream, e.seq",
        (limit,),
    )
    return [NewEvent(*row) for row in await found.fetchall()]


async def mark_noticed(connection: Connection, events: Sequence[NewEvent]) -> None:
    """These were looked at."""
    await connection.execute(
        "UPDATE event e SET noticed = true FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[])"
        " AS n(device_id, stream, seq) WHERE e.device_id = n.device_id AND e.stream = n.stream"
        " AND e.seq = n.seq",
        (
            [event.device_id for event in events],
            [event.stream for event in events],
            [event.seq for event in events],
        ),
    )


async def load(connection: Connection, device_ids: Iterable[int]) -> dict[Key, Alarm]:
    """All alarms of these devices."""
    found = await connection.execute(
        f"SELECT device_id, topic, subject, {_ALARM} FROM alarm WHERE device_id = ANY(%s)",  # noqa: S608  our columns
        (sorted(set(device_ids)),),
    )
    return {Key(row[0], Topic(row[1]), row[2]): Alarm(*row[3:]) for row in await found.fetchall()}


async def save(connection: Connection, company_of: Mapping[int, int], alarms: Rows) -> None:
    """Store what these alarms are now; somebody has to decide about them again."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            f"INSERT INTO alarm (device_id, topic, subject, company_id, {_ALARM})"  # noqa: S608  our columns
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (device_id, topic, subject) DO UPDATE SET company_id = excluded.company_id,"
            " epoch = excluded.epoch, stream = excluded.stream, seq = excluded.seq,"
            " began_ms = excluded.began_ms, changed_ms = excluded.changed_ms, ended_ms = excluded.ended_ms,"
            " changes = excluded.changes, once = excluded.once, detail = excluded.detail,"
            " acked_ms = excluded.acked_ms, acked_by = NULL, ack_reason = '', settled = false",
            [
                (
                    *(key.device_id, key.topic.value, key.subject, company_of[key.device_id]),
                    *(alarm.epoch, alarm.stream, alarm.seq, alarm.began_ms, alarm.changed_ms),
                    *(alarm.ended_ms, alarm.changes, alarm.once, alarm.detail, alarm.acked_ms),
                )
                for key, alarm in sorted(alarms.items())
            ],
        )


# --- deciding -----------------------------------------------------------------------------------------------


async def wake(connection: Connection, company_ids: Iterable[int], now_ms: int) -> None:
    """Somebody has to decide about these companies; their rows are held from now on."""
    await connection.execute(
        "INSERT INTO notice_company (company_id, look_ms, created_ms)"
        " SELECT company_id, %(now)s, %(now)s FROM unnest(%(companies)s::bigint[]) AS c(company_id)"
        " ORDER BY company_id ON CONFLICT (company_id) DO UPDATE"
        " SET look_ms = least(coalesce(notice_company.look_ms, excluded.look_ms), excluded.look_ms)",
        {"now": now_ms, "companies": sorted(set(company_ids))},
    )


async def take_company(connection: Connection, now_ms: int) -> int | None:
    """A company about which something is to be decided, held until the transaction ends."""
    found = await connection.execute(
        "SELECT company_id FROM notice_company WHERE look_ms <= %s ORDER BY look_ms LIMIT 1"
        " FOR UPDATE SKIP LOCKED",
        (now_ms,),
    )
    row = await found.fetchone()
    return None if row is None else int(row[0])


async def look_again(connection: Connection, company_id: int, look_ms: int | None) -> None:
    """When the company's turn comes again."""
    await connection.execute(
        "UPDATE notice_company SET look_ms = %s WHERE company_id = %s", (look_ms, company_id)
    )


async def unsettled(connection: Connection, company_id: int) -> tuple[dict[Key, Alarm], dict[int, Place]]:
    """What is to be decided, of devices that the company still owns and wants to be told about.

    All else is settled.
    """
    await connection.execute(
        "UPDATE alarm a SET settled = true WHERE a.company_id = %s AND NOT a.settled AND NOT EXISTS"
        " (SELECT 1 FROM ownership o WHERE o.device_id = a.device_id AND o.epoch = a.epoch"
        "  AND o.until_ms IS NULL AND o.notifications)",
        (company_id,),
    )
    found = await connection.execute(
        "SELECT a.device_id, a.topic, a.subject, a.epoch, a.stream, a.seq, a.began_ms, a.changed_ms,"
        " a.ended_ms, a.changes, a.once, a.detail, a.acked_ms, coalesce(o.site_id, 0),"
        " coalesce(w.above, '{}') FROM alarm a JOIN ownership o ON o.device_id = a.device_id"
        " AND o.epoch = a.epoch AND o.until_ms IS NULL LEFT JOIN site w ON w.site_id = o.site_id"
        " WHERE a.company_id = %s AND NOT a.settled",
        (company_id,),
    )
    alarms, places = {}, {}
    for row in await found.fetchall():
        alarm = Alarm(*row[3:13])
        alarms[Key(row[0], Topic(row[1]), row[2])] = alarm
        places[row[0]] = Place(row[0], alarm.epoch, row[13], tuple(row[14]))
    return alarms, places


async def sensitivities(connection: Connection, device_ids: Sequence[int]) -> dict[int, int]:
    """Device Sensitivity of those devices that have one: seconds on battery before it is told."""
    found = await connection.execute(
        "SELECT device_id, device_sensitivity_s FROM ownership WHERE device_id = ANY(%s)"
        " AND until_ms IS NULL AND device_sensitivity_s > 0",
        (list(device_ids),),
    )
    return {row[0]: row[1] for row in await found.fetchall()}


async def told(
    connection: Connection, policy_ids: Sequence[int], device_ids: Sequence[int]
) -> dict[tuple[int, Key], Told]:
    """What the people of these policies believe."""
    found = await connection.execute(
        "SELECT policy_id, device_id, topic, subject, epoch, standing, changes, times_ms, raised_ms,"
        " escalated FROM alarm_told WHERE device_id = ANY(%s) AND policy_id = ANY(%s)",
        (list(device_ids), list(policy_ids)),
    )
    return {
        (row[0], Key(row[1], Topic(row[2]), row[3])): Told(
            row[4], row[5], row[6], tuple(row[7]), row[8], row[9]
        )
        for row in await found.fetchall()
    }


async def save_told(connection: Connection, told: Mapping[tuple[int, Key], Told]) -> None:
    """Store what they believe now."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO alarm_told (policy_id, device_id, topic, subject, epoch, standing, changes,"
            " times_ms, raised_ms, escalated) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (device_id, topic, subject, policy_id) DO UPDATE SET epoch = excluded.epoch,"
            " standing = excluded.standing, changes = excluded.changes, times_ms = excluded.times_ms,"
            " raised_ms = excluded.raised_ms, escalated = excluded.escalated",
            [
                (
                    *(policy_id, key.device_id, key.topic.value, key.subject, one.epoch, one.standing),
                    *(one.changes, list(one.times_ms), one.raised_ms, one.escalated),
                )
                for (policy_id, key), one in sorted(told.items())
            ],
        )


async def settle(connection: Connection, keys: Iterable[Key]) -> None:
    """Nothing is to be decided about these until they change."""
    ordered = sorted(keys)
    await connection.execute(
        "UPDATE alarm a SET settled = true FROM unnest(%s::bigint[], %s::text[], %s::text[])"
        " AS s(device_id, topic, subject) WHERE a.device_id = s.device_id AND a.topic = s.topic"
        " AND a.subject = s.subject",
        (
            [key.device_id for key in ordered],
            [key.topic.value for key in ordered],
            [key.subject for key in ordered],
        ),
    )


# --- people -------------------------------------------------------------------------------------------------

_STANDING: Final = (
    "SELECT a.device_id, a.topic, a.subject, a.began_ms, a.detail, a.acked_ms,"
    " coalesce(nullif(trim(p.first_name || ' ' || p.last_name), ''), '') AS acked_by, a.ack_reason,"
    " d.product_id, o.name, d.model, coalesce(s.name, '') AS site"
    " FROM alarm a JOIN ownership o ON o.device_id = a.device_id AND o.epoch = a.epoch AND o.until_ms IS NULL"
    " JOIN device d ON d.device_id = a.device_id LEFT JOIN site s ON s.site_id = o.site_id"
    " LEFT JOIN account p ON p.account_id = a.acked_by"
    " WHERE o.company_id = %(company)s AND a.ended_ms IS NULL"
)


async def standing(connection: Connection, company_id: int, device_id: int | None = None) -> list[Standing]:
    """What stands now on the company's devices, or on one of them; unacknowledged first, newest first."""
    one = "" if device_id is None else " AND a.device_id = %(device)s"
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"{_STANDING}{one} ORDER BY a.acked_ms IS NOT NULL, a.began_ms DESC, a.device_id, a.topic"
            " LIMIT 1000",
            {"company": company_id, "device": device_id},
        )
        return [Standing(**row) for row in await cursor.fetchall()]


async def acknowledge(
    connection: Connection, company_id: int, key: Key, account_id: int, reason: str, now_ms: int
) -> bool:
    """Somebody has seen a standing alarm; the first one stays. False where there is none to acknowledge."""
    done = await connection.execute(
        "UPDATE alarm a SET acked_ms = coalesce(a.acked_ms, %(now)s),"
        " acked_by = CASE WHEN a.acked_ms IS NULL THEN %(account)s ELSE a.acked_by END,"
        " ack_reason = CASE WHEN a.acked_ms IS NULL THEN %(reason)s ELSE a.ack_reason END"
        " FROM ownership o WHERE o.device_id = a.device_id AND o.epoch = a.epoch AND o.until_ms IS NULL"
        " AND o.company_id = %(company)s AND a.device_id = %(device)s AND a.topic = %(topic)s"
        " AND a.subject = %(subject)s AND a.ended_ms IS NULL",
        {
            "now": now_ms,
            "account": account_id,
            "reason": reason,
            "company": company_id,
            "device": key.device_id,
            "topic": key.topic.value,
            "subject": key.subject,
        },
    )
    return done.rowcount == 1
