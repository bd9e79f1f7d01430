"""Pictures of every room of the portal, for docs/screens: run by ``make accept NAME=portal-browser``.

Not collected by itself. Pages that are reached by forms are pictured by the flows themselves, where they
call ``fine(page, name)``.
"""

import os
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, log_in
from tests.browser.test_access import rooms
from tests.support.pictures import take
from tests.support.portal import Portal

__all__ = ["rooms"]

pytestmark = pytest.mark.browser

OPEN = ("/login", "/signup", "/reset", "/privacy", "/r")
"""Rooms of people who are not logged in."""
OWN = (
    *("/account", "/account/password", "/account/email", "/account/log-ins", "/account/delete"),
    *("/company/details", "/company/invite", "/transfers"),
)
"""Rooms of a person and a company."""
NAMED = re.compile(r"[a-z][a-z_:-]*")
"""A part of a path that is no number, code or name of one thing."""


def name_of(path: str, taken: set[str]) -> str:
    """``/devices/17/settings`` is ``devices-one-settings``; the second of a name is numbered."""
    parts = path.split("?", maxsplit=1)[0].strip("/").split("/")
    plain = "-".join(part if NAMED.fullmatch(part) else "one" for part in parts).replace(":", "-")
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    taken.add(name)
    return name


@pytest.mark.timeout(600)
async def test_pictures_of_all_rooms(portal: Portal, rooms: list[str], open_page: OpenPage) -> None:
    folder, taken = Path(os.environ["PICTURES"]), set[str]()
    page = await open_page(reduced_motion="reduce")
    for path in OPEN:
        await page.goto(portal.url + path)
        await take(page, name_of(path, taken), folder)
    await log_in(page, portal)
    for path in dict.fromkeys([*rooms, *OWN]):
        await page.goto(portal.url + path)
        if path == rooms[1]:
            await expect(page.locator("#charts canvas")).to_have_count(3)
        await take(page, name_of(path, taken), folder)
