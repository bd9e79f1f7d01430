"""Programs do what the pages do; every answer fits the document."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp
import pytest
from openapi_schema_validator import OAS31Validator

from cloud.core.authz import Actor
from cloud.core.second_factor import FRESH_MS
from cloud.services import second_factor
from tests.support.portal import (
    PASSWORD,
    Portal,
    Visitor,
    claim,
    labelled_device,
    now_ms,
    running_portal,
    visitor,
)
from tests.support.rooms import PAGE_TWO, mailed_code, mailed_link

PLACE = re.compile(r"{\w+}")
WAIT_S = 20.0


@dataclass
class Program:
    """A client that holds every answer against the document."""

    portal: Portal
    http: Any
    actor: Actor
    email: str
    document: dict[str, Any] = field(default_factory=dict)
    token: str = ""

    async def ask(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """One request; its JSON. AssertionError where the answer is another, or not as described."""
        headers = {"X-Form-Token": self.token}
        url = f"{self.portal.url}/api/v1{path}"
        async with self.http.request(method, url, json=body, headers=headers) as response:
            text = await response.text()
            assert response.status == status, (method, path, text)
            content = json.loads(text) if text else None
            self._check(method, f"/api/v1{path}", response.status, response.content_type, content)
            return content

    async def page(self, path: str, status: int = 200) -> str:
        """A page for people, with the same log-in."""
        async with self.http.get(f"{self.portal.url}{path}") as response:
            assert response.status == status
            return str(await response.text())

    def _check(self, method: str, path: str, status: int, media: str, content: object) -> None:
        (described,) = (
            methods[method.lower()]
            for template, methods in self.document["paths"].items()
            if re.fullmatch(PLACE.sub("[^/]+", template), path.partition("?")[0])
            and method.lower() in methods
            and ("{" not in template or path.partition("?")[0] not in self.document["paths"])
        )
        answer = described["responses"][str(status)]
        if content is None:
            assert "content" not in answer or media not in answer["content"]
            return
        schema = {**answer["content"][media]["schema"], "components": self.document["components"]}
        OAS31Validator(schema).validate(content)
        if media == "application/problem+json":
            assert isinstance(content, dict)
            assert f"`{content['code']}`" in answer["description"], (path, content)

    async def log_in(self, **more: str) -> None:
        """As docs/api.md says."""
        self.document = await (await self.http.get(f"{self.portal.url}/api/v1/openapi.json")).json()
        self.token = (await self.ask("GET", "/form-token"))["form_token"]
        body = {"email": self.email, "password": PASSWORD, **more}
        self.token = (await self.ask("POST", "/session", body))["form_token"]


@pytest.fixture
async def ada(portal: Portal) -> AsyncIterator[Program]:
    """Somebody's program, logged in."""
    actor = await portal.add_person("ada@example.org", company="Example Clinic")
    async with visitor() as http:
        program = Program(portal, http, actor, "ada@example.org")
        await program.log_in()
        yield program


@pytest.fixture
async def eve(portal: Portal) -> AsyncIterator[Program]:
    """Somebody else's."""
    actor = await portal.add_person("eve@example.org", first_name="Eve")
    async with visitor() as http:
        program = Program(portal, http, actor, "eve@example.org")
        await program.log_in()
        yield program


async def stale(portal: Portal) -> None:
    """Everybody's last factor was long ago."""
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE web_session SET factor_ms = factor_ms - %s", [2 * FRESH_MS])


