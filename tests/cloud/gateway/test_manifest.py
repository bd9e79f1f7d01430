"""An installation with a manifest, over the wire: what is not listed is refused and is waited for in vain."""

from pathlib import Path

import pytest

from cloud.core.manifest import Entry, parse, render
from cloud.services import manifest
from protocol.errors import Reason
from protocol.mqtt import V5, V311
from protocol.signing import label_key, public_bytes
from tests.cloud.gateway.conftest import Site, Start
from tests.support.claiming import TestDevice
from tests.support.device import random_codes
from tests.support.portal import Portal, Visitor, labelled_device, now_ms, running_portal, visitor
from tests.support.raw_mqtt import RawDevice, gone

HIDDEN = {"claim_id", "device_id", "product_id", "created_ms", "expires_ms"}


async def list_device(site: Site, device: TestDevice, *, factory: bool = False) -> None:
    """Put it into the manifest."""
    key = public_bytes(device.key) if factory else None
    rows = parse(render([Entry(device.product_id, device.label_pub, key)], "csv"))
    (answer,) = await manifest.take_in(site.pool, rows, now_ms(), dry_run=False)
    assert answer.outcome is manifest.Outcome.NEW


def connected_as(site: Site, identity: TestDevice, version: int = V5) -> RawDevice:
    """A device with this label and key."""
    device = site.device(version)
    device.identity = identity
    return device


async def announced(device: RawDevice) -> int:
    """Log in and announce; the gateway's reason code."""
    hello = await device.greet()
    assert not hello.owned
    return (await device.announce(hello)).reason


async def claim(portal: Portal, device: TestDevice, product_key: str) -> tuple[int, dict[str, object]]:
    """Type the codes; the answer without names and dates."""
    async with visitor() as http:
        ada = Visitor(http, portal.url)
        await ada.log_in("ada@example.org")
        headers = {"X-Form-Token": ada.form_token, "Accept": "application/json"}
        codes = {"product_id": device.product_id.value, "product_key": product_key}
        async with http.post(f"{portal.url}/api/v1/claims", json=codes, headers=headers) as response:
            body = await response.json()
            return response.status, {name: value for name, value in body.items() if name not in HIDDEN}


async def traces(site: Site) -> list[tuple[object, ...]]:
    """The keys that were taken note of."""
    return await site.rows("SELECT kid FROM device_key ORDER BY kid")


async def test_an_unknown_product_id_or_key_is_refused_by_the_live_gateway(
    start: Start, database: str, tmp_path: Path
) -> None:
    genuine, product_key = labelled_device()
    other_id, other_key = labelled_device()
    _, guessed = random_codes()
    fake = TestDevice(genuine.product_id, label_key(genuine.product_id, guessed))
    async with (
        start(manifest="label") as site,
        running_portal(database, tmp_path / "portal", manifest="label") as portal,
    ):
        await portal.add_person("ada@example.org")
        await list_device(site, genuine)
        for stranger in (other_id, fake):
            device = connected_as(site, stranger)
            assert await announced(device) == Reason.NOT_AUTHORIZED
            older = connected_as(site, stranger.twin(), V311)  # which knows no reason codes
            with pytest.raises(ConnectionError):
                await older.announce(await older.greet())
            await gone(older)
        assert await traces(site) == []

        unknown = await claim(portal, other_id, other_key)
        wrong_key = await claim(portal, genuine, guessed.value)
        assert unknown == wrong_key
        assert (unknown[0], unknown[1]["state"]) == (202, "waiting_for_device")
        assert await site.rows("SELECT 1 FROM v_ownership") == []

        real = connected_as(site, genuine)
        assert await announced(real) == Reason.SUCCESS
        assert (await claim(portal, genuine, product_key))[0] == 200
        hello = await real.hello(lambda hello: hello.owned)
        assert await site.rows("SELECT kid, epoch FROM v_ownership WHERE until_ms IS NULL") == [
            (genuine.kid, hello.epoch)
        ]


async def test_attested_takes_the_factorys_key_alone(start: Start) -> None:
    genuine, _ = labelled_device()
    async with start(manifest="attested") as site:
        await list_device(site, genuine, factory=True)
        assert await announced(connected_as(site, genuine.twin())) == Reason.NOT_AUTHORIZED
        assert await announced(connected_as(site, genuine)) == Reason.SUCCESS
        assert await traces(site) == [(genuine.kid,)]


async def test_an_owner_keeps_a_device_that_is_no_longer_listed(start: Start) -> None:
    genuine, _ = labelled_device()
    async with start(manifest="label") as site:
        await list_device(site, genuine)
        device = connected_as(site, genuine)
        assert await announced(device) == Reason.SUCCESS
        await site.claim(device)
        epoch = (await device.hello(lambda hello: hello.owned)).epoch
        async with site.pool.connection() as connection:
            await connection.execute("DELETE FROM manifest")
        again = connected_as(site, genuine)
        hello = await again.greet()
        assert (hello.owned, hello.epoch) == (True, epoch)
        assert (await again.announce(hello)).reason == Reason.SUCCESS
