"""Notices and their deliveries: written with the decision, sent at least once, and a log for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection

MAX_ERROR_CHARS: Final = 300
LOG_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as its sender takes it. ``site`` is a name, empty without one."""

    delivery_id: int
    notice_id: int
    company_id: int
    policy_id: int | None
    step: int
    account_id: int | None
    channel_id: int | None
    site: str
    notice_ms: int
    tries: int
    items: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One delivery as a person reads it."""

    delivery_id: int
    notice_id: int
    created_ms: int
    policy: str
    step: int
    to_whom: str
    way: str
    tries: int
    sent_ms: int | None
    ended_ms: int | None
    next_ms: int | None
    error: str
    items: list[dict[str, Any]]
    site: str


async def insert(
    connection: Connection,
    company_id: int,
    policy_id: int | None,
    *,
    site_id: int,
    step: int,
    items: Sequence[Mapping[str, Any]],
    now_ms: int,
) -> int:
    """A new notice; its number."""
    done = await connection.execute(
        "INSERT INTO notice (company_id, policy_id, site_id, step, created_ms, items)"
        " VALUES (%s, %s, %s, %s, %s, %s) RETURNING notice_id",
        (company_id, policy_id, site_id, step, now_ms, Jsonb(list(items))),
    )
    return int((await done.fetchall())[0][0])


async def insert_delivery(
    connection: Connection,
    notice_id: int,
    company_id: int,
    *,
    now_ms: int,
    account_id: int | None = None,
    channel_id: int | None = None,
    sent_to: str = "",
) -> int:
    """A new delivery: to a person, by the outbox of mails, or to a channel; its number."""
    done = await connection.execute(
        "INSERT INTO notice_delivery (notice_id, company_id, account_id, channel_id, sent_to, created_ms,"
        " next_ms) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING delivery_id",
        (
            *(notice_id, company_id, account_id, channel_id, sent_to, now_ms),
            None if channel_id is None else now_ms,
        ),
    )
    return int((await done.fetchall())[0][0])


_DELIVERY: Final = (
    "d.delivery_id, d.notice_id, d.company_id, n.policy_id, n.step, d.account_id, d.channel_id,"
    " coalesce((SELECT s.name FROM site s WHERE s.site_id = n.site_id), '') AS site,"
    " n.created_ms AS notice_ms, d.tries, n.items"
)


async def take(pool: Pool, *, now_ms: int, lease_ms: int, limit: int) -> list[Delivery]:
    """What is due for channels, oldest first; nobody else gets it for ``lease_ms``."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Delivery)) as cursor:
        await cursor.execute(
            "UPDATE notice_delivery d SET tries = d.tries + 1, next_ms = %(now)s + %(lease)s FROM notice n"  # noqa: S608
            " WHERE n.notice_id = d.notice_id AND d.delivery_id IN (SELECT delivery_id FROM notice_delivery"
            " WHERE sent_ms IS NULL AND ended_ms IS NULL AND next_ms <= %(now)s"
            " ORDER BY next_ms, delivery_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"
            f" RETURNING {_DELIVERY}",
            {"now": now_ms, "lease": lease_ms, "limit": limit},
        )
        return sorted(await cursor.fetchall(), key=lambda one: one.delivery_id)


async def find(connection: Connection, delivery_id: int) -> Delivery | None:
    """A delivery, whatever has become of it."""
    async with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        await cursor.execute(
            f"SELECT {_DELIVERY} FROM notice_delivery d JOIN notice n USING (notice_id)"  # noqa: S608  our columns
            " WHERE d.delivery_id = %s AND d.ended_ms IS NULL",
            (delivery_id,),
        )
        return await cursor.fetchone()


async def still_owned(
    connection: Connection, company_id: int, items: Sequence[Mapping[str, Any]]
) -> set[int]:
    """The devices of these items that the company still owns, in the ownership the items are about."""
    found = await connection.execute(
        "SELECT o.device_id FROM unnest(%s::bigint[], %s::bigint[]) AS i(device_id, epoch)"
        " JOIN ownership o ON o.device_id = i.device_id AND o.epoch = i.epoch"
        " WHERE o.until_ms IS NULL AND o.company_id = %s",
        ([item["device"] for item in items], [item["epoch"] for item in items], company_id),
    )
    return {row[0] for row in await found.fetchall()}


async def name_address(connection: Connection, delivery_id: int, address: str) -> None:
    """Where it is sent this time."""
    await connection.execute(
        "UPDATE notice_delivery SET sent_to = %s WHERE delivery_id = %s", (address, delivery_id)
    )


