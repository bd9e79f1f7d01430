"""The Control panel in a browser: asked with the keyboard alone, confirmed, followed live."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, log_in
from tests.browser.test_access import WIDER, faults
from tests.support.commanding import turn_on_two_factor
from tests.support.portal import Portal, now_ms

pytestmark = pytest.mark.browser


async def test_a_reboot_is_confirmed_by_keyboard_and_followed_live(
    portal: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    ada = await portal.add_person("ada@example.org")
    owned = await portal.own_device(ada)
    await owned.show(mog_outlet_status=1, sog0_outlet_status=1)
    page = await open_page(viewport={"width": 390, "height": 800})
    await log_in(page, portal)
    await turn_on_two_factor(portal.pool, ada.account_id, now_ms())
    await page.goto(f"{portal.url}/devices/{owned.device_id}")
    await page.get_by_role("link", name="Reboot: Outlet group 1").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Reboot Outlet group 1")).to_be_visible()
    assert await faults(page) == []
    await expect(page.locator("#name")).to_be_focused()
    await page.keyboard.type("Outlet group 2")
    await page.keyboard.press("Enter")
    await expect(page.locator("#name-fault")).to_contain_text("not that of the outlet group")
    assert await faults(page) == []
    assert complaints == [
        "Failed to load resource: the server responded with a status of 422 (Unprocessable Entity)"
    ]
    complaints.clear()
    await page.fill("#name", "outlet group 1")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**#control")
    row = page.locator("#commands li").first
    for state, code, text in (
        ("requested", "", "Waiting for the device"),
        ("delivered", "", "carrying it out"),
        ("refused", "outlet_control_off", "allow_outlet_control = true"),
    ):
        async with portal.pool.connection() as connection:
            await connection.execute("UPDATE command SET state = %s, code = %s", [state, code])
            await connection.execute("SELECT pg_notify('device', %s)", [str(owned.device_id)])
        await expect(row).to_have_attribute("data-state", state)
        await expect(row).to_contain_text(text)
    assert not await page.evaluate(WIDER)
    await owned.show(mog_outlet_status=1, sog0_outlet_status=0b110)
    await expect(page.locator("#outlet-sog0 .badge")).to_have_text("Rebooting")
    await expect(page.locator("#outlet-sog0 a")).to_have_count(0)
