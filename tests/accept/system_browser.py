"""Acceptance ``system-browser``: the pages of building systems, and WorkStation through a whole life.

The five pages of the seed and those around them, at phone and desktop size, in every language there is, on a
real portal in a real browser: axe finds nothing by day and by night, nothing is wider than the screen, and no
page logs an error. Then WorkStation 1.8 and 1.9 in a terminal (``_workstation``).
"""

import asyncio
import logging
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import structlog
from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright

from cloud.core.authz import Actor
from cloud.core.language import ENGLISH, LANGUAGES
from cloud.embedded import EmbeddedPostgres
from cloud.postgres.admin import create_database
from cloud.postgres.migrate import migrate
from tests.accept import expect, passed, progress
from tests.accept._workstation import live
from tests.browser.conftest import log_in
from tests.browser.test_access import WIDER, faults_by_day_and_night
from tests.support.browser import find_chromium
from tests.support.pictures import SIZES
from tests.support.portal import Portal, running_portal
from tests.support.system_things import own_system

NAME: Final = "system-browser"
EMAIL: Final = "ada@example.org"


def main() -> int:
    """Run the check; its exit status."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="sc-sys-") as name, EmbeddedPostgres(Path(name) / "pg") as server:
        create_database(server.dsn("postgres"), "systems")
        migrate(server.dsn("systems"))
        return passed(NAME, asyncio.run(check(server.dsn("systems"), Path(name))))


async def check(dsn: str, folder: Path) -> str:
    """Pages, then WorkStation; the figures."""
    chromium = find_chromium()
    expect(chromium, "no Chromium or Chrome here (set CHROMIUM to its path)")
    async with AsyncExitStack() as stack:
        portal = await stack.enter_async_context(running_portal(dsn, folder / "state"))
        owner = await portal.add_person(EMAIL, company="Example Clinic")
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        stack.push_async_callback(browser.close)
        seen = await pages(portal, owner, browser)
        lived = await live(portal, await portal.add_person("bob@example.org"), folder / "workstation")
    return f"{seen}; {lived}"


def paths(system: dict[str, str]) -> dict[str, str]:
    """Address → what its heading says, of the seed's five pages; "" for those around them."""
    number = system["number"]
    return {
        "/systems": "System Registration Overview",
        "/systems/register": "Register Page",
        f"/systems/{number}/data": "",
        "/systems/offline": "Registering an Offline System",
        "/systems/associate": "System Association Page",
        f"/systems/{number}": "System Information Page",
        f"/systems/{system['shadow']}": "System Information Page",
        f"/systems/waiting/{system['system_id']}/{system['intent_id']}": "",
        "/systems/offer": "",
        "/systems/help": "",
    }


async def pages(portal: Portal, owner: Actor, browser: Browser) -> str:
    """Every page in every size and language; the figures."""
    wanted = paths(await own_system(portal, owner))
    looked = 0
    for language in LANGUAGES:
        async with portal.pool.connection() as connection:
            await connection.execute(
                "UPDATE account SET language = %s WHERE account_id = %s", [language, owner.account_id]
            )
        for size, options in SIZES.items():
            progress(f"pages in {language}, at {size} size")
            context = await browser.new_context(
                **options, locale=language, color_scheme="light", reduced_motion="reduce"
            )
            page = await context.new_page()
            complaints: list[str] = []
            page.on("pageerror", _noting(complaints))
            page.on("console", _noting(complaints))
            await log_in(page, portal, EMAIL)
            for path, heading in wanted.items():
                await look(page, portal.url + path, heading if language == ENGLISH else "")
                spoken = await page.evaluate("document.documentElement.lang")
                expect(spoken == language, f"{path} speaks {spoken!r} to who picked {language!r}")
                expect(not complaints, f"{path} logs {complaints}")
                looked += 1
            await context.close()
    return f"{len(wanted)} pages, {looked} looks ({len(SIZES)} sizes, {len(LANGUAGES)} languages), axe-clean"


def _noting(complaints: list[str]) -> Callable[[Error | ConsoleMessage], None]:
    """Keeps uncaught exceptions, and what a page logs as an error."""

    def note(one: Error | ConsoleMessage) -> None:
        if isinstance(one, Error):
            complaints.append(str(one))
        elif one.type == "error":
            complaints.append(one.text)

    return note


async def look(page: Page, address: str, heading: str) -> None:
    """CheckError unless the page is there, clean and no wider than the screen."""
    answer = await page.goto(address)
    expect(answer and answer.status == 200, f"{address}: {answer and answer.status}")
    if heading:
        said = await page.locator("main").inner_text()
        expect(heading in said, f"{address} does not say {heading!r}")
    expect(not await page.evaluate(WIDER), f"{address} is wider than the screen")
    found = await faults_by_day_and_night(page)
    expect(not found, f"{address}: {found}")
