"""The company's page: members, roles, the six texts of an invitation, joining by its link."""

import json
import re

import pytest

from tests.cloud.web.conftest import Somebody
from tests.support.portal import PASSWORD, Portal, Visitor, visitor
from tests.support.rooms import PAGE_ONE, mailed_code, mailed_link, sign_up, solved


async def invite(who: Somebody, email: str, role: str = "operator") -> None:
    """By the form."""
    await who.browser.get("/company/invite")
    answer = await who.browser.post("/company/invite", {"email": email, "role": role})
    assert (answer.status, answer.headers["Location"]) == (303, "/company/invited"), answer.text


async def open_link(portal: Portal, browser: Visitor, email: str) -> str:
    """As the page does with the mailed link; what it shows then."""
    link = await mailed_link(portal, email, "invitation")
    await browser.get("/join")
    answer = await browser.post("/join", {"link": link})
    assert answer.headers["Location"] == "/join/accept"
    return (await browser.get("/join/accept")).text


async def test_the_six_texts_of_the_seed(ada: Somebody) -> None:
    page = (await ada.browser.get("/company/invite")).text
    assert (
        "Send a co-worker an invite to the portal.<br>Just enter their email address and we'll connect them"
        " to register. After joining, they will belong to the same company." in page
    )
    assert ">Send Invite</button>" in page
    assert ">Cancel</a>" in page
    for email, words in (
        ("nonsense", "You have entered an invalid email address. Please re-enter the email address."),
        ("", "Please enter email address"),
    ):
        answer = await ada.browser.post("/company/invite", {"email": email, "role": "viewer"})
        assert (answer.status, words in answer.text) == (422, True)
    await invite(ada, "grace@example.org")
    page = (await ada.browser.get("/company/invited")).text
    assert ">Invitation Sent</h1>" in page
    assert "Your invitation was sent.<br>Thanks for sharing Exchange with your co-worker." in page
    answer = await ada.browser.post("/company/invite", {"email": "Grace@example.org", "role": "viewer"})
    words = "This co-worker has already been invited to the Exchange portal. Please invite another co-worker."
    assert (answer.status, words in answer.text) == (422, True)


