"""Sign-ups on their way, and the six-digit codes that are out in mails."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.core.one_time_code import LIFE_MS, TRIES, Purpose
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class SignUpRow:
    """A sign-up as stored. ``company`` is page two as field → value, None until it was filled in; ``partner``
    is {issuer, subject, authenticated_ms} where a partner's log-in began it.
    """

    token_hash: bytes
    email: str
    email_norm: str
    known: bool
    password_hash: str
    profile: dict[str, Any]
    company: dict[str, Any] | None
    promotions: bool | None
    privacy_ms: int | None
    invitation_id: int | None
    created_ms: int
    expires_ms: int
    partner: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CodeRow:
    """A code that is out."""

    code_hash: bytes
    made_ms: int
    tries: int
    sends: int
    used_ms: int | None


async def insert(pool: Pool, row: SignUpRow) -> None:
    """Write page one, and forget sign-ups that ran out."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("DELETE FROM sign_up WHERE expires_ms <= %s", [row.created_ms])
        await connection.execute(
            "DELETE FROM mailed_code WHERE made_ms <= %s", [row.created_ms - 24 * 3_600_000]
        )
        await connection.execute(
            "INSERT INTO sign_up (token_hash, email, email_norm, known, password_hash, profile,"
            " invitation_id, created_ms, expires_ms, partner) VALUES (%s, %s, %s,"
            " EXISTS (SELECT 1 FROM account WHERE email_norm = %s), %s, %s, %s, %s, %s, %s)",
            [
                row.token_hash,
                row.email,
                row.email_norm,
                row.email_norm,
                row.password_hash,
                Jsonb(row.profile),
                row.invitation_id,
                row.created_ms,
                row.expires_ms,
                None if row.partner is None else Jsonb(row.partner),
            ],
        )


async def find(connection: Connection, token_hash: bytes, now_ms: int) -> SignUpRow | None:
    """The sign-up of a token, locked until the transaction ends; None when it ran out."""
    async with connection.cursor(row_factory=class_row(SignUpRow)) as cursor:
        await cursor.execute(
            "SELECT token_hash, email, email_norm, known, password_hash, profile, company, promotions,"
            " privacy_ms, invitation_id, created_ms, expires_ms, partner FROM sign_up"
            " WHERE token_hash = %s AND expires_ms > %s FOR UPDATE",
            [token_hash, now_ms],
        )
        return await cursor.fetchone()


async def complete(
    connection: Connection,
    token_hash: bytes,
    *,
    company: Mapping[str, str] | None,
    profile: Mapping[str, str],
    promotions: bool,
    now_ms: int,
) -> None:
    """Write page two, and page one as it is by now; the privacy notice is accepted now."""
    await connection.execute(
        "UPDATE sign_up SET company = %s, profile = %s, promotions = %s, privacy_ms = %s,"
        " known = EXISTS (SELECT 1 FROM account a WHERE a.email_norm = sign_up.email_norm)"
        " WHERE token_hash = %s",
        [
            None if company is None else Jsonb(dict(company)),
            Jsonb(dict(profile)),
            promotions,
            now_ms,
            token_hash,
        ],
    )


async def delete(connection: Connection, token_hash: bytes) -> None:
    """The sign-up became an account."""
    await connection.execute("DELETE FROM sign_up WHERE token_hash = %s", [token_hash])


# --- codes --------------------------------------------------------------------------------------------------


async def put_code(
    connection: Connection, purpose: Purpose, holder: bytes, code_hash: bytes, now_ms: int
) -> None:
    """A new code; the one before is void."""
    await connection.execute(
        "INSERT INTO mailed_code (purpose, holder, code_hash, made_ms) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (purpose, holder) DO UPDATE SET code_hash = excluded.code_hash,"
        " made_ms = excluded.made_ms, tries = 0, used_ms = NULL, sends = mailed_code.sends + 1",
        [purpose, holder, code_hash, now_ms],
    )


async def find_code(connection: Connection, purpose: Purpose, holder: bytes) -> CodeRow | None:
    """The code that is out for a holder."""
    async with connection.cursor(row_factory=class_row(CodeRow)) as cursor:
        await cursor.execute(
            "SELECT code_hash, made_ms, tries, sends, used_ms FROM mailed_code"
            " WHERE purpose = %s AND holder = %s",
            [purpose, holder],
        )
        return await cursor.fetchone()


async def count_try(connection: Connection, purpose: Purpose, holder: bytes, now_ms: int) -> bytes | None:
    """Count a try and return the hash to compare with; None where no try is left or the code is too old.

    To be committed before the comparison: tries made at the same moment are all counted.
    """
    cursor = await connection.execute(
        "UPDATE mailed_code SET tries = tries + 1 WHERE purpose = %s AND holder = %s AND used_ms IS NULL"
        " AND tries < %s AND made_ms > %s RETURNING code_hash",
        [purpose, holder, TRIES, now_ms - LIFE_MS],
    )
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])


async def use_code(
    connection: Connection, purpose: Purpose, holder: bytes, code_hash: bytes, now_ms: int
) -> bool:
    """Spend a right code; False where somebody was faster or a newer one is out."""
    done = await connection.execute(
        "UPDATE mailed_code SET used_ms = %s"
        " WHERE purpose = %s AND holder = %s AND code_hash = %s AND used_ms IS NULL",
        [now_ms, purpose, holder, code_hash],
    )
    return done.rowcount == 1
