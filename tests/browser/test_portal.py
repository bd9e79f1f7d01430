"""What a person does and sees, in Chromium."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from protocol.points import SampleFlag
from tests.browser.conftest import OpenPage, log_in
from tests.support.claiming import TestDevice
from tests.support.portal import ON_BATTERY, Portal, labelled_device, now_ms, running_portal

pytestmark = pytest.mark.browser

DRAWN = """() => {
    const canvases = [...document.querySelectorAll('#charts canvas')];
    return canvases.length === 3 && canvases.every(canvas => {
        const {width, height} = canvas;
        const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, width, height).data.buffer);
        return new Set(data).size > 20;  // lines, grid and shade, each with its soft edges
    });
}"""


async def type_codes(page: Page, device: TestDevice, product_key: str) -> None:
    """From the list of devices to the page of the claim, by the words on the pages."""
    await page.get_by_role("navigation").get_by_role("link", name="Add Device").click()
    await page.get_by_role("link", name="Product Codes").click()
    await page.get_by_label("Product ID", exact=True).fill(device.product_id.value)
    await page.get_by_label("Product Key", exact=True).fill(product_key)
    await page.get_by_role("button", name="Register UPS").click()
    await page.wait_for_url("**/claims/*")


async def test_from_log_in_to_an_outage_on_the_open_page(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page()
    await log_in(page, portal)
    device, product_key = labelled_device()
    await device.announce(portal.pool, now_ms(), smartconnect=False)
    await type_codes(page, device, product_key)
    await expect(page.get_by_text("please enable it")).to_be_visible()

    await device.announce(portal.pool, now_ms(), smartconnect=True)
    await expect(page.get_by_text("This UPS is yours", exact=True)).to_be_visible()
    await page.get_by_role("link", name="Show the UPS").click()
    await expect(page.locator(".now-word")).to_have_text("Waiting for readings")

    owned = await portal.find_owned(device)
    await owned.show(input_voltage=229.7)
    await expect(page.locator("[data-point=input_voltage]")).to_contain_text("229.7 V")
    await expect(page.locator(".now-word")).to_have_text("On mains")
    await expect(page.locator(".live-mark")).to_be_visible()

    await owned.show(ups_status=ON_BATTERY, input_voltage=0.0)
    await owned.add_event("on_battery", input_voltage=0.0)
    await expect(page.locator(".now-word")).to_have_text("On battery")
    await expect(page.locator("#events")).to_contain_text("On battery")
    await expect(page.locator("#sentence")).to_contain_text(re.compile(r"for [1-9]\d* s, 41 min left"))

    await page.get_by_role("link", name="Devices").first.click()
    await expect(page.locator(f"#device-{device.device_id} .state")).to_have_text("On battery")
    await owned.show()
    await expect(page.locator(f"#device-{device.device_id} .state")).to_have_text("On mains")


async def test_the_chart_draws_history_and_goes_on_live(portal: Portal, open_page: OpenPage) -> None:
    owned = await portal.own_device(await portal.add_person("ada@example.org"))
    end = now_ms()
    outage = {"ups_status": ON_BATTERY, "input_voltage": 0.0}
    await owned.add_samples(
        [(end - age * 10_000, outage if 100 < age < 130 else {}) for age in range(360, 0, -1)]
    )
    await owned.show()
    page = await open_page()
    await log_in(page, portal)
    await page.goto(f"{portal.url}/devices/{owned.device_id}")
    await expect(page.locator("#charts canvas")).to_have_count(3)
    await page.wait_for_function(DRAWN)
    await owned.show(state_of_charge=63.0)
    await expect(page.locator("#charts figcaption").last).to_contain_text("63 %")
    await page.get_by_role("link", name="6 h").click()
    await page.wait_for_url("**range_s=21600")
    await expect(page.locator("a[data-range='21600']")).to_have_attribute("aria-current", "true")
    await page.locator("#charts .u-over").first.hover()
    await expect(page.locator(".key-time").first).to_contain_text(":")
    await page.get_by_text("Show as a table").first.click()
    readings = page.get_by_role("region", name="Readings: Voltage")
    await expect(readings.get_by_role("row")).not_to_have_count(0)


async def test_live_points_that_come_before_the_first_history_are_drawn_with_it(
    portal: Portal, open_page: OpenPage
) -> None:
    owned = await portal.own_device(await portal.add_person("ada@example.org"))
    await owned.show(state_of_charge=80.0)
    page = await open_page()
    await log_in(page, portal)
    shown = asyncio.Event()

    async def hold(route: Route) -> None:
        await shown.wait()
        await route.continue_()

    await page.route("**/history?*", hold)
    await page.goto(f"{portal.url}/devices/{owned.device_id}")
    await owned.show(state_of_charge=63.0)
    await expect(page.locator("#status").get_by_text("63 %", exact=True)).to_be_visible()
    shown.set()
    await expect(page.locator("#charts figcaption").last).to_contain_text("63 %")


async def test_a_past_that_arrives_later_is_drawn_and_live_points_stay(
    portal: Portal, open_page: OpenPage
) -> None:
    owned = await portal.own_device(await portal.add_person("ada@example.org"))
    await owned.show(state_of_charge=63.0)
    page = await open_page()
    await log_in(page, portal)
    await page.goto(f"{portal.url}/devices/{owned.device_id}")
    legend = page.locator("#charts figcaption").last
    await expect(legend).to_contain_text("63 %")
    flags = {"flags": int(SampleFlag.IMPORTED)}
    await owned.add_samples([(now_ms() - age * 10_000, flags) for age in range(360, 6, -1)])
    async with page.expect_response(lambda answer: "/history" in answer.url):
        await owned.add_event("self_test", result="passed")
    await page.wait_for_function(DRAWN)
    await expect(page.get_by_text("were imported")).to_be_visible()
    await expect(legend).to_contain_text("63 %")


async def test_all_of_it_works_without_javascript(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page(java_script_enabled=False)
    await log_in(page, portal)
    device, product_key = labelled_device()
    await type_codes(page, device, product_key)
    await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()
    await device.announce(portal.pool, now_ms())
    await page.get_by_role("link", name="Check again").click()
    await page.get_by_role("link", name="Show the UPS").click()
    owned = await portal.find_owned(device)
    await owned.show(ups_status=ON_BATTERY)
    await owned.add_samples([(now_ms() - 1000, {})])
    await page.reload()
    await expect(page.locator(".now-word")).to_have_text("On battery")
    await expect(page.locator("noscript .notice")).to_be_visible()
    await page.get_by_text("Show as a table").first.click()
    await expect(page.get_by_role("cell", name="231.4")).to_be_visible()
    await page.locator(".menu summary").click()
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/login")


async def test_old_values_are_marked_when_the_portal_is_gone_and_mend_themselves(
    database: str, tmp_path: Path, open_page: OpenPage, complaints: list[str]
) -> None:
    async with running_portal(database, tmp_path / "state") as portal:
        owned = await portal.own_device(await portal.add_person("ada@example.org"))
        await owned.show()
        page, listing = await open_page(), await open_page()
        for one in (page, listing):
            await log_in(one, portal)
        await page.goto(f"{portal.url}/devices/{owned.device_id}")
        await expect(page.locator(".live-mark")).to_be_visible()
        await expect(page.locator("#stale")).to_be_hidden()
    await expect(page.locator("#stale")).to_be_visible()
    await expect(page.locator(".live-mark")).to_be_hidden()
    await expect(listing.locator("#stale")).to_be_visible()
    port = portal.settings.portal_port
    async with running_portal(database, tmp_path / "state", port=port) as again:
        await expect(page.locator("#stale")).to_be_hidden()
        await expect(listing.locator("#stale")).to_be_hidden()
        owned.pool = again.pool
        await owned.show(ups_status=ON_BATTERY)
        await expect(page.locator(".now-word")).to_have_text("On battery")
        assert {text for text in complaints if "ERR_" not in text and "Failed to fetch" not in text} == set()
        complaints.clear()
        await page.close()
        await listing.close()


async def test_a_device_that_is_not_heard_is_not_shown_as_live(portal: Portal, open_page: OpenPage) -> None:
    owned = await portal.own_device(await portal.add_person("ada@example.org"))
    await owned.show(at_ms=now_ms() - 18_000_000, connected=False, ups_status=ON_BATTERY, input_voltage=0.0)
    page = await open_page()
    await log_in(page, portal)
    await page.goto(f"{portal.url}/devices/{owned.device_id}")
    await expect(page.locator(".now-word")).to_have_text("Offline")
    await expect(page.locator("#chart-note")).to_have_text("No readings in this range.")
    await expect(page.locator("html")).to_have_class("is-live")
    await expect(page.locator(".live-mark")).to_have_count(0)
    await expect(page.locator("#charts figcaption").first).to_contain_text("Mains –")
    await owned.show()
    await expect(page.locator(".now-word")).to_have_text("On mains")
    await expect(page.locator(".live-mark")).to_be_visible()
    await expect(page.locator("#chart-note")).to_be_empty()


async def test_an_open_page_leaves_when_its_log_in_ends(
    portal: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    owned = await portal.own_device(await portal.add_person("ada@example.org"))
    await owned.show()
    page = await open_page()
    await log_in(page, portal)
    await page.goto(f"{portal.url}/devices/{owned.device_id}")
    await expect(page.locator(".live-mark")).to_be_visible()
    async with portal.pool.connection() as connection:
        await connection.execute("DELETE FROM web_session")
    await page.wait_for_url(re.compile("/login"))
    complaints[:] = [text for text in complaints if "401" not in text]


async def test_another_accounts_device_cannot_be_had(portal: Portal, open_page: OpenPage) -> None:
    ada = await portal.add_person("ada@example.org")
    await portal.add_person("eve@example.org", first_name="Eve")
    device, product_key = labelled_device()
    await portal.own_device(ada, device)
    page = await open_page()
    await log_in(page, portal, "eve@example.org")
    await type_codes(page, device, product_key)
    await expect(page.get_by_text("already associated with another account")).to_be_visible()


async def test_https_has_a_cookie_that_is_bound_to_the_host(
    database: str, tmp_path: Path, open_page: OpenPage
) -> None:
    async with running_portal(database, tmp_path / "state", portal_tls=True) as portal:
        owned = await portal.own_device(await portal.add_person("ada@example.org"))
        await owned.show()
        page = await open_page(ignore_https_errors=True)
        await log_in(page, portal)
        await page.goto(f"{portal.url}/devices/{owned.device_id}")
        await expect(page.locator(".live-mark")).to_be_visible()
        (cookie,) = await page.context.cookies()
        assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == ("__Host-session", True, True)
        await page.close()
