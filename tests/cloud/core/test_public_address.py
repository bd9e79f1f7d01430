"""Which addresses may be called for somebody."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.public_address import is_public


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"),
        *("", "localhost", "example.org", "1", "0x7f000001", "127.1", "8.8.8.8.8"),
    ],
)
def test_what_is_not_of_the_public_internet(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize("text", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_what_is(text: str) -> None:
    assert is_public(text)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_what_it_maps(address: ipaddress.IPv4Address) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))


@given(st.text(max_size=60))
def test_any_text_gets_an_answer(text: str) -> None:
    assert is_public(text) in {True, False}
