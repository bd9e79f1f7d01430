"""An Idempotency-Key whose portal is killed at the worst moments."""

import asyncio
import contextlib
from collections.abc import Iterator

import aiohttp
import psycopg
import pytest

from cloud.core.authz import Actor, Role
from cloud.postgres.pool import make_pool
from tests.support.claiming import TestDevice
from tests.support.parts import CloudParts, running_parts
from tests.support.person import Person, make_accounts
from tests.support.portal import claim, now_ms

KEY = "made-by-the-client-1"
BODY = {"to_email": "buyer@example.org"}


MOMENTS = ("before", "after")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudParts]:
    """One cloud for both deaths, with a person for each."""
    with running_parts(tmp_path_factory.mktemp("kill") / "cloud", ("postgres", "portal")) as running:
        asyncio.run(make_accounts(running.dsn, len(MOMENTS), now_ms()))
        yield running


async def own_device(parts: CloudParts, account: int) -> TestDevice:
    """A device of this account."""
    device = TestDevice()
    async with make_pool(parts.dsn, name="test") as pool:
        await device.announce(pool, now_ms())
        await claim(pool, Actor(account, account, Role.OWNER), device)
    return device


def found(parts: CloudParts, statement: str) -> list[tuple[object, ...]]:
    """What a query finds."""
    with psycopg.connect(parts.dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_killed_portal_neither_loses_nor_repeats(parts: CloudParts, moment: str) -> None:
    number = MOMENTS.index(moment)
    device = await own_device(parts, number + 1)
    path = f"/api/v1/devices/{device.device_id}/offer"
    async with Person(parts.portal_url, f"person{number}@example.org") as person:
        parts.restart("portal", fault=f"owning.transfer.{moment}:1:kill")
        await person.ask("GET", "/api/v1/session")
        with contextlib.suppress(aiohttp.ClientError):
            await person.ask_once("POST", path, BODY, KEY)
            raise AssertionError("the portal should have died")
        parts.kill("portal")
        parts.start("portal")
        await person.ask("GET", "/api/v1/session")
        if moment == "before":
            held = await person.ask_once("POST", path, BODY, KEY)
            assert (held.status, held.body["code"]) == (409, "idempotency_key_in_use")
            with psycopg.connect(parts.dsn) as connection:  # half a minute later
                connection.execute("UPDATE idempotency SET lease_ms = 0")
        made = await person.ask_once("POST", path, BODY, KEY)
        assert made.status == 201
        assert ("Idempotency-Replayed" in made.headers) == (moment == "after")
        again = await person.ask_once("POST", path, BODY, KEY)
        assert (again.status, again.body) == (201, made.body)
        offers = found(
            parts,
            f"SELECT ref::text FROM matter WHERE kind = 'offer' AND device_id = {device.device_id}",
        )
        assert offers == [(made.body["offer_id"],)]
