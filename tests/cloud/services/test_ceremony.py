"""Answers of authenticators, right, wrong and torn: whatever is sent either proves it or is refused."""

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.passkey import MAX_ANSWER_CHARS, Site
from cloud.services import ceremony
from cloud.services.ceremony import Known, NotProvedError, Person
from protocol.identity import b64url, unb64url
from tests.support.authenticator import Authenticator

if TYPE_CHECKING:
    from collections.abc import Callable

SITE = Site("portal.example.org", "https://portal.example.org")
CHALLENGE = b"c" * 32
CREATION = ceremony.creation_options(
    SITE, "SmartConnect", Person(b"handle", "ada@example.org", "Ada North"), CHALLENGE, []
)
REQUEST = ceremony.request_options(SITE, CHALLENGE, [])
OTHERS = {
    "origin": "https://portal.example.net",
    "rp_id": "portal.example.net",
    "challenge": b64url(b"d" * 32),
    "kind": "webauthn.other",
    "verified": False,
    "cross_origin": True,
}


@pytest.fixture(scope="module")
def phone() -> Authenticator:
    """Somebody's authenticator."""
    return Authenticator(SITE.origin)


def test_what_a_browser_is_asked() -> None:
    told = [Known(b"one", ["internal", "carrier pigeon"]), Known(b"two", [])]
    options = ceremony.creation_options(SITE, "SmartConnect", Person(b"h", "a@b", ""), CHALLENGE, told)
    assert (options["rp"], options["user"]["displayName"]) == (
        {"name": "SmartConnect", "id": "portal.example.org"},
        "a@b",
    )
    assert (options["attestation"], options["authenticatorSelection"]["userVerification"]) == (
        "none",
        "required",
    )
    assert [one["id"] for one in options["excludeCredentials"]] == [b64url(b"one"), b64url(b"two")]
    assert options["excludeCredentials"][0]["transports"] == ["internal"]
    asked = ceremony.request_options(SITE, CHALLENGE, told)
    assert (asked["userVerification"], asked["rpId"], len(asked["allowCredentials"])) == (
        "required",
        "portal.example.org",
        2,
    )


def test_a_new_passkey(phone: Authenticator) -> None:
    used = phone.count  # by tests that came before
    made = ceremony.made(SITE, CHALLENGE, phone.create(CREATION))
    assert (made.credential_id, made.sign_count, made.transports) == (
        phone.credential_id,
        used,
        ["hybrid", "internal"],
    )
    answer = phone.get(REQUEST)
    assert ceremony.credential_of(answer) == (phone.credential_id, b"handle")
    assert ceremony.shown_count(SITE, CHALLENGE, made.public_key, answer) == phone.count


@pytest.mark.parametrize("name", [*OTHERS, "format"])
def test_what_was_not_asked_for_is_refused_when_made(phone: Authenticator, name: str) -> None:
    wrong: dict[str, Any] = {name: {**OTHERS, "format": "tpm"}[name]}
    with pytest.raises(NotProvedError):
        ceremony.made(SITE, CHALLENGE, phone.create(CREATION, **wrong))


@pytest.mark.parametrize("name", OTHERS)
def test_what_was_not_asked_for_is_refused_when_shown(phone: Authenticator, name: str) -> None:
    key = ceremony.made(SITE, CHALLENGE, phone.create(CREATION)).public_key
    with pytest.raises(NotProvedError):
        ceremony.shown_count(SITE, CHALLENGE, key, phone.get(REQUEST, **{name: OTHERS[name]}))


def test_another_key_does_not_sign_for_this_one(phone: Authenticator) -> None:
    other = Authenticator(SITE.origin, credential_id=phone.credential_id)
    key = ceremony.made(SITE, CHALLENGE, phone.create(CREATION)).public_key
    with pytest.raises(NotProvedError):
        ceremony.shown_count(SITE, CHALLENGE, key, other.get(REQUEST))


JUNK = ("", "x", "[]", "null", "{}", '{"id": 1}', "[" * 5000, '{"a":' * 5000, "x" * (MAX_ANSWER_CHARS + 1))


@pytest.mark.parametrize("text", JUNK)
def test_what_is_no_answer_is_refused(phone: Authenticator, text: str) -> None:
    key = ceremony.made(SITE, CHALLENGE, phone.create(CREATION)).public_key
    for act in (
        lambda: ceremony.made(SITE, CHALLENGE, text),
        lambda: ceremony.credential_of(text),
        lambda: ceremony.shown_count(SITE, CHALLENGE, key, text),
    ):
        with pytest.raises(NotProvedError):
            act()


PARTS = ("clientDataJSON", "attestationObject", "authenticatorData", "signature", "id", "rawId", "type")


@given(
    part=st.sampled_from(PARTS),
    place=st.floats(0, 1, exclude_max=True),
    junk=st.one_of(st.binary(max_size=80), st.none(), st.integers(), st.lists(st.integers(), max_size=2)),
    cut=st.integers(0, 60),
)
def test_torn_answers_are_no_fault_of_ours(part: str, place: float, junk: Any, cut: int) -> None:
    phone = Authenticator(SITE.origin, credential_id=b"c" * 16)
    key = ceremony.made(SITE, CHALLENGE, phone.create(CREATION)).public_key
    ways: tuple[tuple[str, Callable[[str], object]], ...] = (
        (phone.create(CREATION), lambda text: ceremony.made(SITE, CHALLENGE, text)),
        (phone.get(REQUEST), ceremony.credential_of),
        (phone.get(REQUEST), lambda text: ceremony.shown_count(SITE, CHALLENGE, key, text)),
    )
    for answer, check in ways:
        told = json.loads(answer)
        holder = told["response"] if part in told["response"] else told
        if part not in holder:
            continue
        if isinstance(junk, bytes) and part not in {"id", "type"}:
            whole = unb64url(holder[part])
            at = int(len(whole) * place)
            holder[part] = b64url(whole[:at] + junk + whole[at + cut :])
        else:
            holder[part] = junk.decode("latin-1") if isinstance(junk, bytes) else junk
        with contextlib.suppress(NotProvedError):
            check(json.dumps(told))
