"""The pages and the API of registered systems, and the exchange by which servers talk to the cloud."""

import json
import re
from typing import Any

import pytest

from cloud.web.state import SYSTEM_KEYS
from protocol.system import Stand, SystemState, UpsUnder
from protocol.system_code import Operation
from protocol.system_keys import sign_ups
from tests.cloud.web.conftest import Somebody
from tests.support.kit import newest_letter
from tests.support.portal import PASSWORD, Answer, Portal, now_ms, visitor
from tests.support.system_world import CONTACTS, SITE
from tests.support.systems import TestCloudKeys, TestServer

DATA = {**SITE, **CONTACTS, "site_name": "North wing", "warranty_terms": "Parts"}


@pytest.fixture
def server(portal: Portal) -> TestServer:
    """A server that knows the portal's keys."""
    return TestServer(TestCloudKeys(portal.app[SYSTEM_KEYS].private))


async def api(who: Somebody, method: str, path: str, **body: Any) -> Answer:
    """Ask as a program."""
    me = json.loads((await who.browser.get("/api/v1/session")).text)
    headers = {"Accept": "application/json", "X-Form-Token": me["form_token"]}
    more = {"json": body} if body else {}
    return await who.browser.ask(method, f"/api/v1{path}", headers=headers, **more)


async def report(portal: Portal, server: TestServer, **how: Any) -> SystemState:
    """Over HTTP, as a server does it: no cookie, no form."""
    async with (
        visitor() as http,
        http.post(
            f"{portal.url}/api/v1/systems/exchange",
            data=server.report(**how),
            headers={"Content-Type": "application/json"},
        ) as response,
    ):
        assert response.status == 200, await response.text()
        return server.read_state(await response.read())


async def forget_factors(portal: Portal) -> None:
    """As if everybody had logged in long ago."""
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE web_session SET factor_ms = 0")


async def registered(portal: Portal, who: Somebody, server: TestServer, slot: str = "integrator") -> str:
    """The path of a system that this person has registered by the server's link."""
    link = (await server.ask(portal.kit, now_ms(), register=True)).link
    await who.browser.get("/systems/register")
    answer = await who.browser.post("/systems/register", {"system_id": link, "slot": slot})
    assert answer.status == 303, answer.text
    return answer.headers["Location"]


async def test_registering_online_from_the_servers_link_to_the_confirmed_page(
    portal: Portal, ada: Somebody, server: TestServer
) -> None:
    empty = await ada.browser.get("/systems")
    assert "Your company has no registered system yet" in empty.text
    state = await report(portal, server, register=True)
    assert state.link.startswith(portal.kit.portal_url + "/systems/register#")
    await ada.browser.get("/systems/register")
    chosen = await ada.browser.post("/systems/register", {"link": state.link.rpartition("#")[2]})
    assert (chosen.status, server.system_id.written in chosen.text) == (200, True)
    text = re.search(r'name="system_id" value="([^"]+)"', chosen.text)
    assert text is not None
    none = await ada.browser.post("/systems/register", {"system_id": text[1], "chosen": "yes"})
    assert (none.status, "Please choose what you are" in none.text) == (422, True)
    done = await ada.browser.post(
        "/systems/register", {"system_id": text[1], "slot": "end_user", "chosen": "yes"}
    )
    path = done.headers["Location"]
    page = await ada.browser.get(path)
    for words in ("System Information Page", "Nothing is filled in yet", "Fill in the registration", "1.9"):
        assert words in page.text
    form = await ada.browser.get(path + "/data")
    assert "Site or building name" in form.text
    assert "Warranty begins" not in form.text
    wrong = await ada.browser.post(path + "/data", {"step": "check", **DATA, "country": ""})
    assert (wrong.status, "Please enter: Country." in wrong.text) == (422, True)
    check = await ada.browser.post(path + "/data", {"step": "check", **DATA})
    assert (check.status, "Is everything correct?" in check.text, "Germany" in check.text) == (
        200,
        True,
        True,
    )
    back = await ada.browser.post(path + "/data", {"step": "change", **DATA})
    assert 'value="North wing"' in back.text
    saved = await ada.browser.post(path + "/data", {"step": "save", **DATA})
    assert (saved.status, saved.headers["Location"]) == (303, path)
    assert "Site company: Example Works" in (await newest_letter(portal.pool, "ada@example.org")).text
    await ada.browser.post(path + "/consents", {"information": "on", "personal": "on"})
    page = await ada.browser.get(path)
    for words in ("North wing", "Confirmed", "Example Works", "Ada North, Example Clinic"):
        assert words in page.text
    told = await report(portal, server)
    assert (told.stand, told.registration and told.registration.end_user) == (
        Stand.REGISTERED,
        "Example Clinic",
    )
    overview = await ada.browser.get("/systems")
    assert "North wing" in overview.text


