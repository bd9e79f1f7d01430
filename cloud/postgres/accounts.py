"""Accounts, companies, sessions and the record of failed attempts in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from cloud.core.account import FORGET_MS, Email
from cloud.core.authz import Role
from cloud.core.language import ENGLISH
from cloud.core.second_factor import is_fresh
from cloud.postgres import companies
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection

MAX_USER_AGENT_CHARS = 200


class EmailTakenError(Exception):
    """An account with this address exists."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What log-in compares, and where it leads."""

    account_id: int
    company_id: int
    password_hash: str
    two_factor: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A live log-in with the person and company behind it."""

    session_hash: bytes
    account_id: int
    company_id: int
    csrf_key: bytes
    seen_ms: int
    expires_ms: int
    email: str
    first_name: str
    last_name: str
    company_name: str
    role: Role
    factor_ms: int | None
    two_factor: bool
    has_passkey: bool = False
    language: str = ENGLISH
    factor_due_ms: int | None = None
    """From when on the company lets this person only set up a second factor; None: it asks for none, or there
    is one."""

    def is_fresh(self, now_ms: int) -> bool:
        """Whether this person has proved who is here in the last 5 minutes."""
        return is_fresh(self.factor_ms, now_ms)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A log-in about to be written."""

    session_hash: bytes
    account_id: int
    company_id: int
    csrf_key: bytes
    now_ms: int
    expires_ms: int
    address: str
    user_agent: str
    factor_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account about to be written."""

    email: Email
    password_hash: str
    first_name: str
    last_name: str
    now_ms: int
    verified: bool
    location: str = ""
    privacy_ms: int | None = None
    privacy_version: str = ""
    promotions: bool = False
    language: str = ENGLISH


@dataclass(frozen=True, slots=True)
class Failures:
    """How often, and when last, one subject failed."""

    failures: int
    last_ms: int


async def insert_account(
    pool: Pool,
    *,
    email: Email,
    password_hash: str,
    first_name: str,
    last_name: str,
    company_name: str,
    now_ms: int,
    verified: bool,
) -> tuple[int, int]:
    """Make account, company and membership as its owner in one transaction; (account_id, company_id).

    EmailTakenError when the address is in use.
    """
    new = NewAccount(
        email=email,
        password_hash=password_hash,
        first_name=first_name,
        last_name=last_name,
        now_ms=now_ms,
        verified=verified,
    )
    async with pool.connection() as connection, connection.transaction():
        account_id = await insert_person(connection, new)
        company_id = await companies.insert(connection, {"name": company_name}, now_ms)
        await companies.add_member(connection, company_id, account_id, Role.OWNER, now_ms)
    return account_id, company_id


async def insert_person(connection: Connection, new: NewAccount) -> int:
    """Make an account in the caller's transaction; its number. EmailTakenError."""
    cursor = await connection.execute(
        "INSERT INTO account (email, email_norm, password_hash, first_name, last_name, location,"
        " email_verified_ms, created_ms, password_ms, privacy_ms, privacy_version, promotions, language)"
        " VALUES (%(email)s, %(norm)s, %(hash)s, %(first)s, %(last)s, %(location)s, %(verified)s, %(now)s,"
        " %(now)s, %(privacy)s, %(version)s, %(promotions)s, %(language)s)"
        " ON CONFLICT (email_norm) DO NOTHING RETURNING account_id",
        {
            "email": new.email.value,
            "norm": new.email.folded,
            "hash": new.password_hash,
            "first": new.first_name,
            "last": new.last_name,
            "location": new.location,
            "verified": new.now_ms if new.verified else None,
            "now": new.now_ms,
            "privacy": new.privacy_ms,
            "version": new.privacy_version,
            "promotions": new.promotions,
            "language": new.language,
        },
    )
    row = await cursor.fetchone()
    if row is None:
        raise EmailTakenError(new.email.value)
    return int(row[0])


