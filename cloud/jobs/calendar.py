"""Keeps the telemetry table's daily partitions ahead of the calendar."""

from typing import Final

from cloud.jobs.beat import keep
from cloud.jobs.metrics import Metrics
from cloud.postgres.partitions import make_days
from cloud.postgres.pool import Pool

PERIOD_S: Final = 6 * 3600.0
"""Two weeks are made ahead, so a failed round does no harm."""


async def run(pool: Pool, metrics: Metrics, period_s: float = PERIOD_S) -> None:
    """Until cancelled."""
    await keep("calendar", period_s, lambda: make_days(pool), metrics)