async def test_offline_a_request_goes_in_and_a_code_comes_out(ada: Somebody, server: TestServer) -> None:
    await ada.browser.get("/systems/offline")
    text = server.request(Operation.REGISTER)
    wrong = ("1" if text[8] != "1" else "2").join((text[:8], text[9:]))
    refused = await ada.browser.post("/systems/offline", {"system_id": wrong})
    assert (refused.status, "Group 2 of the request is mistyped" in refused.text) == (422, True)
    typed = await ada.browser.post("/systems/offline", {"system_id": server.id})
    assert (typed.status, "no request of a server" in typed.text) == (422, True)
    chosen = await ada.browser.post("/systems/offline", {"link": text})
    assert (chosen.status, "Register Page" in chosen.text) == (200, True)
    done = await ada.browser.post("/systems/register", {"system_id": text, "slot": "integrator"})
    page = await ada.browser.get(done.headers["Location"])
    code = re.search(r'<p class="code secret">([0-9A-Z-]{48})</p>', page.text)
    assert code is not None
    assert 'aria-label="QR code of the registration code"' in page.text
    assert server.enter(code[1], now_ms()).operation is Operation.REGISTER
    server.delete_database()
    again = await ada.browser.post("/systems/offline", {"system_id": server.request(Operation.ASSOCIATE)})
    assert (again.status, "Select the system" in again.text) == (200, True)


async def test_a_new_system_id_is_entered_proceeded_selected_and_associated(
    portal: Portal, ada: Somebody, server: TestServer
) -> None:
    path = await registered(portal, ada, server)
    old = server.id
    server.delete_database()
    await ada.browser.get("/systems/associate")
    bad = await ada.browser.post("/systems/associate", {"system_id": "nonsense"})
    assert bad.status == 422
    proceed = await ada.browser.post("/systems/associate", {"system_id": server.system_id.written})
    assert (proceed.status, "Select the system" in proceed.text) == (200, True)
    system = re.search(r'name="system" value="([^"]+)"', proceed.text)
    assert system is not None
    assert system[1] == f"{path.rpartition('/')[2]}.{old}"
    none = await ada.browser.post("/systems/associate", {"system_id": server.id, "chosen": "yes"})
    assert (none.status, "Please select the system" in none.text) == (422, True)
    waits = await ada.browser.post("/systems/associate", {"system_id": server.id, "system": system[1]})
    waiting = waits.headers["Location"]
    assert "Waiting for the server’s yes" in (await ada.browser.get(waiting)).text
    assert waiting in (await ada.browser.get("/systems")).text
    state = await server.ask(portal.kit, now_ms())
    await server.ask(portal.kit, now_ms(), accept=state.waiting[0].name)
    over = await ada.browser.get(waiting)
    assert (over.status, over.headers["Location"]) == (303, path)
    assert old in (await ada.browser.get(path)).text  # in the history
    stale = await ada.browser.post(
        "/systems/associate", {"system_id": server.request(Operation.ASSOCIATE), "system": system[1]}
    )
    assert stale.status == 303  # it is that very System ID already
    rival = TestServer(server.keys).request(Operation.ASSOCIATE)
    late = await ada.browser.post("/systems/associate", {"system_id": rival, "system": system[1]})
    assert (late.status, "Somebody else has associated" in late.text) == (422, True)


async def test_who_waits_may_stop_and_nobody_else_sees_it(
    ada: Somebody, eve: Somebody, server: TestServer
) -> None:
    await ada.browser.get("/systems/register")
    done = await ada.browser.post("/systems/register", {"system_id": server.id, "slot": "end_user"})
    path = done.headers["Location"]
    assert (await eve.browser.get(path)).status == 404
    assert (await eve.browser.post(path + "/cancel", {})).status == 404
    await ada.browser.post(path + "/cancel", {})
    assert "You wait no longer" in (await ada.browser.get(path)).text


