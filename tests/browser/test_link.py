"""The link of a label's QR code, opened in Chromium: logged in, logged out, without JavaScript."""

import re

import pytest
from playwright.async_api import Page, expect

from protocol.identity import ProductKey, qr_link
from tests.browser.conftest import OpenPage, log_in
from tests.support.claiming import TestDevice
from tests.support.portal import PASSWORD, Portal, labelled_device, now_ms

pytestmark = pytest.mark.browser

BARE = re.compile(r"/r$")


def link_of(portal: Portal, device: TestDevice, product_key: str) -> str:
    """What a label's QR code holds."""
    return qr_link(portal.url, device.product_id, ProductKey.parse(product_key))


def noting_addresses(page: Page) -> list[str]:
    """Every address this page asks for, as a server sees it and as the browser keeps it."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url.split("#")[0]))
    page.on("framenavigated", lambda frame: seen.append(frame.url.split("#")[0]))
    return seen


async def assert_nothing_is_left(page: Page, product_key: str) -> None:
    """Neither in the tab's storage nor in its history."""
    assert await page.evaluate("sessionStorage.length + localStorage.length") == 0
    tools = await page.context.new_cdp_session(page)
    history = await tools.send("Page.getNavigationHistory")
    assert [entry["url"] for entry in history["entries"] if product_key in entry["url"]] == []


async def test_logged_in_the_form_is_filled_and_the_address_scrubbed(
    portal: Portal, open_page: OpenPage, capfd: pytest.CaptureFixture[str]
) -> None:
    await portal.add_person("ada@example.org")
    device, product_key = labelled_device()
    await device.announce(portal.pool, now_ms())
    page = await open_page()
    await log_in(page, portal)
    addresses = noting_addresses(page)
    await page.goto(link_of(portal, device, product_key))
    await expect(page.get_by_label("Product Key", exact=True)).to_have_value(product_key)
    await expect(page.get_by_label("Product ID", exact=True)).to_have_value(device.product_id.value)
    await expect(page).to_have_url(BARE)
    await expect(page.locator("#product_key-count")).to_have_text("14 of 14 characters")
    await page.get_by_role("button", name="Register UPS").click()
    await expect(page.get_by_text("This UPS is yours", exact=True)).to_be_visible()
    assert not [address for address in addresses if product_key in address]
    await assert_nothing_is_left(page, product_key)
    said = capfd.readouterr()
    assert product_key not in said.out + said.err


async def test_logged_out_the_codes_outlive_the_log_in(
    portal: Portal,
    open_page: OpenPage,
    complaints: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    await portal.add_person("ada@example.org")
    device, product_key = labelled_device()
    page = await open_page(viewport={"width": 390, "height": 780})
    addresses = noting_addresses(page)
    await page.goto(link_of(portal, device, product_key))
    await expect(page).to_have_url(BARE)
    await expect(page.locator("[data-label-id]")).to_have_text(device.product_id.value)
    assert product_key not in await page.content()
    await page.get_by_role("link", name="Log in").click()
    await page.fill("#email", "ada@example.org")
    await page.fill("#password", "wrong")
    await page.click("main button[type=submit]")
    await expect(page.locator("#error")).to_be_visible()
    complaints[:] = [text for text in complaints if "401" not in text]
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await expect(page).to_have_url(BARE)
    await expect(page.get_by_label("Product Key", exact=True)).to_have_value(product_key)
    await page.get_by_role("button", name="Register UPS").click()
    await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()
    assert not [address for address in addresses if product_key in address]
    await assert_nothing_is_left(page, product_key)
    said = capfd.readouterr()
    assert product_key not in said.out + said.err


async def test_another_scan_into_the_same_tab_replaces_the_first(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page()
    await log_in(page, portal)
    for _ in range(2):
        device, product_key = labelled_device()
        await page.goto(link_of(portal, device, product_key))
        await expect(page.get_by_label("Product Key", exact=True)).to_have_value(product_key)
        await expect(page).to_have_url(BARE)
    await page.get_by_role("link", name="Cancel").click()
    await page.wait_for_url("**/devices")
    await assert_nothing_is_left(page, product_key)


async def test_a_link_that_holds_no_codes_says_so(portal: Portal, open_page: OpenPage) -> None:
    page = await open_page()
    await page.goto(f"{portal.url}/r#ABC.DEF")
    await expect(page.get_by_text("does not hold a Product ID and a Product Key")).to_be_visible()
    await expect(page).to_have_url(BARE)
    assert await page.evaluate("sessionStorage.length") == 0


async def test_without_javascript_there_is_the_typed_form(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    device, product_key = labelled_device()
    page = await open_page(java_script_enabled=False)
    await page.goto(link_of(portal, device, product_key))
    await page.get_by_role("link", name="Log in").click()
    await page.fill("#email", "ada@example.org")
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await page.get_by_label("Product ID", exact=True).fill(device.product_id.value)
    await page.get_by_label("Product Key", exact=True).fill(product_key)
    await page.get_by_role("button", name="Register UPS").click()
    await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()
