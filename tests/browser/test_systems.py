"""Registered systems in a browser: a link through the log-in, offline on a phone, what is blocked."""

import re

import pytest
from playwright.async_api import expect

from cloud.web.state import SYSTEM_KEYS
from protocol.system_code import Operation
from tests.browser.conftest import OpenPage, log_in
from tests.support.portal import PASSWORD, Portal, now_ms
from tests.support.system_world import CONTACTS, SITE
from tests.support.systems import TestCloudKeys, TestServer

pytestmark = pytest.mark.browser


def new_server(portal: Portal) -> TestServer:
    """A server that knows the portal's keys."""
    return TestServer(TestCloudKeys(portal.app[SYSTEM_KEYS].private))


async def test_the_link_of_register_now_outlives_the_log_in(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org", company="Example Clinic")
    server = new_server(portal)
    link = (await server.ask(portal.kit, now_ms(), register=True)).link
    page = await open_page()
    await page.goto(f"{portal.url}/systems/register#{link.rpartition('#')[2]}")
    await expect(page).to_have_url(re.compile(r"/login"))
    await page.fill("#email", "ada@example.org")
    await page.fill("#password", PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text(server.system_id.written)).to_be_visible()
    await page.get_by_label("For this system you are").select_option(label="End-user")
    await page.get_by_role("button", name="Register").click()
    await page.get_by_role("link", name="Fill in the registration").click()
    for name, value in {"site_name": "North wing", **SITE, **CONTACTS}.items():
        if name in {"country", "application"}:
            await page.select_option(f"#{name}", value)
        else:
            await page.fill(f"#{name}", value)
    await page.get_by_role("button", name="Proceed").click()
    await expect(page.get_by_text("Is everything correct?")).to_be_visible()
    await page.get_by_role("button", name="This is correct").click()
    await expect(page.get_by_role("heading", name="North wing")).to_be_visible()
    for consent in ("Share system information", "Share personal information"):
        await page.get_by_label(consent).check()
    await page.get_by_role("button", name="Save the consents").click()
    await expect(page.get_by_text("Confirmed", exact=True)).to_be_visible()


async def test_an_offline_system_on_a_phone_without_javascript(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    server = new_server(portal)
    page = await open_page(
        viewport={"width": 390, "height": 800}, java_script_enabled=False, is_mobile=True, has_touch=True
    )
    await log_in(page, portal)
    await page.goto(f"{portal.url}/systems")
    await page.get_by_role("link", name="Registering an Offline System").tap()
    await page.fill("#system_id", server.request(Operation.REGISTER).lower())
    await page.get_by_role("button", name="Proceed").tap()
    await page.get_by_label("For this system you are").select_option(index=1)
    await page.get_by_role("button", name="Register").tap()
    code = await page.locator("section[aria-labelledby=code] p.code").inner_text()
    assert server.enter(code, now_ms()).operation is Operation.REGISTER
    await page.goto(f"{portal.url}/systems/help")
    await expect(page.locator("[data-check=script]")).to_contain_text("off, or blocked")


async def test_the_page_says_what_the_browser_lets_through(
    portal: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page()
    await log_in(page, portal)
    await page.goto(f"{portal.url}/systems/help")
    for name in ("script", "styles", "storage", "requests", "live"):
        await expect(page.locator(f"[data-check={name}]")).to_contain_text("works")
    await page.route("**/healthz", lambda route: route.abort())
    await page.reload()
    await expect(page.locator("[data-check=requests]")).to_contain_text("blocked")
    await expect(page.locator("[data-check=script]")).to_contain_text("works")
    assert "ERR_FAILED" in complaints.pop()