async def find_credentials(pool: Pool, who: Email | int) -> Credentials | None:
    """What an enabled account is compared with, found by its address or its number; its first
    company when it is a member of several.
    """
    async with (
        pool.connection() as connection,
        connection.cursor(row_factory=class_row(Credentials)) as cursor,
    ):
        await cursor.execute(
            "SELECT account_id, company_id, password_hash, two_factor"
            " FROM account JOIN membership USING (account_id) JOIN account_factor USING (account_id)"
            " WHERE (email_norm = %(norm)s OR account_id = %(number)s) AND disabled_ms IS NULL"
            " ORDER BY membership.created_ms LIMIT 1",
            {
                "norm": who.folded if isinstance(who, Email) else None,
                "number": None if isinstance(who, Email) else who,
            },
        )
        return await cursor.fetchone()


async def email_of(connection: Connection, account_id: int) -> str:
    """The address of an account; LookupError where there is none."""
    return str(await _value(connection, "SELECT email FROM account WHERE account_id = %s", account_id))


async def language_of(connection: Connection, account_id: int) -> str:
    """The language in which somebody's mails are written; LookupError where there is no such account."""
    return str(await _value(connection, "SELECT language FROM account WHERE account_id = %s", account_id))


async def language_at(connection: Connection, email_norm: str) -> str | None:
    """The language of the account with this address (folded); None where no account has it."""
    cursor = await connection.execute("SELECT language FROM account WHERE email_norm = %s", [email_norm])
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def password_hash_of(connection: Connection, account_id: int) -> str:
    """The stored hash of an account's password; LookupError where there is none."""
    statement: Final = "SELECT password_hash FROM account WHERE account_id = %s"
    return str(await _value(connection, statement, account_id))


async def _value(connection: Connection, statement: LiteralString, account_id: int) -> object:
    row = await (await connection.execute(statement, [account_id])).fetchone()
    if row is None:
        raise LookupError(f"there is no account {account_id}")
    return row[0]


async def insert_session(pool: Pool, session: NewSession, replaces: bytes | None) -> None:
    """Write a new log-in, end the one it replaces, and clear what has expired."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(
            "DELETE FROM web_session WHERE session_hash = %s OR (account_id = %s AND expires_ms <= %s)",
            [replaces, session.account_id, session.now_ms],
        )
        await connection.execute(
            "INSERT INTO web_session (session_hash, account_id, company_id, csrf_key, created_ms, seen_ms,"
            " expires_ms, factor_ms, address, user_agent) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                session.session_hash,
                session.account_id,
                session.company_id,
                session.csrf_key,
                session.now_ms,
                session.now_ms,
                session.expires_ms,
                session.factor_ms,
                session.address,
                session.user_agent[:MAX_USER_AGENT_CHARS].replace("\0", ""),
            ],
        )


async def find_session(pool: Pool, session_hash: bytes, *, now_ms: int, idle_ms: int) -> Session | None:
    """The live session of this hash: not expired, not idle too long, account enabled and still a member."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Session)) as cursor:
        await cursor.execute(
            "SELECT session_hash, account_id, company_id, csrf_key, seen_ms, expires_ms, email, first_name,"
            " last_name, company.name AS company_name, role, factor_ms,"
            " language, two_factor, passkey AS has_passkey, factor_due_ms FROM web_session"
            " JOIN account USING (account_id) JOIN company USING (company_id)"
            " JOIN membership USING (company_id, account_id) JOIN account_factor USING (account_id)"
            " JOIN member_factor USING (company_id, account_id)"
            " WHERE session_hash = %s AND expires_ms > %s AND seen_ms > %s AND disabled_ms IS NULL",
            [session_hash, now_ms, now_ms - idle_ms],
        )
        return await cursor.fetchone()


async def set_language(pool: Pool, account_id: int, language: str) -> None:
    """The language of somebody's pages and mails from now on."""
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE account SET language = %s WHERE account_id = %s", [language, account_id]
        )


