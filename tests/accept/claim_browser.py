"""Acceptance ``claim-browser``: a label's link, the timeline and a list of 1 000 lines, in Chromium.

Real PostgreSQL, gateway and portal; devices over MQTT with TLS. At desktop and at phone size: the link opened
logged out by somebody without an account (sign-up with the code from the mailbox) and by somebody with one;
the timeline changes on the open page; a second company is told what the ways are; a list with faulty lines.
"""

import asyncio
import csv
import io
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Error, FilePayload, Page, async_playwright, expect

from protocol.identity import ProductId, ProductKey, fingerprint_of, qr_link
from tests.accept import CheckError, failed, passed, progress
from tests.accept import expect as must
from tests.accept._claim_run import connected, threaded
from tests.support.browser import find_chromium
from tests.support.device import WireDevice, random_codes
from tests.support.person import PASSWORD
from tests.support.stack import Stack, cloud_stack

SIZES: Final[dict[str, dict[str, Any]]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
ROWS, FAULTY = 1000, 20
REAL: Final = 3
WAIT_MS: Final = 20_000
BULK_WAIT_S: Final = 180.0
WIDER: Final = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


class Walk:
    """One walk through everything, at one size."""

    def __init__(self, stack: Stack, browser: Browser, size: str) -> None:
        self.stack = stack
        self.browser = browser
        self.size = size
        self.email = f"grace-{size}@example.org"
        self.keys: list[ProductKey] = []
        self.addresses: list[str] = []
        self.live_ms: list[float] = []

    def device(self, codes: tuple[ProductId, ProductKey] | None = None) -> WireDevice:
        """A device nobody has seen."""
        made = WireDevice(self.stack.installation, self.stack.key_set, codes)
        self.keys.append(made.product_key)
        return made

    def link(self, device: WireDevice) -> str:
        """What its label's QR code holds."""
        return qr_link(self.stack.portal_url, device.product_id, device.product_key)

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A browser profile of its own."""
        context = await self.browser.new_context(**SIZES[self.size])
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        page.on("request", lambda request: self.addresses.append(request.url))
        try:
            yield page
        finally:
            await context.close()

    async def run(self) -> str:
        """All of it; the figures."""
        device = self.device()
        await self.without_an_account(device)
        await self.with_an_account()
        await self.owned_elsewhere(device)
        took_s, steps = await self.list_of_many()
        for key in self.keys:
            # The browser's own view of an address holds the fragment of the link it was given, and only that.
            found = [one for one in self.addresses if key.value in one.split("#")[0]]
            must(not found, "a Product Key is in an address")
        return (
            f"{self.size}: timeline {max(self.live_ms):.0f} ms at most, list of {ROWS} in {took_s:.0f} s with"
            f" {steps} live steps"
        )

    # --- the link

    async def without_an_account(self, device: WireDevice) -> None:
        """Link, sign-up with the code from the mailbox, form, timeline: off, then on."""
        async with self.page() as page:
            await page.goto(self.link(device))
            await page.locator("[data-label=kept]").get_by_role("link", name="Sign Up").click()
            await self._sign_up(page)
            await page.get_by_role("link", name="Not now").click()
            await self._register(page, device)
            await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()
            must(not await page.evaluate(WIDER), f"the timeline is wider than the {self.size}")
            async with connected(device):
                await threaded(lambda: device.announce(smartconnect=False))
                await self._shows(page, "SmartConnect is not enabled on your device: please enable it")
                await threaded(device.announce)
                await self._shows(page, "This UPS is yours")

    async def with_an_account(self) -> None:
        """Link, log-in, form, timeline: two devices with one label, pick one."""
        device = self.device()
        twin = self.device((device.product_id, device.product_key))
        async with self.page() as page:
            await page.goto(self.link(device))
            await page.locator("[data-label=kept]").get_by_role("link", name="Log in").click()
            await self._log_in(page, self.email)
            await self._register(page, device)
            await expect(page.get_by_text("Waiting for the device", exact=True)).to_be_visible()
            # Held by SmartConnect off until both are there: the first one alone would be bound at once.
            async with connected(device), connected(twin):
                await threaded(lambda: device.announce(smartconnect=False))
                await threaded(twin.announce)
                await self._shows(page, "Several devices announce themselves with this label")
                await threaded(device.announce)
                await page.get_by_role("button", name=fingerprint_of(device.kid)).click()
                await expect(page.get_by_text("This UPS is yours", exact=True)).to_be_visible()

    async def owned_elsewhere(self, device: WireDevice) -> None:
        """Somebody else with the right codes is told so, with the ways there are."""
        other = f"eve-{self.size}@example.org"
        await threaded(
            lambda: self.stack.admin(
                *("account", "add", "--email", other, "--first-name", "Eve", "--last-name", "East"),
                secret=PASSWORD + "\n",
            )
        )
        async with self.page() as page:
            await page.goto(self.link(device))
            await page.locator("[data-label=kept]").get_by_role("link", name="Log in").click()
            await self._log_in(page, other)
            await self._register(page, device)
            await expect(page.get_by_text("already associated with another account")).to_be_visible()
            await page.get_by_role("link", name="Adding your device: issues").click()
            await expect(page.locator("#elsewhere")).to_be_visible()
            must(not await page.evaluate(WIDER), f"the help page is wider than the {self.size}")

    async def _sign_up(self, page: Page) -> None:
        url = self.stack.portal_url
        await page.get_by_label("Email").fill(self.email)
        await page.get_by_label("First name").fill("Grace")
        await page.get_by_label("Last name").fill("South")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_label("Location").select_option("France")
        await page.get_by_role("button", name="Next").click()
        for label, text in {
            "Company Name": f"Example {self.size}",
            "Address": "1 Example Street",
            "City": "Exampleville",
            "Zip Code": "12345",
            "State/Province": "Example Province",
        }.items():
            await page.get_by_label(label).fill(text)
        await page.get_by_label("Business Type").select_option("Business user")
        await page.get_by_label("I have read the privacy notice").check()
        await page.get_by_label("I am not a robot").check()
        await expect(page.locator("#robot-status")).to_have_text("Checked")
        await page.get_by_role("button", name="Register").click()
        await page.wait_for_url("**/signup/verify")
        await page.goto(f"{url}/mailbox")
        code = await page.locator(".mail-text .code").first.inner_text()
        await page.goto(f"{url}/signup/verify")
        await page.get_by_label("6-digit code").fill(code)
        await page.get_by_role("button", name="Verify").click()
        await page.wait_for_url("**/account/two-factor/offer")

    async def _log_in(self, page: Page, email: str) -> None:
        await page.fill("#email", email)
        await page.fill("#password", PASSWORD)
        await page.click("main button[type=submit]")

    async def _register(self, page: Page, device: WireDevice) -> None:
        """The pre-filled form, and nothing of the key in the address."""
        await expect(page.get_by_label("Product Key", exact=True)).to_have_value(device.product_key.value)
        await expect(page.get_by_label("Product ID", exact=True)).to_have_value(device.product_id.value)
        must(page.url.endswith("/r"), "the address of the form holds more than the form's path")
        await page.get_by_role("button", name="Register UPS").click()
        await page.wait_for_url("**/claims/*")
        must(await page.evaluate("sessionStorage.length") == 0, "the tab still keeps the codes")

    async def _shows(self, page: Page, text: str) -> None:
        began = time.monotonic()
        await expect(page.get_by_text(text, exact=True)).to_be_visible()
        self.live_ms.append((time.monotonic() - began) * 1000)

    # --- the list

    async def list_of_many(self) -> tuple[float, int]:
        """A file of 1 000 lines, 20 of them faulty, three for devices that are there; then a part again."""
        codes = [random_codes() for _ in range(ROWS - FAULTY - REAL)]
        devices = [self.device() for _ in range(REAL)]
        lines = [f"{one.value},{key.value}" for one, key in codes]
        lines[:0] = [f"{device.product_id.value},{device.product_key.value}" for device in devices]
        for number in range(FAULTY):  # spread through the list
            lines.insert(number * 50, "nonsense" if number % 2 else f"{codes[0][0].value},TOO-SHORT")
        self.keys += [key for _, key in codes[:5]]
        async with self.page() as page:
            await page.goto(f"{self.stack.portal_url}/login")
            await self._log_in(page, self.email)
            await page.wait_for_url("**/devices")
            for device in devices:
                await threaded(device.connect)
                await threaded(device.announce)
            try:
                began = time.monotonic()
                steps = await self._hand_in(page, lines)
                took_s = time.monotonic() - began
                counts = Counter(row["result"] for row in await self._result(page))
                wanted = {
                    "won": REAL,
                    "waiting_for_device": len(codes),
                    "no_codes": FAULTY // 2,
                    "product_key_invalid": FAULTY // 2,
                }
                must(counts == wanted, f"the list became {dict(counts)}")
                await self._hand_in(page, lines[:60])
                again = Counter(row["result"] for row in await self._result(page))
                must(again["already_yours"] == REAL, f"the list again became {dict(again)}")
                must(again["waiting_for_device"] == 60 - REAL - 2, f"the list again became {dict(again)}")
            finally:
                for device in devices:
                    await threaded(device.close)
        return took_s, steps

    async def _hand_in(self, page: Page, lines: list[str]) -> int:
        """Choose the file, send it, watch the page without loading it; how often its count changed."""
        await page.goto(f"{self.stack.portal_url}/add/bulk")
        text = "\n".join(["Product ID,Product Key", *lines])
        chosen: FilePayload = {"name": "list.csv", "mimeType": "text/csv", "buffer": text.encode()}
        await page.locator("#file").set_input_files(chosen)
        await expect(page.locator("#list")).to_have_value(text)
        await page.get_by_role("button", name="Register UPSs").click()
        await page.wait_for_url("**/add/bulk/*")
        must(not await page.evaluate(WIDER), f"the progress is wider than the {self.size}")
        seen: set[str] = set()
        deadline = time.monotonic() + BULK_WAIT_S
        while await page.locator("#job-state").get_attribute("data-state") == "running":
            must(time.monotonic() < deadline, f"the list is not done after {BULK_WAIT_S} s")
            seen.add(await page.locator("#job-state strong").first.inner_text())
            await asyncio.sleep(0.2)
        state = await page.locator("#job-state").get_attribute("data-state")
        must(state == "done", f"the job ended as {state}")
        return len(seen)

    async def _result(self, page: Page) -> list[dict[str, str]]:
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Result as CSV").click()
        path = await (await download.value).path()
        rows = list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))))
        must(all(row["reason"] for row in rows), "a line has no reason")
        return rows


async def check(stack: Stack) -> str:
    """Both sizes, one after the other."""
    program = find_chromium()
    if program is None:
        raise CheckError("no Chromium or Chrome here (set CHROMIUM to its path)")
    figures = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(program), args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        try:
            for size in SIZES:
                progress(f"at {size} size")
                walk = Walk(stack, browser, size)
                figures.append(await walk.run())
                for key in walk.keys:
                    must(key.value not in stack.log, "a Product Key is in a log")
        finally:
            await browser.close()
    return "; ".join(figures)


def main() -> int:
    """Run the check; its exit status."""
    try:
        with tempfile.TemporaryDirectory(prefix="claim-browser-") as folder:
            environment = {"SMARTCONNECT_MAIL": "mailbox"}
            with cloud_stack(Path(folder) / "state", environment=environment) as stack:
                figures = asyncio.run(check(stack))
    except (CheckError, Error, AssertionError, RuntimeError) as error:
        return failed("claim-browser", str(error))
    return passed("claim-browser", figures)
