"""An outage and its runtime curve, in Chromium."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, log_in
from tests.browser.test_access import WIDER
from tests.cloud.web.test_outages import MINUTE, had_outage
from tests.support.portal import Portal, now_ms

pytestmark = pytest.mark.browser

DRAWN = """() => {
    const canvases = [...document.querySelectorAll('#charts canvas')];
    return canvases.length === 4 && canvases.every(canvas => {
        const {width, height} = canvas;
        const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, width, height).data.buffer);
        return new Set(data).size > 20;  // a line, grid and shade, each with its soft edges
    });
}"""


async def test_from_the_device_to_the_curve_of_an_outage(
    portal: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    actor = await portal.add_person("ada@example.org")
    page = await open_page(viewport={"width": 390, "height": 800})
    await log_in(page, portal)
    owned = await portal.own_device(actor)
    await owned.show()
    await had_outage(owned, now_ms() - 60 * MINUTE, 22, lowest=34.0)
    await page.goto(f"{portal.url}/devices/{owned.device_id}")
    await page.get_by_role("link", name="22 min on battery").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("22 min on battery")
    await expect(page.get_by_text("battery down to 34 %")).to_be_visible()
    await page.wait_for_function(DRAWN)
    await expect(page.locator("#charts figcaption").first).to_contain_text("Runtime left")
    await expect(page.locator("#chart-note")).to_be_empty()
    assert not await page.evaluate(WIDER)
    await page.get_by_text("Show as a table").click()
    await expect(page.get_by_role("cell", name="10 min", exact=True).first).to_be_visible()
    assert complaints == []
