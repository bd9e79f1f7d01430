"""History of one device for charts and tables: what its values were in each piece of time, gaps kept as gaps.

All of it is cut by the live ownership's epoch. The pieces follow from the window (:mod:`cloud.core.chart`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cloud.core import chart
from cloud.core.chart import Plan, Window
from cloud.core.device_state import DeviceView
from cloud.core.outage import Outage, pair
from cloud.postgres import charts, outages
from cloud.postgres.charts import Piece
from cloud.postgres.devices import EventRow
from cloud.postgres.pool import Pool
from cloud.postgres.rollups import POINTS

CHART_POINTS: Final = POINTS
"""Points that charts know."""
DEFAULT_POINTS: Final = ("input_voltage", "output_voltage", "output_real_power_pct", "state_of_charge")
MAX_MARKS: Final = 300
"""On a chart."""
MAX_TOLD: Final = 30
"""In words, under it."""
MAX_POWER_EVENTS: Final = 2000
REPORT_SETTING: Final = "report_interval_s"

Column = list[float | None]


@dataclass(frozen=True, slots=True)
class History:
    """Columns of a chart. A time whose values are all None breaks the lines: there lies a gap."""

    times_s: list[float]
    points: dict[str, Column]
    """Means."""
    lows: dict[str, Column]
    highs: dict[str, Column]
    on_battery: list[tuple[float, float]]
    gap_s: float
    piece_s: float
    from_s: float
    to_s: float
    imported_until_s: float | None
    """End of the newest piece that no session of the device delivered."""
    marks: Sequence[EventRow] = field(default=())


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of the table; ``values`` (mean, lowest, highest of each point) is None where nothing was
    received.
    """

    ts_ms: int
    on_battery: bool
    values: tuple[tuple[float | None, float | None, float | None], ...] | None


async def window_of(
    pool: Pool,
    view: DeviceView,
    now_ms: int,
    *,
    range_s: int = chart.DEFAULT_RANGE_S,
    from_ms: int = 0,
    to_ms: int = chart.MAX_MS,
) -> Window:
    """What is asked for: a part of the past where either end of one is given, else the last seconds, or all
    that is stored (``chart.ALL``). WindowError.
    """
    chosen = from_ms > 0 or to_ms < chart.MAX_MS
    if not chosen and range_s != chart.ALL:
        return chart.last(range_s, now_ms)
    stored_from_ms = await charts.stored_from_ms(pool, view.company_id, view.device_id, view.epoch)
    if not chosen:
        return chart.everything(stored_from_ms, now_ms)
    return chart.between(from_ms or stored_from_ms, to_ms, now_ms)


async def read_history(
    pool: Pool,
    view: DeviceView,
    window: Window,
    now_ms: int,
    *,
    points: Sequence[str] = DEFAULT_POINTS,
    pieces: int = chart.PIECES,
) -> History:
    """The chart of a window, with what happened in it."""
    plan = chart.plan(window, pieces, now_ms)
    found = await charts.read_pieces(pool, view.company_id, view.device_id, view.epoch, points, plan)
    history = history_of(found, points, plan, gap_ms_of(view, plan.piece_ms))
    marks = await charts.list_events(
        pool, view.device_id, view.epoch, from_ms=window.from_ms, to_ms=window.to_ms, limit=MAX_MARKS
    )
    periods = history.on_battery
    if plan.width_s is not None:
        periods = _with_outages(periods, await _outages(pool, view, window), window)
    return replace(
        history,
        on_battery=periods,
        from_s=window.from_ms / 1000,
        to_s=window.to_ms / 1000,
        marks=marks,
    )


def gap_ms_of(view: DeviceView, piece_ms: int) -> int:
    """What is missing longer is a gap of this device: it may be set to report seldom."""
    report_s = view.settings.get(REPORT_SETTING)
    known = isinstance(report_s, int | float) and not isinstance(report_s, bool)
    return chart.gap_ms(piece_ms, float(report_s) if known else chart.REPORT_S)  # type: ignore[arg-type]  # see known


