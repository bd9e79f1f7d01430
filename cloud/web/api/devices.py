"""Devices for programs, and for the charts of the pages."""

from typing import Annotated, Final, Literal

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.device_state import DeviceView
from cloud.core.site_tree import TOP
from cloud.postgres import devices
from cloud.services import event_log, fleet, naming, placing
from cloud.web.api.device_json import (
    Device,
    DeviceList,
    EventList,
    EventLog,
    device_json,
    event_json,
    log_json,
)
from cloud.web.api.kinds import DeviceId, Line, Number, device_number
from cloud.web.api.operation import Section
from cloud.web.event_search import place_of, wish_of
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, actor_of, now_ms, session_of

SECTION: Final = Section(
    "Devices",
    "The UPSs of your company, and what they say.",
    reads=Scope.DEVICES_READ,
    writes=Scope.DEVICES_WRITE,
)


Search = Annotated[str, Meta(max_length=500, description="Words and filters, as on the page of devices.")]
After = Annotated[str, Meta(max_length=2000, description="`next` of the page before.")]
Limit = Annotated[int, Meta(ge=1, le=fleet.MOST, description="Devices of a page.")]

OfSeverity = Annotated[
    Literal["", "critical", "warning", "info"],
    Meta(description="Only events as serious as this; empty: all."),
]


class DeviceMove(Struct):
    """Devices, and the site where they are from now on; null: at none."""

    device_ids: Annotated[list[DeviceId], Meta(max_length=1000)]
    site_id: Number | None


class Moved(Struct):
    """How many devices are there."""

    count: int


class UpsProfile(Struct):
    """What your company calls a device. An empty name shows its model again."""

    name: Line
    description: Line = ""


@SECTION.operation("GET", "/devices", problems=[ProblemCode.FIELD_INVALID])
async def list_devices(
    request: web.Request, q: Search = "", sort: Line = "", after: After = "", limit: Limit = 100
) -> DeviceList:
    """The devices of the company that a search finds (docs/devices.md), a page at a time."""
    asked = fleet.Asked(q, sort, after, limit)
    found = await fleet.look(request.app[POOL], actor_of(request), asked, now_ms())
    at_ms = now_ms()
    return DeviceList(
        [device_json(one.view, at_ms) for one in found.devices],
        found=found.found,
        of=found.there,
        next=found.next or None,
    )


@SECTION.operation(
    "POST",
    "/devices/move",
    problems=[ProblemCode.FORBIDDEN, ProblemCode.NOT_FOUND, ProblemCode.FIELD_INVALID],
)
async def move_devices(request: web.Request, body: DeviceMove) -> Moved:
    """Say where devices are from now on; all others stay where they are."""
    chosen = [device_number(one) for one in body.device_ids]
    site_id = TOP if body.site_id is None else body.site_id
    return Moved(await placing.move(request.app[POOL], actor_of(request), chosen, site_id, now_ms()))


async def own(request: web.Request, device_id: str) -> DeviceView:
    """The device if the session's company owns it; else it does not exist."""
    number = device_number(device_id)
    view = await devices.find_view(request.app[POOL], session_of(request).company_id, number)
    if view is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return view


@SECTION.operation("GET", "/devices/{device_id}")
async def show_device(request: web.Request, device_id: DeviceId) -> Device:
    """One device with its newest values."""
    return device_json(await own(request, device_id), now_ms())


@SECTION.operation(
    "PUT", "/devices/{device_id}/profile", problems=[ProblemCode.FIELD_INVALID, ProblemCode.FORBIDDEN]
)
async def name_device(request: web.Request, device_id: DeviceId, body: UpsProfile) -> Device:
    """Name and describe a device."""
    await naming.save_profile(
        request.app[POOL],
        actor_of(request),
        device_number(device_id),
        name=body.name,
        description=body.description,
        now_ms=now_ms(),
    )
    return await show_device(request, device_id)


@SECTION.operation("GET", "/devices/{device_id}/events")
async def list_events(request: web.Request, device_id: DeviceId) -> EventList:
    """The newest events of one device."""
    view = await own(request, device_id)
    found = await devices.list_events(request.app[POOL], view.device_id, view.epoch, devices.MAX_EVENTS)
    return EventList([event_json(row) for row in found])


@SECTION.operation("GET", "/events")
async def search_events(
    request: web.Request, q: Line = "", severity: OfSeverity = "", before: After = ""
) -> EventLog:
    """What happened to the devices of the company, newest first, a page at a time."""
    actor = actor_of(request)
    wish = wish_of({"q": q, "severity": severity}, None)
    found = await event_log.look(
        request.app[POOL],
        actor,
        wish.sought(actor.company_id),
        now_ms(),
        before=place_of(before, "before"),
    )
    return EventLog([log_json(one) for one in found.events], found.older or None)
