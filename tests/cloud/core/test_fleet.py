"""Orders of the devices list and the places in them."""

import base64
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.fleet import LABELS, MAX_TOKEN_CHARS, Order, OrderError, Place, Sort, place_of, token_of

ORDERS = st.builds(Order, st.sampled_from(Sort), st.booleans())


@given(
    ORDERS,
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=60),
    st.integers(0, (1 << 63) - 1),
)
def test_a_place_is_found_again(order: Order, number: float, text: str, device_id: int) -> None:
    place = Place(number, text.replace("\0", "").encode(errors="ignore").decode(), device_id)
    assert place_of(order, token_of(order, place)) == place


def test_what_is_not_known_comes_last_in_both_directions() -> None:
    for order, last in ((Order(Sort.RUNTIME), math.inf), (Order(Sort.RUNTIME, backwards=True), -math.inf)):
        assert place_of(order, token_of(order, Place(last, "x", 1))).number == last


def made(*told: object) -> str:
    """A token that holds this."""
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "!",
        "é",
        "AAAA",
        "x" * (MAX_TOKEN_CHARS + 1),
        made("state", 1, "x"),
        made("name", 1, "x", "1"),
        made("state", True, "x", "1"),
        made("state", "1", "x", "1"),
        made("state", float("nan"), "x", "1"),
        made("state", 10**400, "x", "1"),
        made("state", 1, "a\0b", "1"),
        made("state", 1, "\ud800", "1"),
        made("state", 1, 5, "1"),
        made("state", 1, "x", 1),
        made("state", 1, "x", "-1"),
        made("state", 1, "x", str(1 << 63)),
        made("state", 1, "x", "²"),
        base64.urlsafe_b64encode(b"[" * 1200).decode().rstrip("="),
    ],
)
def test_other_tokens_are_refused(token: str) -> None:
    with pytest.raises(OrderError, match="first page"):
        place_of(Order(), token)


@given(st.text(max_size=40))
def test_any_token_is_a_place_or_refused(token: str) -> None:
    with pytest.raises(OrderError):
        place_of(Order(), token)


def test_orders_have_names_and_words() -> None:
    assert set(LABELS) == set(Sort)
    assert Order.parse("") == Order(Sort.STATE)
    assert Order.parse("-runtime") == Order(Sort.RUNTIME, backwards=True)
    for sort in Sort:
        assert str(Order.parse(f"-{sort}")) == f"-{sort}"
    for wrong in ("-", "colour", "--name", "NAME"):
        with pytest.raises(OrderError, match="sorted by"):
            Order.parse(wrong)
