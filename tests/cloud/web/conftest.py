"""A portal, and two people who have nothing to do with each other."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud.core.authz import Actor
from tests.support.portal import Portal, Visitor, running_portal, visitor


@pytest.fixture
async def portal(database: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A portal of this test alone."""
    async with running_portal(database, tmp_path / "state") as running:
        yield running


@dataclass
class Somebody:
    """An account and its browser."""

    actor: Actor
    email: str
    browser: Visitor


@pytest.fixture
async def ada(portal: Portal) -> AsyncIterator[Somebody]:
    """Somebody who is logged in."""
    actor = await portal.add_person("ada@example.org", company="Example Clinic")
    async with visitor() as http:
        browser = Visitor(http, portal.url)
        await browser.log_in("ada@example.org")
        yield Somebody(actor, "ada@example.org", browser)


@pytest.fixture
async def eve(portal: Portal) -> AsyncIterator[Somebody]:
    """Somebody else, with a company of her own, logged in."""
    actor = await portal.add_person("eve@example.org", first_name="Eve")
    async with visitor() as http:
        browser = Visitor(http, portal.url)
        await browser.log_in("eve@example.org")
        yield Somebody(actor, "eve@example.org", browser)


@pytest.fixture
async def stranger(portal: Portal) -> AsyncIterator[Visitor]:
    """A browser that is not logged in."""
    async with visitor() as http:
        yield Visitor(http, portal.url)
