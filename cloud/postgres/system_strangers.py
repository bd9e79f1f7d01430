"""Servers that nobody has registered: anybody can make a System ID, so they are forgotten after a while."""

from typing import Final

from cloud.postgres.pool import Pool

FORGOTTEN_MS: Final = 30 * 86_400_000
AT_ONCE: Final = 1_000


async def forget_strangers(pool: Pool, now_ms: int) -> int:
    """Forget servers without registration that were last heard so long ago; how many.

    Retired ones stay, for good. One that comes back begins anew, with a counter that only has to grow.
    """
    async with pool.connection() as connection, connection.transaction():
        found = await connection.execute(
            "SELECT system_id FROM system_server WHERE number IS NULL AND retired_ms IS NULL"
            " AND greatest(first_ms, seen_ms) < %s ORDER BY system_id LIMIT %s FOR UPDATE SKIP LOCKED",
            (now_ms - FORGOTTEN_MS, AT_ONCE),
        )
        gone = [row[0] for row in await found.fetchall()]
        for statement in (
            "DELETE FROM system_member WHERE system_id = ANY(%s)",
            "DELETE FROM system_request WHERE system_id = ANY(%s)",
            "DELETE FROM system_notice WHERE system_id = ANY(%s)",
            "DELETE FROM system_ups WHERE system_id = ANY(%s)",
            "DELETE FROM system_intent WHERE system_id = ANY(%s) AND state <> 'waiting'",
            "DELETE FROM system_server WHERE system_id = ANY(%s)",
        ):
            await connection.execute(statement, (gone,))
    return len(gone)
