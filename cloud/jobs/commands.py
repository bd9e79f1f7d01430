"""Ends the commands whose time is over. Pages and gateways look at the clock themselves."""

import time
from typing import Final

from cloud.jobs.beat import keep
from cloud.jobs.metrics import Metrics
from cloud.postgres.pool import Pool
from cloud.services import commanding

PERIOD_S: Final = 1.0


async def run(pool: Pool, metrics: Metrics, period_s: float = PERIOD_S) -> None:
    """Until cancelled."""
    await keep("commands", period_s, lambda: commanding.sweep(pool, time.time_ns() // 1_000_000), metrics)
