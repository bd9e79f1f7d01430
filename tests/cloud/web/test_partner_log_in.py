"""Log-in with an account of a partner, whose provider is third-party software in a process of its own."""

import html
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest

from cloud.core.authz import Actor, Role
from cloud.services import companies
from tests.cloud.web.test_account import stale, turn_on
from tests.support.partner import ForeignProvider, log_in_there, settings_for, third_party, way_back
from tests.support.portal import Portal, Visitor, now_ms, running_portal, visitor
from tests.support.rooms import PAGE_TWO, mailed_link, newest_mail, solved
from tests.support.stack import free_port

GRACE = "grace@example.org"
NAMES = {"first_name": "Grace", "last_name": "South"}
IDENTITIES = "SELECT subject, p.email, a.email FROM partner_identity p JOIN account a USING (account_id)"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignProvider]:
    """The provider of all tests here."""
    with third_party(tmp_path_factory.mktemp("partner")) as running:
        yield running


@pytest.fixture
async def partnered(database: str, tmp_path: Path, provider: ForeignProvider) -> AsyncIterator[Portal]:
    """A portal that lets its accounts in."""
    oidc = settings_for(provider, tmp_path)
    async with running_portal(database, tmp_path / "state", **oidc) as running:
        yield running


@pytest.fixture
async def guest(partnered: Portal) -> AsyncIterator[Visitor]:
    """A browser that is not logged in."""
    async with visitor() as http:
        yield Visitor(http, partnered.url)


async def identities(portal: Portal) -> list[tuple[str, str, str]]:
    """Who is connected: subject, address there, address here."""
    async with portal.pool.connection() as connection:
        return [(row[0], row[1], row[2]) for row in await (await connection.execute(IDENTITIES)).fetchall()]


async def register(guest: Visitor, **fields: str) -> None:
    """Page two, after the partner's word for page one."""
    await guest.get("/signup/company")
    form = {**NAMES, **PAGE_TWO, **fields, "robot": await solved(guest)}
    answer = await guest.post("/signup/company", form)
    assert (answer.status, answer.headers.get("Location")) == (303, "/account/two-factor/offer"), answer.text


async def test_the_log_in_page_offers_it_in_the_words_of_the_seed(guest: Visitor) -> None:
    page = (await guest.get("/login?next=/add/codes")).text
    assert (
        "If you already have an account on partner.schneider-electric.com, you can log in to the Web Portal"
        " using those credentials." in page
    )
    assert 'href="/login/partner?next=/add/codes"' in page


async def test_without_a_partner_there_is_nothing_of_it(stranger: Visitor) -> None:
    assert "/login/partner" not in (await stranger.get("/login")).text
    for path in ("/login/partner", "/login/partner/back", "/login/partner/out"):
        assert (await stranger.get(path)).status == 404


async def test_somebody_new_registers_with_page_two_and_is_in_from_then_on(
    partnered: Portal, guest: Visitor
) -> None:
    answer = await log_in_there(guest, "grace-1", "/login/partner?next=/add/codes")
    assert answer.headers["Location"] == "/signup/company"
    page = (await guest.get("/signup/company")).text
    for words in ('value="Grace"', 'value="South"', GRACE, "I am not a robot", "privacy notice"):
        assert words in page
    faulty = {**PAGE_TWO, "first_name": "", "last_name": "South", "city": "", "robot": await solved(guest)}
    answer = await guest.post("/signup/company", faulty)
    assert answer.status == 422
    assert "Please enter a name of 1 to 100 characters." in answer.text
    assert "City is required." in answer.text
    await register(guest)
    assert 'href="/add/codes">Not now' in (await guest.get("/account/two-factor/offer")).text
    assert await identities(partnered) == [("grace-1", GRACE, GRACE)]
    async with partnered.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT first_name, last_name, location, email_verified_ms IS NOT NULL, password_ms,"
            " privacy_ms IS NOT NULL FROM account"
        )
        assert await cursor.fetchall() == [("Grace", "South", "FR", True, None, True)]
    await guest.post("/logout", {})
    assert (await log_in_there(guest, "grace-1")).headers["Location"] == "/devices"
    assert (await guest.get("/devices")).status == 200
    data = json.loads((await guest.get("/api/v1/account/data")).text)
    assert [one["subject"] for one in data["partners"]] == ["grace-1"]


