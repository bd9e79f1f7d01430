"""The list of a company's devices: what a query finds, counted by site and state, in any order, page by page.

Whoever may see devices may ask. What cannot be understood is RefusedError field_invalid with the field ``q``,
``sort`` or ``after`` and a text that says what to write instead.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.device_query import At, Query, QueryError, Term, Word, parse
from cloud.core.device_state import Condition, DeviceView
from cloud.core.fleet import Order, OrderError, Place, place_of, token_of
from cloud.core.language import gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.site_tree import TOP, Sum, Tree
from cloud.postgres import device_list, devices, sites
from cloud.postgres.device_list import Found, Row, Wanted
from cloud.postgres.pool import Pool
from cloud.services.exporting import RightsLostError

PAGE: Final = 50
"""Devices of a page: what fits on some screens; the next page is one key away."""
MOST: Final = 500
"""Devices that a program gets at once."""
EXPORT_ROWS: Final = 1000

MayGoOn = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks for, as it came: the query, the order, and the place behind which the page begins or
    before which it ends.
    """

    query: str = ""
    sort: str = ""
    after: str = ""
    limit: int = PAGE
    before: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A device of a page, and the path of its site for people (empty: at none)."""

    view: DeviceView
    site: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What a query finds, without the devices."""

    query: Query
    found: int
    there: int
    states: Mapping[Condition, int]


@dataclass(frozen=True, slots=True)
class Listing:
    """A page. ``next``: where the next one begins, empty at the end; ``previous``: where the one before ends,
    empty at the beginning; ``found`` of ``there`` devices; ``states``: those found, by state; ``sums``: all
    devices of the company by site.
    """

    query: Query
    order: Order
    devices: Sequence[Listed]
    next: str
    previous: str
    found: int
    there: int
    states: Mapping[Condition, int]
    tree: Tree
    sums: Mapping[int, Sum]


async def look(pool: Pool, actor: Actor, asked: Asked, now_ms: int) -> Listing:
    """A page of the list. RefusedError."""
    actor.must(Action.SEE)
    wanted, tree = await _wanted(pool, actor, asked, now_ms)
    found = await device_list.find(pool, wanted)
    if wanted.before is not None and len(found.page) <= asked.limit:  # so few are the first ones
        wanted = replace(wanted, before=None)
        found = await device_list.find(pool, wanted)
    back = wanted.before is not None
    rows = found.page[1:] if back else found.page[: asked.limit]
    goes_on = back or len(found.page) > asked.limit
    began = back or wanted.after is not None
    return Listing(
        query=wanted.query,
        order=wanted.order,
        devices=await _listed(pool, actor, rows, tree),
        next=token_of(wanted.order, rows[-1].place) if rows and goes_on else "",
        previous=token_of(wanted.order, rows[0].place) if rows and began else "",
        found=sum(found.found.values()),
        there=sum(found.there.values()),
        states=_states(found),
        tree=tree,
        sums=tree.sums(found.there),
    )


async def count(pool: Pool, actor: Actor, query: str, now_ms: int) -> Tally:
    """How many devices a query finds. RefusedError."""
    actor.must(Action.SEE)
    wanted, _ = await _wanted(pool, actor, Asked(query, limit=0), now_ms)
    found = await device_list.find(pool, wanted)
    return Tally(wanted.query, sum(found.found.values()), sum(found.there.values()), _states(found))


def _states(found: Found) -> dict[Condition, int]:
    states: dict[Condition, int] = {}
    for (_, condition), number in found.found.items():
        if number:
            states[condition] = states.get(condition, 0) + number
    return states


async def watch(pool: Pool, actor: Actor, device_ids: Sequence[int]) -> list[Listed]:
    """Some devices as they are now, in this order, but for those that are not the company's."""
    actor.must(Action.SEE)
    async with pool.connection() as connection:
        tree = await sites.tree(connection, actor.company_id)
        places = await sites.places(connection, actor.company_id, device_ids)
    views = await devices.company_views(pool, actor.company_id, device_ids)
    return [
        Listed(views[device_id], tree.title(places.get(device_id, TOP)))
        for device_id in device_ids
        if device_id in views
    ]


