"""The events that tell of outages, and the charge that readings show in them; cut by ownership epoch."""

from collections.abc import Sequence
from typing import Final

from cloud.core.outage import KINDS, PowerEvent
from cloud.postgres.pool import Pool

POWER_EVENTS: Final = """
SELECT (extract(epoch FROM ts) * 1000)::bigint, stream, seq, kind,
       CASE WHEN jsonb_typeof(detail->'state_of_charge') = 'number'
            THEN (detail->>'state_of_charge')::double precision END,
       CASE WHEN jsonb_typeof(detail->'cause') = 'string' THEN left(detail->>'cause', 64) ELSE '' END,
       time_uncertain
  FROM event
 WHERE device_id = %(device)s AND epoch = %(epoch)s AND kind = ANY (%(kinds)s) AND stream > 0
   AND ts < to_timestamp(%(before)s / 1000.0)
 ORDER BY ts DESC, stream DESC, seq DESC LIMIT %(limit)s"""
LOWEST: Final = (
    "SELECT lowest FROM company_lowest_charges(%(company)s, %(device)s, %(epoch)s, %(from)s, %(to)s)"
)


async def power_events(
    pool: Pool, device_id: int, epoch: int, *, before_ms: int, limit: int
) -> list[PowerEvent]:
    """The newest ones before this time, the newest first."""
    values = {
        "device": device_id,
        "epoch": epoch,
        "kinds": [kind.value for kind in KINDS],
        "before": before_ms,
        "limit": limit,
    }
    async with pool.connection() as connection:
        cursor = await connection.execute(POWER_EVENTS, values)
        return [PowerEvent(*row) async for row in cursor]


async def lowest_charges(
    pool: Pool, company_id: int, device_id: int, epoch: int, spans: Sequence[tuple[int, int]]
) -> list[float | None]:
    """For each span (from, to, unix ms) the lowest charge in this ownership; None without readings."""
    if not spans:
        return []
    values = {
        "company": company_id,
        "device": device_id,
        "epoch": epoch,
        "from": [span[0] for span in spans],
        "to": [span[1] for span in spans],
    }
    async with pool.connection() as connection:
        cursor = await connection.execute(LOWEST, values)
        return [None if row[0] is None else float(row[0]) async for row in cursor]
