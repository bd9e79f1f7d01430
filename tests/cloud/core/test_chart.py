"""Windows of the past: what they are read from, and the ways on from each."""

import pytest

from cloud.core import chart
from cloud.core.chart import DAY_S, HOUR_S, Window, WindowError

NOW = 1_795_000_123_456
DAY_MS = DAY_S * 1000
HOUR_MS = HOUR_S * 1000


def test_ranges_are_live_and_all_begins_with_what_is_stored() -> None:
    hour = chart.last(HOUR_S, NOW)
    assert (hour.from_ms, hour.to_ms, hour.live, hour.span_ms) == (NOW - HOUR_MS, NOW, True, HOUR_MS)
    whole = chart.everything(NOW - 3 * DAY_MS, NOW)
    assert (whole.from_ms, whole.live, whole.whole) == (NOW - 3 * DAY_MS, True, True)
    assert chart.everything(NOW, NOW).span_ms == chart.MIN_SPAN_MS


def test_a_part_of_the_past_ends_now_at_the_latest() -> None:
    part = chart.between(NOW - HOUR_MS, NOW + HOUR_MS, NOW)
    assert (part.from_ms, part.to_ms, part.live) == (NOW - HOUR_MS, NOW, False)


@pytest.mark.parametrize(
    ("from_ms", "to_ms"), [(5, 5), (NOW, NOW - 1), (NOW, NOW + DAY_MS), (10, 10 + chart.MIN_SPAN_MS - 1)]
)
def test_a_window_that_cannot_be_is_refused(from_ms: int, to_ms: int) -> None:
    with pytest.raises(WindowError):
        chart.between(from_ms, to_ms, NOW)


@pytest.mark.parametrize(
    ("span_ms", "width_s", "piece_ms"),
    [
        (600_000, None, 1000),
        (HOUR_MS, None, 10_000),
        (12 * HOUR_MS, None, 120_000),
        (DAY_MS, 300, 300_000),
        (7 * DAY_MS, 300, 1_800_000),
        (30 * DAY_MS, 3600, 2 * HOUR_MS),
        (365 * DAY_MS, 3600, 25 * HOUR_MS),
    ],
)
def test_short_windows_are_read_from_samples_and_long_ones_from_rollups(
    span_ms: int, width_s: int | None, piece_ms: int
) -> None:
    plan = chart.plan(Window(NOW - span_ms, NOW), 360, NOW)
    assert (plan.width_s, plan.piece_ms) == (width_s, piece_ms)
    assert plan.from_ms % piece_ms == 0
    assert NOW - span_ms - piece_ms < plan.from_ms <= NOW - span_ms
    assert plan.to_ms == NOW


def test_what_is_too_old_for_pieces_of_five_minutes_is_read_in_hours() -> None:
    old = Window(NOW - chart.FINE_KEPT_MS - DAY_MS, NOW - chart.FINE_KEPT_MS)
    plan = chart.plan(old, 360, NOW)
    assert (plan.width_s, plan.piece_ms) == (3600, HOUR_MS)


@pytest.mark.parametrize("span_ms", [range_s * 1000 for range_s in chart.RANGES_S] + [20 * 365 * DAY_MS])
def test_every_window_has_a_table_that_one_can_read(span_ms: int) -> None:
    rows = span_ms / chart.table_piece_ms(Window(0, span_ms))
    assert 4 <= rows <= 30


def test_a_gap_is_longer_than_reports_and_pieces() -> None:
    assert chart.gap_ms(10_000, 60) == 150_000
    assert chart.gap_ms(10_000, 1) == 150_000
    assert chart.gap_ms(10_000, 600) == 1_500_000
    assert chart.gap_ms(HOUR_MS, 60) == 1.5 * HOUR_MS


def test_there_are_ways_on_from_a_part_of_the_past() -> None:
    shown = chart.between(NOW - 4 * HOUR_MS, NOW - 2 * HOUR_MS, NOW)
    assert chart.earlier(shown) == Window(NOW - 5 * HOUR_MS, NOW - 3 * HOUR_MS)
    assert chart.later(shown, NOW) == Window(NOW - 3 * HOUR_MS, NOW - HOUR_MS)
    assert chart.closer(shown) == Window(NOW - 4 * HOUR_MS + HOUR_MS // 2, NOW - 2 * HOUR_MS - HOUR_MS // 2)
    assert chart.wider(shown, 0, NOW) == Window(NOW - 5 * HOUR_MS, NOW - HOUR_MS)


def test_ways_end_where_there_is_nothing_more() -> None:
    live = chart.last(HOUR_S, NOW)
    assert chart.later(live, NOW) is None
    assert chart.later(Window(NOW - HOUR_MS, NOW), NOW) is None
    near = Window(NOW - 2 * HOUR_MS, NOW - HOUR_MS // 4)
    moved = chart.later(near, NOW)
    assert moved is not None
    assert moved.to_ms == NOW
    assert chart.closer(Window(0, chart.MIN_SPAN_MS)) is None
    assert chart.wider(chart.everything(0, NOW), 0, NOW) is None
    assert chart.wider(Window(5, NOW), 10, NOW) is None
    assert chart.earlier(Window(0, DAY_MS)) == Window(0, DAY_MS)
    assert chart.wider(live, 0, NOW) == Window(NOW - HOUR_MS - HOUR_MS // 2, NOW)
