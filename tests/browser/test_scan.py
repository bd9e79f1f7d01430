"""The scanner in Chromium with a fake camera that plays a film of a printed label; photos; what was typed."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Page, expect

from protocol.identity import ProductKey, qr_link
from tests.browser.conftest import TIMEOUT_MS, OpenPage, log_in, sized
from tests.browser.test_rooms import fine
from tests.support.claiming import TestDevice
from tests.support.photos import film, photo, png
from tests.support.pictures import SIZES
from tests.support.portal import PASSWORD, Portal, labelled_device, now_ms

pytestmark = pytest.mark.browser

PHONE = {**SIZES["phone"], "reduced_motion": "reduce", "timezone_id": "Europe/Paris"}
ALLOWED = "--use-fake-ui-for-media-stream"
DEVICES = "--use-fake-device-for-media-stream"


class OpenCamera(Protocol):
    """A page in front of a camera: a browser of its own, since its flags are those of the whole browser."""

    def __call__(self, *flags: str) -> contextlib.AbstractAsyncContextManager[Page]:
        """The page, not logged in."""


@pytest_asyncio.fixture(loop_scope="session")
async def open_camera(browser: Browser, chromium_path: Path, complaints: list[str]) -> OpenCamera:
    """Pages with cameras that must not log errors either."""

    @contextlib.asynccontextmanager
    async def launch(*flags: str) -> AsyncIterator[Page]:
        other = await browser.browser_type.launch(
            executable_path=str(chromium_path), args=["--no-sandbox", *flags]
        )
        try:
            context = await other.new_context(**sized(PHONE))
            context.set_default_timeout(TIMEOUT_MS)
            page = await context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            yield page
        finally:
            await other.close()
        assert complaints == []

    return launch


def shows(path: Path) -> tuple[str, ...]:
    """Flags of a browser whose camera plays this film."""
    return ALLOWED, DEVICES, f"--use-file-for-fake-video-capture={path}"


async def open_scanner(page: Page, portal: Portal) -> None:
    """By the words on the pages."""
    await log_in(page, portal)
    await page.get_by_role("navigation").get_by_role("link", name="Add Device").click()
    await page.get_by_role("link", name="QR Code Scan").click()
    await expect(page.get_by_text("Your browser will ask you to allow access")).to_be_visible()


async def scan(page: Page) -> None:
    """Start the camera."""
    await page.get_by_role("button", name="Scan QR Code").click()


async def end_log_ins(portal: Portal) -> None:
    """All sessions expire."""
    async with portal.pool.connection() as connection:
        await connection.execute("DELETE FROM web_session")


async def expect_codes(page: Page, device: TestDevice, product_key: str) -> None:
    """The pre-filled page Register UPS."""
    await page.wait_for_url("**/r")
    await expect(page.get_by_role("heading", name="Register UPS")).to_be_visible()
    await expect(page.get_by_label("Product ID", exact=True)).to_have_value(device.product_id.value)
    await expect(page.get_by_label("Product Key", exact=True)).to_have_value(product_key)


def label(url: str = "https://portal.example.org") -> tuple[TestDevice, str, str]:
    """A device, its Product Key, and what its label's code holds."""
    device, product_key = labelled_device()
    return device, product_key, qr_link(url, device.product_id, ProductKey.parse(product_key))


async def test_from_the_camera_to_finish(portal: Portal, open_camera: OpenCamera, tmp_path: Path) -> None:
    await portal.add_person("ada@example.org")
    device, product_key, link = label(portal.url)
    await device.announce(portal.pool, now_ms(), smartconnect=False)
    async with open_camera(*shows(film(photo([link]), tmp_path / "label.mjpeg"))) as page:
        await open_scanner(page, portal)
        await fine(page, "scan")
        await scan(page)
        await expect_codes(page, device, product_key)
        await page.get_by_role("button", name="Register UPS").click()
        await expect(page.get_by_text("please enable it")).to_be_visible()
        await expect(page.locator(".pictures svg")).to_have_count(3)
        await fine(page, "enable")
        await device.announce(portal.pool, now_ms(), smartconnect=True)
        await page.get_by_role("link", name="Next: UPS Profile").click()
        await expect(page.get_by_role("heading", name="UPS Profile")).to_be_visible()
        await page.get_by_label("UPS Name").fill("Cellar")
        await page.get_by_label("UPS Description").fill("Rack 4")
        await expect(page.get_by_label("Timezone")).to_have_value("Europe/Paris")  # as the browser's
        await page.get_by_label("Notifications").check()
        await page.get_by_role("button", name="Save Profile").click()
        await expect(page.get_by_role("heading", name="Device Sensitivity")).to_be_visible()
        await page.get_by_label("After 10 seconds").check()
        await page.get_by_role("button", name="Next").click()
        await page.get_by_role("link", name="Finish").click()
        await expect(page.get_by_role("heading", name="Cellar")).to_be_visible()
        assert await page.evaluate("sessionStorage.length") == 0