async def test_an_account_of_that_address_is_connected_by_its_owner_alone(
    partnered: Portal, guest: Visitor
) -> None:
    await partnered.add_person(GRACE, first_name="Grace")
    answer = await log_in_there(guest, "grace-1")
    assert answer.headers["Location"] == "/login?next=/account/partner"
    assert (await guest.get("/devices")).status == 303  # nobody is in by the address alone
    assert await identities(partnered) == []
    await guest.log_in(GRACE)
    page = (await guest.get("/account/partner")).text
    assert f"You have just logged in on partner.schneider-electric.com as <strong>{GRACE}</strong>" in page
    await stale(partnered)
    answer = await guest.post("/account/partner/connect", {})
    assert answer.headers["Location"] == "/account/confirm?next=/account/partner"
    await guest.log_in(GRACE)
    answer = await guest.post("/account/partner/connect", {})
    assert answer.headers["Location"] == "/account/partner"
    assert await identities(partnered) == [("grace-1", GRACE, GRACE)]
    assert "Connected" in (await guest.get("/account/partner")).text
    assert "was connected" in (await newest_mail(partnered, GRACE, "partner_connected")).text
    async with visitor() as http:
        other = Visitor(http, partnered.url)
        assert (await log_in_there(other, "grace-1")).headers["Location"] == "/devices"
    answer = await guest.post("/account/partner/disconnect", {})
    assert answer.headers["Location"] == "/account/partner"
    assert await identities(partnered) == []
    assert (await guest.post("/account/partner/disconnect", {})).status == 404


async def test_no_other_account_is_connected(partnered: Portal, guest: Visitor) -> None:
    await partnered.add_person(GRACE, first_name="Grace")
    await partnered.add_person("eve@example.org", first_name="Eve")
    await log_in_there(guest, "grace-1")
    await guest.log_in("eve@example.org")
    answer = await guest.post("/account/partner/connect", {})
    assert (answer.status, "is not that of this one" in answer.text) == (422, True)
    async with visitor() as http:
        other = Visitor(http, partnered.url)
        await other.log_in(GRACE)
        answer = await other.post("/account/partner/connect", {})
        assert (answer.status, "began in another browser" in answer.text) == (422, True)
    assert await identities(partnered) == []


async def test_our_second_factor_is_still_asked_for(partnered: Portal, guest: Visitor) -> None:
    await log_in_there(guest, "grace-1")
    await register(guest)
    await guest.get("/devices")
    secret, recovery = await turn_on(guest)
    async with visitor() as http:
        other = Visitor(http, partnered.url)
        answer = await log_in_there(other, "grace-1", "/login/partner?next=/add/codes")
        assert answer.headers["Location"] == "/login/verify"
        assert (await other.get("/devices")).status == 303
        await other.get("/login/verify")
        answer = await other.post("/login/verify", {"code": pyotp.TOTP(secret).now()})
        assert answer.status == 401  # that code has turned it on, and is spent
        answer = await other.post("/login/verify", {"code": recovery[0]})
        assert answer.headers["Location"] == "/add/codes"


async def test_an_address_that_is_not_verified_there_counts_for_nothing(guest: Visitor) -> None:
    answer = await log_in_there(guest, "frank-1")
    assert answer.headers["Location"] == "/login?problem=partner_unverified"
    page = html.unescape((await guest.get(answer.headers["Location"])).text)
    assert "has not verified your email address. Please verify it there, then log in again." in page


async def test_the_address_of_the_page_says_nothing_of_its_own(guest: Visitor) -> None:
    assert "x-y-z" not in (await guest.get("/login?problem=x-y-z")).text


