"""Programs and registered systems: scopes of tokens, what waits, offers."""

import asyncio
import datetime as dt
import json
import re
from typing import Any

from cloud.core.api_token import Scope
from cloud.web.housekeeping import looking_after_warranties
from cloud.web.state import KIT, SYSTEM_KEYS
from protocol.system_code import Operation
from tests.cloud.web.conftest import Somebody
from tests.cloud.web.test_registered_systems import api
from tests.cloud.web.test_tokens import by_token, code, made
from tests.support.kit import newest_letter
from tests.support.portal import Portal, Visitor, now_ms
from tests.support.systems import TestCloudKeys, TestServer

SYSTEMS = "/api/v1/systems"


def new_server(portal: Portal) -> TestServer:
    """A server that knows the portal's keys."""
    return TestServer(TestCloudKeys(portal.app[SYSTEM_KEYS].private))


async def test_tokens_have_their_scopes_for_systems_and_stand_for_no_person(
    portal: Portal, ada: Somebody, stranger: Visitor
) -> None:
    reads = (await made(ada, ["systems:read"]))["token"]
    writes = (await made(ada, ["systems:write"]))["token"]
    others = [scope.value for scope in Scope if not scope.value.startswith("systems:")]
    neither = (await made(ada, others))["token"]
    new: dict[str, Any] = {
        "proof": new_server(portal).request(Operation.REGISTER),
        "slot": "integrator",
    }
    for token, method, body, scope in (
        (neither, "GET", None, "systems:read"),
        (neither, "POST", new, "systems:write"),
        (reads, "POST", new, "systems:write"),
        (writes, "GET", None, "systems:read"),
    ):
        answer = await by_token(stranger, token, method, SYSTEMS, body)
        assert (*code(answer), json.loads(answer.text)["scope"]) == (403, "scope_needed", scope)
    done = await by_token(stranger, writes, "POST", SYSTEMS, new)
    assert done.status == 201, done.text
    one = f"{SYSTEMS}/{json.loads(done.text)['number']}"
    found = json.loads((await by_token(stranger, reads, "GET", one)).text)
    assert (found["slots"], found["code"]) == (["integrator"], json.loads(done.text)["code"])
    invited = {"slot": "end_user", "to_email": "tenant@example.org"}
    assert (await by_token(stranger, writes, "POST", f"{one}/offers", invited)).status == 200
    both = (await made(ada, ["systems:read", "systems:write"]))["token"]
    personal: tuple[tuple[str, str, Any], ...] = (
        ("POST", f"{one}/offers", {"slot": "integrator", "to_email": "eve@example.org"}),
        ("PUT", f"{one}/consents", {"information": True, "personal": True}),
        ("POST", f"{SYSTEMS}/offers/accept", {"token": "x"}),
        ("DELETE", f"{one}/slots/integrator", None),
        ("DELETE", one, None),
    )
    for method, path, body in personal:
        assert code(await by_token(stranger, both, method, path, body)) == (403, "person_needed"), path
    assert (await by_token(stranger, reads, "GET", one)).status == 200


async def test_programs_see_what_waits_and_stop_it(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    server = new_server(portal)
    typed = json.loads((await api(ada, "POST", "/systems", proof=server.id, slot="end_user")).text)
    assert typed["number"] is None
    path = f"/systems/waiting/{server.id}/{typed['intent_id']}"
    (listed,) = json.loads((await api(ada, "GET", "/systems/waiting")).text)["waiting"]
    assert listed == json.loads((await api(ada, "GET", path)).text)
    assert (listed["state"], listed["operation"], listed["slot"]) == ("waiting", "register", "end_user")
    for method in ("GET", "DELETE"):
        assert (await api(eve, method, path)).status == 404
    assert json.loads((await api(eve, "GET", "/systems/waiting")).text) == {"waiting": []}
    await server.ask(portal.kit, now_ms(), decline=typed["intent_id"])
    assert json.loads((await api(ada, "GET", path)).text)["state"] == "declined"
    again = json.loads((await api(ada, "POST", "/systems", proof=server.id, slot="end_user")).text)
    assert (await api(ada, "DELETE", f"/systems/waiting/{server.id}/{again['intent_id']}")).status == 204
    state = await server.ask(portal.kit, now_ms(), accept=again["intent_id"])
    assert state.registration is None


async def test_programs_look_at_offers_decline_and_withdraw_them(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    request = new_server(portal).request(Operation.REGISTER)
    number = json.loads((await api(ada, "POST", "/systems", proof=request, slot="end_user")).text)["number"]
    for attempt in range(2):  # declined, it can be made again
        offer = {"slot": "integrator", "to_email": "eve@example.org"}
        shown = json.loads((await api(ada, "POST", f"/systems/{number}/offers", **offer)).text)
        (opened,) = shown["offers"]
        assert (opened["kind"], opened["to_email"]) == ("invite", "eve@example.org")
        letter = await newest_letter(portal.pool, "eve@example.org")
        found = re.search(r"/systems/offer#(\S+)", letter.text)
        assert found is not None
        seen = json.loads((await api(eve, "POST", "/systems/offers/look", token=found[1])).text)
        assert (seen["number"], seen["slot"], seen["kind"]) == (number, "integrator", "invite")
        other = await api(ada, "POST", "/systems/offers/look", token=found[1])
        assert json.loads(other.text)["code"] == "other_address"
        if attempt == 0:
            assert (await api(eve, "POST", "/systems/offers/decline", token=found[1])).status == 204
            gone = await api(eve, "POST", "/systems/offers/look", token=found[1])
            assert json.loads(gone.text)["code"] == "link_invalid"
    path = f"/systems/{number}/offers/{opened['offer_id']}"
    assert (await api(eve, "DELETE", path)).status == 404
    assert json.loads((await api(ada, "DELETE", path)).text)["offers"] == []
    assert (await api(ada, "DELETE", path)).status == 404


async def test_what_deleting_the_account_does_to_systems_is_said_before(
    portal: Portal, ada: Somebody
) -> None:
    for _ in range(2):
        request = new_server(portal).request(Operation.REGISTER)
        assert (await api(ada, "POST", "/systems", proof=request, slot="end_user")).status == 201
    outlook = json.loads((await api(ada, "GET", "/account/deletion")).text)
    assert [(one["devices"], one["systems"]) for one in outlook["closing"]] == [(0, 2)]
    page = await ada.browser.get("/account/delete")
    assert "It gives up its places at 2 registered systems" in page.text
    mine = json.loads((await ada.browser.get("/api/v1/account/data")).text)
    assert [one["slot"] for one in mine["systems"]] == ["end_user"] * 2


async def test_a_warranty_that_ends_is_told_by_the_portal_itself(portal: Portal, ada: Somebody) -> None:
    request = new_server(portal).request(Operation.REGISTER)
    made = await api(ada, "POST", "/systems", proof=request, slot="integrator")
    today = dt.datetime.now(dt.UTC).date()
    values = {"warranty_end": (today + dt.timedelta(days=7)).isoformat()}
    path = f"/systems/{json.loads(made.text)['number']}"
    assert (await api(ada, "PUT", f"{path}/data", part="warranty", values=values)).status == 200
    async with looking_after_warranties(portal.app[KIT]):
        deadline = asyncio.get_running_loop().time() + 20
        while "a warranty ends soon" not in (await newest_letter(portal.pool, ada.email)).subject:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)
    assert "Told that the warranty ends soon" in (await ada.browser.get(path)).text
