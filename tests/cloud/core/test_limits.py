"""What a further claim costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.limits import ACCOUNT, MOST_BITS, NETWORK, Places, Price, price
from cloud.core.proof_of_work import BITS

NOW = 1_800_000_000_000
places = st.integers(min_value=0, max_value=100_000)


@pytest.mark.parametrize("account", [0, 1, 19])
@pytest.mark.parametrize("network", [0, 99])
def test_the_first_places_are_free(account: int, network: int) -> None:
    assert price(Places(account, network, NOW), NOW) == Price(0, 0)


def test_an_account_past_its_places_waits_and_works() -> None:
    assert price(Places(20, 20, NOW), NOW) == Price(1_000, BITS)
    assert price(Places(24, 24, NOW), NOW) == Price(2_000, BITS + 1)
    assert price(Places(24, 24, NOW - 1_500), NOW) == Price(500, BITS + 1)
    assert price(Places(24, 24, NOW - 2_000), NOW) == Price(0, BITS + 1)
    assert price(Places(1_000, 1_000, NOW), NOW) == Price(ACCOUNT.longest_ms, MOST_BITS)


def test_who_shares_a_busy_network_works_but_does_not_wait_for_others() -> None:
    assert price(Places(0, 100, 0), NOW) == Price(0, BITS)
    assert price(Places(0, 100_000, 0), NOW) == Price(0, MOST_BITS)
    assert price(Places(1, 100_000, NOW), NOW) == Price(NETWORK.longest_ms, MOST_BITS)


@given(places, places, st.integers(min_value=-(10**12), max_value=10**12))
def test_it_is_bounded_whatever_the_clock_does(account: int, network: int, ago_ms: int) -> None:
    asked = price(Places(account, network, NOW - ago_ms), NOW)
    assert 0 <= asked.wait_ms <= ACCOUNT.longest_ms
    assert asked.bits == 0 or BITS <= asked.bits <= MOST_BITS


@given(places, places, st.integers(min_value=0, max_value=10**6))
def test_more_open_claims_never_cost_less(account: int, network: int, ago_ms: int) -> None:
    asked = price(Places(account, network, NOW - ago_ms), NOW)
    for more in (Places(account + 1, network, NOW - ago_ms), Places(account, network + 1, NOW - ago_ms)):
        dearer = price(more, NOW)
        assert dearer.wait_ms >= asked.wait_ms
        assert dearer.bits >= asked.bits
