"""The list of devices: search, states, sites, orders in its address; its rows live; a file; moving devices.

The page asks again only for what is on its screen (``/devices/rows``); a short list is asked for as a whole,
so that what comes and goes shows by itself.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from cloud.core import device_query
from cloud.core.authz import Action
from cloud.core.device_filters import FILTERS
from cloud.core.device_query import MAX_CHARS, Query, text_of
from cloud.core.device_state import FACES
from cloud.core.fleet import LABELS
from cloud.core.language import gettext
from cloud.core.refusal import RefusedError
from cloud.core.site_tree import TOP, URGENCY, Tree
from cloud.services import fleet, placing
from cloud.services.fleet import Asked, Listed, Listing, Tally
from cloud.web import claim_lists, device_file
from cloud.web.alarm_views import number_of_device
from cloud.web.notice_forms import number_of
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page, see_other
from cloud.web.sentences import Summary, summary_of
from cloud.web.state import POOL, actor_of, now_ms

SHORT: Final = 25
"""Devices of a company up to which its list is asked for as a whole."""
FEW: Final = 5
"""Devices up to which nobody needs to search."""
ON_A_SCREEN: Final = 60
SITES_SHOWN: Final = 24
"""Sites above the list; the page of sites has all of them."""
_ROW: Final = re.compile(r"([0-9]{1,19})(?:-([0-9a-f]{8}))?", re.ASCII)
"""A device and, where it is known, how its row looks (:func:`mark_of`)."""
GONE: Final = "00000000"
"""How the row of a device looks that is no longer the company's."""


def asked_of(request: web.Request) -> Asked:
    """What the address asks for."""
    query = request.query
    return Asked(
        query.get("q", "")[: MAX_CHARS + 1],
        query.get("sort", ""),
        query.get("after", ""),
        before=query.get("before", ""),
    )


def address(asked: Asked, **changes: str) -> str:
    """The address of the list with these changes; a change begins at the first page."""
    named = {"q": asked.query.strip(), "sort": asked.sort, **changes}
    told = urlencode({name: value for name, value in named.items() if value})
    return f"/devices?{told}" if told else "/devices"


async def list_devices(request: web.Request) -> web.Response:
    """A page of the company's devices; as a fragment when htmx asks."""
    asked = asked_of(request)
    try:
        listing = await fleet.look(request.app[POOL], actor_of(request), asked, now_ms())
    except RefusedError as refusal:
        if refusal.field != "q":
            raise Problem(ProblemCode.BAD_REQUEST, detail=str(refusal)) from None
        return await _list(request, asked, None, str(refusal))
    return await _list(request, asked, listing, "")


async def _list(request: web.Request, asked: Asked, listing: Listing | None, fault: str) -> web.Response:
    at_ms = now_ms()
    listed = [] if listing is None else listing.devices
    may_move = actor_of(request).may(Action.NOTIFY) and bool(listing and listing.tree.nodes)
    context: dict[str, Any] = {
        "asked": asked,
        "fault": fault,
        "listing": listing,
        "rows": _rows(listed, at_ms),
        "mark_of": mark_of,
        "link": _linking(asked),
        "states": [] if listing is None else _states(asked, listing),
        "counted": "" if listing is None else counted(listing),
        "place": None if listing is None else _place(asked, listing),
        "orders": {order.value: gettext(label) for order, label in LABELS.items()},
        "filters": FILTERS,
        "max_chars": MAX_CHARS,
        "few": FEW,
        "may_move": may_move,
        "choosing": may_move and request.query.get("choose") == "1",
        "to": request.query.get("to", ""),
        "moved": request.query.get("moved", "") if request.query.get("moved", "").isdecimal() else "",
        "whole": listing is not None and listing.there <= SHORT,
        "rows_at": address(Asked(asked.query, asked.sort)).replace("/devices", "/devices/rows", 1),
        "here": address(asked, after=asked.after, before=asked.before),
    }
    if "HX-Request" in request.headers:
        context["choosing"] = False
    first = not asked.after and (listing is None or not listing.previous)
    waiting = await claim_lists.newest_open(request) if first else []
    context |= {"waiting": waiting[: claim_lists.SHOWN], "more_wait": len(waiting) > claim_lists.SHOWN}
    template = "_devices.html" if "HX-Request" in request.headers else "devices.html"
    return page(request, template, context, squeeze=True)


def _linking(asked: Asked) -> Callable[..., str]:
    def link(**changes: str) -> str:
        return address(asked, **changes)

    return link


def _states(asked: Asked, listing: Listing | Tally) -> list[dict[str, Any]]:
    """The states of what was found, the worst first, each with the address that shows it alone."""
    chosen = device_query.states_of(listing.query)
    return [
        {
            "face": FACES[condition],
            "count": listing.states[condition],
            "current": chosen == {condition.value},
            "href": address(asked, q=text_of(device_query.with_states(listing.query, [condition.value]))),
        }
        for condition in URGENCY
        if condition in listing.states
    ]


