"""The list of devices in a browser: refreshed where somebody looks, and searched without JavaScript."""

import re

import pytest
from playwright.async_api import expect

from cloud.services import placing
from tests.browser.conftest import OpenPage, log_in
from tests.support.fleet import FIRST, fill
from tests.support.portal import ON_BATTERY, Portal, now_ms

pytestmark = pytest.mark.browser

COUNT = 130
SOONER = "const now = Date.now, began = now(); Date.now = () => began + 20 * (now() - began);"
"""A page whose clock runs faster asks for the counts before 15 s are over."""


async def test_a_long_list_is_fresh_where_somebody_looks(portal: Portal, open_page: OpenPage) -> None:
    ada = await portal.add_person("ada@example.org")
    sites = [await placing.add_site(portal.pool, ada, f"Building {n}", now_ms()) for n in range(12)]
    fill(portal.settings.dsn, ada, COUNT, now_ms(), sites)
    page = await open_page(viewport={"width": 390, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/devices/rows" in request.url else None)
    await log_in(page, portal)
    await page.add_init_script(SOONER)
    await page.goto(f"{portal.url}/devices?q=is:on_mains&sort=name")
    rows = page.locator("li.device")
    await expect(rows).to_have_count(50)
    counted = await page.locator(".tally-count").inner_text()
    assert not await page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    first = rows.first
    number = int(await first.get_attribute("data-device") or "")
    link = first.locator("h2 a")
    await link.focus()
    async with portal.pool.connection() as connection:
        await connection.execute(
            "UPDATE latest SET ups_status = %s, seen_ms = %s, ts_ms = %s WHERE device_id = %s",
            (ON_BATTERY, now_ms(), now_ms(), number),
        )
    await expect(first.locator(".state")).to_have_text("On battery")
    await expect(first).to_have_attribute("data-condition", "on_battery")
    await expect(link).to_be_focused()
    await expect(page.locator(".tally-count")).not_to_have_text(counted)
    on_screen = max(url.partition("ids=")[2].count(".") for url in asked)
    assert on_screen < 25, "far fewer than the page has"
    last = rows.last
    await last.scroll_into_view_if_needed()
    number = int(await last.get_attribute("data-device") or "")
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE latest SET connected = false WHERE device_id = %s", (number,))
    await expect(last.locator(".state")).to_have_text("Offline")
    await page.get_by_role("link", name="Next page").click()
    await expect(page).to_have_url(re.compile("after="))
    await expect(rows.first).to_be_visible()
    assert str(FIRST) not in (await rows.first.get_attribute("id") or "")
    back = page.get_by_role("link", name="Previous page")
    await back.click()
    await expect(page).not_to_have_url(re.compile("after="))
    await expect(back).to_have_count(0)
    await expect(rows).to_have_count(50)
    await page.emulate_media(media="print", color_scheme="dark")
    for screen_only in ("header.bar", "nav.pages", "form.search", "footer p:last-child"):
        await expect(page.locator(screen_only)).to_be_hidden()
    await expect(page.locator(".on-paper")).to_contain_text(f"{portal.url}/devices")
    said = await page.evaluate(
        "() => [getComputedStyle(document.querySelector('li.device h2 a'), '::after').content,"
        " getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert re.fullmatch(r'"\(" attr\(href\) "\)"|"\(/devices/\d+\)"', said[0]), said[0]
    assert said[1:] == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]


async def test_searching_and_moving_need_no_javascript(portal: Portal, open_page: OpenPage) -> None:
    ada = await portal.add_person("ada@example.org")
    fill(portal.settings.dsn, ada, COUNT, now_ms())
    page = await open_page(java_script_enabled=False)
    await log_in(page, portal)
    await page.goto(f"{portal.url}/sites")
    await page.get_by_label("Name").fill("North")
    await page.get_by_role("button", name="Add the site").click()
    await page.goto(f"{portal.url}/devices")
    await page.get_by_label("Search").fill("is:fault")
    await page.get_by_label("Search").press("Enter")
    await expect(page.locator("li.device")).to_have_count(2)
    assert "q=is%3Afault" in page.url
    await page.get_by_role("link", name="Move devices").click()
    await page.get_by_label("all 2 that are found").check()
    await page.get_by_label("Move the chosen devices to").select_option("North")
    await page.get_by_role("button", name="Move", exact=True).click()
    await expect(page.get_by_text("2 devices are there now.")).to_be_visible()
    await page.get_by_label("Search").fill("mode:x")
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator("#q-fault")).to_contain_text("Did you mean “model:”?")
