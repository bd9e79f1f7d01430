"""Sites: made, renamed, moved and removed by people who may, and which devices are there.

Every change holds the company's row (:func:`cloud.services.noticeboard.change`), so the tree that it looks at
stays as it is until it is done: two people cannot put two sites into each other.
"""

from collections.abc import Sequence
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.site_tree import TOP, SiteError, Tree
from cloud.postgres import sites
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection
from cloud.services.noticeboard import NAME_MAX_CHARS, change, invalid, line

MOST_SITES: Final = 1000
TAKEN: Final = N_("There is a site of this name already. Please choose another one.")
TAKEN_ABOVE: Final = N_("A site in this one has a name that is taken one level up. Please rename it first.")
AT_ONCE: Final = 500
"""Devices that one transaction moves."""


async def add_site(pool: Pool, actor: Actor, name: str, now_ms: int, parent_id: int = TOP) -> int:
    """A new site, in another one or at the top; its number. RefusedError."""
    name = line("name", name, NAME_MAX_CHARS)

    async def work(connection: Connection) -> int:
        tree = await sites.tree(connection, actor.company_id)
        if len(tree.nodes) >= MOST_SITES:
            raise RefusedError(RefusalCode.TOO_MANY_OPEN)
        _must_take(tree, TOP, parent_id)
        made = await sites.insert(connection, actor.company_id, name, now_ms, parent_id)
        if made is None:
            raise invalid("name", gettext(TAKEN))
        return made

    return await change(pool, actor, now_ms, work)


async def change_site(
    pool: Pool,
    actor: Actor,
    site_id: int,
    now_ms: int,
    *,
    name: str | None = None,
    parent_id: int | None = None,
) -> None:
    """Another name, another place (TOP: at the top); None leaves it as it is. RefusedError."""
    wanted = None if name is None else line("name", name, NAME_MAX_CHARS)

    async def work(connection: Connection) -> None:
        tree = await sites.tree(connection, actor.company_id)
        site = tree.get(site_id)
        if site is None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        parent = site.parent_id if parent_id is None else parent_id
        _must_take(tree, site_id, parent)
        done = await sites.update(connection, actor.company_id, site_id, wanted or site.name, parent)
        if done is None:
            raise invalid("name", gettext(TAKEN))

    await change(pool, actor, now_ms, work)


def _must_take(tree: Tree, site_id: int, parent_id: int) -> None:
    try:
        tree.must_take(site_id, parent_id)
    except SiteError as error:
        raise invalid("parent", str(error)) from None


async def remove_site(pool: Pool, actor: Actor, site_id: int, now_ms: int) -> None:
    """It goes, with its policies and windows; what was in it is one level up then. RefusedError."""

    async def work(connection: Connection) -> None:
        done = await sites.remove(connection, actor.company_id, site_id, now_ms)
        if done is None:
            raise invalid("name", gettext(TAKEN_ABOVE))
        if not done:
            raise RefusedError(RefusalCode.NOT_FOUND)

    await change(pool, actor, now_ms, work)


async def place(pool: Pool, actor: Actor, site_id: int, device_ids: Sequence[int], now_ms: int) -> None:
    """These devices of the company are at the site itself, and no others."""

    async def work(connection: Connection) -> None:
        tree = await sites.tree(connection, actor.company_id)
        if tree.get(site_id) is None:
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


async def move(
    pool: Pool, actor: Actor, device_ids: Sequence[int], site_id: int, now_ms: int, *, strict: bool = True
) -> int:
    """These devices are at that site now (TOP: at none), the others stay; how many they are.

    RefusedError not_found where the site is not the company's, or, if ``strict``, one of the devices: of up
    to ``AT_ONCE`` none is moved then. Devices that have been given away meanwhile are left out otherwise.
    """
    actor.must(Action.NOTIFY)
    wanted = sorted(set(device_ids))
    if not wanted:
        raise invalid("device", gettext("Choose at least one device."))
    done = 0
    for first in range(0, len(wanted), AT_ONCE):

        async def work(connection: Connection, part: Sequence[int] = wanted[first : first + AT_ONCE]) -> int:
            if site_id != TOP and (await sites.tree(connection, actor.company_id)).get(site_id) is None:
                raise RefusedError(RefusalCode.NOT_FOUND)
            moved = await sites.move(connection, actor.company_id, part, site_id or None)
            if strict and moved != len(part):
                raise RefusedError(RefusalCode.NOT_FOUND)
            return moved

        done += await change(pool, actor, now_ms, work)
    return done
