"""Passkeys on the pages and in the API."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from cloud.web.api.operation import PREFIX
from tests.cloud.web.conftest import Somebody
from tests.support.authenticator import Authenticator
from tests.support.commanding import turn_on_two_factor
from tests.support.portal import PASSWORD, Answer, Portal, Visitor, now_ms, running_portal, visitor

TWO_FACTOR: Final = "/account/two-factor"


async def call(browser: Visitor, method: str, path: str, body: object = None) -> Answer:
    """An operation of the API."""
    headers = {"Accept": "application/json", "X-Form-Token": browser.form_token}
    return await browser.ask(method, PREFIX + path, headers=headers, json=body)


async def options_of(browser: Visitor, path: str, body: object = None) -> dict[str, Any]:
    """What the browser is given for an authenticator."""
    answer = await call(browser, "POST", path, body)
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)["options"]
    return found


def phone_of(portal: Portal) -> Authenticator:
    """An authenticator that is used at this portal's address, by name."""
    return Authenticator(f"http://localhost:{portal.settings.portal_port}")


async def add(portal: Portal, browser: Visitor, name: str = "Phone") -> tuple[Authenticator, list[str]]:
    """Through the pages, as the script does it."""
    phone = phone_of(portal)
    page = await browser.get(f"{TWO_FACTOR}/passkeys/new")
    assert page.status == 200, page.headers
    options = await options_of(browser, "/account/passkeys/options")
    answer = await browser.post(f"{TWO_FACTOR}/passkeys", {"name": name, "credential": phone.create(options)})
    return phone, re.findall(r"<li>([0-9A-Z]{5}-[0-9A-Z]{5})</li>", answer.text)


async def half_in(browser: Visitor, email: str) -> Answer:
    """A log-in whose password was right: the page of its second step."""
    await browser.get("/login")
    answer = await browser.post("/login", {"email": email, "password": PASSWORD, "next": "/add/codes"})
    assert answer.headers["Location"] == "/login/verify"
    return await browser.get("/login/verify")


async def stale(portal: Portal) -> None:
    """Every proof of who is here is older than 5 minutes."""
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE web_session SET factor_ms = factor_ms - 400000")


async def test_the_seeds_way_offers_both_methods(ada: Somebody) -> None:
    assert 'href="/account">View Profile' in (await ada.browser.get("/devices")).text
    page = (await ada.browser.get("/account")).text
    assert "My Profile" in page
    assert f'href="{TWO_FACTOR}">Two-Factor Authentication' in page
    assert ">Turn On</button>" in (await ada.browser.get(TWO_FACTOR)).text
    page = (await ada.browser.get(f"{TWO_FACTOR}/method")).text
    assert "Choose your preferred verification method for two-factor authentication" in page
    assert "<strong>Passkey</strong>" in page
    assert "<strong>Authenticator app</strong>" in page
    assert ">Confirm</button>" in page
    chosen = await ada.browser.post(f"{TWO_FACTOR}/start", {"method": "passkey"})
    assert chosen.headers["Location"] == f"{TWO_FACTOR}/passkeys/new"


async def test_a_passkey_from_turn_on_to_log_in(portal: Portal, ada: Somebody) -> None:
    phone, recovery = await add(portal, ada.browser)
    assert len(recovery) == 10
    page = (await ada.browser.get(TWO_FACTOR)).text
    assert "<strong>Phone</strong>" in page
    assert "Turned on" in page
    async with visitor() as http:
        other = Visitor(http, portal.url)
        page = (await half_in(other, ada.email)).text
        assert "Use a passkey" in page
        assert "one of your recovery codes" in page
        assert "authenticator app shows" not in page
        none = await other.post("/login/passkey", {"credential": ""})
        assert (none.status, "need JavaScript" in none.text) == (401, True)
        options = await options_of(other, "/session/passkey/options", {})
        wrong = await other.post("/login/passkey", {"credential": phone.get(options, verified=False)})
        assert (wrong.status, "does not prove that it is you" in wrong.text) == (401, True)
        options = await options_of(other, "/session/passkey/options", {})
        done = await other.post("/login/passkey", {"credential": phone.get(options)})
        assert (done.status, done.headers["Location"]) == (303, "/add/codes")
        assert (await other.get("/devices")).status == 200


async def test_confirming_by_a_passkey(portal: Portal, ada: Somebody) -> None:
    phone, _ = await add(portal, ada.browser)
    await stale(portal)
    first = await ada.browser.get(f"{TWO_FACTOR}/passkeys/new")
    assert first.headers["Location"] == f"/account/confirm?next={TWO_FACTOR}/passkeys/new"
    told = json.loads((await call(ada.browser, "POST", "/account/passkeys/options")).text)
    assert told["code"] == "factor_needed"
    page = (await ada.browser.get("/account/confirm?next=/account/email")).text
    assert "Use a passkey" in page
    assert 'name="password"' not in page
    options = await options_of(ada.browser, "/session/proof/options")
    form = {"credential": phone.get(options), "next": "/account/email"}
    done = await ada.browser.post("/account/confirm/passkey", form)
    assert done.headers["Location"] == "/account/email"
    assert (await ada.browser.get("/account/email")).status == 200
    again = await ada.browser.post("/account/confirm/passkey", form)
    assert (again.status, "was sent before" in again.text) == (422, True)
    none = await ada.browser.post("/account/confirm/passkey", {"credential": "", "next": "//x"})
    assert (none.status, "need JavaScript" in none.text) == (422, True)


