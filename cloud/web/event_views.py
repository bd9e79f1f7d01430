"""What happened: the log of all devices or of one, searched by its address, and each event by its own."""

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web

from cloud.core.detail_words import name_text
from cloud.core.device_state import DeviceView
from cloud.postgres.event_log import Place
from cloud.services import event_log
from cloud.web.device_views import own_device
from cloud.web.event_search import MAX_CHARS, SEVERITIES, Wish, log_facts, place_of, severity_of, wish_of
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page
from cloud.web.sentences import detail_text, event_words
from cloud.web.state import POOL, actor_of, now_ms
from cloud.web.tables import said

DEVICE: Final = r"/devices/{device_id:\d{1,19}}/events"


async def show_all(request: web.Request) -> web.Response:
    """Of all devices."""
    return await _log(request, None)


async def show_device(request: web.Request) -> web.Response:
    """Of one device."""
    return await _log(request, await own_device(request))


async def _log(request: web.Request, view: DeviceView | None) -> web.Response:
    wish, here = _asked(request, view)
    actor = actor_of(request)
    before = place_of(request.query.get("before", ""), "before")
    found = await event_log.look(
        request.app[POOL], actor, wish.sought(actor.company_id), now_ms(), before=before
    )
    first = found.events[0].place if found.events else Place(now_ms() * 1000, 0, 0, 0)
    context: dict[str, Any] = {
        "view": view,
        "wish": wish,
        "here": here,
        "events": log_facts(found.events, whose=view is None),
        "older": found.older and here + wish.query(before=found.older),
        "is_first": before is None,
        "newer_at": f"{here}/newer{wish.query(after=event_log.text_of(first))}",
        "file_at": f"/api/v1{here}{'' if view is None else '/search'}.csv{wish.query()}",
        "severities": _severities(wish),
        "max_chars": MAX_CHARS,
    }
    return page(request, "events.html", context, squeeze=True)


def _asked(request: web.Request, view: DeviceView | None) -> tuple[Wish, str]:
    """What is asked for, and the address of the log without it."""
    number = None if view is None else view.device_id
    return wish_of(request.query, number), "/events" if view is None else f"/devices/{number}/events"


def _severities(wish: Wish) -> list[dict[str, object]]:
    words = said({severity: face[0] for severity, face in SEVERITIES.items()})
    return [
        {
            "value": severity.value,
            "word": words[severity],
            "current": wish.severity is severity,
        }
        for severity in SEVERITIES
    ]


async def count_all(request: web.Request) -> web.Response:
    """How many are newer than those that a page shows."""
    return await _newer(request, None)


async def count_device(request: web.Request) -> web.Response:
    """The same of one device."""
    return await _newer(request, await own_device(request))


async def _newer(request: web.Request, view: DeviceView | None) -> web.Response:
    wish, here = _asked(request, view)
    actor = actor_of(request)
    after = place_of(request.query.get("after", ""), "after")
    if after is None:
        raise Problem(ProblemCode.BAD_REQUEST)
    count = await event_log.count_newer(request.app[POOL], actor, wish.sought(actor.company_id), after)
    return page(request, "_events_newer.html", {"newer": count, "wish": wish, "here": here})


async def show_event(request: web.Request) -> web.Response:
    """One event, with all that was told of it and what happened around it."""
    view, actor, pool = await own_device(request), actor_of(request), request.app[POOL]
    stream, seq = int(request.match_info["stream"]), int(request.match_info["seq"])
    event = await event_log.find(pool, actor, view.device_id, stream, seq)
    if event is None:
        raise Problem(ProblemCode.NOT_FOUND)
    row = event.row
    severity = severity_of(row.kind)
    context = {
        "view": view,
        "event": event,
        "words": event_words(row.kind),
        "severity": said({severity: SEVERITIES[severity][0]})[severity],
        "tone": SEVERITIES[severity][1],
        "detail": detail_text(row.detail),
        "values": [
            (name_text(name), f"{value:g}" if isinstance(value, float) else value)
            for name, value in row.detail.items()
            if value is not None
        ],
        "there": f"{datetime.fromtimestamp(row.ts_ms / 1000, zone_of(view)):%Y-%m-%d %H:%M:%S}",
        "around": log_facts(await event_log.around(pool, actor, event), whose=False),
        "from_ms": max(0, row.ts_ms - event_log.AROUND_MS),
        "to_ms": row.ts_ms + event_log.AROUND_MS,
    }
    return page(request, "event.html", context)


def zone_of(view: DeviceView) -> ZoneInfo:
    """The time zone of the place where a UPS stands; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(view.time_zone)
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/events", show_all)
    app.router.add_get("/events/newer", count_all, allow_head=False)
    app.router.add_get(DEVICE, show_device)
    app.router.add_get(f"{DEVICE}/newer", count_device, allow_head=False)
    app.router.add_get(DEVICE + r"/{stream:\d{1,19}}-{seq:\d{1,19}}", show_event)
