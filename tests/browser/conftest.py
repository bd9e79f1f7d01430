"""Real browsers in front of a real portal. What a page logs as an error fails its test.

Chromium is started once a run, and each test has profiles of its own in it. So the tests of this folder share
an event loop, and so must their asynchronous fixtures: ``@pytest_asyncio.fixture(loop_scope="session")``.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright, expect

from tests.support.pictures import SIZES
from tests.support.portal import PASSWORD, Portal, running_portal

TIMEOUT_MS = 15_000
expect.set_options(timeout=TIMEOUT_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class OpenPage(Protocol):
    """Makes a page in a browser profile of its own."""

    async def __call__(self, **options: Any) -> Page:
        """``options`` are those of playwright's ``new_context``."""


@pytest_asyncio.fixture(loop_scope="session")
async def portal(database: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A portal of this test alone, with one account: ada@example.org."""
    async with running_portal(database, tmp_path / "state") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def trial(database: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A portal whose mails are shown on a page."""
    async with running_portal(database, tmp_path / "state", mail="mailbox") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium_path: Path) -> AsyncIterator[Browser]:
    """Chromium, headless, of all tests of this run."""
    async with async_playwright() as playwright:
        # Test machines often run as root, where Chromium's sandbox refuses to start.
        launched = await playwright.chromium.launch(executable_path=str(chromium_path), args=["--no-sandbox"])
        try:
            yield launched
        finally:
            await launched.close()


def sized(options: Mapping[str, Any]) -> dict[str, Any]:
    """These options, at the size that BROWSER_SIZE names if it does (tests/accept/portal_browser.py)."""
    size = os.environ.get("BROWSER_SIZE")
    if size is None:
        return dict(options)
    plain = {"device_scale_factor": 1, "is_mobile": False}  # a test that touches may do so at any size
    return {**options, **plain, **SIZES[size]}


@pytest.fixture
def complaints() -> list[str]:
    """Console errors and uncaught exceptions of all pages so far; the test may take expected ones out."""
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, complaints: list[str]) -> AsyncIterator[OpenPage]:
    """Pages that must not log errors: a breach of the content security policy is one."""

    async def make(**options: Any) -> Page:
        context = await browser.new_context(**sized(options))
        context.set_default_timeout(TIMEOUT_MS)
        page = await context.new_page()
        page.on("console", _noting(complaints))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield make
    for context in browser.contexts:
        with contextlib.suppress(Error):  # the test may have closed it, or the browser may have gone
            await context.close()
    assert complaints == []


def _noting(complaints: list[str]) -> Callable[[ConsoleMessage], None]:
    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    return note


async def log_in(page: Page, portal: Portal, email: str = "ada@example.org") -> None:
    """Through the form, up to the list of devices."""
    await page.goto(f"{portal.url}/login")
    await page.fill("#email", email)
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/devices")
