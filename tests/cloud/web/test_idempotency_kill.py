"""An Idempotency-Key whose portal is killed at the worst moments."""

import contextlib
from pathlib import Path

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


async def own_device(parts: CloudParts) -> TestDevice:
    """A device of the first account."""
    device = TestDevice()
    async with make_pool(parts.dsn, name="test") as pool:
        await device.announce(pool, now_ms())
        await claim(pool, Actor(1, 1, Role.OWNER), device)
    return device


def found(parts: CloudParts, statement: str) -> list[tuple[object, ...]]:
    """What a query finds."""
    with psycopg.connect(parts.dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_killed_portal_neither_loses_nor_repeats(tmp_path: Path, moment: str) -> None:
    with running_parts(tmp_path / "cloud", ("postgres", "portal")) as parts:
        (email,) = await make_accounts(parts.dsn, 1, now_ms())
        device = await own_device(parts)
        path = f"/api/v1/devices/{device.device_id}/offer"
        async with Person(parts.portal_url, email) as person:
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
            offers = found(parts, "SELECT ref::text FROM matter WHERE kind = 'offer'")
            assert offers == [(made.body["offer_id"],)]
