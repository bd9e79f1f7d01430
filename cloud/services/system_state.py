"""Which registration a server shows, where it comes from, and what it is told of it."""

from dataclasses import dataclass

from cloud.core import system as rules
from cloud.core.system import Shown, Slot, System
from cloud.core.system_data import PARTS, Part
from cloud.postgres import system_reports, system_views, systems
from cloud.postgres.transaction import Connection
from protocol.system import Registration, Source
from protocol.system_code import written_number


@dataclass(frozen=True, slots=True)
class Standing:
    """A server's own registration, and the one it shows."""

    own: System | None
    shown: System | None
    where: Shown

    @property
    def source(self) -> Source:
        """Where the shown one comes from."""
        return self.where.source


async def standing_of(connection: Connection, system_id: str) -> Standing:
    """Where this server stands, by its pointers: to its Enterprise Server, to its lead."""
    server = await systems.find_server(connection, system_id)
    enterprise = await system_reports.enterprise_of(connection, system_id)
    number = None if server is None else server.number
    upper = None if enterprise is None else enterprise[1]
    found = await systems.load_registrations(connection, [one for one in (number, upper) if one is not None])
    leads = [one.lead for one in found.values() if one.lead is not None]
    found |= await systems.load_registrations(connection, leads) if leads else {}

    def at(place: int | None) -> System | None:
        return None if place is None else found.get(place)

    def lead_of(one: System | None) -> System | None:
        return None if one is None else at(one.lead)

    own, over = at(number), at(upper)
    where = rules.shown(own, lead_of(own), over, lead_of(over))
    return Standing(own, at(where.number), where)


async def told(connection: Connection, system: System) -> Registration:
    """A registration as its servers are told it."""
    data = await systems.fields(connection, system.number)
    names = {one.slot: one.company for one in await system_views.holders(connection, system.number)}
    created_ms, _changed_ms = await system_views.times(connection, system.number)

    def part(*parts: Part) -> dict[str, str]:
        return {name: data[name] for one in parts for name in PARTS[one] if data.get(name)}

    return Registration(
        number=written_number(system.number),
        registered_ms=created_ms,
        integrator=names.get(Slot.INTEGRATOR, ""),
        end_user=names.get(Slot.END_USER, ""),
        data=part(Part.DATA),
        contacts=part(Part.CONTACTS, Part.INTEGRATOR),
        warranty=part(Part.WARRANTY),
    )
