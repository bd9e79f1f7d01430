"""Which partner's identity belongs to which account."""

from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class Connected:
    """An account's connection with a partner, as its page shows it."""

    email: str
    connected_ms: int
    used_ms: int


async def find_account(connection: Connection, issuer: str, subject: str) -> int | None:
    """The account of an identity; None where nobody has connected it."""
    cursor = await connection.execute(
        "SELECT account_id FROM partner_identity WHERE issuer = %s AND subject = %s", [issuer, subject]
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def note_use(connection: Connection, issuer: str, subject: str, now_ms: int) -> None:
    """It has just led to a log-in."""
    await connection.execute(
        "UPDATE partner_identity SET used_ms = %s WHERE issuer = %s AND subject = %s",
        [now_ms, issuer, subject],
    )


async def connect(
    connection: Connection, partner: dict[str, Any], account_id: int, email: str, now_ms: int
) -> bool:
    """Connect {issuer, subject} with an account; False where either is connected with another one."""
    done = await connection.execute(
        "INSERT INTO partner_identity (issuer, subject, account_id, email, connected_ms, used_ms)"
        " VALUES (%(issuer)s, %(subject)s, %(account)s, %(email)s, %(now)s, %(now)s) ON CONFLICT DO NOTHING",
        {**partner, "account": account_id, "email": email, "now": now_ms},
    )
    if done.rowcount == 1:
        return True
    return await find_account(connection, partner["issuer"], partner["subject"]) == account_id


async def disconnect(connection: Connection, issuer: str, account_id: int) -> bool:
    """End the connection of an account; False where there is none."""
    done = await connection.execute(
        "DELETE FROM partner_identity WHERE issuer = %s AND account_id = %s", [issuer, account_id]
    )
    return done.rowcount == 1


async def find_connection(connection: Connection, issuer: str, account_id: int) -> Connected | None:
    """What an account is connected with."""
    async with connection.cursor(row_factory=class_row(Connected)) as cursor:
        await cursor.execute(
            "SELECT email, connected_ms, used_ms FROM partner_identity WHERE issuer = %s AND account_id = %s",
            [issuer, account_id],
        )
        return await cursor.fetchone()


async def forget_password_time(connection: Connection, account_id: int) -> None:
    """The account began without a password that anybody knows."""
    await connection.execute("UPDATE account SET password_ms = NULL WHERE account_id = %s", [account_id])
