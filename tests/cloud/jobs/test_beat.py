"""The rhythm of a part."""

import asyncio
import contextlib

import pytest

from cloud.jobs.beat import keep
from cloud.jobs.metrics import Metrics
from cloud.postgres.safety import DatabaseUnavailableError


def rounds(metrics: Metrics, outcome: str) -> float:
    """How many rounds ended so."""
    return (
        metrics.registry.get_sample_value("smartconnect_jobs_rounds_total", {"part": "x", "outcome": outcome})
        or 0.0
    )


async def test_a_database_that_is_away_costs_rounds_and_nothing_else() -> None:
    metrics, called, over = Metrics(), 0, asyncio.Event()

    async def work() -> int:
        nonlocal called
        called += 1
        if called in {2, 3}:
            raise DatabaseUnavailableError("gone")
        if called == 5:
            over.set()
        return 7

    task = asyncio.create_task(keep("x", 0.0, work, metrics))
    await asyncio.wait_for(over.wait(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert rounds(metrics, "waiting") == 2
    assert rounds(metrics, "done") >= 2
    assert (metrics.registry.get_sample_value("smartconnect_jobs_done_total", {"part": "x"}) or 0) >= 14


async def test_anything_else_ends_the_part() -> None:
    async def work() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        await keep("x", 0.0, work, Metrics())