async def at_sites(pool: Pool, actor: Actor, now_ms: int) -> tuple[Tree, Mapping[int, Sum]]:
    """The company's sites and what their devices come to; those at no site at TOP."""
    actor.must(Action.SEE)
    wanted, tree = await _wanted(pool, actor, Asked(limit=0), now_ms)
    found: Found = await device_list.find(pool, wanted)
    return tree, tree.sums(found.there)


async def export(
    pool: Pool, actor: Actor, asked: Asked, now_ms: int, may_go_on: MayGoOn
) -> AsyncIterator[Sequence[Listed]]:
    """All devices that a query finds, pages of them in the order asked for. RefusedError, RightsLostError."""
    actor.must(Action.SEE)
    after: Place | None = None
    wanted, tree = await _wanted(pool, actor, asked, now_ms)
    while True:
        rows = (await device_list.find(pool, _behind(wanted, after))).page
        listed = await _listed(pool, actor, rows, tree)
        if not await may_go_on():  # after the reading, so that no page leaves that was read without rights
            raise RightsLostError
        if listed:
            yield listed
        if len(rows) < EXPORT_ROWS:
            return
        after = rows[-1].place


async def numbers(pool: Pool, actor: Actor, query: str, now_ms: int) -> list[int]:
    """The numbers of all devices that a query finds. RefusedError."""
    actor.must(Action.SEE)
    found: list[int] = []
    after: Place | None = None
    wanted, _ = await _wanted(pool, actor, Asked(query, "name"), now_ms)
    while True:
        rows = (await device_list.find(pool, _behind(wanted, after))).page
        found += [row.device_id for row in rows]
        if len(rows) < EXPORT_ROWS:
            return found
        after = rows[-1].place


def _behind(wanted: Wanted, after: Place | None) -> Wanted:
    return replace(wanted, after=after, limit=EXPORT_ROWS)


async def _listed(pool: Pool, actor: Actor, rows: Sequence[Row], tree: Tree) -> list[Listed]:
    """What is shown of these devices; one that was given away a moment ago is left out."""
    views = await devices.company_views(pool, actor.company_id, [row.device_id for row in rows])
    return [Listed(views[row.device_id], tree.title(row.site_id)) for row in rows if row.device_id in views]


async def _wanted(pool: Pool, actor: Actor, asked: Asked, now_ms: int) -> tuple[Wanted, Tree]:
    try:
        query = parse(asked.query)
    except QueryError as error:
        raise RefusedError(RefusalCode.FIELD_INVALID, text=str(error), field="q") from None
    try:
        order = Order.parse(asked.sort)
    except OrderError as error:
        raise RefusedError(RefusalCode.FIELD_INVALID, text=str(error), field="sort") from None
    places = {}
    for field, token in (("after", asked.after), ("before", asked.before)):
        try:
            places[field] = place_of(order, token) if token else None
        except OrderError as error:
            raise RefusedError(RefusalCode.FIELD_INVALID, text=str(error), field=field) from None
    async with pool.connection() as connection:
        tree = await sites.tree(connection, actor.company_id)
    wanted = Wanted(
        company_id=actor.company_id,
        query=query,
        sites={term: sorted(_sites(term, tree)) for term in query.terms if isinstance(term, At | Word)},
        order_of_sites=[node.site_id for node in tree.nodes],
        order=order,
        after=places["after"],
        limit=asked.limit + 1,
        now_ms=now_ms,
        before=places["before"],
    )
    return wanted, tree


def _sites(term: Term, tree: Tree) -> set[int]:
    """The sites that a term names, with all below them; a word names those whose path holds it."""
    if isinstance(term, Word):
        folded = term.text.casefold()
        return {node.site_id for node in tree.nodes if folded in node.title.casefold()}
    if not isinstance(term, At) or term.site is None:
        return {TOP}
    named = tree.named(term.site)
    if not named:
        known = ", ".join(f"“{node.name}”" for node in tree.children(TOP)[:5])
        hint = (
            gettext("There are {sites}.", sites=known) if known else gettext("Your company has no sites yet.")
        )
        text = gettext("There is no site “{name}”.", name=term.site) + f" {hint}"
        raise RefusedError(RefusalCode.FIELD_INVALID, text=text, field="q")
    return {one for node in named for one in tree.below(node.site_id)}
