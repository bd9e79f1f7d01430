"""A rule made by hand: on a phone without JavaScript, and by the keyboard alone."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, log_in
from tests.support.portal import Portal
from tests.support.ruling import judge_now

pytestmark = pytest.mark.browser


async def test_a_rule_on_a_phone_without_javascript(
    portal: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    ada = await portal.add_person("ada@example.org")
    owned = await portal.own_device(ada)
    page = await open_page(
        viewport={"width": 390, "height": 800}, java_script_enabled=False, is_mobile=True, has_touch=True
    )
    await log_in(page, portal)
    await page.get_by_role("link", name="Rules").tap()
    await page.get_by_role("link", name="Short runtime").tap()
    await page.fill("#name", "   ")
    await page.fill("#threshold", "a lot")
    await page.get_by_role("button", name="Make the rule").tap()
    await expect(page.get_by_role("alert")).to_contain_text("Please enter a name")
    await expect(page.locator("#threshold")).to_have_value("a lot")
    assert "422" in complaints.pop()
    await page.fill("#name", "Time is short")
    await page.fill("#threshold", "15")
    await page.fill("#hold", "0")
    await page.get_by_role("button", name="Make the rule").tap()
    await expect(page.get_by_text("Runtime below 15 min. Ends at 17 min or more for 5 min.")).to_be_visible()
    await judge_now(portal.pool, owned, [{"runtime_remaining": 600.0}])
    await page.reload()
    await expect(page.get_by_text("runtime 10 min (below 15 min)")).to_be_visible()
    await page.get_by_role("button", name="Switch off").tap()
    await expect(page.get_by_role("button", name="Switch on")).to_be_visible()
    await page.get_by_role("button", name="Delete").tap()
    await page.wait_for_url("**/rules")


async def test_the_keyboard_is_enough_for_a_rule(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page()
    await log_in(page, portal)
    await page.goto(f"{portal.url}/rules/new")
    await page.locator("#name").focus()
    await page.keyboard.type("High load")
    await page.keyboard.press("Tab")
    await page.keyboard.type("Load (%)")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.type("80")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="High load")).to_be_visible()