async def test_slots_change_hands_by_mail(
    portal: Portal, ada: Somebody, eve: Somebody, server: TestServer
) -> None:
    path = await registered(portal, ada, server)
    await ada.browser.get(path)
    sent = await ada.browser.post(path + "/offer", {"slot": "end_user", "email": "eve@example.org"})
    assert sent.status == 303, sent.text
    mail = (await newest_letter(portal.pool, "eve@example.org")).text
    token = re.search(r"/systems/offer#(\S+)", mail)
    assert token is not None
    assert "eve@example.org" in (await ada.browser.get(path)).text
    await eve.browser.get("/systems/offer")
    look = await eve.browser.post("/systems/offer", {"link": token[1]})
    assert (look.status, "Example Clinic offers you a system" in look.text) == (200, True)
    assert (await ada.browser.post("/systems/offer", {"token": token[1]})).status == 403
    await forget_factors(portal)
    unproven = await eve.browser.post("/systems/offer/accept", {"token": token[1]})
    assert (unproven.status, "Please enter the code" in unproven.text) == (422, True)
    wrong = await eve.browser.post("/systems/offer/accept", {"token": token[1], "proof": "wrong"})
    assert wrong.status == 422
    taken = await eve.browser.post("/systems/offer/accept", {"token": token[1], "proof": PASSWORD})
    assert (taken.status, taken.headers["Location"]) == (303, path)
    again = await ada.browser.post(path + "/offer", {"slot": "end_user", "email": "x@example.org"})
    assert (again.status, "has a holder already" in again.text) == (422, True)
    unproven = await ada.browser.post(path + "/delete", {})
    assert (unproven.status, "Please enter the code" in unproven.text) == (422, True)
    refused = await ada.browser.post(path + "/delete", {"proof": PASSWORD})
    assert (refused.status, "Only the end-user can delete" in refused.text) == (422, True)
    await ada.browser.post(path + "/leave", {"slot": "integrator"})
    assert (await ada.browser.get(path)).status == 404
    await eve.browser.post(path + "/delete", {})
    assert (await eve.browser.get(path)).status == 404


async def test_lead_and_shadow_on_the_page(portal: Portal, ada: Somebody, server: TestServer) -> None:
    lead = await registered(portal, ada, TestServer(server.keys))
    shadow = await registered(portal, ada, server)
    await ada.browser.post(lead + "/data", {"step": "save", **DATA})
    page = await ada.browser.get(shadow)
    assert "Follow this lead" in page.text
    await ada.browser.post(shadow + "/lead", {"lead": lead.rpartition("/")[2]})
    page = await ada.browser.get(shadow)
    assert "This shows the registration of its lead" in page.text
    assert "North wing" in page.text
    chain = await ada.browser.post(lead + "/lead", {"lead": shadow.rpartition("/")[2]})
    assert (chain.status, "shadow itself" in chain.text) == (422, True)
    nothing = await ada.browser.post(shadow + "/lead", {"lead": "?"})
    assert nothing.status == 422
    await ada.browser.post(shadow + "/lead", {"lead": ""})
    assert "This shows the registration of its lead" not in (await ada.browser.get(shadow)).text


