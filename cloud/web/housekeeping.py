"""What time alone ends: claims that waited too long, and announcements nobody renewed for a day.

Nothing waits for it (pages and decisions look at the clock themselves), any number of portals may do it at
once, and a round that fails is made up for by the next.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from cloud.postgres.pool import Pool
from cloud.postgres.safety import UNAVAILABLE
from cloud.services import claiming
from cloud.web import background
from cloud.web.state import now_ms

PERIOD_S: Final = 600.0

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def keeping_house(pool: Pool, period_s: float = PERIOD_S) -> AsyncIterator[None]:
    """A round now and every ``period_s`` seconds while the block runs."""
    async with background.running({"housekeeping": _keep(pool, period_s)}):
        yield


async def _keep(pool: Pool, period_s: float) -> None:
    while True:
        try:
            ended = await claiming.expire(pool, now_ms())
        except UNAVAILABLE as error:
            log.warning("housekeeping waits for the database", error=str(error))
        else:
            if ended:
                log.info("claims and announcements ended", count=ended)
        await asyncio.sleep(period_s)
