"""Tickets and turns of those who cannot work for their answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.slow_lane import (
    LIFE_MS,
    MAX_WAIT_MS,
    Kind,
    Lane,
    compose,
    next_turn,
    parse,
)

NOW = 1_800_000_000_000
RANDOM, SEAL = "r" * 24, "s" * 43


def test_a_ticket_is_read_as_it_was_written() -> None:
    sealed = compose(Kind.TURN, RANDOM, ready_ms=NOW + 1000)
    ticket = parse(f" {sealed}.{SEAL}\n")
    assert ticket is not None
    assert (ticket.sealed, ticket.seal, ticket.kind, ticket.ready_ms) == (
        sealed,
        SEAL,
        Kind.TURN,
        NOW + 1000,
    )
    assert (ticket.wait_ms(NOW), ticket.wait_ms(NOW + 1000)) == (1000, 0)
    assert not ticket.is_over(NOW)
    assert not ticket.is_over(NOW + 1000 + LIFE_MS - 1)
    assert ticket.is_over(NOW + 1000 + LIFE_MS)
    assert ticket.is_over(NOW + 1000 - MAX_WAIT_MS - 1)  # no clock of ours has made that


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        f"1.f.{NOW}.{RANDOM}.{SEAL}",
        f"2.x.{NOW}.{RANDOM}.{SEAL}",
        f"2.f.-1.{RANDOM}.{SEAL}",
        f"2.f.{NOW}.{RANDOM}.{SEAL}x",
        f"2.f.{NOW}.{RANDOM}",
        "2.f." + "9" * 200,
    ],
)
def test_anything_else_is_no_ticket(text: str) -> None:
    assert parse(text) is None


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    parse(text)


@given(
    st.integers(1, 5),
    st.integers(1, 1000),
    st.lists(st.integers(0, 700), min_size=1, max_size=60),
)
def test_no_more_turns_come_than_a_lane_has(at_once: int, every_ms: int, pauses: list[int]) -> None:
    """In any span no more than ``at_once`` and one each ``every_ms``; whoever waits, waits for that only."""
    lane, full_ms, now, turns = Lane(every_ms, at_once), 0, NOW, []
    for pause_ms in pauses:
        now += pause_ms
        wait_ms, full_ms = next_turn(lane, full_ms, now)
        turns.append(now + wait_ms)
        due_ms = turns[-1 - at_once] + every_ms if len(turns) > at_once else now
        assert wait_ms <= max(0, due_ms - now) + every_ms * (at_once - 1)
    assert turns == sorted(turns)
    for first, began_ms in enumerate(turns):
        for last in range(first, len(turns)):
            assert last - first + 1 <= at_once + (turns[last] - began_ms) // every_ms
