"""Devices for programs, and for the charts of the pages."""

from typing import Annotated, Final, Literal

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.device_state import DeviceView
from cloud.postgres import devices
from cloud.services import charting, naming
from cloud.web.api.device_json import (
    Device,
    DeviceHistory,
    DeviceList,
    EventList,
    device_json,
    event_json,
    history_json,
)
from cloud.web.api.kinds import DeviceId, Line, device_number
from cloud.web.api.operation import Section
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, actor_of, now_ms, session_of

SECTION: Final = Section("Devices", "The UPSs of your company, and what they say.")
Range = Annotated[Literal[600, 3600, 86400], Meta(description="How far back, in seconds.")]


class UpsProfile(Struct):
    """What your company calls a device. An empty name shows its model again."""

    name: Line
    description: Line = ""


@SECTION.operation("GET", "/devices")
async def list_devices(request: web.Request) -> DeviceList:
    """All devices of the company."""
    views = await devices.list_views(request.app[POOL], session_of(request).company_id)
    at_ms = now_ms()
    return DeviceList([device_json(view, at_ms) for view in views])


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


@SECTION.operation("GET", "/devices/{device_id}/history")
async def show_history(
    request: web.Request, device_id: DeviceId, range_s: Range = charting.DEFAULT_RANGE_S
) -> DeviceHistory:
    """Averages of the last seconds, as charts show them."""
    view = await own(request, device_id)
    return history_json(await charting.read_history(request.app[POOL], view, range_s, now_ms()))


@SECTION.operation("GET", "/devices/{device_id}/events")
async def list_events(request: web.Request, device_id: DeviceId) -> EventList:
    """The newest events of one device."""
    view = await own(request, device_id)
    found = await devices.list_events(request.app[POOL], view.device_id, view.epoch, devices.MAX_EVENTS)
    return EventList([event_json(row) for row in found])
