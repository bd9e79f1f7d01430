"""The API's pages in a browser: tried with the log-in, with a token, on a phone, and without JavaScript."""

import json

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, log_in
from tests.support.portal import Portal

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


async def test_a_token_is_made_tried_and_revoked(
    portal: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    ada = await portal.add_person("ada@example.org", company="Example Clinic")
    owned = await portal.own_device(ada)
    page = await open_page(**PHONE)
    await log_in(page, portal)
    await page.get_by_text("My Account").click()
    await page.get_by_role("link", name="API tokens").click()
    await page.get_by_role("link", name="Make a token").click()
    await page.fill("#name", "Report")
    await page.get_by_label("devices:read").check()
    await page.get_by_role("button", name="Make the token").click()
    token = await page.locator("#token").inner_text()

    await page.goto(f"{portal.url}/api?q=devices")
    await page.get_by_role("link", name="GET /api/v1/devices", exact=True).click()
    told = page.locator("#told-text")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#told-status")).to_contain_text("200")
    await expect(told).to_contain_text(str(owned.device_id))

    stranger = await open_page()
    await stranger.goto(f"{portal.url}/api/operations/devices.show_device")
    await stranger.get_by_label("device_id").fill(str(owned.device_id))
    await stranger.get_by_label("Token").fill(token)
    await stranger.get_by_role("button", name="Send").click()
    await expect(stranger.locator("#told-status")).to_contain_text("200")
    found = json.loads(await stranger.locator("#told-text").inner_text())
    assert found["device_id"] == str(owned.device_id)
    assert token not in stranger.url

    await stranger.goto(f"{portal.url}/api/operations/devices.name_device")
    await stranger.get_by_label("device_id").fill(str(owned.device_id))
    await stranger.locator("#body").fill('{"name": "By a token"}')
    await stranger.get_by_label("Token").fill(token)
    await stranger.get_by_role("button", name="Send").click()
    await expect(stranger.locator("#told-text")).to_contain_text("scope_needed")

    await page.goto(f"{portal.url}/api/operations/devices.name_device")
    await page.get_by_label("device_id").fill(str(owned.device_id))
    await page.locator("#body").fill('{"name": "By the log-in"}')
    await page.get_by_role("button", name="Send").click()
    await expect(told).to_contain_text("By the log-in")

    await page.goto(f"{portal.url}/account/tokens")
    await page.get_by_role("button", name="Revoke Report").click()
    await expect(page.get_by_role("status")).to_contain_text("The token was revoked.")
    await stranger.get_by_role("button", name="Send").click()
    await expect(stranger.locator("#told-text")).to_contain_text("token_invalid")
    # What a browser writes into its console of answers that refuse: asked for here.
    refusals = [text for text in complaints if "Failed to load resource" in text]
    assert len(refusals) == 2
    complaints[:] = [text for text in complaints if text not in refusals]


async def test_without_javascript_what_changes_nothing_can_be_asked(
    portal: Portal, open_page: OpenPage
) -> None:
    ada = await portal.add_person("ada@example.org")
    owned = await portal.own_device(ada)
    page = await open_page(java_script_enabled=False)
    await log_in(page, portal)
    await page.goto(f"{portal.url}/api/operations/devices.show_device")
    assert await page.get_by_label("Token").is_hidden()
    await page.get_by_label("device_id").fill(str(owned.device_id))
    await page.get_by_role("button", name="Send").click()
    await page.wait_for_url(f"**/api/v1/devices/{owned.device_id}")
    assert str(owned.device_id) in await page.content()
    await page.goto(f"{portal.url}/api/operations/devices.name_device")
    assert await page.get_by_role("button", name="Send").is_hidden()
    await expect(page.get_by_text("-X PUT")).to_be_visible()
