"""What is good once and was used: challenges of the proof of work, tickets, states of partners' log-ins."""

from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection


async def use(pool: Pool, challenge_hash: bytes, *, expires_ms: int, now_ms: int) -> bool:
    """Spend a challenge; False where it was spent before. Forgets those that nobody can use any more."""
    async with pool.connection() as connection, connection.transaction():
        return await use_in(connection, challenge_hash, expires_ms=expires_ms, now_ms=now_ms)


async def use_in(connection: Connection, challenge_hash: bytes, *, expires_ms: int, now_ms: int) -> bool:
    """The same, in a transaction of the caller's."""
    await connection.execute("DELETE FROM used_challenge WHERE expires_ms <= %s", [now_ms - 60_000])
    done = await connection.execute(
        "INSERT INTO used_challenge (challenge_hash, expires_ms) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [challenge_hash, expires_ms],
    )
    return done.rowcount == 1
