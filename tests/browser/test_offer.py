"""The link of a mailed offer, opened by somebody who must log in or sign up first: its code is not lost."""

import re

import pyotp
import pytest
from playwright.async_api import Page, expect

from cloud.services import offering, ownership_letters
from tests.browser.conftest import OpenPage
from tests.browser.test_link import assert_nothing_is_left, noting_addresses
from tests.browser.test_rooms import SIZES, fine, sign_up_from_log_in
from tests.support.claiming import TestDevice
from tests.support.portal import PASSWORD, Portal, now_ms

pytestmark = pytest.mark.browser

LINK = re.compile(r"https?://\S+/transfers#(\S+)")


async def offered_to(portal: Portal, email: str) -> tuple[TestDevice, str]:
    """A device that Ada offers to this address, and the link of the mail."""
    ada = await portal.add_person("ada@example.org", company="Example Clinic")
    device = TestDevice()
    await portal.own_device(ada, device)
    await offering.offer(portal.pool, ada, device.device_id, now_ms(), fresh=True, to_email=email)
    await ownership_letters.deliver(portal.kit, now_ms())
    async with portal.pool.connection() as connection:
        found = await connection.execute("SELECT text FROM mail WHERE kind = 'ownership_offered'")
        ((text,),) = await found.fetchall()
    link = LINK.search(text)
    assert link is not None
    return device, link[0]


async def take(page: Page, device: TestDevice) -> None:
    """Accept on the page of the offer, which opened by itself."""
    await expect(page.get_by_role("heading", name="Example Clinic offers you a device")).to_be_visible()
    await expect(page.get_by_text(device.product_id.value)).to_be_visible()
    assert await page.evaluate("sessionStorage.length + localStorage.length") == 0
    await page.get_by_role("button", name="Accept").click()
    await page.wait_for_url(f"**/devices/{device.device_id}")


async def test_the_code_outlives_the_log_in(
    portal: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    device, link = await offered_to(portal, "eve@example.org")
    await portal.add_person("eve@example.org", first_name="Eve")
    secret = link.partition("#")[2]
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    addresses = noting_addresses(page)
    await page.goto(link)
    await expect(page.get_by_text("The link of an offer was read.")).to_be_visible()
    await expect(page).to_have_url(re.compile(r"/login\?next=/transfers$"))
    assert secret not in await page.content()
    await fine(page, "offer-log-in")
    await page.fill("#email", "eve@example.org")
    await page.fill("#password", "wrong")
    await page.click("main button[type=submit]")
    await expect(page.locator("#error")).to_be_visible()
    complaints[:] = [text for text in complaints if "401" not in text]
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await take(page, device)
    assert not [address for address in addresses if secret in address]
    await assert_nothing_is_left(page, secret)


@pytest.mark.parametrize("size", SIZES)
async def test_the_code_outlives_the_whole_sign_up(trial: Portal, open_page: OpenPage, size: str) -> None:
    device, link = await offered_to(trial, "grace@example.org")
    page = await open_page(**SIZES[size], reduced_motion="reduce")
    await page.goto(link)
    await expect(page.get_by_text("The link of an offer was read.")).to_be_visible()
    await sign_up_from_log_in(page, trial)
    if size == "phone":
        await page.get_by_role("link", name="Not now").click()
    else:
        await page.get_by_role("button", name="Turn On").click()
        await page.get_by_label("Authenticator app").check()
        await page.get_by_role("button", name="Confirm").click()
        await page.get_by_text("I cannot scan it").click()
        secret = (await page.locator(".secret").inner_text()).replace(" ", "")
        await page.get_by_label("6-digit code").fill(pyotp.TOTP(secret).now())
        await page.get_by_role("button", name="Confirm").click()
        await page.get_by_role("link", name="I have kept them").click()
    await take(page, device)
    await assert_nothing_is_left(page, link.partition("#")[2])


async def test_no_code_and_no_word_of_one(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page()
    await page.goto(f"{portal.url}/transfers")
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await expect(page.get_by_text("The link of an offer was read.")).to_be_hidden()
    await page.fill("#email", "ada@example.org")
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await expect(page.get_by_role("heading", name="Devices offered to you")).to_be_visible()
