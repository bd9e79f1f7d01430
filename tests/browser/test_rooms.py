"""Sign-up with the code from the mailbox, Two-Factor Authentication, a new password, an invitation."""

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyotp
import pytest
from playwright.async_api import Page, expect

from cloud.core.slow_lane import MIN_AGE_MS
from cloud.services import slow_lane
from tests.browser.conftest import OpenPage, log_in
from tests.browser.test_access import WIDER, faults
from tests.support import pictures
from tests.support.portal import PASSWORD, Portal, now_ms

pytestmark = pytest.mark.browser

SIZES = pictures.SIZES
NEW_PASSWORD = "Brand new horse 9"


async def fine(page: Page, name: str = "") -> None:
    """On a page of a phone, and as wide as a desktop: nothing is wider than the screen, axe finds nothing.

    PICTURES names a folder for screenshots.
    """
    folder, before = os.environ.get("PICTURES"), page.viewport_size or SIZES["phone"]["viewport"]
    if folder and name:
        await pictures.take(page, name, Path(folder))
    for size in SIZES:
        await page.set_viewport_size(SIZES[size]["viewport"])
        assert not await page.evaluate(WIDER), (page.url, size)
        assert await faults(page) == [], (page.url, size)
    await page.set_viewport_size(before)


async def tick_robot(page: Page) -> None:
    """Tick the box and wait for the work."""
    await page.get_by_label("I am not a robot").check()
    await expect(page.locator("#robot-status")).to_have_text("Checked")


async def follow_mail(page: Page, portal: Portal, subject: str) -> None:
    """Follow the link of the newest mail with this subject."""
    await page.goto(f"{portal.url}/mailbox")
    await page.get_by_role("link", name=subject).first.click()
    await page.locator(".mail-text a").first.click()


async def mailed_code(page: Page, portal: Portal) -> str:
    """The code of the newest mail, read on the mailbox page."""
    await page.goto(f"{portal.url}/mailbox")
    return await page.locator(".mail-text .code").first.inner_text()


async def pass_by(page: Page, name: str) -> None:
    """In place of ``fine`` where another test looks at these pages."""


async def sign_up_from_log_in(
    page: Page, portal: Portal, look: Callable[[Page, str], Awaitable[None]] = pass_by
) -> None:
    """Register, from the log-in page up to the offer of Two-Factor Authentication; ``look`` at each page."""
    await page.get_by_role("link", name="Sign Up").click()
    await look(page, "sign-up-1")
    await page.get_by_label("Email").fill("grace@example.org")
    await page.get_by_label("First name").fill("Grace")
    await page.get_by_label("Last name").fill("South")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_label("Location").select_option("France")
    await page.get_by_role("button", name="Next").click()
    await page.wait_for_url("**/signup/company")
    for label, text in {
        "Company Name": "Example Works",
        "Address": "1 Example Street",
        "City": "Exampleville",
        "Zip Code": "12345",
        "State/Province": "Example Province",
    }.items():
        await page.get_by_label(label).fill(text)
    await page.get_by_label("Business Type").select_option("Business user")
    await page.get_by_label("I have read the privacy notice").check()
    await tick_robot(page)
    await look(page, "sign-up-2")
    await page.get_by_role("button", name="Register").click()
    await page.wait_for_url("**/signup/verify")
    await look(page, "verify")
    code = await mailed_code(page, portal)
    await look(page, "mailbox")
    await page.goto(f"{portal.url}/signup/verify")
    await page.get_by_label("6-digit code").fill(code)
    await page.get_by_role("button", name="Verify").click()
    await page.wait_for_url("**/account/two-factor/offer")
    await look(page, "offer")


async def test_sign_up_two_factor_and_log_in(trial: Portal, open_page: OpenPage) -> None:
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await page.goto(f"{trial.url}/login")
    await sign_up_from_log_in(page, trial, fine)
    await page.get_by_role("button", name="Turn On").click()
    await page.wait_for_url("**/account/two-factor/method**")
    await fine(page, "method")
    await page.get_by_label("Authenticator app").check()
    await page.get_by_role("button", name="Confirm").click()
    await fine(page, "two-factor")
    box = await page.locator(".qr svg").bounding_box()
    assert box is not None
    assert box["width"] > 150
    await page.get_by_text("I cannot scan it").click()
    secret = (await page.locator(".secret").inner_text()).replace(" ", "")
    await page.get_by_label("6-digit code").fill(pyotp.TOTP(secret).now())
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    await fine(page, "recovery")
    recovery = await page.locator(".recovery li").first.inner_text()
    await page.get_by_role("link", name="I have kept them").click()
    await expect(page.get_by_text("Turned on", exact=True)).to_be_visible()

    await page.get_by_text("My Account").click()
    await page.get_by_role("button", name="Log out").click()
    await page.fill("#email", "grace@example.org")
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/login/verify")
    await fine(page, "second-step")
    await page.get_by_label("Code").fill(recovery)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url("**/devices")

    await page.get_by_text("My Account").click()
    await page.get_by_role("link", name="View Profile").click()
    await expect(page.get_by_role("heading", name="My Profile")).to_be_visible()
    for path in (
        "",
        "/password",
        "/email",
        "/email/verify",
        "/two-factor",
        "/log-ins",
        "/delete",
        "/confirm",
    ):
        await page.goto(f"{trial.url}/account{path}")
        await fine(page, f"account{path.replace('/', '-')}")
    for path in ("/privacy", "/company/details"):
        await page.goto(trial.url + path)
        await fine(page, f"{path[1:].replace('/', '-')}")


