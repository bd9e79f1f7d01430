"""What a partner's word must hold, without HTTP and signatures."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.partner import (
    Metadata,
    PartnerError,
    PartnerPerson,
    UnverifiedEmailError,
    challenge_of,
    check_answer,
    needs_userinfo,
    parse_metadata,
    person_of,
    request_of,
    with_userinfo,
)

ISSUER = "https://id.example.org"
NOW = 1_800_000_000_000
DOCUMENT: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "1",
    "aud": "portal",
    "nonce": "n",
    "email": "Grace@example.org",
    "email_verified": True,
}


def person(**claims: object) -> PartnerPerson:
    """Whom these claims name."""
    return person_of({**CLAIMS, **claims}, client_id="portal", nonce="n")


def test_the_challenge_is_that_of_the_standard() -> None:
    # RFC 7636 appendix B
    assert (
        challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


def test_what_is_asked() -> None:
    asked = request_of(
        client_id="c", redirect_uri="https://a.example.org/b", state="s", nonce="n", verifier="v" * 43
    )
    assert (asked["response_type"], asked["scope"]) == ("code", "openid email profile")
    assert (asked["code_challenge_method"], asked["code_challenge"]) == ("S256", challenge_of("v" * 43))
    assert {"prompt", "max_age"} & set(asked) == set()
    again = request_of(client_id="c", redirect_uri="r", state="s", nonce="n", verifier="v", again=True)
    assert (again["prompt"], again["max_age"]) == ("login", "0")


def test_a_document() -> None:
    plain = parse_metadata(DOCUMENT, ISSUER)
    assert plain == Metadata(ISSUER, f"{ISSUER}/authorize", f"{ISSUER}/token", f"{ISSUER}/keys")
    full = parse_metadata(
        {
            **DOCUMENT,
            "userinfo_endpoint": f"{ISSUER}/me",
            "end_session_endpoint": f"{ISSUER}/end",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "authorization_response_iss_parameter_supported": True,
        },
        ISSUER,
    )
    assert (full.secret_in_form, full.names_issuer, full.userinfo_endpoint) == (True, True, f"{ISSUER}/me")


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": ISSUER + "/"},
        {"issuer": None},
        {"jwks_uri": ""},
        {"token_endpoint": 7},
        {"authorization_endpoint": None},
    ],
)
def test_a_document_of_another_or_with_gaps(change: dict[str, Any]) -> None:
    with pytest.raises(PartnerError):
        parse_metadata({**DOCUMENT, **change}, ISSUER)


def test_who_answers() -> None:
    silent = parse_metadata(DOCUMENT, ISSUER)
    naming = parse_metadata({**DOCUMENT, "authorization_response_iss_parameter_supported": True}, ISSUER)
    check_answer(silent, None)
    check_answer(silent, ISSUER)
    check_answer(naming, ISSUER)
    for metadata, named in ((naming, None), (silent, "https://other.example.org"), (naming, "")):
        with pytest.raises(PartnerError):
            check_answer(metadata, named)


def test_a_person() -> None:
    found = person(given_name=" Grace \n", family_name="South", auth_time=NOW // 1000)
    assert (found.issuer, found.subject, found.email.folded) == (ISSUER, "1", "grace@example.org")
    assert (found.first_name, found.last_name, found.authenticated_ms) == ("Grace", "South", NOW)


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({}, ("", "")),
        ({"name": "Grace Ann South"}, ("Grace", "Ann South")),
        ({"name": "Grace"}, ("Grace", "")),
        ({"given_name": "Grace", "name": "Someone Else"}, ("Grace", "")),
        ({"given_name": 7, "family_name": "x" * 200}, ("", "x" * 100)),
    ],
)
def test_names_are_suggestions(claims: dict[str, Any], names: tuple[str, str]) -> None:
    found = person(**claims)
    assert (found.first_name, found.last_name) == names


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"nonce": "m"}, PartnerError),
        ({"aud": ["portal", "x"]}, PartnerError),
        ({"azp": "x"}, PartnerError),
        ({"sub": ""}, PartnerError),
        ({"sub": "a\0b"}, PartnerError),
        ({"sub": None}, PartnerError),
        ({"iss": None}, PartnerError),
        ({"email_verified": 1}, UnverifiedEmailError),
        ({"email_verified": "true"}, UnverifiedEmailError),
        ({"email": None}, UnverifiedEmailError),
        ({"email": "x"}, UnverifiedEmailError),
    ],
)
def test_what_proves_nothing(claims: dict[str, Any], error: type[PartnerError]) -> None:
    with pytest.raises(error):
        person(**claims)


def test_several_audiences_need_the_party_to_be_us() -> None:
    assert person(aud=["x", "portal"], azp="portal").subject == "1"
    assert person(aud=["portal"]).subject == "1"


@pytest.mark.parametrize(
    ("auth_time", "fresh"),
    [
        (NOW // 1000, True),
        (NOW // 1000 - 300, True),
        (NOW // 1000 - 301, False),
        (NOW // 1000 + 30, True),  # the partner's clock is ahead
        (None, False),
        ("now", False),
        (True, False),
        (-1, False),
    ],
)
def test_how_long_ago_the_password_was_entered(auth_time: object, fresh: bool) -> None:
    assert person(auth_time=auth_time).is_fresh(NOW) is fresh


def test_userinfo_adds_and_changes_nothing() -> None:
    bare = {name: value for name, value in CLAIMS.items() if not name.startswith("email")}
    assert (needs_userinfo(bare), needs_userinfo(CLAIMS)) == (True, False)
    told = {
        "sub": "1",
        "email": "a@example.org",
        "email_verified": True,
        "given_name": "Grace",
        "iss": "x",
        "nonce": "x",
    }
    found = with_userinfo(bare, told)
    assert found == {**bare, "email": "a@example.org", "email_verified": True, "given_name": "Grace"}
    with pytest.raises(PartnerError):
        with_userinfo(bare, {**told, "sub": "2"})
    other = with_userinfo({**bare, "email": "b@example.org"}, told)
    assert (other["email"], other.get("email_verified")) == ("b@example.org", None)


@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "azp", "name", "auth_time"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
    )
)
def test_no_claims_are_a_fault_of_ours(claims: dict[str, Any]) -> None:
    try:
        found = person_of(claims, client_id="portal", nonce="n")
    except PartnerError:
        return
    assert found.subject
