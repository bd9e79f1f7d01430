"""The live stream of one device: what has changed on its page, and a point a second for its charts.

The page says with ``shown`` which events and commands it came with: they are not sent and drawn twice.
"""

import contextlib
import json
import zlib
from typing import Final

from aiohttp import web

from cloud.core.device_state import DeviceView
from cloud.postgres import commands, devices
from cloud.services import commanding
from cloud.services.naming import UnknownDeviceError
from cloud.web import outage_facts, sse
from cloud.web.api.history import sample_json
from cloud.web.command_facts import panel_facts
from cloud.web.device_views import own_device
from cloud.web.live import Snapshot
from cloud.web.sentences import event_facts, summary_of
from cloud.web.state import HUB, PAGES, POOL, actor_of, session_of

BEAT_S: Final = 2.0


async def stream_device(request: web.Request) -> web.StreamResponse:
    """Live state of one device: fragments for the page, ``alive`` in between; for the chart ``sample``, and
    ``history`` when more than the newest sample has changed.

    Ends with ``gone`` when the device is no longer this company's, or the log-in has ended.
    """
    view, session = await own_device(request), session_of(request)
    with request.app[HUB].watch(view.device_id, session) as subscription:
        async with sse.EventStream(request) as stream:
            feed = _Feed(request, stream)
            while not subscription.closed:
                snapshot = await subscription.next(BEAT_S)
                if snapshot is None:
                    await stream.beat()
                    continue
                if snapshot.view is None or snapshot.view.company_id != session.company_id:
                    await stream.send("", "gone")
                    break
                with contextlib.suppress(UnknownDeviceError):  # given away since; the next look says so
                    await feed.show(snapshot, snapshot.view)
            if subscription.revoked:
                await stream.send("", "gone")
        return stream.response


class _Feed:
    """Sends what has changed since the last snapshot."""

    def __init__(self, request: web.Request, stream: sse.EventStream) -> None:
        self._request = request
        self._pages = request.app[PAGES]
        self._stream = stream
        self._shown = ""
        self._events, _, self._orders = request.query.get("shown", "").partition(".")
        self._first = True
        self._outlets = ""
        self._ts_ms = 0

    async def show(self, snapshot: Snapshot, view: DeviceView) -> None:
        shown = {"view": view, "summary": summary_of(view, snapshot.at_ms), "now_ms": snapshot.at_ms}
        status = self._pages.render("_status.html", shown)
        if status != self._shown:
            self._shown = status
            await self._stream.send(_partial("#status", status))
        else:
            await self._stream.send("", "alive")
        events, orders = shown_marks(view.epoch, snapshot.event_mark, snapshot.command_mark)
        if events != self._events:
            self._events = events
            found = await devices.list_events(
                self._request.app[POOL], view.device_id, view.epoch, devices.SHOWN_EVENTS
            )
            context: dict[str, object] = {"events": event_facts(found), "now_ms": snapshot.at_ms}
            await self._stream.send(_partial("#events", self._pages.render("_events.html", context)))
            context |= {"view": view, "outages": await outage_facts.newest(self._request, view)}
            await self._stream.send(_partial("#outages", self._pages.render("_outages.html", context)))
            if not self._first:
                await self._stream.send("", "history")
        self._first = False
        await self._show_panel(snapshot, view, orders)
        if view.ts_ms > self._ts_ms:
            self._ts_ms = view.ts_ms
            await self._stream.send(json.dumps(sample_json(view), allow_nan=False), "sample")

    async def _show_panel(self, snapshot: Snapshot, view: DeviceView, orders: str) -> None:
        actor = actor_of(self._request)
        outlets = self._pages.render("_outlets.html", panel_facts(view, actor, (), snapshot.at_ms))
        if outlets != self._outlets:
            self._outlets = outlets
            await self._stream.send(_partial("#outlets", outlets))
        if orders == self._orders:
            return
        self._orders = orders
        pool = self._request.app[POOL]
        rows = await commanding.history(pool, actor, view.device_id, commands.SHOWN)
        facts = panel_facts(view, actor, rows, snapshot.at_ms)
        await self._stream.send(_partial("#commands", self._pages.render("_commands.html", facts)))


async def shown(request: web.Request, view: DeviceView) -> str:
    """What a page is about to show, for its stream; to be asked before the page's own reading."""
    pool, number = request.app[POOL], view.device_id
    events, orders = await devices.event_marks(pool, [number]), await commands.marks(pool, [number])
    return ".".join(shown_marks(view.epoch, events.get(number, ""), orders.get(number, "")))


def shown_marks(epoch: int, event_mark: str, command_mark: str) -> tuple[str, str]:
    """Events and commands as eight characters each, which change with them."""
    told = (f"{epoch} {mark}".encode() for mark in (event_mark, command_mark))
    events, orders = (f"{zlib.crc32(one):08x}" for one in told)
    return events, orders


def _partial(target: str, html: str) -> str:
    """An htmx fragment that changes one part of the page and keeps its focus."""
    return f'<hx-partial hx-target="{target}" hx-swap="innerMorph">{html}</hx-partial>'


def add_routes(app: web.Application) -> None:
    """Register this view."""
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/live", stream_device, allow_head=False)