async def test_a_forgotten_password(trial: Portal, open_page: OpenPage) -> None:
    await trial.add_person("ada@example.org")
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await page.goto(f"{trial.url}/login")
    await page.get_by_role("link", name="Forgot your password?").click()
    await page.get_by_label("Email").fill("ada@example.org")
    await tick_robot(page)
    await fine(page, "reset")
    await page.get_by_role("button", name="Reset Password").click()
    await expect(page.get_by_text("Check your email account for the password reset email")).to_be_visible()
    await follow_mail(page, trial, "Choose a new")
    await expect(page.get_by_role("heading", name="Choose a new password")).to_be_visible()
    assert "#" not in page.url  # nobody finds the secret in the history
    await fine(page, "reset-new")
    await page.get_by_label("New password").fill(NEW_PASSWORD)
    await page.get_by_role("button", name="Save").click()
    await page.wait_for_url("**/reset/done")
    await page.get_by_role("link", name="Log in").click()
    await page.fill("#email", "ada@example.org")
    await page.fill("#password", NEW_PASSWORD)
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/devices")


async def test_a_co_worker_is_invited_and_joins(
    trial: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    await trial.add_person("ada@example.org", company="Example Clinic")
    await trial.add_person("eve@example.org", first_name="Eve")
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await log_in(page, trial)
    await page.goto(f"{trial.url}/company")
    await page.get_by_role("link", name="Invite a co-worker").click()
    await page.get_by_role("button", name="Send Invite").click()
    await expect(page.get_by_role("alert")).to_contain_text("Please enter email address")
    assert len(complaints) == 1  # Chromium's own line about the status 422
    complaints.clear()
    await page.get_by_label("Email").fill("eve@example.org")
    await fine(page, "invite")
    await page.get_by_role("button", name="Send Invite").click()
    await expect(page.get_by_role("heading", name="Invitation Sent")).to_be_visible()
    await fine(page, "invited")

    other = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await follow_mail(other, trial, "invites you")
    await expect(other.get_by_role("heading", name="Join Example Clinic")).to_be_visible()
    await fine(other, "join")
    await other.get_by_role("link", name="I have an account").click()
    await other.fill("#email", "eve@example.org")
    await other.fill("#password", PASSWORD)
    await other.click("main button[type=submit]")
    await other.get_by_role("button", name="Join").click()
    await other.wait_for_url("**/company")
    await fine(other, "company-member")
    await page.goto(f"{trial.url}/company")
    await expect(page.locator("strong", has_text="Eve North")).to_be_visible()
    await fine(page, "company")


async def test_without_javascript_the_robot_check_asks_for_patience(
    trial: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    page = await open_page(java_script_enabled=False)
    await trial.add_person("ada@example.org")
    await page.goto(f"{trial.url}/reset")
    await expect(page.get_by_text("Without JavaScript this check can take a while")).to_be_visible()
    for said in ("Your turn is kept for you", "Check your email account"):
        await page.get_by_label("Email").fill("ada@example.org")
        await page.get_by_label("I am not a robot").check()
        await page.get_by_role("button", name="Reset Password").click()
        if said != "Check your email account":
            await expect(page.get_by_text(said).first).to_be_visible()
            await expect(page.get_by_label("Email")).to_have_value("ada@example.org")
            old = slow_lane.ticket(trial.kit, now_ms() - MIN_AGE_MS)
            field = page.locator("input[name=slow]")
            await field.evaluate("(field, ticket) => { field.value = ticket; }", old)
    await expect(page.get_by_text("Check your email account")).to_be_visible()
    complaints[:] = [text for text in complaints if "422" not in text]
    await log_in(page, trial)  # everything else works
    await page.goto(f"{trial.url}/account")
    await page.get_by_label("City").fill("Exampleville")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Your profile was saved.")).to_be_visible()
    assert re.search(r"/account\?saved=profile$", page.url)
