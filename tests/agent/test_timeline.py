"""Monotonic time of boots becomes unix time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.spool import Ledger
from agent.core.timeline import Span, enter_boot, settle

HOUR_MS = 3_600_000


def three_boots(lost_clock_ms: int) -> Ledger:
    """A settled boot, one that never met the cloud, and the present one."""
    ledger = enter_boot(Ledger(), "first", 10 * HOUR_MS)
    ledger = settle(ledger, "first", 10 * HOUR_MS, {1: Span(0, HOUR_MS)})
    return enter_boot(enter_boot(ledger, "lost", lost_clock_ms), "now", 20 * HOUR_MS)


SPANS = {1: Span(0, HOUR_MS), 2: Span(0, HOUR_MS), 3: Span(0, HOUR_MS)}


def test_a_boot_between_its_neighbours_keeps_its_clock() -> None:
    boots = settle(three_boots(15 * HOUR_MS), "now", 20 * HOUR_MS, SPANS).boots
    assert (boots[1].offset_ms, boots[1].uncertain) == (15 * HOUR_MS, False)


@pytest.mark.parametrize("clock_ms", [0, 30 * HOUR_MS, 10 * HOUR_MS])
def test_a_boot_outside_is_placed_in_the_gap_and_flagged(clock_ms: int) -> None:
    boots = settle(three_boots(clock_ms), "now", 20 * HOUR_MS, SPANS).boots
    assert boots[1].uncertain
    assert boots[1].offset_ms is not None
    assert 11 * HOUR_MS < boots[1].offset_ms < 19 * HOUR_MS


def test_a_settled_boot_never_moves() -> None:
    ledger = settle(three_boots(0), "now", 20 * HOUR_MS, SPANS)
    assert settle(ledger, "now", 99 * HOUR_MS, SPANS) == ledger


def test_a_first_boot_without_neighbour_is_a_guess() -> None:
    ledger = enter_boot(enter_boot(Ledger(), "lost", HOUR_MS), "now", 20 * HOUR_MS)
    boots = settle(ledger, "now", 20 * HOUR_MS, SPANS).boots
    assert (boots[0].offset_ms, boots[0].uncertain) == (HOUR_MS, True)


def test_an_unknown_boot_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="entered"):
        settle(Ledger(), "now", 0, {})


def test_entering_a_boot_twice_changes_nothing() -> None:
    ledger = enter_boot(Ledger(), "now", 5)
    assert enter_boot(ledger, "now", 9) == ledger


@given(
    st.lists(
        st.tuples(st.integers(0, 50 * HOUR_MS), st.integers(0, 5 * HOUR_MS), st.booleans()),
        min_size=1,
        max_size=6,
    ),
)
def test_boots_never_overlap_a_settled_later_one(boots: list[tuple[int, int, bool]]) -> None:
    ledger, spans = Ledger(), {}
    for index, (clock_ms, length_ms, has_records) in enumerate(boots):
        ledger = enter_boot(ledger, f"boot-{index}", clock_ms)
        if has_records:
            spans[index + 1] = Span(100, 100 + length_ms)
    ledger = settle(ledger, f"boot-{len(boots) - 1}", 1000 * HOUR_MS, spans)
    ends = [
        (spans[boot.ordinal].first_ms + boot.offset_ms, spans[boot.ordinal].last_ms + boot.offset_ms)
        for boot in ledger.boots
        if boot.ordinal in spans and boot.offset_ms is not None
    ]
    assert all(boot.offset_ms is not None for boot in ledger.boots)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(ends))
