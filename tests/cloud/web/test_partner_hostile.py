"""Forged, stale and foreign answers of an OpenID provider: nobody is logged in by any of them."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.openid import (
    CLIENT_ID,
    SECRET,
    Claims,
    Provider,
    new_key,
    providing,
    public_jwk,
    unsafe_token,
)
from tests.support.portal import Answer, Portal, Visitor, running_portal, visitor

REFUSED: Final = "/login?problem=partner_refused"
AWAY: Final = "/login?problem=partner_away"
UNVERIFIED: Final = "/login?problem=partner_unverified"
GONE: Final = "/login?problem=partner_gone"
NEW: Final = "/signup/company"
HONEST: Final[Claims] = {"sub": "grace-1", "email": "grace@example.org", "email_verified": True}


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider that is honest until it is told otherwise."""
    async with providing() as running:
        running.person = dict(HONEST)
        yield running


@pytest.fixture
async def partnered(database: str, tmp_path: Path, provider: Provider) -> AsyncIterator[Portal]:
    """A portal that trusts it."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    oidc: dict[str, Any] = {
        "oidc_issuer": provider.url,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret_file": secret,
    }
    async with running_portal(database, tmp_path / "state", **oidc) as running:
        yield running


async def come_back(portal: Portal, provider: Provider, **more: str) -> Answer:
    """Somebody who was never here goes to the provider and comes back."""
    async with visitor() as http:
        browser = Visitor(http, portal.url)
        away = await browser.get("/login/partner")
        return await browser.get(provider.grant(away.headers["Location"], **more))


def put(**claims: Any) -> Callable[[Claims], object]:
    """Change claims; None takes one away."""

    def change(found: Claims) -> None:
        found.update(claims)
        for name in [name for name, value in found.items() if value is None]:
            del found[name]

    return change


CHANGED: Final[Mapping[str, tuple[Callable[[Claims], object], str]]] = {
    "nothing": (put(), NEW),
    "an audience among others, for us": (put(aud=["another", CLIENT_ID], azp=CLIENT_ID), NEW),
    "the address from elsewhere": (put(email=None, email_verified=None), NEW),
    "another nonce": (put(nonce="x"), REFUSED),
    "no nonce": (put(nonce=None), REFUSED),
    "another audience": (put(aud="another"), REFUSED),
    "an audience among others": (put(aud=["another", CLIENT_ID]), REFUSED),
    "another party": (put(azp="another"), REFUSED),
    "no audience": (put(aud=None), REFUSED),
    "another issuer": (put(iss="https://issuer.example.org"), REFUSED),
    "no issuer": (put(iss=None), REFUSED),
    "it has expired": (lambda claims: claims.update(exp=int(time.time()) - 90), REFUSED),
    "it never expires": (put(exp=None), REFUSED),
    "it is of the future": (lambda claims: claims.update(nbf=int(time.time()) + 90), REFUSED),
    "no time": (put(iat=None), REFUSED),
    "nobody": (put(sub=None), REFUSED),
    "an empty subject": (put(sub=""), REFUSED),
    "an endless subject": (put(sub="x" * 256), REFUSED),
    "a subject that is no text": (put(sub=7), REFUSED),
    "an address that is not verified": (put(email_verified=False), UNVERIFIED),
    "an address that is verified in words": (put(email_verified="true"), UNVERIFIED),
    "no address": (put(email="", email_verified=True), UNVERIFIED),
    "an address that is none": (put(email="grace"), UNVERIFIED),
}


async def test_claims_that_are_not_ours_log_nobody_in(partnered: Portal, provider: Provider) -> None:
    provider.userinfo = dict(HONEST)
    wrong = {}
    for name, (change, expected) in CHANGED.items():
        provider.change = change
        answer = await come_back(partnered, provider)
        if answer.headers.get("Location") != expected:
            wrong[name] = (answer.status, answer.headers.get("Location"))
    assert wrong == {}
    await nobody_is_in(partnered)


async def nobody_is_in(portal: Portal) -> None:
    """No account, no log-in, nothing connected."""
    async with portal.pool.connection() as connection:
        for table in (b"account", b"web_session", b"partner_identity"):
            cursor = await connection.execute(b"SELECT count(*) FROM " + table)
            assert await cursor.fetchone() == (0,), table


async def test_signatures_that_prove_nothing_log_nobody_in(partnered: Portal, provider: Provider) -> None:
    pem = provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stranger = new_key()
    hmac_header = {"alg": "HS256", "typ": "JWT", "kid": "first"}
    forged: dict[str, Callable[[Claims], str]] = {
        "none": lambda claims: unsafe_token({"alg": "none", "typ": "JWT"}, claims, None),
        "None": lambda claims: unsafe_token({"alg": "None", "kid": "first"}, claims, None),
        "our own secret": lambda claims: unsafe_token(hmac_header, claims, SECRET.encode()),
        "the public key as a secret": lambda claims: unsafe_token(hmac_header, claims, pem),
        "the secret among the keys": lambda claims: unsafe_token(
            {**hmac_header, "kid": "shared"}, claims, b"k" * 32
        ),
        "another key under its name": lambda claims: provider.signed(claims, key=stranger),
        "a key it does not have": lambda claims: provider.signed(claims, key=stranger, kid="unknown"),
        "a key for another algorithm": lambda claims: jwt.encode(
            claims, provider.key, algorithm="RS512", headers={"kid": "first"}
        ),
        "a key in the token itself": lambda claims: jwt.encode(
            claims, stranger, algorithm="RS256", headers={"jwk": public_jwk(stranger, "first"), "kid": "mine"}
        ),
        "no token": lambda _claims: "x.y",
        "too many parts": lambda claims: provider.signed(claims) + ".x",
    }
    provider.keys.append({"kty": "oct", "kid": "shared", "k": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"})
    wrong = {}
    for name, sign in forged.items():
        provider.sign = sign
        answer = await come_back(partnered, provider)
        if answer.headers.get("Location") != REFUSED:
            wrong[name] = (answer.status, answer.headers.get("Location"))
    assert wrong == {}
    await nobody_is_in(partnered)


async def test_an_answer_from_elsewhere_is_none(partnered: Portal, provider: Provider) -> None:
    assert (await come_back(partnered, provider, iss="https://issuer.example.org")).headers[
        "Location"
    ] == REFUSED
    assert "token" not in provider.asked  # the code was not sent anywhere
    ours = await come_back(partnered, provider, iss=provider.url)
    assert ours.headers["Location"] == NEW
    assert (await come_back(partnered, provider, state="x")).headers["Location"] == GONE
    assert (await come_back(partnered, provider, code="guessed")).headers["Location"] == REFUSED
    assert (await come_back(partnered, provider, error="server_error")).headers["Location"] == REFUSED


async def test_whoever_says_no_there_is_told_so(partnered: Portal, provider: Provider) -> None:
    answer = await come_back(partnered, provider, error="access_denied")
    assert answer.headers["Location"] == "/login?problem=partner_denied"
    async with visitor() as http:
        page = (await Visitor(http, partnered.url).get(answer.headers["Location"])).text
    assert "was not allowed to say who you are" in page
    assert "token" not in provider.asked


async def test_a_provider_that_names_itself_always_does(partnered: Portal, provider: Provider) -> None:
    provider.document = {"authorization_response_iss_parameter_supported": True}
    assert (await come_back(partnered, provider)).headers["Location"] == REFUSED
    assert (await come_back(partnered, provider, iss=provider.url)).headers["Location"] == NEW


async def test_somebody_elses_userinfo_is_not_taken(partnered: Portal, provider: Provider) -> None:
    provider.change = put(email=None, email_verified=None)
    provider.userinfo = {**HONEST, "sub": "eve-1"}
    assert (await come_back(partnered, provider)).headers["Location"] == REFUSED
    provider.change = put(email="ada@example.org", email_verified=None)
    provider.userinfo = dict(HONEST)  # which verifies another address than the ID token names
    assert (await come_back(partnered, provider)).headers["Location"] == UNVERIFIED


async def test_a_code_is_good_once_and_in_one_browser(partnered: Portal, provider: Provider) -> None:
    async with visitor() as http, visitor() as other_http:
        browser, other = Visitor(http, partnered.url), Visitor(other_http, partnered.url)
        away = await browser.get("/login/partner")
        back = provider.grant(away.headers["Location"])
        assert (await other.get(back)).headers["Location"] == GONE
        kept = {morsel.key: morsel.value for morsel in browser.http.cookie_jar}  # as somebody would
        assert (await browser.get(back)).headers["Location"] == NEW
        again = await browser.ask("GET", back, cookies=kept)
        assert again.headers["Location"] == GONE
        assert provider.asked.count("token") == 1
        fresh = await browser.get("/login/partner")
        newer = provider.grant(fresh.headers["Location"])
        spent = newer.replace(newer.split("code=")[1].split("&")[0], back.split("code=")[1].split("&")[0])
        assert (await browser.get(spent)).headers["Location"] == REFUSED


async def test_a_provider_that_answers_nonsense_is_away(partnered: Portal, provider: Provider) -> None:
    endless = b"x" * 300_000
    answers: list[Callable[[], web.Response]] = [
        lambda: web.Response(status=500),
        lambda: web.Response(text="<html>"),
        lambda: web.json_response([]),
        lambda: web.Response(body=endless),
        lambda: web.Response(status=302, headers={"Location": provider.url}),
    ]
    for answer in answers:
        provider.token_answer = answer
        assert (await come_back(partnered, provider)).headers["Location"] == AWAY
    provider.token_answer = lambda: web.json_response({"access_token": "opaque"})
    assert (await come_back(partnered, provider)).headers["Location"] == REFUSED


async def test_keys_that_change_are_asked_for_again_but_not_for_ever(
    partnered: Portal, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await come_back(partnered, provider)).headers["Location"] == NEW
    provider.key = new_key()
    provider.keys = [public_jwk(provider.key, "second")]
    provider.sign = lambda claims: provider.signed(claims, kid="second")
    asked = provider.asked.count("keys")
    # Asked a moment ago: whoever sends rubbish cannot make the portal ask and ask.
    assert (await come_back(partnered, provider)).headers["Location"] == REFUSED
    assert provider.asked.count("keys") == asked
    monkeypatch.setattr("cloud.web.partner_provider.AGAIN_AFTER_S", 0.0)
    assert (await come_back(partnered, provider)).headers["Location"] == NEW
    assert provider.asked.count("keys") == asked + 1
