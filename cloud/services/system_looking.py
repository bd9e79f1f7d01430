"""Registered systems as their holders see them: the overview, and one system with everything about it."""

from dataclasses import dataclass

from cloud.core import system as rules
from cloud.core import system_data
from cloud.core.authz import Action, Actor
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.system import Slot, System
from cloud.core.system_data import Part
from cloud.postgres import system_offers, system_reports, system_views, systems
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.pool import Pool
from cloud.postgres.system_offers import OfferRow
from cloud.postgres.system_reports import IntentRow, RequestRow
from cloud.postgres.system_views import Holder, Line, Listed, ServerRow, UpsRow
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.system_state import standing_of
from protocol.system import Source
from protocol.system_code import day_of, written_number

HISTORY_LINES = 200


@dataclass(frozen=True, slots=True)
class Overview:
    """What a company holds, and what it waits for."""

    systems: list[Listed]
    waiting: list[IntentRow]


@dataclass(frozen=True, slots=True)
class Detail:
    """One registration, for one of its holders."""

    system: System
    slots: frozenset[Slot]
    server: ServerRow | None
    source: Source
    shown_number: int
    """Whose data ``data`` is."""
    shown_is_mine: bool
    """Whether the company may open that registration's page."""
    enterprise: ServerRow | None
    """The Enterprise Server it is attached to, where it is."""
    data: dict[str, str]
    own: dict[str, str]
    holders: list[Holder]
    offers: list[OfferRow]
    shadows: list[Listed]
    attached: list[ServerRow]
    ups: list[UpsRow]
    history: list[Line]
    writable: frozenset[Part]
    code: RequestRow | None
    """The newest registration code for its server, while it is good."""

    @property
    def complete(self) -> bool:
        """Whether everything required is filled in."""
        return system_data.complete(self.own)


@crossing(Reason.SYSTEM)
async def overview(pool: Pool, actor: Actor, now_ms: int) -> Overview:
    """All systems of the actor's company."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> Overview:
        return Overview(
            await system_views.systems_of(connection, actor.company_id),
            await system_reports.intents_of_company(connection, actor.company_id, now_ms),
        )

    return await in_transaction(pool, work)


@crossing(Reason.SYSTEM)
async def find(pool: Pool, actor: Actor, number: int, now_ms: int) -> Detail:
    """One of them. RefusedError not_found, also for what others hold."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> Detail:
        return await _find(connection, actor, number, now_ms)

    return await in_transaction(pool, work)


async def _find(connection: Connection, actor: Actor, number: int, now_ms: int) -> Detail:
    system = (await systems.load_registrations(connection, [number])).get(number)
    if system is None:
        raise RefusedError(RefusalCode.NOT_FOUND)
    slots = rules.must_hold(system, actor.company_id)
    standing = await standing_of(connection, system.system_id)
    shown = standing.shown or system
    own = await systems.fields(connection, number)
    holders = await system_views.holders(connection, number)
    mine_since = min(one.from_ms for one in holders if one.company_id == actor.company_id)
    attached = [
        row
        for member in await system_reports.members_of(connection, system.system_id)
        if (row := await system_views.server(connection, member)) is not None
    ]
    over = await system_reports.enterprise_of(connection, system.system_id)
    code = await system_reports.newest_code(connection, system.system_id, number)
    return Detail(
        system=system,
        slots=slots,
        server=await system_views.server(connection, system.system_id),
        source=standing.source,
        shown_number=shown.number,
        shown_is_mine=bool(shown.slots_of(actor.company_id)),
        enterprise=None if over is None else await system_views.server(connection, over[0]),
        data=own if shown.number == number else await systems.fields(connection, shown.number),
        own=own,
        holders=holders,
        offers=await system_offers.open_of(connection, number, now_ms),
        shadows=await system_views.shadows_of(connection, number, actor.company_id),
        attached=attached,
        ups=_shared(await system_views.ups_under(connection, system.system_id), system, actor, slots),
        history=await system_views.history(connection, number, mine_since, HISTORY_LINES),
        writable=system_data.writable(system, slots),
        code=code if code is not None and code.day >= day_of(now_ms) else None,
    )


def _shared(ups: list[UpsRow], system: System, actor: Actor, slots: frozenset[Slot]) -> list[UpsRow]:
    """The company's own UPSs; to the integrator those of the end-user, too, where that one lets it."""
    end_user = system.holders.get(Slot.END_USER)
    lets = system.share_ups and Slot.INTEGRATOR in slots
    return [one for one in ups if one.company_id == actor.company_id or (lets and one.company_id == end_user)]


@dataclass(frozen=True, slots=True)
class SiteOfUps:
    """Where a UPS is, as its server's registration says."""

    number: int
    data: dict[str, str]
    server: str

    @property
    def written(self) -> str:
        """The registration's number, as people read it."""
        return written_number(self.number)


@crossing(Reason.SYSTEM)
async def site_of_ups(pool: Pool, actor: Actor, device_id: int) -> SiteOfUps | None:
    """Site and contacts of the registered server that a UPS of the actor's company is under, if any.

    Only where the company holds a slot of what the server shows, so that nobody reads a stranger's address.
    """
    actor.must(Action.SEE)

    async def work(connection: Connection) -> SiteOfUps | None:
        system_id = await system_views.system_of_ups(connection, device_id)
        if system_id is None:
            return None
        shown = (await standing_of(connection, system_id)).shown
        if shown is None or not shown.slots_of(actor.company_id):
            return None
        server = await system_views.server(connection, system_id)
        data = await systems.fields(connection, shown.number)
        return SiteOfUps(shown.number, data, "" if server is None else server.name)

    return await in_transaction(pool, work)


@crossing(Reason.SYSTEM)
async def number_of(pool: Pool, actor: Actor, system_id: str) -> int | None:
    """The registration of this System ID, where the actor's company holds a slot of it."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> int | None:
        return await system_views.number_of(connection, system_id, actor.company_id)

    return await in_transaction(pool, work)
