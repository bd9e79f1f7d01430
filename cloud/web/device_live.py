"""The live stream of one device: what has changed on its page, and a point a second for its charts."""

import contextlib
import json
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
            feed = _Feed(request, view.epoch, stream)
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

    def __init__(self, request: web.Request, epoch: int, stream: sse.EventStream) -> None:
        self._request = request
        self._pages = request.app[PAGES]
        self._stream = stream
        self._epoch = epoch
        self._shown = ""
        self._mark: str | None = None
        self._outlets = ""
        self._order_mark: str | None = None
        self._ts_ms = 0

    async def show(self, snapshot: Snapshot, view: DeviceView) -> None:
        shown = {"view": view, "summary": summary_of(view, snapshot.at_ms), "now_ms": snapshot.at_ms}
        status = self._pages.render("_status.html", shown)
        if status != self._shown:
            self._shown = status
            await self._stream.send(_partial("#status", status))
        else:
            await self._stream.send("", "alive")
        if snapshot.event_mark != self._mark or view.epoch != self._epoch:
            first, self._mark, self._epoch = self._mark is None, snapshot.event_mark, view.epoch
            found = await devices.list_events(
                self._request.app[POOL], view.device_id, view.epoch, devices.SHOWN_EVENTS
            )
            context: dict[str, object] = {"events": event_facts(found), "now_ms": snapshot.at_ms}
            await self._stream.send(_partial("#events", self._pages.render("_events.html", context)))
            context |= {"view": view, "outages": await outage_facts.newest(self._request, view)}
            await self._stream.send(_partial("#outages", self._pages.render("_outages.html", context)))
            if not first:
                await self._stream.send("", "history")
        await self._show_panel(snapshot, view)
        if view.ts_ms > self._ts_ms:
            self._ts_ms = view.ts_ms
            await self._stream.send(json.dumps(sample_json(view), allow_nan=False), "sample")

    async def _show_panel(self, snapshot: Snapshot, view: DeviceView) -> None:
        actor, orders = actor_of(self._request), snapshot.command_mark
        outlets = self._pages.render("_outlets.html", panel_facts(view, actor, (), snapshot.at_ms))
        if outlets != self._outlets:
            self._outlets = outlets
            await self._stream.send(_partial("#outlets", outlets))
        if orders == self._order_mark:
            return
        self._order_mark = orders
        pool = self._request.app[POOL]
        rows = await commanding.history(pool, actor, view.device_id, commands.SHOWN)
        facts = panel_facts(view, actor, rows, snapshot.at_ms)
        await self._stream.send(_partial("#commands", self._pages.render("_commands.html", facts)))


def _partial(target: str, html: str) -> str:
    """An htmx fragment that changes one part of the page and keeps its focus."""
    return f'<hx-partial hx-target="{target}" hx-swap="innerMorph">{html}</hx-partial>'


def add_routes(app: web.Application) -> None:
    """Register this view."""
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/live", stream_device, allow_head=False)
