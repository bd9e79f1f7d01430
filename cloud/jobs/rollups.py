"""Makes rollups of what devices have stored, so that charts of long ranges are quick."""

import random
import time
from typing import Final

from cloud.jobs.beat import keep
from cloud.jobs.metrics import Metrics
from cloud.postgres import rollups
from cloud.postgres.pool import Pool

PERIOD_S: Final = 15.0
"""A device is looked at every quarter of an hour; rounds are shorter, so that they spread."""
MAX_DEVICES: Final = 1000
"""Of one round; the rest waits for the next."""
MAX_DAYS: Final = 30
"""Of one device in one round: a long past must not hold up all others."""


async def run(pool: Pool, metrics: Metrics, period_s: float = PERIOD_S) -> None:
    """Until cancelled."""
    await keep("rollups", period_s, lambda: look(pool), metrics)


async def look(pool: Pool) -> int:
    """One round; how many devices were rolled up. DatabaseUnavailableError."""
    found = await rollups.due(pool, _now_ms(), MAX_DEVICES)
    random.shuffle(found)  # so that several processes seldom look at the same device
    for device_id in found:
        await bring_up(pool, device_id, _now_ms())
    return len(found)


async def bring_up(pool: Pool, device_id: int, now_ms: int) -> None:
    """Roll one device up, and count what that may have missed."""
    for _ in range(MAX_DAYS):
        if not await rollups.roll(pool, device_id, now_ms):
            break
    await rollups.sweep(pool, device_id, now_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
