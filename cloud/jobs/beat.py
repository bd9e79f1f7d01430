"""The rhythm of a part: a round, a pause, a round; patient with a database that is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from cloud.jobs.metrics import Metrics
from cloud.postgres.safety import UNAVAILABLE

AWAY_S: Final = 5.0
"""The longest pause while the database is away: a slow part does not sleep over its return."""

log = structlog.get_logger()


async def keep(name: str, period_s: float, work: Callable[[], Awaitable[int]], metrics: Metrics) -> None:
    """Until cancelled: ``work`` now, then ``period_s`` seconds after each of its rounds.

    ``work`` returns how much it has done. While the database is away its rounds are repeated, soon;
    whatever else it raises ends the part, and with it the process, which ``serve`` starts again.
    """
    away = False
    while True:
        try:
            done = await work()
        except UNAVAILABLE as error:
            metrics.rounds.labels(name, "waiting").inc()
            (log.debug if away else log.warning)("a job waits for the database", part=name, error=str(error))
            away = True
        else:
            if away:
                log.info("a job goes on", part=name)
            away = False
            metrics.rounds.labels(name, "done").inc()
            metrics.done.labels(name).inc(done)
            metrics.last_round_s.labels(name).set(time.time())
        await asyncio.sleep(min(period_s, AWAY_S) if away else period_s)