async def until_mailed(portal: Portal, to: str, kind: str) -> str:
    """The secret of the link in a mail that the portal is about to write. TimeoutError."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                return await mailed_link(portal, to, kind)
            except AssertionError:
                await asyncio.sleep(0.05)


async def test_logging_in_with_a_second_factor_and_out(portal: Portal, ada: Program) -> None:
    kit = portal.kit
    enrolment = await second_factor.start(kit, ada.actor.account_id, fresh=True, now_ms=now_ms())
    code = pyotp.TOTP(enrolment.secret).now()
    codes = await second_factor.confirm(kit, ada.actor.account_id, b"", code, now_ms())
    assert (await ada.ask("GET", "/account/second-factor"))["on"]
    await ada.ask("DELETE", "/session", status=204)
    assert (await ada.ask("GET", "/session", status=401))["code"] == "login_needed"
    ada.token = (await ada.ask("GET", "/form-token"))["form_token"]
    body = {"email": ada.email, "password": "wrong"}
    assert (await ada.ask("POST", "/session", body, 401))["code"] == "login_failed"
    body["password"] = PASSWORD
    assert (await ada.ask("POST", "/session", body, 403))["code"] == "factor_needed"
    assert (await ada.ask("POST", "/session", {**body, "code": "ABCDE-FGHJK"}, 403))["code"] == "factor_wrong"
    me = await ada.ask("POST", "/session", {**body, "code": codes[0]})
    assert (me["email"], me["role"], me["two_factor"]) == (ada.email, "owner", True)
    ada.token = me["form_token"]
    await stale(portal)
    assert (await ada.ask("GET", "/session"))["fresh_until_ms"] is None
    proved = await ada.ask("POST", "/session/proof", {"code": codes[1]})
    assert proved["fresh_until_ms"] > now_ms()


async def test_the_account(portal: Portal, ada: Program) -> None:
    changed = await ada.ask("PATCH", "/account", {"first_name": "Augusta", "promotions": True})
    assert (changed["first_name"], changed["last_name"], changed["promotions"]) == ("Augusta", "North", True)
    wrong = await ada.ask("PATCH", "/account", {"time_zone": "Nowhere"}, 422)
    assert (wrong["code"], list(wrong["faults"])) == ("field_invalid", ["time_zone"])
    await portal.log_in(ada.email)
    log_ins = (await ada.ask("GET", "/account/log-ins"))["log_ins"]
    assert [one["here"] for one in log_ins].count(True) == 1
    other = next(one["name"] for one in log_ins if not one["here"])
    await ada.ask("DELETE", f"/account/log-ins/{other}", status=204)
    await ada.ask("DELETE", f"/account/log-ins/{other}", status=404)
    await portal.log_in(ada.email)
    assert await ada.ask("POST", "/account/log-ins/end-others") == {"ended": 1}
    passwords = {"current": "wrong", "password": "Another horse 8 battery"}
    assert (await ada.ask("PUT", "/account/password", passwords, 403))["code"] == "password_wrong"
    await ada.ask("PUT", "/account/password", {**passwords, "current": PASSWORD}, 204)
    await ada.ask("POST", "/account/email", {"email": "countess@example.org"}, 202)
    code = await mailed_code(portal, "countess@example.org", "email_change_code")
    assert (await ada.ask("PUT", "/account/email", {"code": "x"}, 422))["code"] == "code_wrong"
    assert (await ada.ask("PUT", "/account/email", {"code": code}))["email"] == "countess@example.org"
    kinds = {line["kind"] for line in (await ada.ask("GET", "/account/audit"))["lines"]}
    assert {"profile_changed", "password_changed", "email_changed"} <= kinds
    assert (await ada.ask("GET", "/account/deletion"))["closing"][0]["name"] == "Example Clinic"
    assert (await ada.ask("POST", "/account/deletion", {"sure": False}, 422))["code"] == "field_invalid"
    await ada.ask("POST", "/account/deletion", {"sure": True}, 204)
    await ada.ask("GET", "/account", status=401)


@pytest.mark.parametrize(
    ("brand", "exchange"), [("SmartConnect", "Exchange"), ("Example Power", "Example Power")]
)
async def test_a_refusal_speaks_of_the_brand(
    database: str, tmp_path: Path, brand: str, exchange: str
) -> None:
    """The API says what the page says."""
    words = (
        f"This co-worker has already been invited to the {exchange} portal. Please invite another co-worker."
    )
    guest = {"email": "grace@example.org", "role": "viewer"}
    async with running_portal(database, tmp_path / "state", brand=brand) as portal, visitor() as http:
        actor = await portal.add_person("ada@example.org", company="Example Clinic")
        program = Program(portal, http, actor, "ada@example.org")
        await program.log_in()
        await program.ask("POST", "/company/invitations", guest, 201)
        again = await program.ask("POST", "/company/invitations", guest, 409)
        assert (again["detail"], again["faults"]) == (words, {"email": words})
        browser = Visitor(http, portal.url)
        await browser.get("/company/invite")
        answer = await browser.post("/company/invite", guest)
        assert (answer.status, words in answer.text) == (422, True)


async def test_the_company(portal: Portal, ada: Program, eve: Program) -> None:
    details = {key: value for key, value in PAGE_TWO.items() if key not in {"privacy", "promotions"}}
    assert (await ada.ask("PUT", "/company", {**details, "city": ""}, 422))["faults"].keys() == {"city"}
    assert (await ada.ask("PUT", "/company", details))["city"] == details["city"]
    made = await ada.ask("POST", "/company/invitations", {"email": eve.email, "role": "viewer"}, 201)
    again = await ada.ask("POST", "/company/invitations", {"email": eve.email}, 409)
    assert again["code"] == "already_invited"
    token = {"token": await mailed_link(portal, eve.email, "invitation")}
    assert (await ada.ask("POST", "/invitations/accept", token, 403))["code"] == "other_address"
    assert (await eve.ask("POST", "/invitations/look", token))["company"] == details["company_name"]
    joined = await eve.ask("POST", "/invitations/accept", token)
    assert joined["company_id"] == ada.actor.company_id
    assert (await eve.ask("GET", "/session"))["role"] == "viewer"
    assert await ada.ask("GET", "/company/invitations") == {"invitations": []}
    gone = await ada.ask("DELETE", f"/company/invitations/{made['invitation_id']}", status=404)
    assert gone["code"] == "not_found"
    assert (await eve.ask("GET", "/company/invitations", status=403))["code"] == "forbidden"
    path = f"/company/members/{eve.actor.account_id}"
    members = (await ada.ask("PATCH", path, {"role": "operator"}))["members"]
    assert {one["email"]: one["role"] for one in members}[eve.email] == "operator"
    mine = (await eve.ask("GET", "/companies"))["companies"]
    assert [one["company_id"] for one in mine] == [eve.actor.company_id, ada.actor.company_id]
    own = f"/company/members/{ada.actor.account_id}"
    assert (await ada.ask("PATCH", own, {"role": "viewer"}, 409))["code"] == "last_owner"
    await eve.ask("POST", "/session/company", {"company_id": eve.actor.company_id})
    await ada.ask("DELETE", path, status=204)
    assert (await eve.ask("POST", "/session/company", {"company_id": ada.actor.company_id}, 404)) is not None


async def test_the_life_of_a_device(portal: Portal, ada: Program, eve: Program) -> None:
    device, product_key = labelled_device()
    codes = {"product_id": device.product_id.value, "product_key": product_key}
    waiting = await ada.ask("POST", "/claims", codes, 202)
    await device.announce(portal.pool, now_ms())
    won = await ada.ask("GET", f"/claims/{waiting['claim_id']}")
    assert (won["state"], won["epoch"] is not None) == ("won", True)
    path = f"/devices/{device.device_id}"
    named = await ada.ask("PUT", f"{path}/profile", {"name": "Cellar", "description": "By the boiler"})
    assert (named["title"], named["description"]) == ("Cellar", "By the boiler")
    assert len((await ada.ask("GET", f"{path}/history?range_s=600"))["points"]) == 4
    assert (await ada.ask("GET", f"{path}/history?range_s=5", status=400))["code"] == "bad_request"
    refused = await eve.ask("POST", "/claims", codes, 409)
    assert (refused["state"], refused["reason"]) == ("refused", "owned_elsewhere")
    board = device.twin()
    await board.announce(portal.pool, now_ms())
    seen = await ada.ask("GET", f"{path}/ownership")
    assert (seen["state"], seen["claimants"][0]["company_id"]) == ("disputed", eve.actor.company_id)
    dispute = await eve.ask("GET", f"/claims/{refused['claim_id']}/dispute")
    assert dispute["candidates"][0]["kid"] == board.kid
    await eve.ask("DELETE", f"/claims/{refused['claim_id']}/dispute", status=204)
    assert (await ada.ask("POST", f"{path}/claimants/{eve.actor.company_id}/dismiss", status=409)) is not None
    assert (await ada.ask("POST", f"{path}/key-requests/{board.kid}/approve"))["key_requests"] == []
    assert (await ada.ask("POST", f"{path}/stolen"))["state"] == "stolen"
    assert (await ada.ask("POST", f"{path}/offer", {"to_email": eve.email}, 409))["code"] == "stolen"
    await stale(portal)
    assert (await ada.ask("DELETE", f"{path}/stolen", status=403))["code"] == "factor_needed"
    await ada.ask("POST", "/session/proof", {"password": PASSWORD})
    assert (await ada.ask("DELETE", f"{path}/stolen"))["state"] == "owned"
    made = await ada.ask("POST", f"{path}/offer", {"to_email": eve.email}, 201)
    assert (await ada.ask("GET", f"{path}/ownership"))["offer"]["offer_id"] == made["offer_id"]
    token = {"token": await until_mailed(portal, eve.email, "ownership_offered")}
    assert (await ada.ask("POST", "/offers/look", token, 403))["code"] == "offer_for_another"
    assert (await eve.ask("POST", "/offers/look", token))["product_id"] == device.product_id.value
    await eve.ask("POST", "/session/proof", {"password": PASSWORD})
    assert (await eve.ask("POST", "/offers/accept", token))["yours"] is True
    assert (await ada.ask("GET", f"{path}/ownership", status=404))["code"] == "not_found"
    released = await eve.ask("POST", f"{path}/release")
    assert released == {**released, "yours": False, "state": None}
    assert len((await ada.ask("GET", f"{path}/tenures"))["tenures"]) == 1


async def test_a_list_of_codes(portal: Portal, ada: Program) -> None:
    device, product_key = labelled_device()
    await device.announce(portal.pool, now_ms())
    lines = f"Product ID,Product Key\n{device.product_id.value},{product_key}\nnonsense\n"
    assert (await ada.ask("POST", "/bulk-claims", {"list": ""}, 422))["code"] == "field_invalid"
    job = (await ada.ask("POST", "/bulk-claims", {"list": lines}, 202))["job_id"]
    async with asyncio.timeout(WAIT_S):
        while (seen := await ada.ask("GET", f"/bulk-claims/{job}"))["state"] == "running":
            await asyncio.sleep(0.05)
    assert (seen["rows"], seen["checked"], seen["results"]) == (2, 2, {"won": 1, "no_codes": 1})
    found = (await ada.ask("GET", f"/bulk-claims/{job}/lines?result=won"))["lines"]
    assert [(one["line"], one["product_id"]) for one in found] == [(2, device.product_id.value)]
    assert (await ada.ask("GET", f"/bulk-claims/{job}/lines?after=2"))["lines"][0]["result"] == "no_codes"
    assert (await ada.ask("GET", "/bulk-claims/x", status=404))["code"] == "not_found"
    listed = (await ada.ask("GET", "/bulk-claims"))["jobs"]
    assert [(one["job_id"], one["state"], one["rows"]) for one in listed] == [(job, "done", 2)]
    assert f'href="/add/bulk/{job}"' in await ada.page("/add/bulk")


async def test_claims_that_wait_are_listed(
    ada: Program, eve: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.web.api.claims.PAGE", 2)
    entered: list[str] = []
    for _ in range(5):
        device, product_key = labelled_device()
        codes = {"product_id": device.product_id.value, "product_key": product_key}
        entered.insert(0, (await ada.ask("POST", "/claims", codes, 202))["claim_id"])
    await ada.ask("DELETE", f"/claims/{entered.pop(1)}")
    found, after = [], ""
    while after is not None:
        part = await ada.ask("GET", f"/claims?after={after}")
        found += [one["claim_id"] for one in part["claims"]]
        after = part["next_after"]
    assert sorted(found) == sorted(entered)
    assert (await ada.ask("GET", "/claims?after=1.x", status=422))["code"] == "field_invalid"
    assert (await eve.ask("GET", "/claims"))["claims"] == []
    await ada.page("/claims?after=x", 404)
    for path in ("/devices", "/claims"):
        page = await ada.page(path)
        assert all(f'href="/claims/{claim_id}"' in page for claim_id in entered)
        assert entered[0] not in await eve.page(path)


async def test_an_offer_is_declined(portal: Portal, ada: Program, eve: Program) -> None:
    owned = await portal.own_device(ada.actor)
    await claim(portal.pool, eve.actor, owned.device)
    path = f"/devices/{owned.device_id}"
    await ada.ask("POST", f"{path}/claimants/{eve.actor.company_id}/dismiss")
    await ada.ask("POST", f"{path}/offer", {"to_email": eve.email}, 201)
    token = {"token": await until_mailed(portal, eve.email, "ownership_offered")}
    assert (await eve.ask("POST", "/offers/decline", token))["device_id"] == str(owned.device_id)
    assert (await eve.ask("POST", "/offers/accept", token, 404))["code"] == "unknown_offer"
    assert await eve.ask("GET", "/offers") == {"offers": []}
    await ada.ask("POST", f"{path}/offer", {"to_email": eve.email}, 201)
    assert (await ada.ask("DELETE", f"{path}/offer"))["offer"] is None
