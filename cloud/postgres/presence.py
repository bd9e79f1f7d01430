"""Who is not heard: the gateways' own beat, and the absences that were told."""

from collections.abc import Sequence
from typing import Any, Final

from cloud.core.absence import BEAT_AGE_MS, Presence
from cloud.core.device_state import QUIET_MS
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection

BREAK_MS: Final = 30_000
"""Gateways that said nothing for so long were away, or their database was."""

LISTEN: Final = """
INSERT INTO listening (one, since_ms, beat_ms) VALUES (true, %(now)s, %(now)s)
ON CONFLICT (one) DO UPDATE
   SET since_ms = CASE WHEN %(starts)s OR listening.beat_ms < excluded.beat_ms - %(break)s
                       THEN greatest(listening.since_ms, excluded.beat_ms) ELSE listening.since_ms END,
       beat_ms = greatest(listening.beat_ms, excluded.beat_ms)"""
SILENT: Final = """
SELECT l.device_id FROM latest l
  JOIN ownership o ON o.device_id = l.device_id AND o.until_ms IS NULL
 WHERE l.seen_ms < %(before)s AND (NOT l.connected OR l.seen_ms < %(quiet)s) AND o.from_ms < %(before)s
   AND l.smartconnect AND NOT l.revoked
   AND NOT EXISTS (SELECT 1 FROM absence a WHERE a.device_id = l.device_id AND a.epoch = o.epoch)
   AND EXISTS (SELECT 1 FROM listening WHERE since_ms < %(before)s AND beat_ms >= %(heard)s)
 LIMIT %(limit)s"""
RETURNED: Final = """
SELECT a.device_id FROM absence a
  LEFT JOIN ownership o ON o.device_id = a.device_id AND o.until_ms IS NULL AND o.epoch = a.epoch
  LEFT JOIN latest l ON l.device_id = a.device_id
 WHERE o.device_id IS NULL OR (l.connected AND l.seen_ms > a.since_ms)
 LIMIT %(limit)s"""
PRESENCE: Final = """
SELECT o.epoch, o.from_ms, l.seen_ms, l.connected, l.smartconnect, l.revoked,
       coalesce(g.since_ms, 0), coalesce(g.beat_ms, 0), a.epoch, coalesce(a.since_ms, 0)
  FROM ownership o JOIN latest l ON l.device_id = o.device_id
  LEFT JOIN absence a ON a.device_id = o.device_id
  LEFT JOIN listening g ON true
 WHERE o.device_id = %s AND o.until_ms IS NULL"""


async def note_listening(pool: Pool, now_ms: int, *, starts: bool) -> None:
    """A gateway listens; one that starts gives every device the time to come back."""
    async with pool.connection() as connection:
        await connection.execute(LISTEN, {"now": now_ms, "starts": starts, "break": BREAK_MS})


async def candidates(pool: Pool, now_ms: int, offline_after_ms: int, limit: int) -> list[int]:
    """Devices that have become absent or are back, but for what changes until they are judged."""
    silent = {
        "before": now_ms - offline_after_ms,
        "quiet": now_ms - max(offline_after_ms, QUIET_MS),
        "heard": now_ms - BEAT_AGE_MS,
        "limit": limit,
    }
    async with pool.connection() as connection:
        return [
            *await _ids(connection, RETURNED, {"limit": limit}),
            *await _ids(connection, SILENT, silent),
        ]


async def _ids(connection: Connection, query: str, values: dict[str, Any]) -> Sequence[int]:
    found = await connection.execute(query, values)
    return [row[0] for row in await found.fetchall()]


async def find(connection: Connection, device_id: int) -> Presence | None:
    """What is known of a device; None while nobody owns it. The caller holds its lock."""
    found = await connection.execute(PRESENCE, [device_id])
    row = await found.fetchone()
    return None if row is None else Presence(*row)


async def begin(connection: Connection, device_id: int, presence: Presence, now_ms: int) -> None:
    """Note an absence that is being told."""
    await connection.execute(
        "INSERT INTO absence (device_id, epoch, since_ms, told_ms) VALUES (%s, %s, %s, %s)",
        [device_id, presence.epoch, presence.heard_ms, now_ms],
    )


async def end(connection: Connection, device_id: int) -> None:
    """Forget the absence of a device."""
    await connection.execute("DELETE FROM absence WHERE device_id = %s", [device_id])
