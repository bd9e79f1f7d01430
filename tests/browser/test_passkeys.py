"""Passkeys in Chromium with its virtual authenticator, and a company that requires a second factor of all.

Browsers make no passkeys for IP addresses, so these pages are opened at ``localhost``, as the portal says.
"""

from typing import Any

import pytest
from playwright.async_api import CDPSession, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_rooms import SIZES, fine
from tests.support.commanding import turn_on_two_factor
from tests.support.portal import PASSWORD, Portal, now_ms

pytestmark = pytest.mark.browser

TWO_FACTOR = "/account/two-factor"


def named(portal: Portal) -> str:
    """The portal's address with a name."""
    return portal.url.replace("127.0.0.1", "localhost")


class Authenticator:
    """The authenticator of a page, in Chromium itself."""

    def __init__(self, session: CDPSession, name: str) -> None:
        self._session = session
        self._name = name

    async def send(self, what: str, **values: Any) -> dict[str, Any]:
        """One command of the domain WebAuthn."""
        answer: dict[str, Any] = await self._session.send(
            f"WebAuthn.{what}", {"authenticatorId": self._name, **values}
        )
        return answer

    async def count(self) -> int:
        """The counter of its only passkey."""
        (one,) = (await self.send("getCredentials"))["credentials"]
        return int(one["signCount"])


