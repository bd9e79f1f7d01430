"""The retry ladder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.backoff import RETRY_FIRST_S, RETRY_MAX_S, Backoff


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_every_wait_is_within_the_bounds(failures: int, draw: float) -> None:
    assert RETRY_FIRST_S <= Backoff(failures=failures).delay_s(draw) <= RETRY_MAX_S


def test_ceilings_double_up_to_the_maximum() -> None:
    ladder = Backoff()
    seen = []
    for _ in range(8):
        ladder = ladder.failed()
        seen.append(ladder.ceiling_s())
    assert seen == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_refusal_goes_to_the_longest_waits_at_once() -> None:
    assert Backoff().refused().ceiling_s() == RETRY_MAX_S


def test_success_starts_again() -> None:
    assert Backoff().refused().succeeded() == Backoff()


@pytest.mark.parametrize("draw", [-0.1, 1.0])
def test_a_draw_outside_the_unit_interval_is_refused(draw: float) -> None:
    with pytest.raises(ValueError, match="draw"):
        Backoff().delay_s(draw)
