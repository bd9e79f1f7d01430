"""Second factors, recovery codes, log-ins that wait for one, and the count of wrong ones.

Passkeys have :mod:`cloud.postgres.passkeys`. Whether an account has any second factor is what the view
``account_factor`` says; from when on its company lets it in only to set one up, ``member_factor``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from cloud.core.account import FORGET_MS
from cloud.core.second_factor import LOGIN_STEP_TRIES
from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class TotpRow:
    """A time-based second factor; it is on once ``confirmed_ms`` is set."""

    secret_sealed: bytes
    last_step: int
    confirmed_ms: int | None


async def find(connection: Connection, account_id: int) -> TotpRow | None:
    """The second factor of an account, on or about to be."""
    async with connection.cursor(row_factory=class_row(TotpRow)) as cursor:
        await cursor.execute(
            "SELECT secret_sealed, last_step, confirmed_ms FROM totp WHERE account_id = %s", [account_id]
        )
        return await cursor.fetchone()


async def put_unconfirmed(connection: Connection, account_id: int, sealed: bytes, now_ms: int) -> bool:
    """A new secret that is not on yet; False where a second factor is on."""
    done = await connection.execute(
        "INSERT INTO totp (account_id, secret_sealed, created_ms) VALUES (%s, %s, %s)"
        " ON CONFLICT (account_id) DO UPDATE SET secret_sealed = excluded.secret_sealed, last_step = 0,"
        " created_ms = excluded.created_ms WHERE totp.confirmed_ms IS NULL",
        [account_id, sealed, now_ms],
    )
    return done.rowcount == 1


async def use_step(connection: Connection, account_id: int, step: int) -> bool:
    """Spend a time step; False where it, or a later one, was spent before."""
    done = await connection.execute(
        "UPDATE totp SET last_step = %(step)s WHERE account_id = %(account)s AND last_step < %(step)s",
        {"account": account_id, "step": step},
    )
    return done.rowcount == 1


async def confirm(connection: Connection, account_id: int, sealed: bytes, now_ms: int) -> bool:
    """Turn it on; False where it is on, or has another secret by now."""
    done = await connection.execute(
        "UPDATE totp SET confirmed_ms = %s"
        " WHERE account_id = %s AND secret_sealed = %s AND confirmed_ms IS NULL",
        [now_ms, account_id, sealed],
    )
    return done.rowcount == 1


async def has_any(connection: Connection, account_id: int) -> bool:
    """Whether an account has a second factor of any kind."""
    cursor = await connection.execute(
        "SELECT 1 FROM account_factor WHERE account_id = %s AND two_factor", [account_id]
    )
    return await cursor.fetchone() is not None


async def remove(connection: Connection, account_id: int) -> bool:
    """Turn it off: app, passkeys, recovery codes and all; False where it was off."""
    was_on = await has_any(connection, account_id)
    for table in ("recovery_code", "passkey", "totp"):
        await connection.execute(
            sql.SQL("DELETE FROM {} WHERE account_id = %s").format(sql.Identifier(table)), [account_id]
        )
    return was_on


async def remove_totp(connection: Connection, account_id: int) -> bool:
    """Remove the app; False where it was not on."""
    done = await connection.execute(
        "DELETE FROM totp WHERE account_id = %s AND confirmed_ms IS NOT NULL", [account_id]
    )
    return done.rowcount == 1


async def remove_leftovers(connection: Connection, account_id: int) -> bool:
    """Without any second factor recovery codes stand for nothing: they go. True where it is so."""
    if await has_any(connection, account_id):
        return False
    await connection.execute("DELETE FROM recovery_code WHERE account_id = %s", [account_id])
    return True


async def put_recovery_codes(connection: Connection, account_id: int, hashes: Sequence[bytes]) -> None:
    """New recovery codes; those before are void."""
    await connection.execute("DELETE FROM recovery_code WHERE account_id = %s", [account_id])
    await connection.execute(
        "INSERT INTO recovery_code (account_id, code_hash) SELECT %s, unnest(%s::bytea[])",
        [account_id, list(hashes)],
    )


async def use_recovery_code(connection: Connection, account_id: int, code_hash: bytes, now_ms: int) -> bool:
    """Spend a recovery code; False where there is no such one, or it was spent before."""
    done = await connection.execute(
        "UPDATE recovery_code SET used_ms = %s WHERE account_id = %s AND code_hash = %s AND used_ms IS NULL",
        [now_ms, account_id, code_hash],
    )
    return done.rowcount == 1


async def recovery_codes_left(connection: Connection, account_id: int) -> int:
    """How many were not spent."""
    cursor = await connection.execute(
        "SELECT count(*) FROM recovery_code WHERE account_id = %s AND used_ms IS NULL", [account_id]
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


# --- log-ins that wait for a second factor ------------------------------------------------------------------


async def insert_login_step(
    connection: Connection,
    token_hash: bytes,
    *,
    account_id: int,
    company_id: int,
    now_ms: int,
    expires_ms: int,
) -> None:
    """The password was right; and forget those that ran out."""
    await connection.execute("DELETE FROM login_step WHERE expires_ms <= %s", [now_ms])
    await connection.execute(
        "INSERT INTO login_step (token_hash, account_id, company_id, created_ms, expires_ms)"
        " VALUES (%s, %s, %s, %s, %s)",
        [token_hash, account_id, company_id, now_ms, expires_ms],
    )


@dataclass(frozen=True, slots=True)
class LoginStep:
    """A log-in that waits for its second factor, and what it could be."""

    account_id: int
    app: bool
    passkey: bool


async def find_login_step(connection: Connection, token_hash: bytes, now_ms: int) -> LoginStep | None:
    """A log-in that still waits."""
    async with connection.cursor(row_factory=class_row(LoginStep)) as cursor:
        await cursor.execute(
            "SELECT account_id, app, passkey FROM login_step JOIN account_factor USING (account_id)"
            " WHERE token_hash = %s AND expires_ms > %s AND tries < %s",
            [token_hash, now_ms, LOGIN_STEP_TRIES],
        )
        return await cursor.fetchone()


async def count_login_try(connection: Connection, token_hash: bytes, now_ms: int) -> tuple[int, int] | None:
    """Count a try; (account_id, company_id), or None where it ran out or no try is left.

    To be committed before the code is compared.
    """
    cursor = await connection.execute(
        "UPDATE login_step SET tries = tries + 1 WHERE token_hash = %s AND expires_ms > %s AND tries < %s"
        " RETURNING account_id, company_id",
        [token_hash, now_ms, LOGIN_STEP_TRIES],
    )
    row = await cursor.fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


async def delete_login_step(connection: Connection, token_hash: bytes) -> bool:
    """It became a log-in; False where it had already."""
    done = await connection.execute("DELETE FROM login_step WHERE token_hash = %s", [token_hash])
    return done.rowcount == 1


# --- the count of wrong ones --------------------------------------------------------------------------------


async def lock_attempts(
    connection: Connection, scope: str, subject: str, now_ms: int, forget_ms: int = FORGET_MS
) -> tuple[int, int]:
    """(failures, last_ms) of somebody, held until the transaction ends, so that tries go one by one.

    A row of failures counts no longer when its last one is ``forget_ms`` old.
    """
    await connection.execute(
        "INSERT INTO attempt (scope, subject, failures, last_ms) VALUES (%s, %s, 0, 0)"
        " ON CONFLICT DO NOTHING",
        [scope, subject],
    )
    cursor = await connection.execute(
        "SELECT failures, last_ms FROM attempt WHERE scope = %s AND subject = %s FOR UPDATE", [scope, subject]
    )
    row = await cursor.fetchone()
    failures, last_ms = (0, 0) if row is None else (int(row[0]), int(row[1]))
    return (0, last_ms) if now_ms - last_ms >= forget_ms else (failures, last_ms)


async def set_attempts(connection: Connection, scope: str, subject: str, failures: int, now_ms: int) -> None:
    """Write the count that follows from ``lock_attempts``."""
    await connection.execute(
        "UPDATE attempt SET failures = %s, last_ms = %s WHERE scope = %s AND subject = %s",
        [failures, now_ms, scope, subject],
    )


# --- how fresh a log-in's proof is --------------------------------------------------------------------------


async def set_factor_time(connection: Connection, session_hash: bytes, account_id: int, now_ms: int) -> None:
    """Whoever is logged in here has just proved it again."""
    await connection.execute(
        "UPDATE web_session SET factor_ms = %s WHERE session_hash = %s AND account_id = %s",
        [now_ms, session_hash, account_id],
    )


async def forget_factor_times(connection: Connection, account_id: int) -> None:
    """What the log-ins of an account have proved so far counts no longer."""
    await connection.execute("UPDATE web_session SET factor_ms = NULL WHERE account_id = %s", [account_id])
