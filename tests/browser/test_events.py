"""The log of events, from a search to one event, and a device that is muted, in Chromium."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, log_in
from tests.browser.test_access import WIDER
from tests.cloud.web.conftest import Somebody
from tests.cloud.web.test_events import scene
from tests.support.portal import Portal, Visitor, visitor

pytestmark = pytest.mark.browser


async def test_from_a_search_to_an_event_and_a_muted_device(portal: Portal, open_page: OpenPage) -> None:
    actor = await portal.add_person("ada@example.org")
    async with visitor() as http:
        rack, _ = await scene(portal, Somebody(actor, "ada@example.org", Visitor(http, portal.url)))
    await rack.show()
    page = await open_page(viewport={"width": 390, "height": 800})
    await log_in(page, portal)
    await page.goto(portal.url + "/devices")
    await page.get_by_role("link", name="Events").click()
    await expect(page.locator(".events > li")).to_have_count(4)
    await page.get_by_label("Severity").select_option("Critical")
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator(".events > li")).to_have_count(1)
    assert page.url.endswith("/events?q=&severity=critical")
    await page.get_by_role("link", name="Overload").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overload")
    assert not await page.evaluate(WIDER)
    await page.get_by_role("link", name="Smart-UPS X 3000", exact=True).click()
    await page.get_by_text("Mute for a while").click()
    await page.get_by_role("button", name="8 hours").click()
    await expect(page.locator("#mute")).to_contain_text("Nobody is told about this device")
    await page.get_by_role("button", name="End now").click()
    await expect(page.get_by_text("Mute for a while")).to_be_visible()
