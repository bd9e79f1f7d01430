"""What pages show of a device's past: the window that is asked for, ways on from it, charts and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from cloud.core import chart
from cloud.core.chart import DAY_S, HOUR_S, MAX_MS, Window, WindowError
from cloud.core.device_state import DeviceView
from cloud.core.language import N_, gettext
from cloud.postgres import charts as stored
from cloud.services import charting
from cloud.web import chart_words
from cloud.web.chart_words import ChartWords, TableLine
from cloud.web.problems import Problem, ProblemCode
from cloud.web.sentences import event_facts
from cloud.web.state import POOL, now_ms

RANGE_NAMES: Final[Mapping[int, str]] = {
    HOUR_S: N_("1 h"),
    6 * HOUR_S: N_("6 h"),
    DAY_S: N_("24 h"),
    7 * DAY_S: N_("7 d"),
    30 * DAY_S: N_("30 d"),
    365 * DAY_S: N_("1 y"),
    chart.ALL: N_("All"),
}
MAX_DIGITS: Final = 15


@dataclass(frozen=True, slots=True)
class ChartFacts:
    """One chart as the page has it; ``lines`` is its table, newest first."""

    words: ChartWords
    shown: bool
    lines: Sequence[TableLine]


async def window_of(request: web.Request, view: DeviceView) -> Window:
    """The window that the address asks for. Problem (bad_request)."""
    given = {name: _number(request, name) for name in ("range_s", "from_ms", "to_ms")}
    range_s = given["range_s"]
    if range_s is not None and range_s not in {chart.ALL, *chart.RANGES_S}:
        known = [*chart.RANGES_S, chart.ALL]
        raise Problem(ProblemCode.BAD_REQUEST, detail=gettext("range_s is one of {known}.", known=known))
    from_ms, to_ms = given["from_ms"], given["to_ms"]
    return await window(
        request,
        view,
        chart.DEFAULT_RANGE_S if range_s is None else range_s,
        0 if from_ms is None else from_ms,
        MAX_MS if to_ms is None else to_ms,
    )


async def window(request: web.Request, view: DeviceView, range_s: int, from_ms: int, to_ms: int) -> Window:
    """A window of a device's past. Problem (bad_request)."""
    try:
        return await charting.window_of(
            request.app[POOL], view, now_ms(), range_s=range_s, from_ms=from_ms, to_ms=to_ms
        )
    except WindowError as fault:
        raise Problem(ProblemCode.BAD_REQUEST, detail=str(fault)) from None


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise Problem(ProblemCode.BAD_REQUEST, detail=gettext("{name} is a whole number.", name=name))
    return int(text)


def picked(request: web.Request) -> list[ChartWords]:
    """The charts that somebody wants to see."""
    return chart_words.picked(request.query.getall("show", []))


async def facts(request: web.Request, view: DeviceView) -> dict[str, object]:
    """For ``_charts.html``."""
    shown = await window_of(request, view)
    wanted = picked(request)
    tables = await tables_of(request, view, shown, wanted)
    at_ms = now_ms()
    stored_from_ms = await stored.stored_from_ms(
        request.app[POOL], view.company_id, view.device_id, view.epoch
    )
    picks = [("show", one.key) for one in wanted] if "show" in request.query else []
    return {
        "window": shown,
        "ranges": {range_s: gettext(name) for range_s, name in RANGE_NAMES.items()},
        "charts": [
            ChartFacts(words, words in wanted, tables.get(words.key, ())) for words in chart_words.CHARTS
        ],
        "ways": _ways(shown, stored_from_ms, at_ms, picks),
        "range_links": {range_s: _address([("range_s", str(range_s)), *picks]) for range_s in RANGE_NAMES},
        "marks": await marks_of(request, view, shown),
        "long": is_long(shown),
    }


def is_long(shown: Window) -> bool:
    """Whether its times need their dates."""
    return shown.span_ms > DAY_S * 1000


async def tables_of(
    request: web.Request, view: DeviceView, shown: Window, wanted: Sequence[ChartWords]
) -> dict[str, list[TableLine]]:
    """Chart → its table."""
    points = chart_words.points_of(wanted)
    rows = await charting.read_table(request.app[POOL], view, shown, now_ms(), points)
    return {one.key: chart_words.table_lines(one, points, rows) for one in wanted}


async def marks_of(request: web.Request, view: DeviceView, shown: Window) -> list[dict[str, object]]:
    """What happened in a window, newest first, as ``_events.html`` shows it."""
    found = await stored.list_events(
        request.app[POOL],
        view.device_id,
        view.epoch,
        from_ms=shown.from_ms,
        to_ms=shown.to_ms,
        limit=charting.MAX_TOLD,
    )
    return event_facts(found[::-1])


def _ways(
    shown: Window, stored_from_ms: int, at_ms: int, picks: Sequence[tuple[str, str]]
) -> list[dict[str, str]]:
    """Where one can go from here: also without JavaScript."""
    goals: list[tuple[str, str, Window | None]] = [
        ("earlier", gettext("Earlier"), chart.earlier(shown)),
        ("closer", gettext("Zoom in"), chart.closer(shown)),
        ("wider", gettext("Zoom out"), chart.wider(shown, stored_from_ms, at_ms)),
        ("later", gettext("Later"), chart.later(shown, at_ms)),
    ]
    ways = [
        {"go": go, "name": name, "href": "" if goal is None else _address([*_query(goal), *picks])}
        for go, name, goal in goals
    ]
    live = "" if shown.live else _address([("range_s", str(chart.DEFAULT_RANGE_S)), *picks])
    return [*ways, {"go": "live", "name": gettext("Back to live"), "href": live}]


def _query(goal: Window) -> list[tuple[str, str]]:
    return [("from_ms", str(goal.from_ms)), ("to_ms", str(goal.to_ms))]


def _address(query: Sequence[tuple[str, str]]) -> str:
    return f"?{urlencode(query)}#history"
