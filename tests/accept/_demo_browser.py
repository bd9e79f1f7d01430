"""Two real browsers behind one set of hands, and what a person does with them in the portal."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Protocol

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, async_playwright

from tests.accept import CheckError, expect
from tests.support.browser import find_chromium
from tests.support.firefox import FirefoxError, find_firefox, firefox

SHOTS: Final = "SMARTCONNECT_DEMO_SHOTS"
"""Environment variable: a folder for screenshots, and for the demo's logs after a failure."""
POLL_S: Final = 0.02


class Tab(Protocol):
    """One tab of a browser."""

    async def goto(self, url: str) -> None:
        """Navigate, and wait until the page has loaded."""

    async def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression (a primitive); promises are awaited."""

    async def type(self, selector: str, text: str) -> None:
        """Type into an element with real key events."""

    async def screenshot(self) -> bytes:
        """The visible part as PNG."""


class Chromium:
    """A tab of Debian's Chromium, driven by playwright."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def goto(self, url: str) -> None:
        await self._page.goto(url)

    async def evaluate(self, expression: str) -> Any:
        return await self._page.evaluate(expression)

    async def type(self, selector: str, text: str) -> None:
        await self._page.focus(selector)
        await self._page.keyboard.type(text)

    async def screenshot(self) -> bytes:
        return await self._page.screenshot()


class Firefox:
    """A tab of Debian's Firefox, driven over WebDriver BiDi."""

    def __init__(self, page: Any) -> None:
        self._page = page

    async def goto(self, url: str) -> None:
        await self._page.goto(url)

    async def evaluate(self, expression: str) -> Any:
        return await self._page.evaluate(expression)

    async def type(self, selector: str, text: str) -> None:
        await self._page.type(selector, text)

    async def screenshot(self) -> bytes:
        return base64.b64decode(await self._page.screenshot())


@contextlib.asynccontextmanager
async def open_chromium() -> AsyncIterator[Tab]:
    """Chromium with an empty profile."""
    program = find_chromium()
    if program is None:
        raise CheckError("no Chromium or Chrome here (set CHROMIUM to its path)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(program), args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        context = await browser.new_context(
            ignore_https_errors=True, viewport={"width": 1280, "height": 1000}
        )
        complaints: list[str] = []
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield Chromium(page)
        finally:
            await browser.close()
        expect(not complaints, f"Chromium reports script errors: {complaints}")


@contextlib.asynccontextmanager
async def open_firefox() -> AsyncIterator[Tab]:
    """Firefox with an empty profile."""
    if find_firefox() is None:
        raise CheckError("no Firefox here: install firefox-esr, or set FIREFOX")
    async with firefox() as page:
        yield Firefox(page)


async def until(tab: Tab, what: str, expression: str, timeout_s: float = 15.0) -> float:
    """Poll until the expression is true in the page; the seconds that took. Survives navigation."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(FirefoxError, PlaywrightError):
            if await tab.evaluate(f"Boolean({expression})"):
                return time.monotonic() - began
        if time.monotonic() - began > timeout_s:
            await shoot(tab, "failed")
            text = await tab.evaluate("location.href + ': ' + document.body.innerText")
            raise CheckError(f"not within {timeout_s:g} s: {what}; the page {text[:600]}")
        await asyncio.sleep(POLL_S)


async def click(tab: Tab, selector: str) -> None:
    """Click the one element that is there, or comes."""
    quoted = json.dumps(selector)
    await until(tab, f"there is {selector}", f"document.querySelector({quoted})")
    await tab.evaluate(f"void setTimeout(() => document.querySelector({quoted}).click())")


async def shoot(tab: Tab, name: str) -> None:
    """Keep a picture where somebody asked for pictures."""
    folder = os.environ.get(SHOTS)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(await tab.screenshot())


def keep_logs(folder: Path) -> None:
    """Keep the demo's logs where somebody asked for pictures."""
    kept = os.environ.get(SHOTS)
    if kept and folder.is_dir():
        shutil.copytree(folder, Path(kept) / "logs", dirs_exist_ok=True)


def shows(text: str) -> str:
    """Expression: the page shows this text."""
    return f"document.body.innerText.includes({json.dumps(text)})"


def live(condition: str) -> str:
    """Expression: the page of a device shows this state and a measured mains voltage."""
    return (
        f"document.querySelector('[data-condition=\"{condition}\"]')"
        " && /\\d/.test(document.querySelector('[data-point=input_voltage]').textContent)"
    )


async def log_in(tab: Tab, url: str, email: str, password: str) -> None:
    """From the printed address to the list of devices."""
    await tab.goto(url)
    await until(tab, "the log-in page", "document.querySelector('#password')")
    await tab.type("#email", email)
    await tab.type("#password", password)
    await click(tab, "form[action='/login'] button[type=submit]")
    await until(tab, "logged in", "location.pathname === '/devices'")


async def enter_codes(tab: Tab, product_id: str, product_key: str) -> None:
    """Add Device, Product Codes, both codes, Register."""
    await click(tab, "nav a[href='/add']")
    await click(tab, "a[href='/add/codes']")
    await until(tab, "the form for the codes", "document.querySelector('#product_key')")
    await tab.type("#product_id", product_id)
    await tab.type("#product_key", product_key)
    await click(tab, "form[action='/add/codes'] button[type=submit]")


async def follow_claim(tab: Tab, timeout_s: float) -> str:
    """From the claim's page through the steps that set a new UPS up to the device's page; its path."""
    won = "document.querySelector('#claim-state a[href^=\"/devices/\"]')"
    new = "/^\\/devices\\/[^/]+\\/setup$/.test(location.pathname)"
    there = "/^\\/devices\\/[^/]+$/.test(location.pathname)"
    await until(tab, "This UPS is yours", f"{won} || {new} || {there}", timeout_s)
    if await tab.evaluate(f"Boolean({won})"):
        await click(tab, '#claim-state a[href^="/devices/"]')
        await until(tab, "UPS Profile", f"{new} || {there}")
    if await tab.evaluate(new):
        await click(tab, "form[action$='/setup'] button[type=submit]")  # Save Profile
        await click(tab, "form[action$='/setup/sensitivity'] button[type=submit]")  # Next
        await until(tab, "set up", shows("is set up"))
        await click(tab, "main a.primary[href^='/devices/']")  # Finish
    await until(tab, "the page of the device", there)
    return str(await tab.evaluate("location.pathname"))


async def history(tab: Tab, device: str) -> tuple[int, int]:
    """Readings of the last hour that the device's chart is drawn from, and stretches on battery."""
    source = f"/api/v1{device}/history?range_s=3600"
    found = await tab.evaluate(
        f"fetch({json.dumps(source)}).then(answer => answer.json()).then(past => JSON.stringify("
        "[past.t_s.filter((_, i) => past.points.input_voltage[i] !== null).length, past.on_battery.length]))"
    )
    readings, outages = json.loads(found)
    return int(readings), int(outages)
