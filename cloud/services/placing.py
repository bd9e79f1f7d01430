"""Sites: made, renamed and removed by people who may, and which devices are there."""

from collections.abc import Sequence
from typing import Final

from cloud.core.authz import Actor
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import sites
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection
from cloud.services.noticeboard import NAME_MAX_CHARS, change, invalid, line

MOST_SITES: Final = 1000
TAKEN: Final = "There is a site of this name already. Please choose another one."


async def add_site(pool: Pool, actor: Actor, name: str, now_ms: int) -> int:
    """A new site; its number."""
    name = line("name", name, NAME_MAX_CHARS)

    async def work(connection: Connection) -> int:
        if len(await sites.sites(connection, actor.company_id)) >= MOST_SITES:
            raise RefusedError(RefusalCode.TOO_MANY_OPEN)
        made = await sites.insert(connection, actor.company_id, name, now_ms)
        if made is None:
            raise invalid("name", TAKEN)
        return made

    return await change(pool, actor, now_ms, work)


async def rename_site(pool: Pool, actor: Actor, site_id: int, name: str, now_ms: int) -> None:
    """Another name."""
    name = line("name", name, NAME_MAX_CHARS)

    async def work(connection: Connection) -> None:
        done = await sites.rename(connection, actor.company_id, site_id, name)
        if done is None:
            raise invalid("name", TAKEN)
        if not done:
            raise RefusedError(RefusalCode.NOT_FOUND)

    await change(pool, actor, now_ms, work)


async def remove_site(pool: Pool, actor: Actor, site_id: int, now_ms: int) -> None:
    """It goes, with its policies and windows; its devices are nowhere then."""

    async def work(connection: Connection) -> None:
        if not await sites.remove(connection, actor.company_id, site_id, now_ms):
            raise RefusedError(RefusalCode.NOT_FOUND)

    await change(pool, actor, now_ms, work)


async def place(pool: Pool, actor: Actor, site_id: int, device_ids: Sequence[int], now_ms: int) -> None:
    """These devices of the company are at the site, and no others."""

    async def work(connection: Connection) -> None:
        known = await sites.sites(connection, actor.company_id)
        if all(site.site_id != site_id for site in known):
            raise RefusedError(RefusalCode.NOT_FOUND)
        wanted = set(device_ids)
        there = {
            one.device_id
            for one in await sites.devices(connection, actor.company_id)
            if one.site_id == site_id
        }
        await sites.move(connection, actor.company_id, sorted(there - wanted), None)
        await sites.move(connection, actor.company_id, sorted(wanted - there), site_id)

    await change(pool, actor, now_ms, work)
