"""Moving through a device's past in Chromium: drag, pinch, keys, buttons; picks, tables and files follow."""

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage, log_in
from tests.browser.test_access import WIDER
from tests.support.portal import ON_BATTERY, Owned, Portal, now_ms

pytestmark = pytest.mark.browser

MINUTE_MS: Final = 60_000
DRAWN: Final = """() => {
    const canvases = [...document.querySelectorAll('#charts canvas')];
    return canvases.length > 0 && canvases.every(canvas => {
        const {width, height} = canvas;
        const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, width, height).data.buffer);
        return new Set(data).size > 20;
    });
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def owned(portal: Portal) -> Owned:
    """A device with six hours behind it: a reading a minute, an outage three hours ago."""
    made = await portal.own_device(await portal.add_person("ada@example.org"))
    end = now_ms()
    outage = {"ups_status": ON_BATTERY, "input_voltage": 0.0, "state_of_charge": 70.0}
    await made.add_samples(
        [
            (end - ago * MINUTE_MS, outage if 170 < ago <= 180 else {"input_voltage": 228.0 + ago % 7})
            for ago in range(360, 0, -1)
        ]
    )
    await made.add_event("on_battery", at_ms=end - 180 * MINUTE_MS)
    await made.add_event("mains_back", at_ms=end - 170 * MINUTE_MS)
    await made.show()
    return made


def window(page: Page) -> tuple[int, int] | None:
    """From and to in the address, unix ms; None while it is live."""
    query = parse_qs(urlsplit(page.url).query)
    return None if "from_ms" not in query else (int(query["from_ms"][0]), int(query["to_ms"][0]))


def span_min(page: Page) -> float:
    """Length of the window, minutes."""
    found = window(page)
    assert found is not None, page.url
    return (found[1] - found[0]) / MINUTE_MS


async def open_device(page: Page, portal: Portal, owned: Owned, query: str = "?range_s=21600") -> None:
    """Log in and wait for the lines."""
    await log_in(page, portal)
    await page.goto(f"{portal.url}/devices/{owned.device_id}{query}")
    await page.wait_for_function(DRAWN)


async def test_dragging_zooms_and_live_is_a_click_away(
    portal: Portal, owned: Owned, open_page: OpenPage
) -> None:
    page = await open_page(viewport={"width": 1280, "height": 900})
    await open_device(page, portal, owned)
    await expect(page.get_by_role("link", name="Back to live")).to_be_hidden()
    over = page.locator("#charts .u-over").first
    await over.scroll_into_view_if_needed()
    box = await over.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + box["width"] * 0.45, y)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.55, y, steps=5)
    async with page.expect_response(lambda answer: "from_ms=" in answer.url):
        await page.mouse.up()
    await page.wait_for_url("**from_ms=**")
    assert span_min(page) == pytest.approx(36, abs=2)
    files = page.get_by_role("link", name="readings (CSV)")
    found = window(page)
    assert found is not None
    await expect(files).to_have_attribute("href", re.compile(rf"from_ms={found[0] // 1000}\d\d\d"))
    await page.get_by_text("Show as a table").first.click()
    table = page.get_by_role("region", name="Readings: Voltage")
    await expect(table.get_by_text("on battery").first).to_be_visible()
    await expect(table.get_by_role("row")).not_to_have_count(0)
    await page.get_by_role("link", name="Back to live").click()
    await page.wait_for_url("**range_s=21600**")
    await expect(page.locator("a[data-range='21600']")).to_have_attribute("aria-current", "true")
    before = await page.locator("#charts figcaption").last.inner_text()
    await owned.show(state_of_charge=61.0)
    await expect(page.locator("#charts figcaption").last).to_contain_text("61 %")
    assert "61 %" not in before


async def test_the_keyboard_moves_through_time(portal: Portal, owned: Owned, open_page: OpenPage) -> None:
    page = await open_page()
    await open_device(page, portal, owned)
    figure = page.get_by_role("group", name=re.compile("^Voltage"))
    await figure.focus()
    for key, minutes in (("+", 180), ("+", 90), ("ArrowLeft", 90), ("-", 180)):
        before = await page.evaluate("location.search")
        await page.keyboard.press(key)
        await page.wait_for_function("before => location.search !== before", arg=before)
        assert span_min(page) == pytest.approx(minutes, abs=1), key
    await expect(figure).to_be_focused()
    await page.keyboard.press("Escape")
    await page.wait_for_url("**range_s=21600**")
    await page.keyboard.press("Home")
    await page.wait_for_url("**range_s=0**")
    await expect(page.locator("a[data-range='0']")).to_have_attribute("aria-current", "true")


async def test_two_fingers_zoom_and_one_moves(portal: Portal, owned: Owned, open_page: OpenPage) -> None:
    page = await open_page(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    await open_device(page, portal, owned)
    over = page.locator("#charts .u-over").first
    await over.scroll_into_view_if_needed()
    box = await over.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    client = await page.context.new_cdp_session(page)

    async def touch(kind: str, *places: float) -> None:
        points = [{"x": at, "y": y, "id": number} for number, at in enumerate(places)]
        await client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    await touch("touchStart", x - 30, x + 30)
    for reach in (45, 60, 75, 90):
        await touch("touchMove", x - reach, x + reach)
    await touch("touchEnd")
    await page.wait_for_url("**from_ms=**")
    assert span_min(page) == pytest.approx(120, rel=0.15)
    pinched = window(page)
    assert pinched is not None
    search = await page.evaluate("location.search")
    await touch("touchStart", x)
    for by in (20, 40, 60, 80):
        await touch("touchMove", x + by)
    await touch("touchEnd")
    await page.wait_for_function("before => location.search !== before", arg=search)
    moved = window(page)
    assert moved is not None
    assert moved[0] < pinched[0]
    assert moved[1] - moved[0] == pytest.approx(pinched[1] - pinched[0], rel=0.01)
    assert not await page.evaluate(WIDER)


async def test_what_is_picked_is_drawn(
    portal: Portal, owned: Owned, open_page: OpenPage, complaints: list[str]
) -> None:
    page = await open_page(viewport={"width": 390, "height": 800})
    await open_device(page, portal, owned)
    await expect(page.locator("#charts canvas")).to_have_count(3)
    await page.get_by_label("Runtime left", exact=True).focus()
    await page.keyboard.press("Space")
    await expect(page.locator("#charts canvas")).to_have_count(4)
    await page.get_by_label("Voltage", exact=True).click()
    await expect(page.locator("#charts canvas")).to_have_count(3)
    assert "show=runtime" in page.url
    await page.reload()
    await expect(page.locator("#charts canvas")).to_have_count(3)
    await expect(page.locator("#charts figcaption").nth(2)).to_contain_text("41 min")
    await page.wait_for_function(DRAWN)
    assert complaints == []
