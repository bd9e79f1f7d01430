"""Log-in over plain HTTP on loopback, and a live page, in Firefox."""

import os

import pytest

from tests.support.firefox import find_firefox, firefox
from tests.support.portal import ON_BATTERY, PASSWORD, Portal

pytestmark = pytest.mark.browser


async def test_log_in_and_a_live_page(portal: Portal) -> None:
    if find_firefox() is None:
        complaint = "no Firefox here (set FIREFOX to its path)"
        if os.environ.get("CI"):
            pytest.fail(complaint, pytrace=False)
        pytest.skip(complaint)
    owned = await portal.own_device(await portal.add_person("ada@example.org"))
    await owned.show()
    async with firefox() as page:
        await page.goto(f"{portal.url}/devices/{owned.device_id}")
        await page.type("#email", "ada@example.org")
        await page.type("#password", PASSWORD)
        await page.evaluate("document.querySelector('main form').requestSubmit()")
        await page.wait_for("document.querySelector('[data-condition=on_mains]')")
        await page.wait_for("document.querySelectorAll('#charts canvas').length === 3")
        await owned.show(ups_status=ON_BATTERY)
        await page.wait_for("document.querySelector('[data-condition=on_battery]')")
