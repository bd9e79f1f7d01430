"""Phones, keyboards, dark rooms, screen readers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, ViewportSize, expect

from build_assets import FRONTEND
from cloud.core.rule_draft import TEMPLATES
from cloud.services import noticing, ruling
from tests.browser.conftest import OpenPage, log_in
from tests.support.foreign_world import arrange
from tests.support.portal import PASSWORD, Portal, claim, labelled_device, now_ms
from tests.support.ruling import judge_now
from tests.support.system_things import own_system

pytestmark = pytest.mark.browser

AXE = FRONTEND / "node_modules" / "axe-core" / "axe.min.js"
ALL_RULES = ("wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice")
RULES_OF_COLOUR = ("color-contrast", "link-in-text-block")
"""Of all rules, those that look at colours."""
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"

SMALL_PHONE: Final[ViewportSize] = {"width": 320, "height": 800}


@pytest_asyncio.fixture(loop_scope="session")
async def rooms(portal: Portal) -> list[str]:
    """A page of every kind, filled."""
    ada = await portal.add_person("ada@example.org", company="Example Clinic")
    owned = await portal.own_device(ada)
    await owned.show(mog_outlet_status=1, sog0_outlet_status=2)
    await owned.add_samples([(now_ms() - age * 60_000, {}) for age in range(60, 0, -1)])
    began_ms = now_ms() - 30 * 60_000
    await owned.add_event("on_battery", at_ms=began_ms, input_voltage=0.0)
    event = f"2-{owned.seq}"
    waiting = await claim(portal.pool, ada, labelled_device()[0])
    several, _ = labelled_device()
    await several.announce(portal.pool, now_ms())
    await several.twin().announce(portal.pool, now_ms())
    picking = await claim(portal.pool, ada, several)
    won = await claim(portal.pool, ada, owned.device)
    draft = TEMPLATES["load"].draft
    rule_id = await ruling.make(portal.pool, ada, replace(draft, hold_s=0), now_ms())
    await judge_now(portal.pool, owned, [{"output_real_power_pct": 91.0}])
    arranged = await arrange(portal, ada)
    system = await own_system(portal, ada)
    desk = portal.kit
    await noticing.take_in(desk, now_ms())
    while await noticing.decide_one(desk, now_ms() + 5_000):
        pass
    return [
        "/devices",
        f"/devices/{owned.device_id}",
        "/devices?q=mode:x",
        "/devices?choose=1",
        "/events?q=on",
        f"/devices/{owned.device_id}/events",
        f"/devices/{owned.device_id}/events/{event}",
        f"/devices/{owned.device_id}/outages",
        f"/devices/{owned.device_id}/outages/{began_ms}",
        f"/devices/{owned.device_id}/settings",
        f"/devices/{owned.device_id}/control?kind=outlet_on&group=sog0",
        f"/devices/{owned.device_id}/control?kind=calibration_start",
        f"/devices/{owned.device_id}/commands",
        f"/devices/{owned.device_id}/setup",
        f"/devices/{owned.device_id}/setup/sensitivity",
        "/account/two-factor",
        "/account/two-factor/method",
        "/account/two-factor/passkeys/new",
        "/account/confirm",
        "/company",
        "/alarms",
        "/notifications",
        "/notifications/policies/new",
        "/notifications/channels/new",
        "/notifications/log",
        "/account/tokens",
        "/company/audit",
        "/account/tokens/new",
        "/api",
        "/api/operations/outages.list_outages",
        "/api/operations/notifications.add_policy",
        "/sites",
        f"/sites/{arranged['site']}",
        *("/systems", "/systems/register", "/systems/offline", "/systems/associate", "/systems/offer"),
        *("/systems/help", f"/systems/{system['number']}", f"/systems/{system['number']}/data"),
        f"/systems/{system['shadow']}",
        f"/systems/waiting/{system['system_id']}/{system['intent_id']}",
        "/rules",
        "/rules/new?template=runtime",
        f"/rules/{rule_id}",
        f"/devices/{owned.device_id}/rules",
        "/add",
        "/add/scan",
        "/add/codes",
        "/add/bulk",
        "/r",
        "/help/adding-your-device",
        "/help/camera",
        *(f"/claims/{view.claim_id}" for view in (waiting, picking, won)),
    ]


async def faults(page: Page, rules: Sequence[str] = ALL_RULES) -> list[str]:
    """What axe finds wrong on the page."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())
    # Only what is wrong is worked out and handed over: the rest takes twice as long as the search.
    found: list[dict[str, Any]] = await page.evaluate(
        "async rules => (await axe.run({runOnly: rules, resultTypes: ['violations']})).violations",
        list(rules),
    )
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]
    ]


