"""Outages from events that come late, out of order, again, or not at all."""

import random

from hypothesis import given
from hypothesis import strategies as st

from cloud.core.outage import AGAIN_MS, Ending, Outage, PowerEvent, lower, pair

MINUTE = 60_000


def event(ts_ms: int, kind: str, seq: int = 0, **values: object) -> PowerEvent:
    return PowerEvent(ts_ms, 1, seq or ts_ms, kind, **values)  # type: ignore[arg-type]  # its own fields


def test_an_outage_with_its_lowest_charge() -> None:
    told = [
        event(1 * MINUTE, "on_battery", charge_pct=98.0, cause="rapid_input_change"),
        event(9 * MINUTE, "low_battery", charge_pct=19.0),
        event(10 * MINUTE, "mains_back", charge_pct=15.5),
    ]
    (outage,) = pair(told)
    assert outage == Outage(
        1 * MINUTE, 10 * MINUTE, Ending.ENDED, "rapid_input_change", 15.5, battery_low=True
    )
    assert outage.lasted_ms == 9 * MINUTE
    assert lower(outage, 15.0).lowest_charge_pct == 15.0
    assert lower(outage, 16.0).lowest_charge_pct == 15.5
    assert lower(outage, None) == outage


def test_one_that_goes_on_has_no_end() -> None:
    assert pair([event(5, "on_battery", charge_pct=90.0)]) == [
        Outage(5, None, Ending.OPEN, lowest_charge_pct=90.0)
    ]


def test_an_end_without_a_beginning_says_so() -> None:
    (outage,) = pair([event(7, "mains_back", charge_pct=40.0)])
    assert (outage.start_ms, outage.end_ms, outage.ending) == (None, 7, Ending.ENDED)
    assert (outage.at_ms, outage.lasted_ms) == (7, None)


def test_a_beginning_without_an_end_before_the_next_one() -> None:
    first, second = pair(
        [
            event(0, "on_battery"),
            event(AGAIN_MS + 1, "on_battery"),
            event(AGAIN_MS + 2, "mains_back"),
        ]
    )
    assert (first.start_ms, first.end_ms, first.ending) == (0, None, Ending.LOST)
    assert (second.start_ms, second.end_ms, second.ending) == (AGAIN_MS + 1, AGAIN_MS + 2, Ending.ENDED)


def test_what_is_told_again_is_one_outage() -> None:
    told = [event(0, "on_battery"), event(9_000, "on_battery"), event(20_000, "mains_back")]
    (outage,) = pair([*told, event(25_000, "mains_back")])
    assert (outage.start_ms, outage.end_ms) == (0, 20_000)


def test_silence_alone_is_no_outage_and_within_one_it_is_counted() -> None:
    lost, back = "communication_lost", "communication_restored"
    assert pair([event(1, lost), event(9, back), event(10, lost)]) == []
    (outage,) = pair(
        [
            event(10, "on_battery"),
            event(20, lost),
            event(50, back),
            event(60, lost),
            event(90, "mains_back"),
            event(91, back, seq=92),
        ]
    )
    assert outage.unseen_ms == 60
    (outage,) = pair([event(5, lost), event(30, "on_battery"), event(31, back), event(40, "mains_back")])
    assert outage.unseen_ms == 1


@given(st.lists(st.tuples(st.integers(1, 600_000), st.integers(1, 600_000)), max_size=12), st.integers())
def test_the_order_of_arrival_says_nothing(spans: list[tuple[int, int]], seed: int) -> None:
    told: list[PowerEvent] = []
    wanted: list[tuple[int, int]] = []
    now_ms = 0
    for calm_ms, lasts_ms in spans:
        start_ms = now_ms + calm_ms
        now_ms = start_ms + lasts_ms
        wanted.append((start_ms, now_ms))
        told += [event(start_ms, "on_battery"), event(now_ms, "mains_back")]
    random.Random(seed).shuffle(told)
    found = pair(told)
    assert [(one.start_ms, one.end_ms) for one in found] == wanted
    assert pair([*told, *told]) == found
    assert sorted(pair(told[: len(told) // 2]), key=lambda one: one.at_ms) == pair(told[: len(told) // 2])
