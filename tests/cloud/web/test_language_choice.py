"""The languages at the foot of every page: whoever picks one, or has a browser that asks for it, reads it."""

import asyncio
import gettext as standard
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final

import pytest

from cloud import catalogs
from cloud.core import language
from cloud.core.authz import Role
from cloud.services import companies
from tests.cloud.web.conftest import Somebody
from tests.support.portal import PASSWORD, Portal, Visitor, now_ms, visitor
from tests.support.rooms import PAGE_ONE, PAGE_TWO, mailed_code, newest_mail, register, sign_up, solved

GERMAN: Final = {
    "Log in": "Anmelden",
    "My Profile": "Mein Profil",
    "The password is not right.": "Das Passwort stimmt nicht.",
    "Please log in": "Bitte anmelden",
    "{code} is your {brand} verification code": "{code}: Ihr Prüfcode von {brand}",
    "Welcome to {brand}": "Willkommen bei {brand}",
    "You already have a {brand} account": "Schon vorhanden: Ihr Konto bei {brand}",
    "Choose a new {brand} password": "Neues Passwort für {brand}",
    "Your {brand} account: {what}": "Ihr Konto bei {brand}: {what}",
    "You are no longer a member of {company}.": "Keine Mitgliedschaft mehr bei {company}.",
    "{inviter} invites you to {brand}": "{inviter} bittet zu {brand}",
    "Company Name": "Firma",
    "Not applicable": "Entfällt",
    "Government": "Öffentliche Hand",
    "{field} is required.": "{field} fehlt.",
}
FRENCH: Final = {"Log in": "Se connecter", "My Profile": "Mon profil"}
ASKS_GERMAN: Final = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
YEAR_S: Final = 31_536_000


