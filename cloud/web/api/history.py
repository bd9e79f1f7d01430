"""The past of a device for programs, and for the charts of the pages."""

from typing import Annotated, Literal

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core import chart
from cloud.core.device_state import DeviceView
from cloud.postgres.devices import EventRow
from cloud.services import charting
from cloud.services.charting import CHART_POINTS, DEFAULT_POINTS, History
from cloud.web import chart_facts
from cloud.web.api.devices import SECTION, own
from cloud.web.api.kinds import DeviceId
from cloud.web.problems import Problem, ProblemCode
from cloud.web.sentences import event_words
from cloud.web.state import POOL, now_ms

Range = Annotated[
    Literal[0, 600, 3600, 21_600, 86_400, 604_800, 2_592_000, 31_536_000],
    Meta(description="How far back, in seconds; 0: all that is stored. Not heeded with from_ms or to_ms."),
]
Moment = Annotated[int, Meta(ge=0, le=chart.MAX_MS, description="Unix ms.")]
Points = Annotated[
    str,
    Meta(
        max_length=400,
        description=f"Measurement points with commas between them, of {', '.join(CHART_POINTS)}."
        " Empty: those that charts show unless somebody picks others.",
    ),
]
Pieces = Annotated[
    int,
    Meta(
        ge=chart.MIN_PIECES,
        le=chart.MAX_PIECES,
        description="About so many pieces; fewer where what is stored is coarser.",
    ),
]
Columns = dict[str, list[float | None]]


class Mark(Struct):
    """Something that happened."""

    t_s: float
    kind: str
    word: Annotated[str, Meta(description="Its kind for people.")]
    tone: Annotated[str, Meta(description="How serious it is: good, calm, warn or bad.")]


class DeviceHistory(Struct):
    """Pieces of time, as columns. A time at which all values are null is a gap."""

    t_s: Annotated[list[float], Meta(description="Unix seconds at which each piece begins.")]
    points: Annotated[Columns, Meta(description="Measurement point → mean of each piece.")]
    low: Annotated[Columns, Meta(description="Measurement point → lowest value of each piece.")]
    high: Annotated[Columns, Meta(description="Measurement point → highest value of each piece.")]
    on_battery: Annotated[list[tuple[float, float]], Meta(description="Periods on battery, unix seconds.")]
    marks: Annotated[list[Mark], Meta(description="The newest events of this time, oldest first.")]
    gap_s: Annotated[float, Meta(description="What is missing longer is a gap.")]
    piece_s: Annotated[float, Meta(description="How long a piece is.")]
    from_s: float
    to_s: float
    imported_until_s: Annotated[float | None, Meta(description="Older readings were given otherwise.")]


@SECTION.operation("GET", "/devices/{device_id}/history")
async def show_history(
    request: web.Request,
    device_id: DeviceId,
    range_s: Range = chart.DEFAULT_RANGE_S,
    from_ms: Moment = 0,
    to_ms: Moment = chart.MAX_MS,
    points: Points = "",
    pieces: Pieces = chart.PIECES,
) -> DeviceHistory:
    """The last seconds, or any part of the past of your ownership, as charts show it."""
    view = await own(request, device_id)
    window = await chart_facts.window(request, view, range_s, from_ms, to_ms)
    found = await charting.read_history(
        request.app[POOL], view, window, now_ms(), points=_points(points), pieces=pieces
    )
    return history_json(found)


def _points(text: str) -> tuple[str, ...]:
    """The points of a list with commas. Problem (bad_request)."""
    names = tuple(dict.fromkeys(text.split(","))) if text else DEFAULT_POINTS
    if not set(names) <= set(CHART_POINTS):
        raise Problem(ProblemCode.BAD_REQUEST, detail=f"points are of {', '.join(CHART_POINTS)}.")
    return names


def history_json(history: History) -> DeviceHistory:
    """Columns of a chart."""
    return DeviceHistory(
        t_s=history.times_s,
        points=history.points,
        low=history.lows,
        high=history.highs,
        on_battery=history.on_battery,
        marks=[_mark(row) for row in history.marks],
        gap_s=history.gap_s,
        piece_s=history.piece_s,
        from_s=history.from_s,
        to_s=history.to_s,
        imported_until_s=history.imported_until_s,
    )


def _mark(row: EventRow) -> Mark:
    words = event_words(row.kind)
    return Mark(row.ts_ms / 1000, row.kind, words.word, words.tone)


def sample_json(view: DeviceView) -> dict[str, object]:
    """The newest values as the charts take them."""
    return {
        "t_s": view.ts_ms / 1000,
        "on_battery": view.on_battery,
        "values": {name: view.values[name] for name in CHART_POINTS},
    }