async def with_authenticator(page: Page, **options: Any) -> Authenticator:
    """Give a page an authenticator that its person holds and unlocks."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    chosen = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
        **options,
    }
    made = await session.send("WebAuthn.addVirtualAuthenticator", {"options": chosen})
    return Authenticator(session, made["authenticatorId"])


async def password(page: Page, portal: Portal, email: str = "ada@example.org") -> None:
    """The first step of a log-in."""
    await page.goto(f"{named(portal)}/login")
    await page.fill("#email", email)
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")


async def log_out(page: Page) -> None:
    """By the menu."""
    await page.get_by_text("My Account").click()
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/login")


async def stale(portal: Portal) -> None:
    """Every proof of who is here is older than 5 minutes."""
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE web_session SET factor_ms = factor_ms - 400000")


async def test_a_passkey_from_turn_on_to_step_up(
    portal: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    await portal.add_person("ada@example.org", company="Example Clinic")
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    key = await with_authenticator(page)
    await password(page, portal)
    await page.wait_for_url("**/devices")
    # The seed's way, click by click.
    await page.get_by_text("My Account").click()
    await page.get_by_role("link", name="View Profile").click()
    await expect(page.get_by_role("heading", name="My Profile")).to_be_visible()
    await page.get_by_role("link", name="Two-Factor Authentication").click()
    await page.get_by_role("button", name="Turn On").click()
    group = page.get_by_role(
        "group", name="Choose your preferred verification method for two-factor authentication"
    )
    await expect(group.get_by_role("radio")).to_have_count(2)
    await group.get_by_label("Passkey").check()
    await page.get_by_role("button", name="Confirm").click()
    await page.wait_for_url("**/passkeys/new")
    await page.get_by_label("Name").fill("My phone")
    await page.get_by_role("button", name="Create passkey").click()
    await expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    await page.get_by_role("link", name="I have kept them").click()
    await expect(page.locator("strong", has_text="My phone")).to_be_visible()
    await fine(page, "passkey-list")

    # This device has one already.
    await page.get_by_role("link", name="Add a passkey").click()
    await page.get_by_role("button", name="Create passkey").click()
    await expect(page.get_by_role("alert")).to_contain_text("has a passkey of yours already")

    await log_out(page)
    await password(page, portal)
    await page.wait_for_url("**/login/verify")
    await fine(page, "passkey-second-step")
    before = await key.count()
    await page.get_by_role("button", name="Use a passkey").click()
    await page.wait_for_url("**/devices")
    assert await key.count() > before

    await stale(portal)
    await page.goto(named(portal) + TWO_FACTOR)
    await page.get_by_role("button", name="New recovery codes").click()
    await page.wait_for_url("**/account/confirm**")
    await page.get_by_role("button", name="Use a passkey").click()
    await page.wait_for_url(f"**{TWO_FACTOR}")

    # Whoever holds the phone and cannot unlock it proves nothing.
    await stale(portal)
    await key.send("setUserVerified", isUserVerified=False)
    await page.goto(f"{named(portal)}/account/confirm?next={TWO_FACTOR}")
    await page.get_by_role("button", name="Use a passkey").click()
    await expect(page.get_by_role("alert")).to_contain_text("It was cancelled, or took too long.")
    await key.send("setUserVerified", isUserVerified=True)
    await page.get_by_role("button", name="Use a passkey").click()  # the page itself goes on
    await page.wait_for_url(f"**{TWO_FACTOR}")

    # A copy, which has been used less often.
    await page.get_by_role("button", name="Remove the passkey My phone").wait_for()
    (one,) = (await key.send("getCredentials"))["credentials"]
    await key.send("removeCredential", credentialId=one["credentialId"])
    await key.send("addCredential", credential={**one, "signCount": 0})
    await page.goto(f"{named(portal)}/account/confirm")
    await page.get_by_role("button", name="Use a passkey").click()
    await expect(page.get_by_role("alert")).to_contain_text("there may be a copy of it")
    assert [line for line in complaints if "422" not in line] == []
    complaints.clear()  # Chromium's own line about the status

    await page.goto(named(portal) + TWO_FACTOR)
    await page.get_by_role("button", name="Remove the passkey My phone").click()
    await expect(page.get_by_text("Turned off")).to_be_visible()


async def test_where_there_can_be_none_it_says_why(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page(**SIZES["phone"])
    await password(page, portal)
    await page.wait_for_url("**/devices")
    new = f"{TWO_FACTOR}/passkeys/new"
    await page.goto(portal.url + "/login")
    await page.fill("#email", "ada@example.org")
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/devices")
    await page.goto(portal.url + new)  # by its IP address
    await expect(page.get_by_role("alert")).to_contain_text("work at one address only")
    await expect(page.get_by_role("link", name=named(portal))).to_have_attribute("href", named(portal) + new)
    await expect(page.get_by_role("button", name="Create passkey")).to_be_disabled()
    await page.add_init_script("delete window.PublicKeyCredential")
    await page.goto(named(portal) + new)
    await expect(page.get_by_role("alert")).to_contain_text("This browser has no passkeys.")
    await page.add_init_script("Object.defineProperty(window, 'isSecureContext', {value: false})")
    await page.goto(named(portal) + new)
    await expect(page.get_by_role("alert")).to_contain_text("over a secure connection only")
    plain = await open_page(java_script_enabled=False)
    await password(plain, portal)
    await plain.wait_for_url("**/devices")
    await plain.goto(named(portal) + new)
    await expect(plain.get_by_text("Passkeys need JavaScript.")).to_be_visible()


async def test_a_company_requires_it(portal: Portal, open_page: OpenPage) -> None:
    ada = await portal.add_person("ada@example.org", company="Example Clinic")
    eve = await portal.add_person("eve@example.org", first_name="Eve")
    async with portal.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO membership (company_id, account_id, role, created_ms) VALUES (%s, %s, 'viewer', %s)",
            [ada.company_id, eve.account_id, now_ms()],
        )
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await password(page, portal)
    await page.wait_for_url("**/devices")
    await turn_on_two_factor(portal.pool, ada.account_id, now_ms())
    await page.goto(f"{named(portal)}/company")
    await page.get_by_label("Members without it have").select_option("7 days")
    await page.get_by_role("button", name="Require it of all members").click()
    await expect(page.get_by_text("1 of 2 members has none yet.")).to_be_visible()
    await fine(page, "company-factor-required")

    other = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await with_authenticator(other)
    await password(other, portal, "eve@example.org")
    await other.wait_for_url("**/devices")
    await other.goto(f"{named(portal)}/company")
    await other.get_by_role("button", name="Go to Example Clinic").click()
    await expect(other.get_by_text("Example Clinic requires Two-Factor Authentication.")).to_be_visible()
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE company SET factor_grace_ms = 0")
    await other.goto(f"{named(portal)}/devices")
    await other.wait_for_url(f"**{TWO_FACTOR}")
    await expect(other.get_by_text("The time for it is over")).to_be_visible()
    await fine(other, "factor-over")
    await other.get_by_role("button", name="Turn On").click()
    await other.get_by_label("Passkey").check()
    await other.get_by_role("button", name="Confirm").click()
    await other.get_by_role("button", name="Create passkey").click()
    await expect(other.get_by_role("heading", name="Recovery codes")).to_be_visible()
    await other.goto(f"{named(portal)}/devices")
    await expect(other.get_by_text("requires Two-Factor Authentication")).to_have_count(0)
    assert other.url.endswith("/devices")
