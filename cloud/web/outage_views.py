"""The outages of a device on a page of their own, and one of them with its runtime curve."""

from aiohttp import web

from cloud.core.language import gettext
from cloud.services import outages
from cloud.web import event_views
from cloud.web.device_views import own_device
from cloud.web.outage_facts import rows_of
from cloud.web.outage_words import outage_words
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page
from cloud.web.state import POOL, now_ms


async def list_outages(request: web.Request) -> web.Response:
    """All outages, a page at a time, the newest first."""
    view, at_ms = await own_device(request), now_ms()
    text = request.query.get("before_ms", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 15):
        raise Problem(ProblemCode.BAD_REQUEST, detail=gettext("before_ms is unix time in milliseconds."))
    before_ms = int(text) if text else outages.END_OF_TIME_MS
    past = await outages.list_outages(request.app[POOL], view, at_ms, before_ms=before_ms)
    context = {
        "view": view,
        "outages": rows_of(view, past.outages, at_ms),
        "older_before_ms": past.older_before_ms,
        "is_first": not text,
    }
    return page(request, "outages.html", context)


async def show_outage(request: web.Request) -> web.Response:
    """One outage with its runtime curve."""
    view, at_ms = await own_device(request), now_ms()
    outage = await outages.find_outage(request.app[POOL], view, int(request.match_info["at_ms"]), at_ms)
    if outage is None:
        raise Problem(ProblemCode.NOT_FOUND)
    start_ms, end_ms = outages.span_of(outage, at_ms)
    context = {
        "view": view,
        "outage": outage,
        "words": outage_words(outage, at_ms, known=outages.is_known(view, at_ms)),
        "range_s": max(60, (end_ms - start_ms + 2 * outages.MARGIN_MS) // 1000),
        "rows": await outages.read_curve_table(request.app[POOL], view, outage, at_ms),
    }
    return page(request, "outage.html", context)


def add_routes(app: web.Application) -> None:
    """Register these views, and those of the events that they are made of."""
    event_views.add_routes(app)
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/outages", list_outages)
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/outages/{at_ms:\d{1,15}}", show_outage)
