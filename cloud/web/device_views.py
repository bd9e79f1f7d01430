"""The page of one device, its table, and its live stream."""

import contextlib
import json
from dataclasses import replace
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.device_state import DeviceView
from cloud.postgres import commands, devices
from cloud.services import charting, commanding, naming
from cloud.services.naming import ProfileError, UnknownDeviceError
from cloud.web import alarm_views, outage_facts, owner_facts, sse
from cloud.web.api.device_json import sample_json
from cloud.web.command_facts import panel_facts
from cloud.web.live import Snapshot
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page, see_other
from cloud.web.sentences import detail_text, event_words, summary_of
from cloud.web.state import HUB, PAGES, POOL, actor_of, now_ms, session_of

BEAT_S: Final = 2.0
RANGE_NAMES: Final = {600: "10 min", 3600: "1 h", 86_400: "24 h"}


def device_id_of_path(request: web.Request) -> int:
    """The device named in the path; a number that cannot be one is a device that does not exist."""
    number = int(request.match_info["device_id"])
    if number >= 1 << 63:
        raise Problem(ProblemCode.NOT_FOUND)
    return number


async def own_device(request: web.Request) -> DeviceView:
    """The device of the path if the session's company owns it; else it does not exist."""
    view = await devices.find_view(
        request.app[POOL], session_of(request).company_id, device_id_of_path(request)
    )
    if view is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return view


def range_of(request: web.Request) -> int:
    """The range asked for, in seconds; only those that pages offer."""
    text = request.query.get("range_s", str(charting.DEFAULT_RANGE_S))
    if text not in {str(known) for known in charting.RANGES_S}:
        raise Problem(ProblemCode.BAD_REQUEST, detail=f"range_s is one of {list(charting.RANGES_S)}.")
    return int(text)


async def show_device(request: web.Request) -> web.Response:
    """The page of one device."""
    return await _device_page(request, await own_device(request))


async def _device_page(
    request: web.Request, view: DeviceView, fault: ProfileError | None = None, typed: DeviceView | None = None
) -> web.Response:
    range_s, at_ms = range_of(request), now_ms()
    try:
        orders = await commanding.history(
            request.app[POOL], actor_of(request), view.device_id, commands.SHOWN
        )
    except UnknownDeviceError:  # given away a moment ago
        raise Problem(ProblemCode.NOT_FOUND) from None
    return page(
        request,
        "device.html",
        {
            **panel_facts(view, actor_of(request), orders, at_ms),
            "summary": summary_of(view, at_ms),
            "owner": await owner_facts.look(request, view.device_id),
            **await alarm_views.facts(request, view.device_id),
            "events": await _events(request, view),
            "outages": await outage_facts.newest(request, view),
            "rows": await charting.read_table(request.app[POOL], view, range_s, at_ms),
            "range_s": range_s,
            "ranges": RANGE_NAMES,
            "typed": typed or view,
            "fault": fault,
            "faults": {},
            "may_name": actor_of(request).may(Action.NAME),
        },
        status=200 if fault is None else 422,
    )


async def save_profile(request: web.Request) -> web.Response:
    """Take the UPS Profile."""
    view, form = await own_device(request), await request.post()
    name, description = str(form.get("name", "")), str(form.get("description", ""))
    try:
        await naming.save_profile(
            request.app[POOL],
            actor_of(request),
            view.device_id,
            name=name,
            description=description,
            now_ms=now_ms(),
        )
    except UnknownDeviceError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    except ProfileError as fault:
        return await _device_page(request, view, fault, replace(view, name=name, description=description))
    return see_other(f"/devices/{view.device_id}")


async def show_table(request: web.Request) -> web.Response:
    """The table under the chart, alone."""
    view = await own_device(request)
    rows = await charting.read_table(request.app[POOL], view, range_of(request), now_ms())
    return page(request, "_table.html", {"rows": rows})


async def _events(request: web.Request, view: DeviceView) -> list[dict[str, object]]:
    found = await devices.list_events(request.app[POOL], view.device_id, view.epoch, devices.SHOWN_EVENTS)
    return [{"row": row, "words": event_words(row.kind), "detail": detail_text(row.detail)} for row in found]


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
            events = await _events(self._request, view)
            context: dict[str, object] = {"events": events, "now_ms": snapshot.at_ms}
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
    """Register these views."""
    app.router.add_get(r"/devices/{device_id:\d{1,19}}", show_device)
    app.router.add_post(r"/devices/{device_id:\d{1,19}}/profile", save_profile)
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/table", show_table)
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/live", stream_device, allow_head=False)
