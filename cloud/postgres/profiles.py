"""What people change about themselves: data, password, address, log-ins; and the end of an account."""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg.errors
from psycopg import sql
from psycopg.rows import class_row

from cloud.core.account import Email
from cloud.core.profile import FIELDS
from cloud.postgres import notices, rules
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class Profile:
    """A person's own data."""

    account_id: int
    email: str
    first_name: str
    last_name: str
    language: str
    time_zone: str
    location: str
    address: str
    city: str
    zip_code: str
    state_province: str
    phone: str
    promotions: bool
    two_factor: bool
    created_ms: int
    password_ms: int | None


@dataclass(frozen=True, slots=True)
class LogIn:
    """A live session as its owner sees it; ``session_hash`` names it and opens nothing."""

    session_hash: bytes
    created_ms: int
    seen_ms: int
    expires_ms: int
    address: str
    user_agent: str
    company_name: str


async def find(pool: Pool, account_id: int) -> Profile | None:
    """A person's data."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Profile)) as cursor:
        await cursor.execute(
            sql.SQL(
                "SELECT account_id, email, promotions, account.created_ms, password_ms,"
                " two_factor, {} FROM account"
                " JOIN account_factor USING (account_id) WHERE account_id = %s AND deleted_ms IS NULL"
            ).format(sql.SQL(", ").join(map(sql.Identifier, FIELDS))),
            [account_id],
        )
        return await cursor.fetchone()


async def update(
    connection: Connection, account_id: int, values: Mapping[str, str], promotions: bool | None
) -> None:
    """Write these of ``FIELDS``, and whether product information is wanted."""
    names = [name for name in FIELDS if name in values]
    parts: list[sql.Composable] = [sql.SQL("{} = %s").format(sql.Identifier(name)) for name in names]
    arguments: list[object] = [values[name] for name in names]
    if promotions is not None:
        parts.append(sql.SQL("promotions = %s"))
        arguments.append(promotions)
    if parts:
        statement = sql.SQL("UPDATE account SET {} WHERE account_id = %s").format(sql.SQL(", ").join(parts))
        await connection.execute(statement, [*arguments, account_id])


async def set_password(connection: Connection, account_id: int, password_hash: str, now_ms: int) -> None:
    """Another password; log-ins that wait for a second factor and links for a new password are void."""
    await connection.execute(
        "UPDATE account SET password_hash = %s, password_ms = %s WHERE account_id = %s",
        [password_hash, now_ms, account_id],
    )
    await connection.execute("DELETE FROM login_step WHERE account_id = %s", [account_id])
    await void_resets(connection, account_id, now_ms)


async def void_resets(connection: Connection, account_id: int, now_ms: int) -> None:
    """No link for a new password that is out works any more."""
    await connection.execute(
        "UPDATE password_reset SET used_ms = %s WHERE account_id = %s AND used_ms IS NULL",
        [now_ms, account_id],
    )


async def find_by_email(connection: Connection, email: Email) -> tuple[int, str] | None:
    """(account_id, email as it was typed once) of an enabled account."""
    cursor = await connection.execute(
        "SELECT account_id, email FROM account WHERE email_norm = %s AND disabled_ms IS NULL", [email.folded]
    )
    row = await cursor.fetchone()
    return None if row is None else (int(row[0]), str(row[1]))


# --- log-ins ------------------------------------------------------------------------------------------------


async def log_ins(pool: Pool, account_id: int, *, now_ms: int, idle_ms: int) -> list[LogIn]:
    """The live sessions of a person, the most recently used first."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(LogIn)) as cursor:
        await cursor.execute(
            "SELECT session_hash, web_session.created_ms, seen_ms, expires_ms, web_session.address,"
            " user_agent, company.name AS company_name FROM web_session JOIN company USING (company_id)"
            " WHERE account_id = %s AND expires_ms > %s AND seen_ms > %s ORDER BY seen_ms DESC, session_hash",
            [account_id, now_ms, now_ms - idle_ms],
        )
        return await cursor.fetchall()


async def end_log_ins(
    connection: Connection, account_id: int, *, only: bytes | None = None, keep: bytes | None = None
) -> int:
    """End one session of a person, or all but ``keep``; how many there were."""
    done = await connection.execute(
        "DELETE FROM web_session WHERE account_id = %s AND (%s::bytea IS NULL OR session_hash = %s)"
        " AND (%s::bytea IS NULL OR session_hash <> %s)",
        [account_id, only, only, keep, keep],
    )
    return done.rowcount


# --- links for a new password -------------------------------------------------------------------------------


async def insert_reset(
    connection: Connection, token_hash: bytes, account_id: int | None, *, now_ms: int, expires_ms: int
) -> None:
    """A link; without an account it leads nowhere. Links that ran out are forgotten."""
    await connection.execute("DELETE FROM password_reset WHERE expires_ms <= %s", [now_ms])
    await connection.execute(
        "INSERT INTO password_reset (token_hash, account_id, created_ms, expires_ms) VALUES (%s, %s, %s, %s)",
        [token_hash, account_id, now_ms, expires_ms],
    )


