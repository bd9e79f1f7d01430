"""The outbox in PostgreSQL: mails written with what they tell about, taken by a sender, sent at least once.

``put`` runs in the caller's transaction: no mail about something that was rolled back, and none lost. A
sender takes mails for ``lease_ms``; whoever dies with one leaves it to the next. In the mailbox mode nobody
takes them and the mailbox page reads them with ``newest`` and ``read``.
"""

from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row

from cloud.core.mail import Mail
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection

__all__ = ["Letter", "Mail", "Parcel", "forget", "give_up", "newest", "put", "put_nothing", "read", "take"]

MAX_ERROR_CHARS: Final = 300
_INSERT: Final = (
    "INSERT INTO mail (to_address, subject, text, html, kind, account_id, created_ms, expires_ms, next_ms,"
    " ended_ms, delivery_id) VALUES (%(to)s, %(subject)s, %(text)s, %(html)s, %(kind)s, %(account)s, %(now)s,"
    " %(expires)s, %(now)s, %(ended)s, %(delivery)s) RETURNING mail_id"
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A mail as its sender takes it; ``tries`` counts the one that is about to be made."""

    mail_id: int
    to_address: str
    subject: str
    text: str
    html: str | None
    kind: str
    created_ms: int
    expires_ms: int | None
    tries: int
    delivery_id: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as the mailbox page shows it."""

    mail_id: int
    to_address: str
    subject: str
    text: str
    html: str | None
    kind: str
    created_ms: int
    sent_ms: int | None
    error: str


async def put(connection: Connection, mail: Mail) -> int:
    """Write a mail in the caller's transaction; its number."""
    return await _insert(connection, mail, ended=False)


async def put_nothing(connection: Connection, mail: Mail) -> int:
    """The work of ``put`` without a mail: for answers that may not tell whether somebody is known."""
    empty = Mail(mail.to_address, "", "", mail.kind, mail.created_ms)
    return await _insert(connection, empty, ended=True)


async def _insert(connection: Connection, mail: Mail, *, ended: bool) -> int:
    cursor = await connection.execute(
        _INSERT,
        {
            "to": mail.to_address,
            "subject": mail.subject_line,
            "text": mail.text,
            "html": mail.html,
            "kind": mail.kind,
            "account": mail.account_id,
            "now": mail.created_ms,
            "expires": mail.expires_ms,
            "ended": mail.created_ms if ended else None,
            "delivery": mail.delivery_id,
        },
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def take(pool: Pool, *, now_ms: int, lease_ms: int, limit: int) -> list[Parcel]:
    """The mails that are due, oldest first; nobody else gets them for ``lease_ms``."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Parcel)) as cursor:
        await cursor.execute(
            "UPDATE mail SET tries = tries + 1, next_ms = %(now)s + %(lease)s WHERE mail_id IN ("
            " SELECT mail_id FROM mail WHERE sent_ms IS NULL AND ended_ms IS NULL AND next_ms <= %(now)s"
            " ORDER BY next_ms, mail_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"
            " RETURNING mail_id, to_address, subject, text, html, kind, created_ms, expires_ms, tries,"
            " delivery_id",
            {"now": now_ms, "lease": lease_ms, "limit": limit},
        )
        return sorted(await cursor.fetchall(), key=lambda parcel: parcel.mail_id)


async def mark_sent(pool: Pool, mail_id: int, now_ms: int) -> None:
    """A mail server has taken it. Its text goes, for it may hold a code or a link."""
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE mail SET sent_ms = %s, error = '', text = '', html = NULL WHERE mail_id = %s",
            [now_ms, mail_id],
        )


async def postpone(pool: Pool, mail_id: int, next_ms: int, error: str) -> None:
    """It was not sent; the next try comes at ``next_ms``."""
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE mail SET next_ms = %s, error = %s WHERE mail_id = %s",
            [next_ms, _line(error), mail_id],
        )


async def give_up(pool: Pool, mail_id: int, now_ms: int, error: str) -> None:
    """It will not be sent: refused for good, or too old."""
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE mail SET ended_ms = %s, error = %s, text = '', html = NULL WHERE mail_id = %s",
            [now_ms, _line(error), mail_id],
        )


async def newest(pool: Pool, *, limit: int = 50, to_address: str | None = None) -> list[Letter]:
    """The newest mails, newest first; those to one address when it is given."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Letter)) as cursor:
        await cursor.execute(
            "SELECT mail_id, to_address, subject, text, html, kind, created_ms, sent_ms, error FROM mail"
            " WHERE ended_ms IS NULL AND (%(to)s::text IS NULL OR lower(to_address) = lower(%(to)s))"
            " ORDER BY mail_id DESC LIMIT %(limit)s",
            {"to": to_address, "limit": limit},
        )
        return await cursor.fetchall()


async def read(pool: Pool, mail_id: int) -> Letter | None:
    """One mail for the mailbox page."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Letter)) as cursor:
        await cursor.execute(
            "SELECT mail_id, to_address, subject, text, html, kind, created_ms, sent_ms, error FROM mail"
            " WHERE mail_id = %s AND ended_ms IS NULL",
            [mail_id],
        )
        return await cursor.fetchone()


async def forget(pool: Pool, before_ms: int) -> int:
    """Remove mails written before this; how many there were."""
    async with pool.connection() as connection:
        cursor = await connection.execute("DELETE FROM mail WHERE created_ms < %s", [before_ms])
        return cursor.rowcount


def _line(text: str) -> str:
    """An error for the table: one line, printable, capped."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:MAX_ERROR_CHARS]
