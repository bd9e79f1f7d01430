"""Addresses, passwords and pace."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.account import (
    FORGET_MS,
    PACES,
    AccountError,
    Email,
    PasswordFault,
    delay_ms,
    normalise_password,
    password_faults,
)


def faults(password: str) -> set[PasswordFault]:
    """What the policy has against a password of Ada North, ada.north@example.org."""
    email = Email.parse("ada.north@example.org")
    return set(password_faults(password, email=email, first_name="Ada", last_name="North"))


@pytest.mark.parametrize(
    ("password", "wanted"),
    [
        ("Correct horse 7", set()),
        ("aB3 aB3 ", set()),
        ("correct horse 7!", set()),
        ("пароль Д 12345", set()),
        ("Ab1!", {PasswordFault.TOO_SHORT}),
        ("correcthorse", {PasswordFault.TOO_FEW_KINDS}),
        ("CORRECTHORSE7", {PasswordFault.TOO_FEW_KINDS}),
        ("Password1!", {PasswordFault.COMMON}),
        ("7 Canada!", {PasswordFault.HAS_NAME, PasswordFault.HAS_EMAIL}),
        ("7 NORTHern!", {PasswordFault.HAS_NAME, PasswordFault.HAS_EMAIL}),
        ("My example 7", {PasswordFault.HAS_EMAIL}),
        ("Aa1" * 100, {PasswordFault.TOO_LONG}),
    ],
)
def test_password_rules(password: str, wanted: set[PasswordFault]) -> None:
    assert faults(password) == wanted


def test_two_keyboards_give_the_same_password() -> None:
    assert normalise_password("Pa\u0308ssword 7") == normalise_password("P\u00e4ssword 7")


@given(st.text(max_size=300))
def test_any_text_is_judged_or_refused(text: str) -> None:
    faults(text)
    with contextlib.suppress(AccountError):
        email = Email.parse(text)
        assert "@" in email.value
        assert Email.parse(email.value) == email


@pytest.mark.parametrize(
    "text", ["a@example.org", " Ada.North+ups@EXAMPLE.org ", "ä@exämple.org", "a@localhost"]
)
def test_addresses(text: str) -> None:
    assert Email.parse(text).folded == text.strip().casefold()


@pytest.mark.parametrize(
    "text", ["", " ", "a", "a@", "@b", "a b@example.org", "a@b@c", "a@.org", "a@example..org"]
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(AccountError):
        Email.parse(text)


def test_the_delay_grows_to_a_bound_and_is_forgotten() -> None:
    pace = PACES["pair"]
    delays = [delay_ms(pace, failures, 1000, 1001) for failures in range(12)]
    assert delays[:3] == [0, 0, 0]
    assert delays[3:8] == [500, 1000, 2000, 4000, 8000]
    assert set(delays[8:]) == {pace.longest_ms}
    assert delay_ms(pace, 10_000, 1000, 1001) == pace.longest_ms
    assert delay_ms(pace, 10_000, 1000, 1000 + FORGET_MS) == 0