async def session_rights(
    pool: Pool, session_hashes: Sequence[bytes], *, now_ms: int, idle_ms: int
) -> dict[bytes, tuple[int, str]]:
    """(company_id, role) of those of these sessions that are live and may see things; others are missing."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT session_hash, company_id, role FROM web_session JOIN account USING (account_id)"
            " JOIN membership USING (company_id, account_id)"
            " JOIN member_factor USING (company_id, account_id)"
            " WHERE session_hash = ANY(%s) AND expires_ms > %s AND seen_ms > %s AND disabled_ms IS NULL"
            " AND coalesce(factor_due_ms > %s, true)",
            [list(session_hashes), now_ms, now_ms - idle_ms, now_ms],
        )
        return {bytes(session_hash): (company_id, role) async for session_hash, company_id, role in cursor}


async def touch_session(pool: Pool, session_hash: bytes, now_ms: int) -> None:
    """Remember that the session is in use."""
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE web_session SET seen_ms = greatest(seen_ms, %s) WHERE session_hash = %s",
            [now_ms, session_hash],
        )


async def delete_session(pool: Pool, session_hash: bytes) -> None:
    """End a session at once, on every portal process."""
    async with pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            "DELETE FROM web_session WHERE session_hash = %s RETURNING account_id", [session_hash]
        )
        row = await cursor.fetchone()
        if row is not None:
            await companies.hint(connection, row[0])


async def read_failures(pool: Pool, scope: str, subjects: Sequence[str]) -> dict[str, Failures]:
    """Failures of these subjects; those without any are missing."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT subject, failures, last_ms FROM attempt WHERE scope = %s AND subject = ANY(%s)",
            [scope, list(subjects)],
        )
        return {subject: Failures(failures, last_ms) async for subject, failures, last_ms in cursor}


async def add_failure(pool: Pool, scope: str, subjects: Sequence[str], now_ms: int) -> None:
    """Count one failure for each subject; a count that is an hour old starts again."""
    async with pool.connection() as connection:
        await connection.execute(
            "INSERT INTO attempt (scope, subject, failures, last_ms)"
            " SELECT %(scope)s, subject, 1, %(now)s FROM unnest(%(subjects)s::text[]) AS subject"
            " ON CONFLICT (scope, subject) DO UPDATE SET last_ms = excluded.last_ms, failures = CASE"
            " WHEN attempt.last_ms <= excluded.last_ms - %(forget)s THEN 1 ELSE attempt.failures + 1 END",
            {"scope": scope, "now": now_ms, "subjects": sorted(subjects), "forget": FORGET_MS},
        )


async def clear_failures(pool: Pool, scope: str, subjects: Sequence[str]) -> None:
    """Forget the failures of these subjects."""
    async with pool.connection() as connection:
        await connection.execute(
            "DELETE FROM attempt WHERE scope = %s AND subject = ANY(%s)", [scope, list(subjects)]
        )


async def audit(
    pool: Pool,
    kind: str,
    *,
    now_ms: int,
    account_id: int | None = None,
    company_id: int | None = None,
    address: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Write one line of the accounts' audit trail."""
    async with pool.connection() as connection:
        await record(
            connection,
            kind,
            now_ms=now_ms,
            account_id=account_id,
            company_id=company_id,
            address=address,
            detail=detail,
        )


async def record(
    connection: Connection,
    kind: str,
    *,
    now_ms: int,
    account_id: int | None = None,
    company_id: int | None = None,
    address: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Write one line of the audit trail in the caller's transaction."""
    await connection.execute(
        "INSERT INTO account_audit (ts_ms, account_id, company_id, kind, detail, address)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [now_ms, account_id, company_id, kind, Jsonb(dict(detail or {})), address],
    )


async def audit_lines(pool: Pool, account_id: int, limit: int) -> list[dict[str, Any]]:
    """ts_ms, kind, detail, address of the newest lines about a person, newest first."""
    async with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT ts_ms, kind, detail, address FROM account_audit WHERE account_id = %s"
            " ORDER BY audit_id DESC LIMIT %s",
            [account_id, limit],
        )
        return await cursor.fetchall()
