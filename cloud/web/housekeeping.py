"""What time alone ends: claims that waited too long, announcements nobody renewed for a day, old refused
messages, and what is due on owned devices; and the mails of what happened to them.

Nothing waits for it (pages and decisions look at the clock themselves), any number of portals may do it at
once, and a round that fails is made up for by the next.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from cloud import background
from cloud.postgres import leftovers, system_strangers
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.pool import Pool
from cloud.postgres.safety import UNAVAILABLE
from cloud.services import claiming, ownership_letters, owning, system_warranty
from cloud.services.kit import Kit
from cloud.web.state import now_ms

PERIOD_S: Final = 600.0
DUE_EVERY_S: Final = 1.0
"""Releases wait for their device to drain, and somebody for them."""

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def keeping_house(pool: Pool, rejected_days: int, period_s: float = PERIOD_S) -> AsyncIterator[None]:
    """A round now and every ``period_s`` seconds while the block runs."""
    async with background.running({"housekeeping": _keep(pool, rejected_days, period_s)}):
        yield


@contextlib.asynccontextmanager
async def looking_after_owners(kit: Kit, period_s: float = DUE_EVERY_S) -> AsyncIterator[None]:
    """Let happen what is due on owned devices, and write the mails about them, while the block runs."""
    async with background.running({"owners": _look_after(kit, period_s)}):
        yield


@contextlib.asynccontextmanager
async def looking_after_warranties(kit: Kit, period_s: float = PERIOD_S) -> AsyncIterator[None]:
    """Tell of warranties of registered systems that end, while the block runs."""
    async with background.running({"warranties": _tell_warranties(kit, period_s)}):
        yield


@crossing(Reason.UPKEEP)
async def _tell_warranties(kit: Kit, period_s: float) -> None:
    while True:
        try:
            await system_warranty.tell_due(kit, now_ms())
        except UNAVAILABLE as error:
            log.warning("warranties wait for the database", error=str(error))
        await asyncio.sleep(period_s)


@crossing(Reason.UPKEEP)
async def _look_after(kit: Kit, period_s: float) -> None:
    away = False
    while True:
        try:
            await owning.sweep(kit.pool, now_ms())
            await ownership_letters.deliver(kit, now_ms())
            away = False
        except UNAVAILABLE as error:
            (log.debug if away else log.warning)("owned devices wait for the database", error=str(error))
            away = True
        await asyncio.sleep(period_s)


@crossing(Reason.UPKEEP)
async def _keep(pool: Pool, rejected_days: int, period_s: float) -> None:
    while True:
        try:
            ended = await claiming.expire(pool, now_ms())
            await leftovers.forget(pool, now_ms(), rejected_days)
            await system_strangers.forget_strangers(pool, now_ms())
        except UNAVAILABLE as error:
            log.warning("housekeeping waits for the database", error=str(error))
        else:
            if ended:
                log.info("claims and announcements ended", count=ended)
        await asyncio.sleep(period_s)
