"""Passkeys of accounts, and the challenges that authenticators are to sign."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from cloud.core.passkey import Purpose
from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class Passkey:
    """One passkey. None of this is secret."""

    passkey_id: int
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]
    name: str
    rp_id: str
    created_ms: int
    used_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPasskey:
    """A passkey about to be written."""

    account_id: int
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: Sequence[str]
    name: str
    rp_id: str
    now_ms: int


async def of_account(connection: Connection, account_id: int) -> list[Passkey]:
    """All of an account, oldest first."""
    async with connection.cursor(row_factory=class_row(Passkey)) as cursor:
        await cursor.execute(
            "SELECT passkey_id, credential_id, public_key, sign_count, transports, name, rp_id, created_ms,"
            " used_ms FROM passkey WHERE account_id = %s ORDER BY created_ms, passkey_id",
            [account_id],
        )
        return await cursor.fetchall()


async def insert(connection: Connection, new: NewPasskey) -> int | None:
    """Its number; None where somebody has this credential already."""
    cursor = await connection.execute(
        "INSERT INTO passkey (account_id, credential_id, public_key, sign_count, transports, name, rp_id,"
        " created_ms) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (credential_id) DO NOTHING RETURNING passkey_id",
        [
            new.account_id,
            new.credential_id,
            new.public_key,
            new.sign_count,
            list(new.transports),
            new.name,
            new.rp_id,
            new.now_ms,
        ],
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def lock_count(connection: Connection, passkey_id: int) -> int | None:
    """The stored signature counter, held until the transaction ends; None where the passkey was removed."""
    cursor = await connection.execute(
        "SELECT sign_count FROM passkey WHERE passkey_id = %s FOR NO KEY UPDATE", [passkey_id]
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def note_use(connection: Connection, passkey_id: int, sign_count: int, now_ms: int) -> None:
    """It has just proved something."""
    await connection.execute(
        "UPDATE passkey SET sign_count = %s, used_ms = %s WHERE passkey_id = %s",
        [sign_count, now_ms, passkey_id],
    )


async def rename(connection: Connection, account_id: int, passkey_id: int, name: str) -> bool:
    """Another name; False where it is none of this account's."""
    done = await connection.execute(
        "UPDATE passkey SET name = %s WHERE passkey_id = %s AND account_id = %s",
        [name, passkey_id, account_id],
    )
    return done.rowcount == 1


async def remove(connection: Connection, account_id: int, passkey_id: int) -> str | None:
    """Remove one; its name, None where it is none of this account's."""
    cursor = await connection.execute(
        "DELETE FROM passkey WHERE passkey_id = %s AND account_id = %s RETURNING name",
        [passkey_id, account_id],
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


# --- challenges ---------------------------------------------------------------------------------------------


async def put_challenge(
    connection: Connection, purpose: Purpose, holder: bytes, challenge: bytes, *, now_ms: int, expires_ms: int
) -> None:
    """The one that this holder has to answer now; an older one is void. And forget those that ran out."""
    await connection.execute("DELETE FROM passkey_challenge WHERE expires_ms <= %s", [now_ms])
    await connection.execute(
        "INSERT INTO passkey_challenge (purpose, holder, challenge, expires_ms) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (purpose, holder) DO UPDATE SET challenge = excluded.challenge,"
        " expires_ms = excluded.expires_ms",
        [purpose, holder, challenge, expires_ms],
    )


async def take_challenge(
    connection: Connection, purpose: Purpose, holder: bytes, now_ms: int
) -> bytes | None:
    """The one that is being answered, which counts for nothing afterwards; None where there is none.

    To be committed before the answer is looked at.
    """
    cursor = await connection.execute(
        "DELETE FROM passkey_challenge WHERE purpose = %s AND holder = %s RETURNING challenge, expires_ms",
        [purpose, holder],
    )
    row = await cursor.fetchone()
    return None if row is None or row[1] <= now_ms else bytes(row[0])
