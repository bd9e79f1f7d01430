"""Outage history of one device: what its events tell, with the charge and runtime that readings show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cloud.core.chart import Window, plan, plan_pieces
from cloud.core.device_state import STALE, DeviceView, condition_of
from cloud.core.outage import Ending, Outage, lower, pair
from cloud.postgres import charts, outages
from cloud.postgres.pool import Pool
from cloud.services.charting import History, TableRow, gap_ms_of, history_of, table_of
from protocol.messages import EventKind

SHOWN: Final = 3
"""On the device's page."""
PAGE: Final = 50
MAX_EVENTS: Final = 2000
"""Of one look: many times what a page of outages needs, unless contact is lost all the time."""
END_OF_TIME_MS: Final = 4_102_444_800_000
MARGIN_MS: Final = 60_000
"""The curve shows so much before and after, so that both edges are seen."""
CURVE_POINTS: Final = ("runtime_remaining", "state_of_charge", "output_real_power_pct", "input_voltage")
CURVE_PIECES: Final = 360
TABLE_PIECES: Final = 24


@dataclass(frozen=True, slots=True)
class Past:
    """A page of outages, the newest first."""

    outages: Sequence[Outage]
    older_before_ms: int | None
    """Where the next page begins; None where there is none."""


async def list_outages(
    pool: Pool, view: DeviceView, now_ms: int, *, limit: int = PAGE, before_ms: int = END_OF_TIME_MS
) -> Past:
    """The newest outages of this ownership that began before this time."""
    found = await outages.power_events(
        pool, view.device_id, view.epoch, before_ms=before_ms, limit=MAX_EVENTS
    )
    whole = len(found) < MAX_EVENTS
    events = found[::-1]
    if not whole:  # what was cut off may be the beginning of the first one
        starts = (number for number, one in enumerate(events) if one.kind == EventKind.ON_BATTERY)
        events = events[next(starts, len(events)) :]
    newest = pair(events)[::-1]
    shown = newest[:limit]
    more = len(newest) > limit or (not whole and bool(shown))
    return Past(await _with_charges(pool, view, shown, now_ms), shown[-1].at_ms if more and shown else None)


async def find_outage(pool: Pool, view: DeviceView, at_ms: int, now_ms: int) -> Outage | None:
    """The outage of this ownership that is known by this time."""
    before_ms = END_OF_TIME_MS
    while True:
        past = await list_outages(pool, view, now_ms, limit=MAX_EVENTS, before_ms=before_ms)
        outage = next((one for one in past.outages if one.at_ms == at_ms), None)
        if outage is not None or past.older_before_ms is None or past.older_before_ms <= at_ms:
            return outage
        before_ms = past.older_before_ms


async def _with_charges(pool: Pool, view: DeviceView, shown: Sequence[Outage], now_ms: int) -> list[Outage]:
    spans = [span_of(outage, now_ms) for outage in shown]
    charges = await outages.lowest_charges(pool, view.company_id, view.device_id, view.epoch, spans)
    return [lower(outage, charge) for outage, charge in zip(shown, charges, strict=True)]


def span_of(outage: Outage, now_ms: int) -> tuple[int, int]:
    """From when to when readings tell of it; of one without a beginning or an end, only the known edge."""
    start_ms = outage.at_ms
    if outage.end_ms is not None:
        return start_ms, outage.end_ms
    return start_ms, max(start_ms, now_ms) if outage.ending is Ending.OPEN else start_ms


def is_known(view: DeviceView, now_ms: int) -> bool:
    """Whether an outage without an end is known to go on: nobody knows of a device that is not heard."""
    return view.on_battery and condition_of(view, now_ms) not in STALE


async def read_curve(pool: Pool, view: DeviceView, outage: Outage, now_ms: int) -> History:
    """Runtime, charge, load and mains over the outage, as a chart."""
    start_ms, end_ms = span_of(outage, now_ms)
    from_ms, to_ms = start_ms - MARGIN_MS, min(now_ms, end_ms + MARGIN_MS)
    chosen = plan(Window(from_ms, to_ms), CURVE_PIECES, now_ms)
    pieces = await charts.read_pieces(pool, view.company_id, view.device_id, view.epoch, CURVE_POINTS, chosen)
    curve = history_of(pieces, CURVE_POINTS, chosen, gap_ms_of(view, chosen.piece_ms))
    return replace(curve, from_s=from_ms / 1000, to_s=to_ms / 1000)


async def read_curve_table(pool: Pool, view: DeviceView, outage: Outage, now_ms: int) -> list[TableRow]:
    """The same as a table, the oldest first."""
    start_ms, end_ms = span_of(outage, now_ms)
    piece_ms = max(10_000, (end_ms - start_ms) // TABLE_PIECES // 10_000 * 10_000)
    window = Window(start_ms, min(now_ms, end_ms + piece_ms))
    chosen = plan_pieces(window, piece_ms, now_ms)
    pieces = await charts.read_pieces(pool, view.company_id, view.device_id, view.epoch, CURVE_POINTS, chosen)
    return table_of(pieces, to_ms=window.to_ms, piece_ms=chosen.piece_ms)[::-1]
