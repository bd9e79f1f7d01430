"""Challenges of the proof of work, and states of log-ins at a partner, that were used."""

from cloud.postgres.pool import Pool


async def use(pool: Pool, challenge_hash: bytes, *, expires_ms: int, now_ms: int) -> bool:
    """Spend a challenge; False where it was spent before. Forgets those that nobody can use any more."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("DELETE FROM used_challenge WHERE expires_ms <= %s", [now_ms - 60_000])
        done = await connection.execute(
            "INSERT INTO used_challenge (challenge_hash, expires_ms) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [challenge_hash, expires_ms],
        )
        return done.rowcount == 1
