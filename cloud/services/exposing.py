"""All devices of a company as they are now, a page at a time: for metrics, and for lists as files."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.exposition import Told
from cloud.postgres import devices, sites
from cloud.postgres.pool import Pool

PAGE: Final = 250
"""Some ten milliseconds of the event loop's time."""


async def told(pool: Pool, actor: Actor, now_ms: int) -> AsyncIterator[Sequence[Told]]:
    """Pages of devices with their sites' names, by number."""
    actor.must(Action.SEE)
    async with pool.connection() as connection:
        names = {one.site_id: one.name for one in await sites.sites(connection, actor.company_id)}
        sited = {one.device_id: one.site_id for one in await sites.devices(connection, actor.company_id)}
    after = 0
    while True:
        page = await devices.views_after(pool, actor.company_id, after, PAGE)
        if page:
            yield [Told.of(view, names.get(sited.get(view.device_id, 0), ""), now_ms) for view in page]
            after = page[-1].device_id
        if len(page) < PAGE:
            return
