"""``portal-a11y``: the portal is usable by everybody, whatever they see, hold, or have turned off.

The pages are those of the portal's own routes, the forms all that these take, so that a new one is looked
at, or fails here until somebody tells how to get to it:

* every page, with one of everything on it: axe-core finds no violation of WCAG 2.2 A and AA (nor of its best
  practices), in light colours on a desktop and in dark ones on a phone; at 320 px and at 400 % nothing is
  wider than the screen and no text is cut; Tab meets everything that can be used, and what has the focus is
  marked, and is not hidden by anything;
* every form with JavaScript off, by keyboard alone, wrongly and rightly: the answer says what happened, and
  what was entered is kept;
* every flow with JavaScript on, by keyboard alone; the pages that answer are looked at like the others.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import APIResponse, Browser, async_playwright

import build_assets
from tests.accept import (
    CheckError,
    _a11y_devices,
    _a11y_factors,
    _a11y_owner,
    _a11y_people,
    _a11y_systems,
    expect,
    passed,
    progress,
)
from tests.accept._a11y_look import look
from tests.accept._a11y_site import (
    FORMED,
    MORE,
    NO_PAGES,
    OWNER,
    Site,
    address_of,
    databases,
    form_routes,
    page_routes,
    running_site,
)
from tests.accept._a11y_step import Flow, run
from tests.support.browser import find_chromium

NAME: Final = "portal-a11y"
FLOWS: Final[tuple[Flow, ...]] = (
    *_a11y_people.FLOWS,
    *_a11y_factors.FLOWS,
    *_a11y_devices.FLOWS,
    *_a11y_owner.FLOWS,
    *_a11y_systems.FLOWS,
    _a11y_devices.CONTROL,
    _a11y_people.DELETE,
)
HTML: Final = "text/html"
SHOWN: Final = 3


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser. CheckError without one."""
    path = find_chromium()
    if path is None:
        raise CheckError("no Chromium or Chrome here (set CHROMIUM to its path)")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=str(path), args=["--no-sandbox"])
        yield launched
        await launched.close()


async def look_at_pages(site: Site) -> tuple[int, int, list[str]]:
    """Every page that has an address: how many there are, how many stops Tab has, what is wrong."""
    count, stops, wrong, never = 0, 0, list[str](), set(page_routes(site.portal.app)) - {*FORMED, *NO_PAGES}
    addresses = [(route, address_of(route, site)) for route in page_routes(site.portal.app)]
    addresses += [("", one.format_map(site.ids)) for one in MORE]
    for who in ("", OWNER):
        page = await site.open(who)
        for route, address in addresses:
            answer = await page.request.get(site.url + address, max_redirects=0)
            if answer.status < 400 and not await is_page(answer):
                never -= {route} if answer.status < 300 else set()  # a file, or a part of a page
            elif await is_page(answer) and (answer.status < 400 or not route):
                progress(f"{address} as {who or 'a stranger'}")
                await page.goto(site.url + address)
                try:
                    stops += await look(page, f"{address} as {who or 'a stranger'}")
                except CheckError as error:
                    wrong.append(str(error)[:700])
                    progress(f"  {wrong[-1]}")
                count += 1
                never -= {route}
        await page.context.close()
    wrong += [f"never seen: {sorted(never)}"] if never else []
    return count, stops, wrong


async def is_page(answer: APIResponse) -> bool:
    """Whether an answer is a whole page, to be shown."""
    shown = "attachment" not in answer.headers.get("content-disposition", "")
    if not shown or not answer.headers.get("content-type", "").startswith(HTML):
        return False
    return "<!doctype" in (await answer.text())[:200].casefold()


async def send_forms(site: Site, names: list[str]) -> tuple[int, list[str]]:
    """Every flow: how many forms were sent, and what is wrong."""
    count, wrong = 0, list[str]()
    for flow in FLOWS:
        if not names or flow.name in names:
            progress(f"{flow.name}, JavaScript {'on' if site.scripts else 'off'}")
            wrong += await run(site, flow)
            count += len(flow.steps)
    return count, wrong


def told(site: Site) -> None:
    """Every form that the portal takes is in a flow. CheckError."""
    routes = set(form_routes(site.portal.app))
    named = {step.route for flow in FLOWS for step in flow.steps}
    expect(named <= routes, f"forms that are none: {sorted(named - routes)}")
    expect(routes <= named, f"forms that are in no flow: {sorted(routes - named)}")


async def check(dsns: list[str], names: list[str]) -> str:
    """All of it; the figures. CheckError with the first things that are wrong."""
    began, pages, stops, forms, wrong = time.monotonic(), 0, 0, 0, list[str]()
    async with chromium() as browser:
        for dsn, scripts in zip(dsns, (False, True), strict=True):
            if {"on", "off"} & set(names) and ("on" if scripts else "off") not in names:
                continue
            async with running_site(browser, dsn, scripts=scripts) as site:
                told(site)
                if scripts and (not names or "pages" in names):
                    pages, stops, found = await look_at_pages(site)
                    wrong += found
                forms, found = await send_forms(site, [one for one in names if one not in {"on", "off"}])
                wrong += found + site.complaints
    expect(pages + forms, f"there is no part {', '.join(names)}")
    took_s = time.monotonic() - began
    figures = f"""{pages} pages, {stops} stops of Tab; {forms} forms in {len(FLOWS)} flows by keyboard, with
        JavaScript off and on; {took_s:.0f} s"""
    expect(not wrong, f"{len(wrong)} things are wrong ({figures}): {' | '.join(wrong[:SHOWN])}")
    return figures


def main() -> int:
    """Run the check; for who mends something PORTAL_A11Y names flows, ``pages``, and ``on`` or ``off``."""
    build_assets.build(dev=True)
    parts = [name.strip() for name in os.environ.get("PORTAL_A11Y", "").split(",") if name.strip()]
    with databases(2) as dsns:
        return passed(NAME, asyncio.run(check(dsns, parts)))
