"""Claims that ask something of people: work for the many open ones, and which of several devices it is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from cloud.core.slow_lane import MIN_AGE_MS
from cloud.services import slow_lane
from protocol.identity import fingerprint_of
from tests.browser.conftest import OpenPage, log_in
from tests.browser.test_portal import type_codes
from tests.browser.test_rooms import SIZES, fine, tick_robot
from tests.support.portal import Portal, labelled_device, now_ms, running_portal

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture(loop_scope="session")
async def strict(database: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A portal that gives one free claim."""
    async with running_portal(database, tmp_path / "state", free_claims_account=1) as running:
        yield running


async def owners_kids(portal: Portal) -> list[str]:
    """The device keys of live ownerships."""
    async with portal.pool.connection() as connection:
        found = await connection.execute("SELECT kid FROM ownership WHERE until_ms IS NULL")
        return [row[0] for row in await found.fetchall()]


async def test_the_robot_box_of_the_codes_form(
    strict: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    await strict.add_person("ada@example.org")
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await log_in(page, strict)
    await type_codes(page, *labelled_device())
    await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()
    async with strict.pool.connection() as connection:  # the pause after it is over
        await connection.execute("UPDATE attempt SET last_ms = last_ms - 60000")

    device, product_key = labelled_device()
    await device.announce(strict.pool, now_ms())
    await page.goto(f"{strict.url}/add/codes")
    await expect(page.get_by_label("I am not a robot")).to_have_count(0)
    await page.get_by_label("Product ID", exact=True).fill(device.product_id.value)
    await page.get_by_label("Product Key", exact=True).fill(product_key)
    await page.get_by_role("button", name="Register UPS").click()
    await expect(page.get_by_role("alert")).to_contain_text("please tick this box as well")
    assert len(complaints) == 1  # Chromium's own line about the status 429
    complaints.clear()
    await expect(page.get_by_label("Product ID", exact=True)).to_have_value(device.product_id.value)
    await expect(page.get_by_label("Product Key", exact=True)).to_have_value("")
    assert product_key not in await page.content()
    await fine(page, "codes-robot")

    await page.get_by_label("Product Key", exact=True).fill(product_key)
    await page.get_by_role("button", name="Register UPS").click()  # the browser asks for the tick first
    await expect(page.get_by_label("I am not a robot")).not_to_be_checked()
    assert await owners_kids(strict) == []
    await tick_robot(page)
    await page.get_by_role("button", name="Register UPS").click()
    await expect(page.get_by_text("This UPS is yours", exact=True)).to_be_visible()
    assert await owners_kids(strict) == [device.kid]


async def test_without_javascript_the_codes_form_says_what_the_box_needs(
    strict: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    await strict.add_person("ada@example.org")
    page = await open_page(java_script_enabled=False)
    await log_in(page, strict)
    await type_codes(page, *labelled_device())
    async with strict.pool.connection() as connection:
        await connection.execute("UPDATE attempt SET last_ms = last_ms - 60000")
    device, product_key = labelled_device()
    await page.goto(f"{strict.url}/add/codes")
    await page.get_by_label("Product ID", exact=True).fill(device.product_id.value)
    await page.get_by_label("Product Key", exact=True).fill(product_key)
    await page.get_by_role("button", name="Register UPS").click()
    await expect(page.get_by_text("Without JavaScript this check can take a while")).to_be_visible()
    old = slow_lane.ticket(strict.kit, now_ms() - MIN_AGE_MS)
    await page.locator("input[name=slow]").evaluate("(field, ticket) => { field.value = ticket; }", old)
    await page.get_by_label("Product Key", exact=True).fill(product_key)
    await page.get_by_label("I am not a robot").check()
    await page.get_by_role("button", name="Register UPS").click()
    await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()
    complaints[:] = [text for text in complaints if "429" not in text]


async def test_of_several_devices_with_one_label_the_picked_one_is_taken(
    portal: Portal, open_page: OpenPage
) -> None:
    await portal.add_person("ada@example.org")
    mine, product_key = labelled_device()
    theirs = [mine.twin(), mine.twin()]
    for device in (theirs[0], mine, theirs[1]):
        await device.announce(portal.pool, now_ms())
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await log_in(page, portal)
    await type_codes(page, mine, product_key)
    await expect(page.get_by_text("Several devices announce themselves with this label")).to_be_visible()
    buttons = page.locator("form[action$='/pick'] button")
    shown = {fingerprint_of(device.kid) for device in (mine, *theirs)}
    assert {text.strip() for text in await buttons.all_inner_texts()} == shown
    await fine(page, "several")
    assert await owners_kids(portal) == []

    own = page.get_by_role("button", name=fingerprint_of(mine.kid))
    await own.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("This UPS is yours", exact=True)).to_be_visible()
    assert await owners_kids(portal) == [mine.kid]


async def test_a_picked_device_that_is_silent_is_waited_for_on_the_open_page(
    portal: Portal, open_page: OpenPage
) -> None:
    await portal.add_person("ada@example.org")
    mine, product_key = labelled_device()
    twin = mine.twin()
    for device in (mine, twin):
        await device.announce(portal.pool, now_ms(), smartconnect=device is twin)
    page = await open_page()
    await log_in(page, portal)
    await type_codes(page, mine, product_key)
    await page.get_by_role("button", name=fingerprint_of(mine.kid)).click()
    await expect(page.get_by_text("please enable it")).to_be_visible()
    await twin.announce(portal.pool, now_ms())  # which does not take what was picked
    assert await owners_kids(portal) == []
    await mine.announce(portal.pool, now_ms(), smartconnect=True)
    await expect(page.get_by_text("This UPS is yours", exact=True)).to_be_visible()
    assert await owners_kids(portal) == [mine.kid]
