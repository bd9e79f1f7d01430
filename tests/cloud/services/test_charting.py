"""Buckets as charts and tables: gaps stay gaps."""

from cloud.postgres.devices import Bucket
from cloud.services.charting import RANGES_S, TABLE_PIECES, TableRow, history_of, table_of

POINTS = ("state_of_charge",)
MINUTE = 60_000


def bucket(at_ms: int, value: float | None, *, on_battery: bool = False, imported: bool = False) -> Bucket:
    """One piece of time."""
    return Bucket(at_ms, on_battery, imported, (value,))


def history(*buckets: Bucket) -> tuple[list[float], list[float | None], list[tuple[float, float]]]:
    """Times, values and periods on battery; pieces of ten seconds."""
    found = history_of(buckets, POINTS, from_ms=0, to_ms=3_600_000, bucket_ms=10_000)
    return found.times_s, found.points["state_of_charge"], found.on_battery


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
    found = history_of(buckets, POINTS, from_ms=0, to_ms=3_600_000, bucket_ms=10_000)
    assert found.imported_until_s == 70
    found = history_of(buckets[2:], POINTS, from_ms=0, to_ms=3_600_000, bucket_ms=10_000)
    assert found.imported_until_s is None


def test_a_table_is_newest_first_and_says_where_nothing_was_received() -> None:
    rows = table_of(
        [bucket(0, 1), bucket(MINUTE, 2), bucket(4 * MINUTE, 3, on_battery=True)],
        to_ms=8 * MINUTE,
        bucket_ms=MINUTE,
    )
    assert rows == [
        TableRow(5 * MINUTE, on_battery=False, values=None),
        TableRow(4 * MINUTE, on_battery=True, values=(3,)),
        TableRow(2 * MINUTE, on_battery=False, values=None),
        TableRow(MINUTE, on_battery=False, values=(2,)),
        TableRow(0, on_battery=False, values=(1,)),
    ]


def test_every_range_has_a_table_of_a_readable_length() -> None:
    assert set(TABLE_PIECES) == set(RANGES_S)
    for range_s, piece_s in TABLE_PIECES.items():
        assert 8 <= range_s / piece_s <= 30