def _place(asked: Asked, listing: Listing) -> dict[str, Any]:
    """Where in the tree the list is: the way there, and the sites below."""
    tree, sums = listing.tree, listing.sums
    term = device_query.site_of(listing.query)
    named = [] if term is None or term.site is None else tree.named(term.site)
    at = named[0].site_id if len(named) == 1 else TOP
    shown = tree.children(at) if at != TOP or term is None else []
    return {
        "line": [(node, _at(asked, listing.query, tree, node.site_id)) for node in tree.line(at)],
        "below": [
            (node, sums[node.site_id], _at(asked, listing.query, tree, node.site_id))
            for node in shown[:SITES_SHOWN]
        ],
        "more": max(0, len(shown) - SITES_SHOWN),
        "faces": FACES,
        "all": address(asked, q=text_of(device_query.with_site(listing.query, ""))),
    }


def _at(asked: Asked, query: Query, tree: Tree, site_id: int) -> str:
    return address(asked, q=text_of(device_query.with_site(query, tree.exact_name(site_id))))


# --- rows that are on a screen ------------------------------------------------------------------------------


async def show_rows(request: web.Request) -> web.Response:
    """Rows of the list that look otherwise now, each for its place on the page; 204 where none does.

    With ``counts``, what the page shows of them (:func:`counted`), also the counts of ``q``, if others.
    """
    shown = _shown(request.query.get("ids", ""))
    found = await fleet.watch(request.app[POOL], actor_of(request), list(shown))
    at_ms = now_ms()
    rows = [
        (one, summary)
        for one, summary in _rows(found, at_ms)
        if mark_of(one, summary) != shown[one.view.device_id]
    ]
    known = {one.view.device_id for one in found}
    gone = [number for number in shown if number not in known and shown[number] != GONE]
    counts = await _counts(request)
    if not rows and not gone and not counts:
        return web.Response(status=HTTPStatus.NO_CONTENT)
    told = {"rows": rows, "gone": gone, "gone_mark": GONE, "mark_of": mark_of, "listing": None, **counts}
    return page(request, "_device_rows.html", told)


async def _counts(request: web.Request) -> dict[str, Any]:
    """For ``_tally.html``; empty where nobody asks, or nothing is otherwise."""
    if "counts" not in request.query:
        return {}
    asked = asked_of(request)
    tally = await fleet.count(request.app[POOL], actor_of(request), asked.query, now_ms())
    if counted(tally) == request.query["counts"]:
        return {}
    return {
        "asked": asked,
        "listing": tally,
        "states": _states(asked, tally),
        "counted": counted(tally),
        "link": _linking(asked),
    }


def counted(tally: Listing | Tally) -> str:
    """Eight characters that change with the counts above the list."""
    told = (tally.found, tally.there, sorted(tally.states.items()))
    return f"{zlib.crc32(repr(told).encode()):08x}"


def _shown(text: str) -> dict[int, str]:
    """Device → how its row looks on the page. Problem."""
    parts = [_ROW.fullmatch(part) for part in text.split(".")]
    shown = {int(part[1]): part[2] or "" for part in parts if part is not None and int(part[1]) < 1 << 63}
    if len(parts) > ON_A_SCREEN or None in parts:
        raise Problem(
            ProblemCode.BAD_REQUEST, detail=gettext("ids names up to {limit} devices.", limit=ON_A_SCREEN)
        )
    return shown


def _rows(found: Sequence[Listed], at_ms: int) -> list[tuple[Listed, Summary]]:
    return [(one, summary_of(one.view, at_ms)) for one in found]


def mark_of(listed: Listed, summary: Summary) -> str:
    """Eight characters that change with what a row shows; how long ago something was, the page counts."""
    view = listed.view
    figures = [
        view.values[name] for name in ("state_of_charge", "runtime_remaining", "output_real_power_pct")
    ]
    told = (view.title, view.model, listed.site, summary.condition, summary.sentence, view.seen_ms, figures)
    return f"{zlib.crc32(repr(told).encode()):08x}"


# --- moving -------------------------------------------------------------------------------------------------


async def move_devices(request: web.Request) -> web.Response:
    """The chosen devices, or all that the list's query finds, are at another site from now on."""
    form, actor, pool = await request.post(), actor_of(request), request.app[POOL]
    told = {name: str(form.get(name, "")) for name in ("q", "sort", "site", "all")}
    site_id = number_of(told["site"]) if told["site"] else TOP
    back = Asked(told["q"][:MAX_CHARS], told["sort"])
    actor.must(Action.NOTIFY)
    if told["all"]:
        chosen = await fleet.numbers(pool, actor, back.query, now_ms())
    else:
        chosen = [_device_number(str(one)) for one in form.getall("device", [])]
    if not chosen:
        return see_other(address(back, choose="1", to=told["site"] or "top"))
    moved = await placing.move(pool, actor, chosen, site_id, now_ms(), strict=not told["all"])
    return see_other(address(back, moved=str(moved)))


def _device_number(text: str) -> int:
    """Problem not_found for a text that cannot be one."""
    try:
        return number_of_device(text)
    except ValueError:
        raise Problem(ProblemCode.NOT_FOUND) from None


# --- as a file ----------------------------------------------------------------------------------------------


async def export_devices(request: web.Request) -> web.StreamResponse:
    """The devices that the list shows, all pages of them, for a spreadsheet."""
    return await device_file.stream(request, asked_of(request))


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/devices", list_devices)
    app.router.add_get("/devices/rows", show_rows, allow_head=False)
    app.router.add_get("/devices.csv", export_devices, allow_head=False)
    app.router.add_post("/devices/move", move_devices)
