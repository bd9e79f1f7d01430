"""Buckets as charts and tables: gaps stay gaps."""

from cloud.core.chart import Plan
from cloud.postgres.charts import Piece
from cloud.services.charting import TableRow, gap_ms_of, history_of, table_of
from tests.cloud.core.test_device_state import view

POINTS = ("state_of_charge",)
MINUTE = 60_000


PLAN = Plan(10_000, None, 0, 3_600_000)
GAP_MS = 150_000


def bucket(at_ms: int, value: float | None, *, on_battery: bool = False, imported: bool = False) -> Piece:
    """One piece of time."""
    low, high = (None, None) if value is None else (value - 1, value + 1)
    return Piece(at_ms, 1, on_battery, imported, (value,), (low,), (high,))


def history(*buckets: Piece) -> tuple[list[float], list[float | None], list[tuple[float, float]]]:
    """Times, values and periods on battery; pieces of ten seconds."""
    found = history_of(buckets, POINTS, PLAN, GAP_MS)
    return found.times_s, found.points["state_of_charge"], found.on_battery


def test_the_band_is_as_long_as_the_line() -> None:
    found = history_of([bucket(0, 90), bucket(10 * MINUTE, 91)], POINTS, PLAN, GAP_MS)
    assert found.lows["state_of_charge"] == [89, None, 90]
    assert found.highs["state_of_charge"] == [91, None, 92]


def test_nothing_is_nothing() -> None:
    assert history() == ([], [], [])


def test_reports_a_minute_apart_are_one_line() -> None:
    times, values, _ = history(bucket(0, 90.123), bucket(MINUTE, 91), bucket(2 * MINUTE, None))
    assert times == [0, 60, 120]
    assert values == [90.12, 91, None]


def test_silence_breaks_the_line() -> None:
    times, values, _ = history(bucket(0, 90), bucket(10 * MINUTE, 91))
    assert times == [0, 10, 600]
    assert values == [90, None, 91]


def test_time_on_battery_is_joined_but_not_across_silence_or_mains() -> None:
    _, _, periods = history(
        bucket(0, 1, on_battery=True),
        bucket(10_000, 1, on_battery=True),
        bucket(20_000, 1),
        bucket(30_000, 1, on_battery=True),
        bucket(30 * MINUTE, 1, on_battery=True),
    )
    assert periods == [(0, 20), (30, 40), (1800, 1810)]


def test_an_imported_past_is_said_to_be_one() -> None:
    buckets = [bucket(0, 1, imported=True), bucket(MINUTE, 1, imported=True), bucket(2 * MINUTE, 1)]
    found = history_of(buckets, POINTS, PLAN, GAP_MS)
    assert found.imported_until_s == 70
    found = history_of(buckets[2:], POINTS, PLAN, GAP_MS)
    assert found.imported_until_s is None


def test_a_table_is_newest_first_and_says_where_nothing_was_received() -> None:
    rows = table_of(
        [bucket(0, 1), bucket(MINUTE, 2), bucket(4 * MINUTE, 3, on_battery=True)],
        to_ms=8 * MINUTE,
        piece_ms=MINUTE,
    )
    assert rows == [
        TableRow(5 * MINUTE, on_battery=False, values=None),
        TableRow(4 * MINUTE, on_battery=True, values=((3, 2, 4),)),
        TableRow(2 * MINUTE, on_battery=False, values=None),
        TableRow(MINUTE, on_battery=False, values=((2, 1, 3),)),
        TableRow(0, on_battery=False, values=((1, 0, 2),)),
    ]


def test_a_device_that_reports_seldom_has_wider_gaps() -> None:
    def gap_ms(**settings: object) -> int:
        return gap_ms_of(view(settings=settings), 10_000)

    assert gap_ms() == gap_ms(report_interval_s=1) == gap_ms(report_interval_s=True) == GAP_MS
    assert gap_ms(report_interval_s=600) == 1_500_000