def history_of(pieces: Sequence[Piece], points: Sequence[str], plan: Plan, gap_ms: int) -> History:
    """Columns from pieces, a row of None between two that lie too far apart."""
    times_s: list[float] = []
    columns: list[list[Column]] = [[[] for _ in points] for _ in range(3)]
    periods: list[tuple[float, float]] = []
    before_ms: int | None = None
    for piece in pieces:
        gap = before_ms is not None and piece.ts_ms - before_ms > gap_ms
        if gap and before_ms is not None:
            times_s.append((before_ms + plan.piece_ms) / 1000)
            for column in (one for part in columns for one in part):
                column.append(None)
        times_s.append(piece.ts_ms / 1000)
        for part, values in zip(columns, (piece.means, piece.lows, piece.highs), strict=True):
            for column, value in zip(part, values, strict=True):
                column.append(None if value is None else round(value, 2))
        if piece.on_battery:
            _extend(periods, piece.ts_ms, plan.piece_ms, None if gap else before_ms)
        before_ms = piece.ts_ms
    means, lows, highs = (dict(zip(points, part, strict=True)) for part in columns)
    return History(
        times_s=times_s,
        points=means,
        lows=lows,
        highs=highs,
        on_battery=periods,
        gap_s=gap_ms / 1000,
        piece_s=plan.piece_ms / 1000,
        from_s=plan.from_ms / 1000,
        to_s=plan.to_ms / 1000,
        imported_until_s=max(
            ((one.ts_ms + plan.piece_ms) / 1000 for one in pieces if one.imported), default=None
        ),
    )


def _extend(periods: list[tuple[float, float]], ts_ms: int, piece_ms: int, before_ms: int | None) -> None:
    """Add a piece on battery, joined to the period before it when that one reached the piece before."""
    start_s, end_s = ts_ms / 1000, (ts_ms + piece_ms) / 1000
    if periods and before_ms is not None and periods[-1][1] >= (before_ms + piece_ms) / 1000:
        periods[-1] = (periods[-1][0], end_s)
    else:
        periods.append((start_s, end_s))


# --- outages on the axis of a long window -------------------------------------------------------------------


async def _outages(pool: Pool, view: DeviceView, window: Window) -> list[tuple[float, float]]:
    """Outages of a window by their events, which know the second where a rollup knows the hour."""
    events = await outages.power_events(
        pool, view.device_id, view.epoch, before_ms=window.to_ms, limit=MAX_POWER_EVENTS
    )
    found = [_edges(one, window) for one in pair(events[::-1])]
    return [(start, end) for start, end in found if end >= window.from_ms / 1000]


def _edges(outage: Outage, window: Window) -> tuple[float, float]:
    """Both ends, unix s; the known one where the other is not known, the window's where it goes on."""
    start_ms = outage.at_ms
    end_ms = outage.end_ms
    if end_ms is None:
        end_ms = window.to_ms if outage.ending == "open" else start_ms
    return start_ms / 1000, max(start_ms, end_ms) / 1000


def _with_outages(
    pieces: Sequence[tuple[float, float]], known: Sequence[tuple[float, float]], window: Window
) -> list[tuple[float, float]]:
    """The outages that events tell of, and pieces on battery that none of them explains."""
    left, right = window.from_ms / 1000, window.to_ms / 1000
    told = [(max(start, left), min(end, right)) for start, end in known]
    others = [one for one in pieces if not any(a <= one[1] and b >= one[0] for a, b in told)]
    return sorted([*told, *others])


# --- tables -------------------------------------------------------------------------------------------------


async def read_table(
    pool: Pool, view: DeviceView, window: Window, now_ms: int, points: Sequence[str] = DEFAULT_POINTS
) -> list[TableRow]:
    """The same window as a table, newest first, gaps as lines of their own."""
    plan = chart.plan_pieces(window, chart.table_piece_ms(window), now_ms)
    found = await charts.read_pieces(pool, view.company_id, view.device_id, view.epoch, points, plan)
    return table_of(found, to_ms=window.to_ms, piece_ms=plan.piece_ms)


def table_of(pieces: Sequence[Piece], *, to_ms: int, piece_ms: int) -> list[TableRow]:
    """Rows of a table, newest first; a run of empty pieces after the first reading is one row."""
    rows: list[TableRow] = []
    expected_ms: int | None = None
    for piece in pieces:
        if expected_ms is not None and piece.ts_ms > expected_ms:
            rows.append(TableRow(expected_ms, on_battery=False, values=None))
        values = tuple(zip(piece.means, piece.lows, piece.highs, strict=True))
        rows.append(TableRow(piece.ts_ms, piece.on_battery, values))
        expected_ms = piece.ts_ms + piece_ms
    if expected_ms is not None and to_ms - expected_ms > piece_ms:
        rows.append(TableRow(expected_ms, on_battery=False, values=None))
    return rows[::-1]