async def test_several_are_named_and_removed(portal: Portal, ada: Somebody) -> None:
    await add(portal, ada.browser)
    _, recovery = await add(portal, ada.browser, "Key on the ring")
    assert recovery == []
    page = (await ada.browser.get(TWO_FACTOR)).text
    numbers = list(dict.fromkeys(re.findall(r'name="passkey" value="(\d+)"', page)))
    assert len(numbers) == 2
    form = {"passkey": numbers[0], "name": "Old phone"}
    assert (await ada.browser.post(f"{TWO_FACTOR}/passkeys/rename", form)).status == 303
    nameless = await ada.browser.post(f"{TWO_FACTOR}/passkeys/rename", {**form, "name": " "})
    assert (nameless.status, "give the passkey a name" in nameless.text) == (422, True)
    assert "<strong>Old phone</strong>" in (await ada.browser.get(TWO_FACTOR)).text
    for number in numbers:
        answer = await ada.browser.post(f"{TWO_FACTOR}/passkeys/remove", {"passkey": number})
        assert answer.status == 303
    assert "Turned off" in (await ada.browser.get(TWO_FACTOR)).text


async def test_the_api_adds_uses_and_removes_passkeys(portal: Portal, ada: Somebody) -> None:
    phone = phone_of(portal)
    options = await options_of(ada.browser, "/account/passkeys/options")
    body = {"name": "Phone", "credential": json.loads(phone.create(options))}
    answer = await call(ada.browser, "PUT", "/account/passkeys", body)
    added = json.loads(answer.text)
    assert (answer.status, added["passkey"]["made_for"], len(added["recovery_codes"])) == (
        200,
        "localhost",
        10,
    )
    number = added["passkey"]["passkey_id"]
    renamed = await call(ada.browser, "PATCH", f"/account/passkeys/{number}", {"name": "Key"})
    assert [one["name"] for one in json.loads(renamed.text)["passkeys"]] == ["Key"]
    await stale(portal)
    refused = await call(ada.browser, "DELETE", f"/account/passkeys/{number}")
    assert json.loads(refused.text)["code"] == "factor_needed"
    options = await options_of(ada.browser, "/session/proof/options")
    credential = {"credential": json.loads(phone.get(options))}
    proved = await call(ada.browser, "POST", "/session/proof/passkey", credential)
    assert json.loads(proved.text)["fresh_until_ms"] > now_ms()
    replayed = await call(ada.browser, "POST", "/session/proof/passkey", credential)
    assert (replayed.status, json.loads(replayed.text)["code"]) == (409, "passkey_expired")
    async with visitor() as http:
        program = Visitor(http, portal.url)
        token = await call(program, "GET", "/form-token")
        program.form_token = json.loads(token.text)["form_token"]
        log_in = {"email": ada.email, "password": PASSWORD}
        asked = json.loads((await call(program, "POST", "/session", log_in)).text)
        assert (asked["code"], asked["methods"]) == ("factor_needed", ["recovery_code", "passkey"])
        step = {"step": asked["step"]}
        options = await options_of(program, "/session/passkey/options", step)
        credential = {**step, "credential": json.loads(phone.get(options))}
        me = json.loads((await call(program, "POST", "/session/passkey", credential)).text)
        assert (me["email"], me["two_factor"], me["factor_due_ms"]) == (ada.email, True, None)
        gone = await call(program, "POST", "/session/passkey", credential)
        assert json.loads(gone.text)["code"] == "form_expired"  # the cookie is another one now
    answer = await call(ada.browser, "DELETE", f"/account/passkeys/{number}")
    assert answer.status == 204
    assert json.loads((await call(ada.browser, "GET", "/account/second-factor")).text)["on"] is False


async def test_the_api_turns_an_app_on_and_off(portal: Portal, ada: Somebody) -> None:
    made = await call(ada.browser, "PUT", "/account/second-factor/app")
    assert made.status == 200
    assert json.loads(made.text)["uri"].startswith("otpauth://")
    wrong = await call(ada.browser, "PUT", "/account/second-factor/app/code", {"code": "x"})
    assert json.loads(wrong.text)["code"] == "factor_wrong"
    await turn_on_two_factor(portal.pool, ada.actor.account_id, now_ms())
    codes = await call(ada.browser, "PUT", "/account/second-factor/recovery-codes")
    assert codes.status == 200
    for method, status in (("DELETE", 204), ("DELETE", 409)):
        assert (await call(ada.browser, method, "/account/second-factor")).status == status


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://192.0.2.7", "an address without a name"),
        ("http://portal.example.org", "not reached over https"),
    ],
)
async def test_pages_say_why_there_can_be_no_passkeys(
    database: str, tmp_path: Path, address: str, words: str
) -> None:
    async with (
        running_portal(database, tmp_path / "state", public_url=address) as portal,
        visitor() as http,
    ):
        browser = Visitor(http, portal.url)
        await portal.add_person("ada@example.org")
        await browser.log_in("ada@example.org")
        for path in (f"{TWO_FACTOR}/method", f"{TWO_FACTOR}/passkeys/new"):
            assert words in (await browser.get(path)).text
        told = json.loads((await call(browser, "POST", "/account/passkeys/options")).text)
        assert told["code"] == "passkeys_unavailable"
