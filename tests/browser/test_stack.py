"""Through the whole cloud: a device over MQTT and TLS, a person in Chromium, PostgreSQL between them."""

import asyncio
import time
from pathlib import Path

import pytest
from playwright.async_api import expect

from cloud.provision import load_key_set
from protocol import codec, topics
from protocol.messages import Event, EventKind
from tests.browser.conftest import OpenPage
from tests.support.device import WireDevice
from tests.support.portal import HEALTHY, ON_BATTERY, PASSWORD
from tests.support.stack import cloud_stack

pytestmark = pytest.mark.browser


def sample(seq: int, **changes: float) -> bytes:
    """One sample of a healthy UPS with these changes, as a batch."""
    return codec.pack_batch(
        [codec.pack_sample({**HEALTHY, **changes, "ts": time.time_ns() // 1_000_000, "seq": seq})]
    )


async def test_a_device_comes_over_mqtt_and_is_seen(tmp_path: Path, open_page: OpenPage) -> None:
    with cloud_stack(tmp_path / "state") as stack:
        names = ("--email", "ada@example.org", "--first-name", "Ada", "--last-name", "North")
        stack.admin("account", "add", *names, secret=f"{PASSWORD}\n")
        device = WireDevice(stack.installation, load_key_set(stack.state_dir))
        page = await open_page()
        await page.goto(f"{stack.portal_url}/add/codes")
        await page.fill("#email", "ada@example.org")
        await page.fill("#password", PASSWORD)
        await page.click("main button[type=submit]")
        await page.fill("#product_id", device.product_id.value)
        await page.fill("#product_key", device.product_key.value)
        await page.get_by_role("button", name="Register UPS").click()
        await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()

        await asyncio.to_thread(device.connect)
        try:
            assert await asyncio.to_thread(device.announce) == 0
            await page.get_by_role("link", name="Show the UPS").click()
            epoch = (await asyncio.to_thread(device.wait_owned)).epoch
            telemetry = topics.telemetry(device.kid, epoch, stream=epoch)
            assert await asyncio.to_thread(device.publish, sample(1, input_voltage=228.6), telemetry) == 0
            await expect(page.locator("[data-point=input_voltage]")).to_contain_text("228.6 V")
            await expect(page.locator(".now-word")).to_have_text("On mains")

            edge = Event(
                stream=epoch,
                seq=1,
                ts_ms=time.time_ns() // 1_000_000,
                kind=EventKind.ON_BATTERY,
                values={"input_voltage": 0.0},
            )
            outage = sample(2, ups_status=ON_BATTERY, input_voltage=0.0)
            event = topics.event(device.kid, epoch)
            assert await asyncio.to_thread(device.publish, codec.encode(edge), event) == 0
            assert await asyncio.to_thread(device.publish, outage, telemetry) == 0
            await expect(page.locator(".now-word")).to_have_text("On battery")
            await expect(page.locator("#events")).to_contain_text("mains 0 V")
        finally:
            await asyncio.to_thread(device.close)
        await expect(page.locator(".now-word")).to_have_text("Offline")
        await page.close()