async def test_a_way_back_is_good_once_and_in_the_browser_that_went(
    partnered: Portal, guest: Visitor
) -> None:
    back = await way_back(guest, "grace-1")
    async with visitor() as http:
        answer = await Visitor(http, partnered.url).get(back)
        assert answer.headers["Location"] == "/login?problem=partner_gone"
    assert (await guest.get(back)).headers["Location"] == "/signup/company"
    assert (await guest.get(back)).headers["Location"] == "/login?problem=partner_gone"
    old = re.search(r"code=([^&]+)", back)
    new = re.search(r"code=([^&]+)", replay := await way_back(guest, "grace-1"))
    assert old is not None
    assert new is not None
    answer = await guest.get(replay.replace(new[1], old[1]))
    assert answer.headers["Location"] == "/login?problem=partner_refused"  # the provider knows it is spent


async def test_the_partners_password_stands_for_ours_where_it_was_just_entered(
    partnered: Portal, guest: Visitor
) -> None:
    await log_in_there(guest, "grace-1")
    await register(guest)
    await stale(partnered)
    assert (await guest.get("/account/email")).headers["Location"].startswith("/account/confirm")
    page = (await guest.get("/account/confirm?next=/account/email")).text
    path = "/login/partner?confirm=1&next=/account/email"
    assert f'href="{path}"' in html.unescape(page)
    away = await guest.get(path)
    assert "prompt=login" in away.headers["Location"]
    answer = await log_in_there(guest, "grace-1", path)
    assert answer.headers["Location"] == "/account/email"
    assert (await guest.get("/account/email")).status == 200
    await stale(partnered)
    answer = await log_in_there(guest, "eve-1", path)
    assert answer.headers["Location"] == "/account/partner?problem=partner_unverified"
    assert (await guest.get("/account/email")).status == 303


async def test_logging_out_here_tells_how_to_log_out_there(guest: Visitor, provider: ForeignProvider) -> None:
    await log_in_there(guest, "grace-1")
    await register(guest)
    await guest.get("/devices")
    answer = await guest.post("/logout", {})
    assert answer.headers["Location"] == "/login?out=1"
    assert 'href="/login/partner/out"' in (await guest.get("/login?out=1")).text
    there = (await guest.get("/login/partner/out")).headers["Location"]
    assert there.startswith(
        f"{provider.issuer}/oauth2/end_session?client_id=portal&post_logout_redirect_uri="
    )
    assert (await guest.get("/devices")).status == 303


async def test_keys_change_when_the_provider_starts_anew(
    guest: Visitor, provider: ForeignProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await log_in_there(guest, "grace-1")).headers["Location"] == "/signup/company"
    monkeypatch.setattr("cloud.web.partner_provider.AGAIN_AFTER_S", 0.0)
    provider.stop()
    provider.start()
    assert (await log_in_there(guest, "grace-1")).headers["Location"] == "/signup/company"


async def test_a_provider_that_is_away_is_told_and_passwords_go_on(database: str, tmp_path: Path) -> None:
    oidc: dict[str, Any] = {"oidc_issuer": f"http://127.0.0.1:{free_port()}", "oidc_client_id": "portal"}
    async with running_portal(database, tmp_path / "state", oidc_name="Example ID", **oidc) as portal:
        await portal.add_person(GRACE)
        async with visitor() as http:
            browser = Visitor(http, portal.url)
            answer = await browser.get("/login/partner")
            assert answer.headers["Location"] == "/login?problem=partner_away"
            page = (await browser.get(answer.headers["Location"])).text
            assert "Example ID does not answer at the moment. Log in with your email address" in page
            await browser.log_in(GRACE)


async def test_an_invited_person_belongs_to_the_company(partnered: Portal, guest: Visitor) -> None:
    ada = await partnered.add_person("ada@example.org", company="Example Clinic")
    kit = partnered.kit
    actor = Actor(ada.account_id, ada.company_id, Role.OWNER)
    await companies.invite(kit, actor, GRACE, Role.VIEWER, now_ms())
    await guest.get("/join")
    await guest.post("/join", {"link": await mailed_link(partnered, GRACE, "invitation")})
    assert (await log_in_there(guest, "grace-1")).headers["Location"] == "/signup/company"
    page = (await guest.get("/signup/company")).text
    assert "You will belong to <strong>Example Clinic</strong>" in page
    await register(guest)
    assert "Example Clinic" in (await guest.get("/company")).text
