"""API tokens: their form, names, scopes and lives."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core import api_token
from cloud.core.account import AccountError
from cloud.core.api_token import DAY_MS, Scope

RANDOM = st.binary(min_size=api_token.RANDOM_BYTES, max_size=api_token.RANDOM_BYTES)


@given(RANDOM)
def test_a_token_is_found_by_its_pattern_and_known_by_its_checksum(randomness: bytes) -> None:
    text = api_token.text_of(randomness)
    assert api_token.is_token(text)
    assert re.findall(api_token.PATTERN, f'curl -H "Authorization: Bearer {text}"\n') == [text]


@given(RANDOM, st.integers(min_value=len(api_token.PREFIX), max_value=51), st.sampled_from("0aZ9"))
def test_a_token_with_another_character_is_none(randomness: bytes, place: int, other: str) -> None:
    text = api_token.text_of(randomness)
    changed = text[:place] + other + text[place + 1 :]
    assert api_token.is_token(changed) == (changed == text)


@given(RANDOM, RANDOM)
def test_two_tokens_are_two(first: bytes, second: bytes) -> None:
    assert (api_token.text_of(first) == api_token.text_of(second)) == (first == second)


@given(st.text(max_size=60))
def test_any_text_is_asked_without_a_fault(text: str) -> None:
    assert not api_token.is_token(text)
    assert not api_token.is_token(api_token.PREFIX + text)


def test_tokens_of_today_are_good_tomorrow() -> None:
    text = "scat_000D37zwY9QluoiRsV2MqABbmpQ2Fiv87dRFrKcA91Igis1"
    assert api_token.text_of(bytes(range(30))) == text
    assert api_token.is_token(text)


def test_only_so_many_random_bytes_make_one() -> None:
    with pytest.raises(ValueError, match="30 random bytes"):
        api_token.text_of(b"short")


@pytest.mark.parametrize(("typed", "name"), [("  Nightly   report ", "Nightly report"), ("x" * 60, "x" * 60)])
def test_a_name_as_typed(typed: str, name: str) -> None:
    assert api_token.parse_name(typed) == name


@pytest.mark.parametrize("typed", ["", "   ", "x" * 61, "a\x07b"])
def test_no_name(typed: str) -> None:
    with pytest.raises(AccountError) as caught:
        api_token.parse_name(typed)
    assert caught.value.field == "name"


def test_scopes_come_once_and_in_order() -> None:
    given_ = ["metrics:read", "devices:read", "devices:read"]
    assert api_token.parse_scopes(given_) == (Scope.DEVICES_READ, Scope.METRICS_READ)


@pytest.mark.parametrize("scopes", [[], ["everything"], ["devices:read", "everything"]])
def test_no_scopes(scopes: list[str]) -> None:
    with pytest.raises(AccountError) as caught:
        api_token.parse_scopes(scopes)
    assert caught.value.field == "scopes"


def test_a_life_has_an_end() -> None:
    assert api_token.expiry_ms(1, 5) == 5 + DAY_MS
    for days in (0, -1, 367):
        with pytest.raises(AccountError) as caught:
            api_token.expiry_ms(days, 0)
        assert caught.value.field == "expires_days"


def test_every_scope_says_what_it_is_for() -> None:
    assert set(api_token.MEANINGS) == set(Scope)