async def test_somebody_new_registers_and_belongs_to_the_company(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await invite(ada, "grace@example.org", "viewer")
    async with visitor() as http:
        grace = Visitor(http, portal.url)
        text = await open_link(portal, grace, "grace@example.org")
        assert "Join Example Clinic" in text
        assert "Ada North" in text
        await grace.get("/signup")
        other = await grace.post("/signup", {**PAGE_ONE, "email": "other@example.org"})
        assert (other.status, "another email address" in other.text) == (422, True)
        await grace.post("/signup", PAGE_ONE)
        page = (await grace.get("/signup/company")).text
        assert "Example Clinic" in page
        assert "company_name" not in page
        form = {"privacy": "yes", "promotions": "no", "robot": await solved(grace)}
        assert (await grace.post("/signup/company", form)).headers["Location"] == "/signup/verify"
        await grace.get("/signup/verify")
        code = await mailed_code(portal, "grace@example.org")
        assert (await grace.post("/signup/verify", {"code": code})).status == 303
        assert f"/devices/{owned.device_id}" in (await grace.get("/devices")).text
        page = (await grace.get("/company")).text
        assert "Grace South" in page
        assert "Invite a co-worker" not in page
        assert (await grace.get("/company/invite")).status == 403


async def test_somebody_with_an_account_logs_in_and_joins(
    portal: Portal, ada: Somebody, eve: Somebody, stranger: Visitor
) -> None:
    await invite(ada, "eve@example.org")
    text = await open_link(portal, stranger, "eve@example.org")
    assert 'href="/login?next=/join/accept"' in text
    await stranger.get("/login?next=/join/accept")
    form = {"email": "eve@example.org", "password": PASSWORD, "next": "/join/accept"}
    assert (await stranger.post("/login", form)).headers["Location"] == "/join/accept"
    await stranger.get("/join/accept")
    assert (await stranger.post("/join/accept", {})).headers["Location"] == "/company"
    page = (await stranger.get("/company")).text
    assert "<h1>Example Clinic</h1>" in page
    assert "Your companies" in page
    found = re.search(r'name="company" value="(\d+)"', page)
    assert found is not None
    assert (await stranger.post("/company/switch", {"company": found[1]})).status == 303
    assert "<h1>Example Clinic</h1>" not in (await stranger.get("/company")).text
    assert (await eve.browser.post("/company/switch", {"company": "999"})).status == 404


async def test_an_invitation_is_for_its_address_and_can_be_withdrawn(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    await invite(ada, "grace@example.org")
    await open_link(portal, eve.browser, "grace@example.org")
    answer = await eve.browser.post("/join/accept", {})
    assert (answer.status, "another email address" in answer.text) == (422, True)
    page = (await ada.browser.get("/company")).text
    found = re.search(r'name="invitation" value="(\d+)"', page)
    assert found is not None
    assert (await eve.browser.post("/company/withdraw", {"invitation": found[1]})).status == 404
    assert (await ada.browser.post("/company/withdraw", {"invitation": found[1]})).status == 303
    answer = await eve.browser.get("/join/accept")
    assert (answer.status, "This invitation was withdrawn." in answer.text) == (422, True)
    await eve.browser.get("/join")
    assert (await eve.browser.post("/join", {"link": "x"})).status == 422


async def test_roles_are_changed_and_members_removed(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await invite(ada, "grace@example.org", "admin")
    async with visitor() as http:
        grace = Visitor(http, portal.url)
        await open_link(portal, grace, "grace@example.org")
        await sign_up(portal, grace)
        page = (await grace.get("/company")).text
        assert "Invite a co-worker" in page
        member = str(ada.actor.account_id)
        for path in ("/company/role", "/company/remove"):  # an administrator touches no owner
            answer = await grace.post(path, {"member": member, "role": "viewer"})
            assert answer.status == 403
        page = (await ada.browser.get("/company")).text
        members = set(re.findall(r'name="member" value="(\d+)"', page)) - {member}
        other = members.pop()
        assert (await ada.browser.post("/company/role", {"member": other, "role": "viewer"})).status == 303
        assert "Invite a co-worker" not in (await grace.get("/company")).text
        answer = await ada.browser.post("/company/role", {"member": member, "role": "viewer"})
        assert (answer.status, "A company needs an owner." in answer.text) == (422, True)
        assert (await grace.get(f"/devices/{owned.device_id}")).status == 200
        assert (await ada.browser.post("/company/remove", {"member": other})).status == 303
        assert (await grace.get(f"/devices/{owned.device_id}")).status == 303  # logged out
        await grace.log_in("grace@example.org")
        assert (await grace.get(f"/devices/{owned.device_id}")).status == 404
    assert (await ada.browser.get(f"/devices/{owned.device_id}")).status == 200


async def test_an_invitation_is_sent_again(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    await invite(ada, "grace@example.org")
    first = await mailed_link(portal, "grace@example.org", "invitation")
    page = (await ada.browser.get("/company")).text
    assert 'class="badge">pending' in page
    found = re.search(r'name="invitation" value="(\d+)"', page)
    assert found is not None
    assert (await eve.browser.post("/company/resend", {"invitation": found[1]})).status == 404
    for _ in range(2):
        answer = await ada.browser.post("/company/resend", {"invitation": found[1]})
        assert answer.headers["Location"] == "/company/invited"
    assert await mailed_link(portal, "grace@example.org", "invitation") != first
    answer = await ada.browser.post("/company/resend", {"invitation": found[1]})
    assert (answer.status, "invited several times today" in answer.text) == (422, True)
    headers = {"Accept": "application/json", "X-Form-Token": ada.browser.form_token}
    path = f"/api/v1/company/invitations/{found[1]}/resend"
    refused = await ada.browser.ask("POST", path, headers=headers)
    assert (refused.status, json.loads(refused.text)["code"]) == (429, "too_many")
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE invitation_link SET sent_ms = 1")
    told = json.loads((await ada.browser.ask("POST", path, headers=headers)).text)
    assert (told["email"], told["sent_ms"] > told["created_ms"]) == ("grace@example.org", True)
    link = {"token": await mailed_link(portal, "grace@example.org", "invitation")}
    await ada.browser.post("/company/withdraw", {"invitation": found[1]})
    gone = await ada.browser.ask("POST", "/api/v1/invitations/look", headers=headers, json=link)
    assert (gone.status, json.loads(gone.text)["code"]) == (404, "link_withdrawn")
    await invite(ada, "mary@example.org")
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE invitation SET expires_ms = 1")
    assert 'class="badge warn">expired' in (await ada.browser.get("/company")).text


@pytest.mark.parametrize("form", [{"member": "x", "role": "viewer"}, {"member": "1", "role": "king"}])
async def test_nonsense_is_refused(ada: Somebody, form: dict[str, str]) -> None:
    await ada.browser.get("/company")
    assert (await ada.browser.post("/company/role", form)).status == 400


async def test_the_companys_details_and_contact(ada: Somebody, eve: Somebody) -> None:
    page = (await ada.browser.get("/company/details")).text
    assert "personalized service and faster technical support" in page
    form = {
        "company_name": "Example Clinic North",
        "business_type": "Business user",
        "address": "1 Example Street",
        "city": "Exampleville",
        "zip_code": "12345",
        "location": "FR",
        "state_province": "Example Province",
        "contact_name": "Grace South",
        "contact_email": "nonsense",
    }
    answer = await ada.browser.post("/company/details", form)
    assert (answer.status, "invalid email address" in answer.text) == (422, True)
    form["contact_email"] = "desk@example.org"
    answer = await ada.browser.post("/company/details", form)
    assert answer.headers["Location"] == "/company/details?saved=1"
    page = (await ada.browser.get("/company/details?saved=1")).text
    assert 'value="desk@example.org"' in page
    assert "details were saved" in page
    assert "<h1>Example Clinic North</h1>" in (await ada.browser.get("/company")).text
    assert "desk@example.org" not in (await eve.browser.get("/company/details")).text
