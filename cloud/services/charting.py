"""History of one device for charts and tables: averages per piece of time, with gaps kept as gaps.

All of it is cut by the live ownership's epoch. The pieces follow from the range, so that a chart has about as
many points as a screen has room for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cloud.core.device_state import DeviceView
from cloud.postgres import devices
from cloud.postgres.devices import Bucket
from cloud.postgres.pool import Pool

CHART_POINTS: Final = ("input_voltage", "output_voltage", "output_real_power_pct", "state_of_charge")
CHART_PIECES: Final = 360
TABLE_PIECES: Final = {600: 60, 3600: 300, 86_400: 3600}
RANGES_S: Final = (600, 3600, 86_400)
DEFAULT_RANGE_S: Final = 3600
REPORT_INTERVAL_S: Final = 60
"""A device reports once a minute; what is missing longer than two and a half reports is a gap."""


@dataclass(frozen=True, slots=True)
class History:
    """Columns of a chart. A time whose values are all None breaks the lines: there lies a gap."""

    times_s: list[float]
    points: dict[str, list[float | None]]
    on_battery: list[tuple[float, float]]
    gap_s: float
    from_s: float
    to_s: float
    imported_until_s: float | None
    """End of the newest piece that no session of the device delivered."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of the table; ``values`` is None where nothing was received."""

    ts_ms: int
    on_battery: bool
    values: tuple[float | None, ...] | None


async def read_history(pool: Pool, view: DeviceView, range_s: int, now_ms: int) -> History:
    """The chart of the last ``range_s`` seconds."""
    from_ms = now_ms - range_s * 1000
    bucket_ms = max(1000, range_s * 1000 // CHART_PIECES)
    buckets = await devices.read_buckets(
        pool,
        view.device_id,
        view.epoch,
        points=CHART_POINTS,
        from_ms=from_ms,
        to_ms=now_ms,
        bucket_ms=bucket_ms,
    )
    return history_of(buckets, CHART_POINTS, from_ms=from_ms, to_ms=now_ms, bucket_ms=bucket_ms)


def history_of(
    buckets: Sequence[Bucket], points: Sequence[str], *, from_ms: int, to_ms: int, bucket_ms: int
) -> History:
    """Columns from buckets, a row of None between two that lie too far apart."""
    gap_ms = max(REPORT_INTERVAL_S * 2500, bucket_ms * 3)
    times_s: list[float] = []
    columns: list[list[float | None]] = [[] for _ in points]
    periods: list[tuple[float, float]] = []
    before_ms: int | None = None
    for bucket in buckets:
        gap = before_ms is not None and bucket.ts_ms - before_ms > gap_ms
        if gap and before_ms is not None:
            times_s.append((before_ms + bucket_ms) / 1000)
            for column in columns:
                column.append(None)
        times_s.append(bucket.ts_ms / 1000)
        for column, value in zip(columns, bucket.values, strict=True):
            column.append(None if value is None else round(value, 2))
        if bucket.on_battery:
            _extend(periods, bucket.ts_ms, bucket_ms, None if gap else before_ms)
        before_ms = bucket.ts_ms
    return History(
        times_s,
        dict(zip(points, columns, strict=True)),
        periods,
        gap_ms / 1000,
        from_ms / 1000,
        to_ms / 1000,
        max(((one.ts_ms + bucket_ms) / 1000 for one in buckets if one.imported), default=None),
    )


def _extend(periods: list[tuple[float, float]], ts_ms: int, bucket_ms: int, before_ms: int | None) -> None:
    """Add a piece on battery, joined to the period before it when that one reached the piece before."""
    start_s, end_s = ts_ms / 1000, (ts_ms + bucket_ms) / 1000
    if periods and before_ms is not None and periods[-1][1] >= (before_ms + bucket_ms) / 1000:
        periods[-1] = (periods[-1][0], end_s)
    else:
        periods.append((start_s, end_s))


async def read_table(pool: Pool, view: DeviceView, range_s: int, now_ms: int) -> list[TableRow]:
    """The same range as a table, newest first, gaps as lines of their own."""
    bucket_ms = TABLE_PIECES[range_s] * 1000
    from_ms = (now_ms - range_s * 1000) // bucket_ms * bucket_ms
    buckets = await devices.read_buckets(
        pool,
        view.device_id,
        view.epoch,
        points=CHART_POINTS,
        from_ms=from_ms,
        to_ms=now_ms,
        bucket_ms=bucket_ms,
    )
    return table_of(buckets, to_ms=now_ms, bucket_ms=bucket_ms)


def table_of(buckets: Sequence[Bucket], *, to_ms: int, bucket_ms: int) -> list[TableRow]:
    """Rows of a table, newest first; a run of empty pieces after the first reading is one row."""
    rows: list[TableRow] = []
    expected_ms: int | None = None
    for bucket in buckets:
        if expected_ms is not None and bucket.ts_ms > expected_ms:
            rows.append(TableRow(expected_ms, on_battery=False, values=None))
        rows.append(TableRow(bucket.ts_ms, bucket.on_battery, bucket.values))
        expected_ms = bucket.ts_ms + bucket_ms
    if expected_ms is not None and to_ms - expected_ms > bucket_ms:
        rows.append(TableRow(expected_ms, on_battery=False, values=None))
    return rows[::-1]