async def test_a_tilted_label_outlives_an_expired_session(
    portal: Portal, open_camera: OpenCamera, tmp_path: Path
) -> None:
    await portal.add_person("ada@example.org")
    device, product_key, link = label(portal.url)
    asked: list[str] = []
    async with open_camera(*shows(film(photo([link], tilt=23), tmp_path / "tilted.mjpeg"))) as page:
        page.on("request", lambda request: asked.append(request.url))
        await open_scanner(page, portal)
        await end_log_ins(portal)
        await scan(page)
        await page.locator("[data-label=kept]").get_by_role("link", name="Log in").click()
        await page.fill("#email", "ada@example.org")
        await page.fill("#password", PASSWORD)
        await page.click("main button[type=submit]")
        await expect_codes(page, device, product_key)
        assert not [url for url in asked if product_key in url]


async def test_a_blurred_label_of_another_maker(
    portal: Portal, open_camera: OpenCamera, tmp_path: Path
) -> None:
    await portal.add_person("ada@example.org")
    device, product_key, _ = label()
    text = f"https://smartconnect.example.org/register?id={device.product_id.value}&key={product_key}"
    async with open_camera(*shows(film(photo([text], tilt=8, blur=2.2), tmp_path / "blurred.mjpeg"))) as page:
        await open_scanner(page, portal)
        await scan(page)
        await expect_codes(page, device, product_key)


async def test_another_code_is_said_and_the_camera_can_be_left(
    portal: Portal, open_camera: OpenCamera, tmp_path: Path
) -> None:
    await portal.add_person("ada@example.org")
    other = photo(["https://example.org/<i>manual"])
    async with open_camera(*shows(film(other, tmp_path / "other.mjpeg"))) as page:
        await open_scanner(page, portal)
        await scan(page)
        await expect(page.locator("#scan-status")).to_have_text(
            "This code holds no Product ID and Product Key. It says: “https://example.org/<i>manual”"
        )
        await fine(page, "scanning")
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.get_by_role("button", name="Scan QR Code")).to_be_focused()
        assert await page.evaluate("document.querySelector('video').srcObject === null")


async def test_a_refused_camera_is_asked_again_without_logging_out(
    portal: Portal, open_camera: OpenCamera, tmp_path: Path
) -> None:
    await portal.add_person("ada@example.org")
    device, product_key, link = label(portal.url)
    plays = shows(film(photo([link]), tmp_path / "label.mjpeg"))[1:]
    async with open_camera("--deny-permission-prompts", *plays) as page:
        await open_scanner(page, portal)
        await scan(page)
        await expect(page.get_by_role("alert")).to_contain_text("The camera is blocked for this page.")
        await fine(page, "scan-refused")
        await expect(page.get_by_role("link", name="Camera help").last).to_have_attribute(
            "href", "/help/camera"
        )
        await page.context.grant_permissions(["camera"], origin=portal.url)
        await page.get_by_role("button", name="Try again").click()
        await expect_codes(page, device, product_key)


async def test_cameras_are_chosen_from_a_list(portal: Portal, open_camera: OpenCamera) -> None:
    await portal.add_person("ada@example.org")
    async with open_camera(ALLOWED, f"{DEVICES}=device-count=2") as page:
        await open_scanner(page, portal)
        await scan(page)
        cameras = page.get_by_label("Select a camera")
        await expect(cameras.locator("option")).to_have_count(2)
        second = await cameras.locator("option").nth(1).get_attribute("value")
        assert second is not None
        await cameras.select_option(second)
        await expect(cameras).to_have_value(second)
        await page.reload()  # it is remembered
        await scan(page)
        await expect(cameras).to_have_value(second)


