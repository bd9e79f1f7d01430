"""The table of requests that may be sent again; what it means is in :mod:`cloud.services.idempotency`."""

from dataclasses import dataclass

from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class Row:
    """A key somebody has: of this request, and its answer if there is one."""

    fingerprint: bytes
    status: int | None
    answer: bytes | None


async def take(
    connection: Connection,
    account_id: int,
    key_hash: bytes,
    fingerprint: bytes,
    run_id: str,
    *,
    now_ms: int,
    lease_ms: int,
    expires_ms: int,
) -> bool:
    """Take a key that is free, is forgotten, or was held for this same request by one that has gone."""
    cursor = await connection.execute(
        "INSERT INTO idempotency AS i (account_id, key_hash, fingerprint, run_id, lease_ms, expires_ms)"
        " VALUES (%(account)s, %(key)s, %(print)s, %(run)s, %(lease)s, %(expires)s)"
        " ON CONFLICT (account_id, key_hash) DO UPDATE SET fingerprint = excluded.fingerprint,"
        " run_id = excluded.run_id, lease_ms = excluded.lease_ms, expires_ms = excluded.expires_ms,"
        " status = NULL, answer = NULL"
        " WHERE i.expires_ms <= %(now)s"
        " OR (i.status IS NULL AND i.lease_ms <= %(now)s AND i.fingerprint = excluded.fingerprint)",
        {
            "account": account_id,
            "key": key_hash,
            "print": fingerprint,
            "run": run_id,
            "lease": lease_ms,
            "expires": expires_ms,
            "now": now_ms,
        },
    )
    return cursor.rowcount == 1


async def find(connection: Connection, account_id: int, key_hash: bytes) -> Row | None:
    """Who has the key."""
    cursor = await connection.execute(
        "SELECT fingerprint, status, answer FROM idempotency WHERE account_id = %s AND key_hash = %s",
        [account_id, key_hash],
    )
    row = await cursor.fetchone()
    return None if row is None else Row(*row)


async def finish(
    connection: Connection, account_id: int, key_hash: bytes, run_id: str, status: int, answer: bytes
) -> bool:
    """Write the answer; False where the key was taken from this request."""
    cursor = await connection.execute(
        "UPDATE idempotency SET status = %s, answer = %s"
        " WHERE account_id = %s AND key_hash = %s AND run_id = %s",
        [status, answer, account_id, key_hash, run_id],
    )
    return cursor.rowcount == 1


async def free(connection: Connection, account_id: int, key_hash: bytes, run_id: str) -> None:
    """Give the key back, unless there is an answer."""
    await connection.execute(
        "DELETE FROM idempotency WHERE account_id = %s AND key_hash = %s AND run_id = %s AND status IS NULL",
        [account_id, key_hash, run_id],
    )