async def faults_by_day_and_night(page: Page) -> list[str]:
    """What axe finds wrong on a page in light colours, and with its colours in dark ones."""
    background = "getComputedStyle(document.body).backgroundColor"
    light, found = await page.evaluate(background), await faults(page)
    await page.emulate_media(color_scheme="dark")
    assert await page.evaluate(background) != light
    found += await faults(page, RULES_OF_COLOUR)
    await page.emulate_media(color_scheme="light")
    return found


async def test_axe_finds_nothing(portal: Portal, rooms: list[str], open_page: OpenPage) -> None:
    page = await open_page(color_scheme="light", reduced_motion="reduce")
    await page.goto(f"{portal.url}/login")
    assert await faults_by_day_and_night(page) == []
    await log_in(page, portal)
    for path in rooms:
        await page.goto(portal.url + path)
        if path == rooms[1]:
            await expect(page.locator("#charts canvas")).to_have_count(3)
            await page.get_by_text("Show as a table").first.click()
        assert await faults_by_day_and_night(page) == [], path


async def is_wider_than_a_phone(page: Page) -> bool:
    """Whether a page must be scrolled sideways on a small phone or on a usual one."""
    on_small = await page.evaluate(WIDER)
    await page.set_viewport_size({"width": 390, "height": 800})
    on_usual = await page.evaluate(WIDER)
    await page.set_viewport_size(SMALL_PHONE)
    return bool(on_small or on_usual)


async def test_nothing_is_wider_than_a_phone(portal: Portal, rooms: list[str], open_page: OpenPage) -> None:
    page = await open_page(viewport=SMALL_PHONE, device_scale_factor=2, is_mobile=True, has_touch=True)
    await page.goto(f"{portal.url}/login")
    assert not await is_wider_than_a_phone(page)
    await log_in(page, portal)
    for path in rooms:
        await page.goto(portal.url + path)
        if path == rooms[1]:
            await expect(page.locator("#charts canvas")).to_have_count(3)
        assert not await is_wider_than_a_phone(page), path


async def test_the_keyboard_is_enough(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page()
    await page.goto(f"{portal.url}/login")
    await page.keyboard.type("ada@example.org")  # the first field has the focus
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/devices")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await expect(page.locator(".skip")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    for name in ("Alarms", "Events", "Add Device"):
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("main").get_by_role("link", name=name).first).to_be_focused()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/add")
    await page.goto(f"{portal.url}/add/codes")
    device, product_key = labelled_device()
    await page.keyboard.type(device.product_id.value.lower())
    await expect(page.locator("#product_id-count")).to_have_attribute("data-state", "complete")
    await page.keyboard.press("Tab")
    await page.keyboard.type(product_key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()


async def test_counters_say_what_is_wrong_before_sending(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page()
    await log_in(page, portal)
    await page.goto(f"{portal.url}/add/codes")
    count = page.locator("#product_id-count")
    for typed, state in (
        ("AB-12", "open"),
        ("AB12 AB12 AB12", "complete"),
        ("A" * 13, "wrong"),
        ("Ä", "wrong"),
    ):
        await page.fill("#product_id", typed)
        await expect(count).to_have_attribute("data-state", state)


async def test_light_and_dark_are_remembered(portal: Portal, open_page: OpenPage) -> None:
    page = await open_page(color_scheme="light")
    await page.goto(f"{portal.url}/login")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(colour)
    await page.get_by_role("button", name="Switch between light and dark").click()
    dark = await page.evaluate(colour)
    assert dark != light
    await page.reload()
    assert await page.evaluate(colour) == dark


async def test_the_live_page_keeps_the_focus(portal: Portal, open_page: OpenPage) -> None:
    owned = await portal.own_device(await portal.add_person("ada@example.org"))
    await owned.show()
    page = await open_page()
    await log_in(page, portal)
    link = page.locator(f"#device-{owned.device_id} h2 a")
    await link.focus()
    await owned.show(state_of_charge=55.0)
    await expect(page.locator(f"#device-{owned.device_id}")).to_contain_text("55 %")
    await expect(link).to_be_focused()