async def test_the_same_for_programs(
    portal: Portal, ada: Somebody, eve: Somebody, server: TestServer
) -> None:
    request = server.request(Operation.REGISTER)
    made = await api(ada, "POST", "/systems", proof=request, slot="end_user")
    assert made.status == 201, made.text
    done = json.loads(made.text)
    number = done["number"]
    assert server.enter(done["code"], now_ms()).operation is Operation.REGISTER
    values = {name: DATA[name] for name in SITE} | {"site_name": "North wing"}
    saved = await api(ada, "PUT", f"/systems/{number}/data", part="data", values=values)
    assert json.loads(saved.text)["data"]["site_name"] == "North wing"
    unknown = await api(ada, "PUT", f"/systems/{number}/data", part="data", values={"zzz": "x"})
    assert (unknown.status, json.loads(unknown.text)["code"]) == (422, "field_invalid")
    foreign = await api(ada, "PUT", f"/systems/{number}/data", part="warranty", values={})
    assert (foreign.status, json.loads(foreign.text)["code"]) == (403, "other_slot")
    agreed = await api(ada, "PUT", f"/systems/{number}/consents", information=True, personal=True)
    assert json.loads(agreed.text)["confirmed"]
    history = json.loads((await api(ada, "GET", f"/systems/{number}/history")).text)["lines"]
    assert ("field", "city", "", "Exampleton") in [
        (one["kind"], one["field"], one["before"], one["after"]) for one in history
    ]
    second = TestServer(server.keys).request(Operation.REGISTER)
    other = json.loads((await api(ada, "POST", "/systems", proof=second, slot="end_user")).text)
    led = await api(ada, "PUT", f"/systems/{other['number']}/lead", lead=number)
    assert (json.loads(led.text)["source"], json.loads(led.text)["source_number"]) == ("lead", number)
    chain = await api(ada, "PUT", f"/systems/{number}/lead", lead=other["number"])
    assert (chain.status, json.loads(chain.text)["code"]) == (409, "lead_refused")
    alone = await api(ada, "PUT", f"/systems/{other['number']}/lead", lead=None)
    assert json.loads(alone.text)["source"] == "own"
    old = server.id
    server.delete_database()
    moved = await api(
        ada, "POST", f"/systems/{number}/system-id", proof=server.request(Operation.ASSOCIATE), replaces=old
    )
    assert json.loads(moved.text)["number"] == number
    late = await api(
        ada,
        "POST",
        f"/systems/{number}/system-id",
        proof=TestServer(server.keys).request(Operation.ASSOCIATE),
        replaces=old,
    )
    assert (late.status, json.loads(late.text)["code"]) == (409, "superseded")
    listed = json.loads((await api(ada, "GET", "/systems")).text)["systems"]
    assert {one["number"] for one in listed} == {number, other["number"]}
    assert (await api(eve, "GET", f"/systems/{number}")).status == 404
    offered = await api(
        ada, "POST", f"/systems/{number}/offers", slot="integrator", to_email="eve@example.org"
    )
    assert offered.status == 200, offered.text
    token = re.search(r"/systems/offer#(\S+)", (await newest_letter(portal.pool, "eve@example.org")).text)
    assert token is not None
    await forget_factors(portal)
    stale = await api(eve, "POST", "/systems/offers/accept", token=token[1])
    assert (stale.status, json.loads(stale.text)["code"]) == (403, "factor_needed")
    assert (await api(eve, "POST", "/session/proof", password=PASSWORD)).status < 300
    taken = await api(eve, "POST", "/systems/offers/accept", token=token[1])
    assert json.loads(taken.text)["slots"] == ["integrator"]
    assert (await api(eve, "DELETE", f"/systems/{number}/slots/integrator")).status == 204
    assert (await api(ada, "POST", "/session/proof", password=PASSWORD)).status < 300
    assert (await api(ada, "DELETE", f"/systems/{number}")).status == 204
    assert (await api(ada, "GET", f"/systems/{number}")).status == 404


async def test_reports_that_are_not_sealed_are_answered_with_a_code(
    portal: Portal, ada: Somebody, server: TestServer
) -> None:
    url = f"{portal.url}/api/v1/systems/exchange"
    good = server.report()
    for body, status, code in (
        (good, 200, ""),
        (good, 409, "system_report_old"),
        (TestServer(TestCloudKeys.make()).report(), 401, "system_proof_invalid"),
        (b"{}", 400, "bad_request"),
        (b'{"system_id":"x","key_number":1,"body":"","mac":""}', 400, "bad_request"),
    ):
        async with ada.browser.http.post(
            url, data=body, headers={"Content-Type": "application/json"}
        ) as answer:
            text = await answer.text()
            assert answer.status == status, text
            assert code == "" or json.loads(text)["code"] == code


async def test_a_ups_under_a_registered_server_shows_its_site_and_contact(
    portal: Portal, ada: Somebody, server: TestServer
) -> None:
    owned = await portal.own_device(ada.actor)
    path = await registered(portal, ada, server, "end_user")
    await ada.browser.post(path + "/data", {"step": "save", **DATA})
    assert "North wing" not in (await ada.browser.get(f"/devices/{owned.device_id}")).text
    word = UpsUnder(
        device_id=str(owned.device_id),
        kid=owned.device.kid,
        signature=sign_ups(owned.device.key, server.system_id),
    )
    await report(portal, server, ups=(word,))
    page = await ada.browser.get(f"/devices/{owned.device_id}")
    assert f'<a href="{path}">North wing</a>, Exampleton' in page.text
    assert "Ada North, ada@example.org" in page.text
    assert f'<a href="/devices/{owned.device_id}">' in (await ada.browser.get(path)).text


async def test_troubleshooting_names_the_one_address(portal: Portal, ada: Somebody) -> None:
    page = await ada.browser.get("/systems/help")
    assert portal.settings.portal_url in page.text
    assert "MQTT over TLS" in page.text
