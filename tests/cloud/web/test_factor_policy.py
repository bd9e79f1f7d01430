"""A company that requires a second factor of all, on its pages and in the API."""

import json
import re

import pytest

from cloud.core.authz import Actor, Role
from cloud.web.api.document import problems_of
from cloud.web.api.operation import PREFIX, Section
from cloud.web.api.routes import SECTIONS
from cloud.web.middleware import sets_up_factor
from cloud.web.problems import ProblemCode
from tests.cloud.web.conftest import Somebody
from tests.cloud.web.test_tokens import by_token, made
from tests.support.commanding import turn_on_two_factor
from tests.support.portal import Portal, Visitor, now_ms
from tests.support.streams import open_stream

RULE = "/company/second-factor"


async def join(portal: Portal, who: Somebody, company: Actor, role: Role = Role.OPERATOR) -> None:
    """Let somebody's log-in act for a company as its member."""
    values = {"account": who.actor.account_id, "company": company.company_id, "role": role}
    async with portal.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO membership (company_id, account_id, role, created_ms)"
            " VALUES (%(company)s, %(account)s, %(role)s, 0)",
            values,
        )
        await connection.execute(
            "UPDATE web_session SET company_id = %(company)s WHERE account_id = %(account)s", values
        )


async def require(portal: Portal, ada: Somebody, grace_days: int = 0) -> None:
    """By the page, as its owner."""
    await turn_on_two_factor(portal.pool, ada.actor.account_id, now_ms())
    await ada.browser.get("/company")
    answer = await ada.browser.post(RULE, {"required": "yes", "grace_days": str(grace_days)})
    assert (answer.status, answer.headers["Location"]) == (303, "/company#second-factor"), answer.text


async def test_whoever_requires_it_has_it(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    page = (await ada.browser.get("/company")).text
    assert 'once <a href="/account/two-factor">your own account has it' in page
    answer = await ada.browser.post(RULE, {"required": "yes", "grace_days": "7"})
    assert (answer.status, "for your own account first" in answer.text) == (422, True)
    await join(portal, eve, ada.actor)
    assert (await eve.browser.post(RULE, {"required": "yes", "grace_days": "7"})).status == 403
    await require(portal, ada, 7)
    page = (await ada.browser.get("/company")).text
    assert "1 of 2 members has none yet." in page
    assert "no two-factor yet" in page
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE web_session SET factor_ms = factor_ms - 400000")
    answer = await ada.browser.post(RULE, {"required": "no"})
    assert answer.headers["Location"] == "/account/confirm?next=/company"


async def test_a_time_of_grace_is_announced_on_every_page(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    await join(portal, eve, ada.actor)
    await require(portal, ada, 7)
    async with portal.pool.connection() as connection:  # she has just joined
        await connection.execute("UPDATE membership SET created_ms = %s", [now_ms()])
    for path in ("/devices", "/account", "/company"):
        page = await eve.browser.get(path)
        assert page.status == 200
        assert "Example Clinic requires Two-Factor Authentication. Please" in page.text
    assert "requires Two-Factor" not in (await ada.browser.get("/devices")).text
    me = json.loads((await eve.browser.get(f"{PREFIX}/session")).text)
    assert me["factor_due_ms"] > now_ms() + 6 * 86_400_000


async def test_after_it_there_is_only_the_way_to_set_one_up(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    await join(portal, eve, ada.actor)
    async with open_stream(eve.browser, f"/devices/{owned.device_id}/live") as stream:
        await stream.until_event("sample")
        await require(portal, ada)
        await stream.until_event("gone", timeout_s=3.0)
    for path in ("/devices", f"/devices/{owned.device_id}", "/account", "/company", "/add/codes"):
        answer = await eve.browser.get(path)
        assert (answer.status, answer.headers["Location"]) == (303, "/account/two-factor"), path
    page = (await eve.browser.get("/account/two-factor")).text
    assert "The time for it is over" in page
    found = re.search(r'name="company" value="(\d+)"', page)
    assert found is not None  # another company of hers does not ask for it
    posted = await eve.browser.post("/company/invite", {"email": "x@example.org", "role": "viewer"})
    assert (posted.status, "requires Two-Factor Authentication" in posted.text) == (403, True)
    headers = {"Accept": "application/json", "X-Form-Token": eve.browser.form_token}
    refused = await eve.browser.ask("GET", f"{PREFIX}/devices", headers=headers)
    told = json.loads(refused.text)
    assert (refused.status, told["code"], told["missing"]) == (403, "factor_required", ["second_factor"])
    for path in ("/session", "/account/passkeys", "/account/second-factor", "/companies"):
        assert (await eve.browser.ask("GET", PREFIX + path, headers=headers)).status == 200
    for path in ("/account/two-factor/method", "/account/two-factor/passkeys/new", "/account/confirm"):
        assert (await eve.browser.get(path)).status == 200
    assert (await eve.browser.get("/nowhere")).status == 404
    started = await eve.browser.post("/account/two-factor/start", {"method": "app"})
    assert "<svg" in started.text
    await turn_on_two_factor(portal.pool, eve.actor.account_id, now_ms())
    assert (await eve.browser.get("/devices")).status == 200


async def test_a_token_does_not_lead_around_it(
    portal: Portal, ada: Somebody, eve: Somebody, stranger: Visitor
) -> None:
    await join(portal, eve, ada.actor)
    token = (await made(eve, ["devices:read"]))["token"]
    assert (await by_token(stranger, token, "GET", f"{PREFIX}/devices")).status == 200
    await require(portal, ada)
    refused = await by_token(stranger, token, "GET", f"{PREFIX}/devices")
    assert (refused.status, json.loads(refused.text)["code"]) == (403, "factor_required")
    await turn_on_two_factor(portal.pool, eve.actor.account_id, now_ms())
    assert (await by_token(stranger, token, "GET", f"{PREFIX}/devices")).status == 200


async def test_who_waits_can_go_to_another_company(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    await join(portal, eve, ada.actor)
    await require(portal, ada)
    await eve.browser.get("/account/two-factor")
    answer = await eve.browser.post("/company/switch", {"company": str(eve.actor.company_id)})
    assert answer.status == 303
    assert (await eve.browser.get("/devices")).status == 200


async def test_the_api_sets_and_lifts_it(portal: Portal, ada: Somebody) -> None:
    headers = {"Accept": "application/json", "X-Form-Token": ada.browser.form_token}

    async def put(body: object) -> tuple[int, dict[str, object]]:
        answer = await ada.browser.ask("PUT", PREFIX + RULE, headers=headers, json=body)
        return answer.status, json.loads(answer.text)

    status, told = await put({"required": True})
    assert (status, told["code"]) == (409, "factor_off")
    await turn_on_two_factor(portal.pool, ada.actor.account_id, now_ms())
    status, told = await put({"required": True, "grace_days": 3})
    assert (status, told["faults"]) == (
        422,
        {"grace_days": "Please choose how long members have for it."},
    )
    status, told = await put({"required": True, "grace_days": 14})
    assert (status, told["required"], told["grace_days"], told["without"]) == (200, True, 14, 0)
    status, told = await put({"required": False})
    assert (status, told["required"], told["since_ms"]) == (200, False, None)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.tag)
def test_every_operation_says_that_it_may_be_refused(section: Section) -> None:
    for one in section.operations:
        is_open = one.public or sets_up_factor in one.marks
        assert (ProblemCode.FACTOR_REQUIRED in problems_of(one)) is not is_open
