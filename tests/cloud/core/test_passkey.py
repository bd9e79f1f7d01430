"""Passkeys without a database: which addresses have them, which counters may follow, names."""

import pytest

from cloud.core.account import AccountError
from cloud.core.passkey import NAME_MAX_CHARS, Hindrance, Site, goes_on, passkey_name, site_of


@pytest.mark.parametrize(
    ("address", "site"),
    [
        (("https", "ups.example.org", None), Site("ups.example.org", "https://ups.example.org")),
        (("https", "ups.example.org", 443), Site("ups.example.org", "https://ups.example.org")),
        (("https", "ups.example.org", 8443), Site("ups.example.org", "https://ups.example.org:8443")),
        (("http", "localhost", 8080), Site("localhost", "http://localhost:8080")),
        (("http", "portal.localhost", 80), Site("portal.localhost", "http://portal.localhost")),
        (("http", "127.0.0.1", 8080), Site("localhost", "http://localhost:8080")),
        (("https", "::1", 8080), Site("localhost", "https://localhost:8080")),
        (("https", "192.0.2.7", None), Hindrance.NEEDS_NAME),
        (("https", "2001:db8::7", None), Hindrance.NEEDS_NAME),
        (("http", "ups.example.org", None), Hindrance.NEEDS_HTTPS),
        (("http", "192.0.2.7", 80), Hindrance.NEEDS_NAME),
    ],
)
def test_where_passkeys_work(address: tuple[str, str, int | None], site: Site | Hindrance) -> None:
    assert site_of(*address) == site


@pytest.mark.parametrize(
    ("stored", "shown", "fine"),
    [(0, 0, True), (0, 1, True), (7, 8, True), (7, 900, True), (7, 7, False), (7, 6, False), (7, 0, False)],
)
def test_a_counter_grows_or_stays_nothing(stored: int, shown: int, fine: bool) -> None:
    assert goes_on(stored, shown) is fine


def test_names() -> None:
    assert passkey_name("  My \t phone\n") == "My phone"
    assert passkey_name("x" * NAME_MAX_CHARS) == "x" * NAME_MAX_CHARS
    for text in ("", " \n ", "\u202e\u0000", "x" * (NAME_MAX_CHARS + 1)):
        with pytest.raises(AccountError) as caught:
            passkey_name(text)
        assert caught.value.field == "name"
