"""Devices for programs, and for the charts of the pages: ``/api/v1``.

A program logs in like a browser, reads its form token at ``/api/v1/session`` and sends it as ``X-Form-Token``
with every change. Ids of devices are texts.
"""

from aiohttp import web

from cloud.postgres import devices
from cloud.services import charting
from cloud.web.api.device_json import device_json, event_json, history_json
from cloud.web.device_views import own_device, range_of
from cloud.web.responses import json_response
from cloud.web.state import POOL, now_ms, session_of, visit_of


async def show_session(request: web.Request) -> web.Response:
    """Who is logged in, and the token that changes need."""
    session = session_of(request)
    return json_response(
        {
            "email": session.email,
            "company": session.company_name,
            "role": session.role,
            "form_token": visit_of(request).form_token,
        }
    )


async def list_devices(request: web.Request) -> web.Response:
    """All devices of the company."""
    views = await devices.list_views(request.app[POOL], session_of(request).company_id)
    at_ms = now_ms()
    return json_response({"devices": [device_json(view, at_ms) for view in views]})


async def show_device(request: web.Request) -> web.Response:
    """One device."""
    return json_response(device_json(await own_device(request), now_ms()))


async def show_history(request: web.Request) -> web.Response:
    """Averages of the last ``range_s`` seconds."""
    view = await own_device(request)
    history = await charting.read_history(request.app[POOL], view, range_of(request), now_ms())
    return json_response(history_json(history))


async def list_events(request: web.Request) -> web.Response:
    """The newest events of one device."""
    view = await own_device(request)
    found = await devices.list_events(request.app[POOL], view.device_id, view.epoch, devices.MAX_EVENTS)
    return json_response({"events": [event_json(row) for row in found]})


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/api/v1/session", show_session)
    app.router.add_get("/api/v1/devices", list_devices)
    device = r"/api/v1/devices/{device_id:\d{1,19}}"
    app.router.add_get(device, show_device)
    app.router.add_get(device + "/history", show_history)
    app.router.add_get(device + "/events", list_events)