async def mark_sent(pool: Pool, delivery_id: int, now_ms: int) -> None:
    """The receiver has confirmed it."""
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE notice_delivery SET sent_ms = %s, error = '' WHERE delivery_id = %s",
            (now_ms, delivery_id),
        )


async def postpone(pool: Pool, delivery_id: int, next_ms: int, error: str) -> None:
    """It was not taken; the next try comes at ``next_ms``."""
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE notice_delivery SET next_ms = %s, error = %s WHERE delivery_id = %s",
            (next_ms, _line(error), delivery_id),
        )


async def give_up(pool: Pool, delivery_id: int, now_ms: int, error: str) -> None:
    """It will not be sent."""
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE notice_delivery SET ended_ms = %s, error = %s WHERE delivery_id = %s",
            (now_ms, _line(error), delivery_id),
        )


async def log_of(connection: Connection, company_id: int, before_id: int | None = None) -> list[LogLine]:
    """The newest deliveries of a company, newest first; those before a number when it is given."""
    async with connection.cursor(row_factory=class_row(LogLine)) as cursor:
        await cursor.execute(
            "SELECT d.delivery_id, d.notice_id, d.created_ms, coalesce(p.name, '') AS policy, n.step,"
            " CASE WHEN c.channel_id IS NULL THEN d.sent_to ELSE c.name END AS to_whom,"
            " coalesce(c.kind, 'email') AS way, coalesce(m.tries, d.tries) AS tries,"
            " coalesce(m.sent_ms, d.sent_ms) AS sent_ms, coalesce(m.ended_ms, d.ended_ms) AS ended_ms,"
            " coalesce(m.next_ms, d.next_ms) AS next_ms,"
            " CASE WHEN m.mail_id IS NULL THEN d.error ELSE m.error END AS error, n.items,"
            " coalesce((SELECT s.name FROM site s WHERE s.site_id = n.site_id), '') AS site"
            " FROM notice_delivery d JOIN notice n USING (notice_id)"
            " LEFT JOIN notice_policy p ON p.policy_id = n.policy_id"
            " LEFT JOIN notice_channel c ON c.channel_id = d.channel_id"
            " LEFT JOIN mail m ON m.delivery_id = d.delivery_id"
            " WHERE d.company_id = %(company)s AND (%(before)s::bigint IS NULL OR d.delivery_id < %(before)s)"
            " ORDER BY d.delivery_id DESC LIMIT %(limit)s",
            {"company": company_id, "before": before_id, "limit": LOG_ROWS},
        )
        return await cursor.fetchall()


async def forget(pool: Pool, before_ms: int) -> int:
    """Remove notices written before this, with their deliveries; how many there were."""
    async with pool.connection() as connection:
        done = await connection.execute("DELETE FROM notice WHERE created_ms < %s", (before_ms,))
        return done.rowcount


async def erase_person(connection: Connection, account_id: int, now_ms: int) -> None:
    """Nothing of what somebody was told, or is to be told, keeps their address."""
    await connection.execute("DELETE FROM notice_opt_out WHERE account_id = %s", (account_id,))
    await connection.execute(
        "DELETE FROM notice_target WHERE kind = 'account' AND target = %s", (str(account_id),)
    )
    await connection.execute(
        "UPDATE notice_delivery SET sent_to = '', ended_ms = CASE WHEN sent_ms IS NULL"
        " THEN coalesce(ended_ms, %s) END WHERE account_id = %s",
        (now_ms, account_id),
    )


async def erase_company(connection: Connection, company_id: int, now_ms: int) -> None:
    """A company closes: sites, policies, channels, windows and notices go."""
    await connection.execute(
        "UPDATE ownership SET site_id = NULL WHERE site_id IN"
        " (SELECT site_id FROM site WHERE company_id = %s)",
        (company_id,),
    )
    for table in ("site", "notice", "maintenance_window"):
        await connection.execute(f"DELETE FROM {table} WHERE company_id = %s", (company_id,))  # noqa: S608  ours
    await connection.execute(
        "UPDATE notice_policy SET ended_ms = coalesce(ended_ms, %s), name = '' WHERE company_id = %s",
        (now_ms, company_id),
    )
    await connection.execute(
        "UPDATE notice_channel SET ended_ms = coalesce(ended_ms, %s), name = '', shown = '', sealed = ''"
        " WHERE company_id = %s",
        (now_ms, company_id),
    )


def _line(text: str) -> str:
    """An error for the table: one line, printable, capped."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:MAX_ERROR_CHARS]
