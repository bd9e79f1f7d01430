"""Judges new samples by the companies' rules, every two seconds."""

import time
from typing import Final
from uuid import uuid4

from cloud.jobs.beat import keep
from cloud.jobs.metrics import Metrics
from cloud.postgres.pool import Pool
from cloud.services.rule_watch import RuleWatch

PERIOD_S: Final = 2.0


async def run(pool: Pool, metrics: Metrics, period_s: float = PERIOD_S) -> None:
    """Until cancelled; then the other jobs processes get this one's devices at once."""
    watch = RuleWatch(pool, uuid4(), lambda: time.time_ns() // 1_000_000)
    await keep("rules", period_s, watch.round, metrics)
