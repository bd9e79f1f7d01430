"""Finds devices that are not heard any more, and those that are back. Rules: :mod:`cloud.core.absence`."""

import random
import time
from typing import Final

from cloud.core.absence import Verdict
from cloud.jobs.beat import keep
from cloud.jobs.metrics import Metrics
from cloud.postgres import presence
from cloud.postgres.pool import Pool
from cloud.services.presence import settle

PERIOD_S: Final = 5.0
"""A look reads all of ``latest`` once: some milliseconds for ten thousand devices."""
MAX_DEVICES: Final = 1000
"""Of one round; the rest waits for the next."""


async def run(pool: Pool, metrics: Metrics, offline_after_s: float, period_s: float = PERIOD_S) -> None:
    """Until cancelled."""
    await keep("presence", period_s, lambda: look(pool, int(offline_after_s * 1000)), metrics)


async def look(pool: Pool, offline_after_ms: int) -> int:
    """One round; how many devices were told of. DatabaseUnavailableError."""
    told = 0
    found = await presence.candidates(pool, _now_ms(), offline_after_ms, MAX_DEVICES)
    random.shuffle(found)  # so that several processes seldom look at the same device
    for device_id in found:
        verdict = await settle(pool, device_id, _now_ms(), offline_after_ms)
        told += verdict in {Verdict.BEGINS, Verdict.ENDS}
    return told


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
