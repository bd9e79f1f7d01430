"""The newest results of a device's tests, cut by its ownership epoch."""

from typing import Final

from cloud.core.battery import BatteryTest, result_of
from cloud.postgres.pool import Pool
from protocol.messages import EventKind

KINDS: Final = (EventKind.SELF_TEST, EventKind.CALIBRATION)
NEWEST: Final = """
SELECT found.kind, (extract(epoch FROM found.ts) * 1000)::bigint, found.detail
  FROM unnest(%(kinds)s::text[]) AS wanted(kind), LATERAL (
       SELECT kind, ts, detail FROM event
        WHERE device_id = %(device)s AND epoch = %(epoch)s AND kind = wanted.kind
        ORDER BY ts DESC, stream DESC, seq DESC LIMIT 1) AS found"""


async def last_tests(pool: Pool, device_id: int, epoch: int) -> dict[str, BatteryTest]:
    """Kind of test → its newest result in this ownership."""
    values = {"device": device_id, "epoch": epoch, "kinds": [kind.value for kind in KINDS]}
    async with pool.connection() as connection:
        found = await connection.execute(NEWEST, values)
        return {row[0]: result_of(*row) for row in await found.fetchall()}