async def test_without_a_camera_there_are_other_ways(portal: Portal, open_camera: OpenCamera) -> None:
    await portal.add_person("ada@example.org")
    async with open_camera(ALLOWED, f"{DEVICES}=device-count=0") as page:
        await open_scanner(page, portal)
        await scan(page)
        await expect(page.get_by_role("alert")).to_contain_text("No camera was found.")
        await page.get_by_role("link", name="Camera help").click()
        await expect(page.locator("#none")).to_be_in_viewport()


def chosen(*texts: str) -> FilePayload:
    """A photo from the gallery."""
    return {"name": "IMG_0001.png", "mimeType": "image/png", "buffer": png(photo(texts, size=(1700, 960)))}


async def test_three_labels_in_one_photo(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    labels = [label() for _ in range(3)]
    for device, _, _ in labels:
        await device.announce(portal.pool, now_ms())
    page = await open_page(**PHONE)
    await open_scanner(page, portal)
    await page.get_by_label("Choose a photo").set_input_files(chosen(*(link for _, _, link in labels)))
    await expect(page.get_by_text("3 labels were read")).to_be_visible()
    await fine(page, "photo-several")
    await page.get_by_label(labels[1][0].product_id.value).uncheck()
    await page.get_by_role("button", name="Register UPSs").click()
    await expect(page.locator("#job-state")).to_have_attribute("data-state", "done")
    for device, _, _ in (labels[0], labels[2]):
        assert (await portal.find_owned(device)).device_id == device.device_id
    with pytest.raises(AssertionError):
        await portal.find_owned(labels[1][0])


async def test_a_photo_without_javascript(portal: Portal, open_page: OpenPage, complaints: list[str]) -> None:
    await portal.add_person("ada@example.org")
    device, product_key, link = label()
    page = await open_page(**PHONE, java_script_enabled=False)
    await log_in(page, portal)
    await page.goto(f"{portal.url}/add/scan")
    await expect(page.get_by_role("button", name="Scan QR Code")).to_be_hidden()
    await page.get_by_role("button", name="Read the photo").click()
    await expect(page.get_by_role("alert")).to_contain_text("Please take a photo of the label")
    complaints[:] = [text for text in complaints if "422" not in text]
    await page.get_by_label("Choose a photo").set_input_files(chosen(link))
    await page.get_by_role("button", name="Read the photo").click()
    await expect(page.get_by_label("Product ID", exact=True)).to_have_value(device.product_id.value)
    await expect(page.get_by_label("Product Key", exact=True)).to_have_value(product_key)
    await page.get_by_role("button", name="Register UPS").click()
    await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()


PASTE = """(field, text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text", text);
    field.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
}"""


async def test_what_was_pasted_and_typed_outlives_an_expired_session(
    portal: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page(**PHONE)
    await log_in(page, portal)
    await page.goto(f"{portal.url}/add/codes")
    text = "Product ID: O012 Product ID AB0DEFO1JKLI, Product Key 23456789ABCDEF"
    await page.get_by_label("Product Key", exact=True).evaluate(PASTE, text)
    await expect(page.get_by_label("Product ID", exact=True)).to_have_value("AB0DEFO1JKLI")
    await expect(page.get_by_label("Product Key", exact=True)).to_have_value("23456789ABCDEF")
    await expect(page.locator("#product_id-alike")).to_have_text(
        "Look-alikes, by place: 3 the digit 0, 7 the letter O, 8 the digit 1, 12 the letter I."
        " Compare them with the label."
    )
    await expect(page.locator("#product_key-alike")).to_have_text("")
    await fine(page, "codes")
    await end_log_ins(portal)
    await page.get_by_role("button", name="Register UPS").click()
    await page.get_by_role("link", name="To the log-in page").click()
    assert complaints.pop().startswith("Failed to load resource: the server responded with a status of 401")
    await page.fill("#email", "ada@example.org")
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/r")
    await expect(page.get_by_label("Product ID", exact=True)).to_have_value("AB0DEFO1JKLI")
    await expect(page.get_by_label("Product Key", exact=True)).to_have_value("23456789ABCDEF")
