"""Orders the runtime calibrations that are due by schedule."""

import time
from typing import Final

from cloud.jobs.beat import keep
from cloud.jobs.metrics import Metrics
from cloud.postgres.pool import Pool
from cloud.provision import Signer
from cloud.services import scheduling
from cloud.services.commanding import Commander

PERIOD_S: Final = 30.0


async def run(pool: Pool, signer: Signer, metrics: Metrics, period_s: float = PERIOD_S) -> None:
    """Until cancelled."""
    commander = Commander(pool, signer)
    await keep(
        "schedules", period_s, lambda: scheduling.run_due(commander, time.time_ns() // 1_000_000), metrics
    )