class Few(standard.NullTranslations):
    """A catalogue of a few texts; all others stay English."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self._texts = texts

    def gettext(self, message: str) -> str:
        return self._texts.get(message, message)


@pytest.fixture
def portal(portal: Portal) -> Iterator[Portal]:
    """A portal that has forgotten its own catalogues for these."""
    language.learn({"de": Few(GERMAN), "fr": Few(FRENCH)})
    yield portal
    catalogs.load()


async def language_of(portal: Portal, email: str) -> str:
    """What the account keeps."""
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT language FROM account WHERE email = %s", [email])
        row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


async def pick(browser: Visitor, name: str, back: str = "/login") -> None:
    """One of the buttons at the foot of the page that was seen last."""
    answer = await browser.post("/language", {"language": name, "next": back})
    assert (answer.status, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, back)


def lang_of(text: str) -> str:
    """The language that a page says it is in."""
    found = re.search(r'<html lang="(\w+)"', text)
    assert found is not None
    return found[1]


async def test_the_browser_is_asked_and_a_choice_outweighs_it(stranger: Visitor) -> None:
    page = (await stranger.get("/login")).text
    assert (lang_of(page), "<h1>Log in</h1>" in page) == ("en", True)
    page = (await stranger.get("/login", **ASKS_GERMAN)).text
    assert (lang_of(page), "<h1>Anmelden</h1>" in page) == ("de", True)
    for unknown in ("nl, it;q=0.8", "*", "de;q=0, nl", ";;q=,", "de;q=x"):
        assert lang_of((await stranger.get("/login", **{"Accept-Language": unknown})).text) == "en"
    answer = await stranger.post("/language", {"language": "fr", "next": "/login?next=/rules"}, **ASKS_GERMAN)
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=/rules")
    cookie = answer.headers["Set-Cookie"]
    for part in ("language=fr;", f"Max-Age={YEAR_S}", "Path=/", "SameSite=Lax"):
        assert part in cookie
    page = (await stranger.get("/login", **ASKS_GERMAN)).text
    assert (lang_of(page), "<h1>Se connecter</h1>" in page) == ("fr", True)
    assert re.search(r'value="fr" lang="fr" aria-current="true">Français</button>', page)


async def test_nothing_but_a_language_is_taken_and_nobody_is_led_elsewhere(stranger: Visitor) -> None:
    await stranger.get("/login")
    for wrong in ("", "xx", "en-US", "../de", "DE"):
        answer = await stranger.post("/language", {"language": wrong, "next": "/login"})
        assert (answer.status, "language" in answer.cookies) == (HTTPStatus.BAD_REQUEST, False)
    for target in ("https://example.org/", "//example.org", "/\\example.org", ""):
        answer = await stranger.post("/language", {"language": "de", "next": target})
        assert (answer.status, answer.headers["Location"]) == (303, "/")
    answer = await stranger.ask("POST", "/language", data={"language": "fr", "form_token": "wrong"})
    assert (answer.status, "language" in answer.cookies) == (HTTPStatus.FORBIDDEN, False)
    assert lang_of((await stranger.get("/login")).text) == "de"


async def test_an_account_keeps_its_language_for_every_browser(portal: Portal, ada: Somebody) -> None:
    assert await language_of(portal, ada.email) == "en"
    assert lang_of((await ada.browser.get("/account", **ASKS_GERMAN)).text) == "en"
    await pick(ada.browser, "de", "/account")
    page = (await ada.browser.get("/account")).text
    assert (lang_of(page), "<h1>Mein Profil</h1>" in page) == ("de", True)
    assert await language_of(portal, ada.email) == "de"
    async with visitor() as http:
        other = Visitor(http, portal.url)
        await other.log_in(ada.email)
        assert lang_of((await other.get("/account", **{"Accept-Language": "fr"})).text) == "de"
        form = {"first_name": "Ada", "last_name": "North", "language": "fr", "time_zone": "UTC"}
        assert (await other.post("/account", form)).status == 303
    page = (await ada.browser.get("/account")).text  # whatever its cookie says
    assert (lang_of(page), "<h1>Mon profil</h1>" in page) == ("fr", True)
    answer = await ada.browser.post("/account", {**form, "language": "xx"})
    assert (answer.status, await language_of(portal, ada.email)) == (422, "fr")


async def test_requests_at_once_keep_their_languages_apart(portal: Portal, ada: Somebody) -> None:
    await pick(ada.browser, "de", "/account")
    async with visitor() as http:
        other = Visitor(http, portal.url)
        answers = await asyncio.gather(
            *(
                one.get(path, **{"Accept-Language": wish})
                for _ in range(8)
                for one, path, wish in (
                    (ada.browser, "/account", "fr"),
                    (other, "/login", "fr"),
                    (other, "/login", "en"),
                )
            )
        )
    assert [lang_of(answer.text) for answer in answers] == ["de", "fr", "en"] * 8


async def test_faults_are_said_in_the_language_and_codes_stay(ada: Somebody, stranger: Visitor) -> None:
    await pick(ada.browser, "de", "/account")
    await ada.browser.get("/account/password")
    form = {"current": "not the one", "password": "Fresh-Kettle-41"}
    answer = await ada.browser.post("/account/password", form)
    assert (answer.status, "Das Passwort stimmt nicht." in answer.text) == (422, True)
    answer = await stranger.get("/api/v1/account", **ASKS_GERMAN)
    assert (answer.status, "Bitte anmelden" in answer.text) == (401, True)
    assert '"code": "login_needed"' in answer.text
    answer = await stranger.get("/api/v1/account")
    assert "Please log in" in answer.text


async def test_a_sign_up_in_german_makes_an_account_that_speaks_german(
    portal: Portal, stranger: Visitor
) -> None:
    await stranger.get("/login")
    await pick(stranger, "de")
    page = (await stranger.get("/signup")).text
    names = re.findall(r'<option value="(\w\w)"[^>]*>([^<]+)</option>', page)
    assert ("DE", "Deutschland") in names
    assert [code for code, _ in names[:4]] == ["AF", "EG", "AX", "AL"]  # Ä stands with A
    await stranger.post("/signup", PAGE_ONE)
    page = (await stranger.get("/signup/company")).text
    assert '<option value="Government">Öffentliche Hand</option>' in page
    assert '<label for="company_name">Firma<' in page
    faulty = {**PAGE_TWO, "company_name": "", "robot": await solved(stranger)}
    answer = await stranger.post("/signup/company", faulty)
    assert (answer.status, "Firma fehlt." in answer.text) == (422, True)
    filled = {
        **PAGE_TWO,
        "business_type": "Government",
        "location": "MC",
        "state_province": "Entfällt",
        "robot": await solved(stranger),
    }
    assert (await stranger.post("/signup/company", filled)).status == 303
    email = PAGE_ONE["email"]
    letter = await newest_mail(portal, email, "sign_up_code")
    assert re.fullmatch(r"\d{6}: Ihr Prüfcode von SmartConnect", letter.subject)
    await stranger.get("/signup/verify")
    code = await mailed_code(portal, email)
    assert (await stranger.post("/signup/verify", {"code": code})).status == 303
    assert await language_of(portal, email) == "de"
    assert (await newest_mail(portal, email, "welcome")).subject == "Willkommen bei SmartConnect"
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT business_type, state_province FROM company")
        assert await cursor.fetchall() == [("Government", "Not applicable")]
    page = (await stranger.get("/company/details")).text
    assert re.search(r'<input id="state_province"[^>]* value="Entfällt"', page)


async def test_mails_are_in_the_language_of_who_gets_them(
    portal: Portal, ada: Somebody, stranger: Visitor
) -> None:
    await sign_up(portal, stranger)
    grace = PAGE_ONE["email"]
    await pick(stranger, "de", "/account")
    async with visitor() as http:  # somebody who speaks French types Grace's address
        other = Visitor(http, portal.url)
        await other.get("/login")
        await pick(other, "fr")
        await register(other)
        form = {"email": grace, "robot": await solved(other)}
        assert (await other.post("/reset", form)).status == 200
    letter = await newest_mail(portal, grace, "sign_up_known")
    assert letter.subject == "Schon vorhanden: Ihr Konto bei SmartConnect"
    letter = await newest_mail(portal, grace, "password_reset")
    assert letter.subject == "Neues Passwort für SmartConnect"
    # Ada speaks English, and so does the address that nobody knows.
    for address in (grace, "nobody@example.org"):
        await companies.invite(portal.kit, ada.actor, address, Role.VIEWER, now_ms())
    assert (await newest_mail(portal, grace, "invitation")).subject == "Ada North bittet zu SmartConnect"
    letter = await newest_mail(portal, "nobody@example.org", "invitation")
    assert letter.subject == "Ada North invites you to SmartConnect"
    await ada.browser.get("/account/password")
    form = {"current": PASSWORD, "password": "Fresh-Kettle-41"}
    assert (await ada.browser.post("/account/password", form)).status == 303
    letter = await newest_mail(portal, ada.email, "password_changed")
    assert letter.subject == "Your SmartConnect account: The password was changed"


async def test_who_is_removed_reads_it_in_their_own_language(portal: Portal, ada: Somebody) -> None:
    bob = await portal.add_person("bob@example.org", first_name="Bob")
    async with portal.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO membership (company_id, account_id, role, created_ms) VALUES (%s, %s, 'viewer', 0)",
            [ada.actor.company_id, bob.account_id],
        )
        await connection.execute("UPDATE account SET language = 'de' WHERE account_id = %s", [bob.account_id])
    await ada.browser.get("/company")
    answer = await ada.browser.post("/company/remove", {"member": str(bob.account_id)})
    assert answer.status == 303
    letter = await newest_mail(portal, "bob@example.org", "member_removed")
    assert letter.subject == "Ihr Konto bei SmartConnect: Keine Mitgliedschaft mehr bei Example Clinic"