async def open_resets(connection: Connection, account_id: int | None, now_ms: int) -> int:
    """How many links of an account are out."""
    cursor = await connection.execute(
        "SELECT count(*) FROM password_reset WHERE account_id = %s AND used_ms IS NULL AND expires_ms > %s",
        [account_id, now_ms],
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def find_reset(connection: Connection, token_hash: bytes, now_ms: int) -> int | None:
    """Whose link this is, held until the transaction ends; None where it is void."""
    cursor = await connection.execute(
        "SELECT account_id FROM password_reset JOIN account USING (account_id)"
        " WHERE token_hash = %s AND used_ms IS NULL AND expires_ms > %s AND disabled_ms IS NULL"
        " FOR UPDATE OF password_reset",
        [token_hash, now_ms],
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


# --- another e-mail address ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EmailChange:
    """A new address that is not confirmed yet."""

    email: str
    email_norm: str
    known: bool


async def put_email_change(
    connection: Connection, holder: bytes, account_id: int, email: Email, *, now_ms: int, expires_ms: int
) -> EmailChange:
    """Write the wish, in place of an earlier one."""
    cursor = await connection.execute(
        "INSERT INTO email_change (token_hash, account_id, email, email_norm, known, created_ms, expires_ms)"
        " VALUES (%(holder)s, %(account)s, %(email)s, %(norm)s,"
        " EXISTS (SELECT 1 FROM account WHERE email_norm = %(norm)s), %(now)s, %(expires)s)"
        " ON CONFLICT (account_id) DO UPDATE SET email = excluded.email, email_norm = excluded.email_norm,"
        " known = excluded.known, created_ms = excluded.created_ms, expires_ms = excluded.expires_ms"
        " RETURNING known",
        {
            "holder": holder,
            "account": account_id,
            "email": email.value,
            "norm": email.folded,
            "now": now_ms,
            "expires": expires_ms,
        },
    )
    row = await cursor.fetchone()
    return EmailChange(email.value, email.folded, bool(row and row[0]))


async def find_email_change(connection: Connection, account_id: int, now_ms: int) -> EmailChange | None:
    """The wish of a person, held until the transaction ends."""
    async with connection.cursor(row_factory=class_row(EmailChange)) as cursor:
        await cursor.execute(
            "SELECT email, email_norm, known FROM email_change WHERE account_id = %s AND expires_ms > %s"
            " FOR UPDATE",
            [account_id, now_ms],
        )
        return await cursor.fetchone()


async def change_email(connection: Connection, account_id: int, change: EmailChange, now_ms: int) -> bool:
    """The address is proved; False where another account has it by now: then nothing more works in this
    transaction.
    """
    await connection.execute("DELETE FROM email_change WHERE account_id = %s", [account_id])
    try:
        await connection.execute(
            "UPDATE account SET email = %s, email_norm = %s, email_verified_ms = %s WHERE account_id = %s",
            [change.email, change.email_norm, now_ms, account_id],
        )
    except psycopg.errors.UniqueViolation:
        return False
    return True


# --- the end of an account ----------------------------------------------------------------------------------


async def erase(connection: Connection, account_id: int, now_ms: int) -> None:
    """Nothing personal stays; the row does, for claims, ownerships and audit lines refer to it."""
    for table in (
        "web_session",
        "login_step",
        "totp",
        "passkey",
        "recovery_code",
        "password_reset",
        "email_change",
        "partner_identity",
        "idempotency",
        "help_opinion",
        "operator",
        "membership",
    ):
        await connection.execute(
            sql.SQL("DELETE FROM {} WHERE account_id = %s").format(sql.Identifier(table)), [account_id]
        )
    await notices.erase_person(connection, account_id, now_ms)
    await connection.execute("DELETE FROM mail WHERE account_id = %s", [account_id])
    await connection.execute("UPDATE account_audit SET address = '' WHERE account_id = %s", [account_id])
    await connection.execute(
        "UPDATE account SET email = '', email_norm = 'deleted ' || account_id, password_hash = '',"
        " first_name = '', last_name = '', language = 'en', time_zone = 'UTC', location = '', address = '',"
        " city = '', zip_code = '', state_province = '', phone = '', promotions = false,"
        " email_verified_ms = NULL, disabled_ms = %(now)s, deleted_ms = %(now)s"
        " WHERE account_id = %(account)s",
        {"now": now_ms, "account": account_id},
    )


async def is_erased(connection: Connection, account_id: int) -> bool:
    """Whether the account was deleted."""
    found = await connection.execute(
        "SELECT 1 FROM account WHERE account_id = %s AND deleted_ms IS NOT NULL", [account_id]
    )
    return await found.fetchone() is not None


async def close_company(connection: Connection, company_id: int, now_ms: int) -> None:
    """Nobody is left: invitations end, and what it said about itself goes, with what it was told."""
    await end_invitations(connection, company_id, now_ms)
    await notices.erase_company(connection, company_id, now_ms)
    await rules.erase_company(connection, company_id, now_ms)
    await connection.execute(
        "UPDATE company SET closed_ms = %s, name = '', address = '', city = '', zip_code = '',"
        " state_province = '', contact_name = '', contact_email = '', contact_phone = ''"
        " WHERE company_id = %s",
        [now_ms, company_id],
    )


async def end_invitations(connection: Connection, company_id: int, now_ms: int) -> None:
    """Nobody joins this company any more."""
    await connection.execute(
        "UPDATE invitation SET ended_ms = %s WHERE company_id = %s AND ended_ms IS NULL",
        [now_ms, company_id],
    )


async def count_devices(connection: Connection, company_id: int) -> int:
    """How many devices a company owns."""
    cursor = await connection.execute(
        "SELECT count(*) FROM ownership WHERE company_id = %s AND until_ms IS NULL", [company_id]
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])
