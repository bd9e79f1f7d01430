"""Claiming as people and devices see it: real processes, MQTT over TLS on one side, HTTP on the other."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import MQTTProtocolVersion

from protocol.errors import Reason
from protocol.signing import public_bytes, seal_announcement
from tests.support.device import DeviceError, LoginRefusedError, WireDevice, random_codes
from tests.support.parts import CloudParts, running_parts
from tests.support.person import Answer, Person, make_accounts

HIDDEN = {"claim_id", "device_id", "product_id", "created_ms", "expires_ms"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudParts]:
    with running_parts(tmp_path_factory.mktemp("claiming") / "cloud") as parts:
        asyncio.run(make_accounts(parts.dsn, 2, time.time_ns() // 1_000_000))
        yield parts


@pytest.fixture
async def people(cloud: CloudParts) -> AsyncIterator[tuple[Person, Person]]:
    async with AsyncExitStack() as stack:
        ada, bob = [
            await stack.enter_async_context(Person(cloud.portal_url, f"person{number}@example.org"))
            for number in range(2)
        ]
        yield ada, bob


@pytest.fixture
def device(cloud: CloudParts) -> Iterator[WireDevice]:
    with WireDevice(cloud.installation, cloud.key_set) as connected:
        yield connected


def rows(cloud: CloudParts, statement: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(cloud.dsn) as connection:
        return connection.execute(statement, values).fetchall()


def standing(answer: Answer) -> tuple[int, object, object]:
    return answer.status, answer.body["state"], answer.body["reason"]


def alike(answer: Answer) -> tuple[int, dict[str, object]]:
    """An answer without names and dates."""
    return answer.status, {name: value for name, value in answer.body.items() if name not in HIDDEN}


async def test_announced_then_claimed(
    cloud: CloudParts, people: tuple[Person, Person], device: WireDevice
) -> None:
    ada, bob = people
    assert device.hello.owned is False
    assert await asyncio.to_thread(device.announce) == Reason.SUCCESS
    won = await ada.claim(device.product_id, device.product_key)
    assert standing(won) == (200, "won", "")
    hello = await asyncio.to_thread(device.wait_owned)
    assert hello.epoch == won.body["epoch"]
    assert standing(await bob.claim(device.product_id, device.product_key)) == (
        409,
        "refused",
        "owned_elsewhere",
    )
    assert standing(await ada.claim(device.product_id, device.product_key)) == (200, "won", "already_yours")
    assert (await bob.look(won.body["claim_id"])).status == 404
    assert (await ada.ask("GET", f"/api/v1/devices/{device.device_id}")).status == 200
    assert (await bob.ask("GET", f"/api/v1/devices/{device.device_id}")).status == 404
    assert rows(cloud, "SELECT kid FROM v_ownership WHERE device_id = %s", device.device_id) == [
        (device.kid,)
    ]


async def until_connected(cloud: CloudParts, device: WireDevice, *, wanted: bool) -> None:
    async with asyncio.timeout(20):
        while rows(cloud, "SELECT connected FROM latest WHERE device_id = %s", device.device_id) != [
            (wanted,)
        ]:
            await asyncio.sleep(0.05)


async def test_a_device_that_says_nothing_after_the_claim_is_connected_as_long_as_it_is(
    cloud: CloudParts, people: tuple[Person, Person], device: WireDevice
) -> None:
    await asyncio.to_thread(device.announce)
    await people[0].claim(device.product_id, device.product_key)
    await until_connected(cloud, device, wanted=True)
    await asyncio.to_thread(device.close)
    await until_connected(cloud, device, wanted=False)


async def test_claimed_then_announced(people: tuple[Person, Person], device: WireDevice) -> None:
    ada, bob = people
    waiting = await ada.claim(device.product_id, device.product_key)
    later = await bob.claim(device.product_id, device.product_key)
    assert standing(waiting) == standing(later) == (202, "waiting_for_device", "")
    assert await asyncio.to_thread(lambda: device.announce(smartconnect=False)) == Reason.SUCCESS
    assert standing(await ada.look(waiting.body["claim_id"])) == (200, "smartconnect_off", "")
    assert await asyncio.to_thread(device.announce) == Reason.SUCCESS
    won = await ada.until_final(waiting.body["claim_id"])
    assert standing(won) == (200, "won", "")
    assert standing(await bob.until_final(later.body["claim_id"])) == (200, "refused", "owned_elsewhere")
    assert (await asyncio.to_thread(device.wait_owned)).epoch == won.body["epoch"]


async def test_a_wrong_key_says_nothing_and_hurts_nobody(
    people: tuple[Person, Person], device: WireDevice
) -> None:
    ada, bob = people
    await asyncio.to_thread(device.announce)
    wrong = await bob.claim(device.product_id, random_codes()[1])
    assert standing(wrong) == (202, "waiting_for_device", "")
    assert alike(await bob.claim(*random_codes())) == alike(wrong)
    assert standing(await ada.claim(device.product_id, device.product_key)) == (200, "won", "")
    assert alike(await bob.claim(device.product_id, random_codes()[1])) == alike(wrong)


def key_rows(cloud: CloudParts) -> list[tuple[object, ...]]:
    return rows(cloud, "SELECT device_id, kid, announced_ms, login_ms FROM device_key ORDER BY kid")


def test_forged_and_replayed_announcements_are_refused(cloud: CloudParts, device: WireDevice) -> None:
    with WireDevice(cloud.installation, cloud.key_set) as other:
        assert other.announce() == Reason.SUCCESS
    with other:
        before = key_rows(cloud)
        forged = {
            "a replay of the last session": (other, other.sent[0]),
            "another device's announcement": (device, other.sent[0]),
            "an old nonce": (
                device,
                seal_announcement(device.announcement(nonce=bytes(32)), device.label, device.key),
            ),
            "the wrong label key": (
                device,
                seal_announcement(device.announcement(), Ed25519PrivateKey.generate(), device.key),
            ),
            "another kid": (
                device,
                seal_announcement(
                    device.announcement(device_pub=public_bytes(other.key)), device.label, other.key
                ),
            ),
            "another label than the log-in's": (
                device,
                seal_announcement(
                    device.announcement(label_pub=public_bytes(other.label)), other.label, device.key
                ),
            ),
        }
        for what, (sender, payload) in forged.items():
            assert sender.publish(payload) == Reason.NOT_AUTHORIZED, what
            assert key_rows(cloud) == before, what
        assert other.announce() == Reason.SUCCESS


def test_a_token_works_once_and_the_newer_login_wins(cloud: CloudParts, device: WireDevice) -> None:
    device.announce()
    device.close()
    token = device.fresh_token()
    device.connect(token)
    device.close()
    with pytest.raises(LoginRefusedError):
        device.connect(token)
    device.connect()
    with WireDevice(cloud.installation, cloud.key_set) as stranger:
        assert stranger.announce() == Reason.SUCCESS
        twin = WireDevice(cloud.installation, cloud.key_set, (stranger.product_id, stranger.product_key))
        twin.key, twin.kid = stranger.key, stranger.kid
        with twin:
            assert stranger.wait_closed() == Reason.SESSION_TAKEN_OVER
            with pytest.raises(DeviceError):
                stranger.announce()
            assert twin.announce() == Reason.SUCCESS


async def test_of_two_devices_with_one_label_the_claimant_picks_one(
    cloud: CloudParts, people: tuple[Person, Person], device: WireDevice
) -> None:
    ada, bob = people
    with WireDevice(cloud.installation, cloud.key_set, (device.product_id, device.product_key)) as twin:
        await asyncio.gather(asyncio.to_thread(device.announce), asyncio.to_thread(twin.announce))
        choice = await ada.claim(device.product_id, device.product_key)
        assert standing(choice) == (202, "several_keys", "")
        assert {key["kid"] for key in choice.body["keys"]} == {device.kid, twin.kid}
        path = f"/api/v1/claims/{choice.body['claim_id']}"
        assert (await bob.ask("POST", f"{path}/pick", {"kid": twin.kid})).status == 404
        assert (await ada.ask("POST", f"{path}/pick", {"kid": "A" * 27})).status == 422
        won = await ada.ask("POST", f"{path}/pick", {"kid": twin.kid})
        assert standing(won) == (200, "won", "")
        assert (await asyncio.to_thread(twin.wait_owned)).epoch == won.body["epoch"]
        assert await asyncio.to_thread(device.announce) == Reason.SUCCESS
        assert device.hello.owned is False


async def test_who_stops_waiting_gets_nothing(people: tuple[Person, Person], device: WireDevice) -> None:
    ada, bob = people
    waiting = await ada.claim(device.product_id, device.product_key)
    path = f"/api/v1/claims/{waiting.body['claim_id']}"
    assert (await bob.ask("DELETE", path)).status == 404
    assert standing(await ada.ask("DELETE", path)) == (200, "cancelled", "")
    assert await asyncio.to_thread(device.announce) == Reason.SUCCESS
    assert standing(await ada.look(waiting.body["claim_id"])) == (200, "cancelled", "")
    assert standing(await bob.claim(device.product_id, device.product_key)) == (200, "won", "")


async def test_mqtt_311_is_claimed_too_and_a_forgery_ends_its_connection(
    cloud: CloudParts, people: tuple[Person, Person]
) -> None:
    with WireDevice(cloud.installation, cloud.key_set, version=MQTTProtocolVersion.MQTTv311) as device:
        await asyncio.to_thread(device.announce)
        won = await people[0].claim(device.product_id, device.product_key)
        assert standing(won) == (200, "won", "")
        await asyncio.to_thread(device.wait_owned)
        forged = seal_announcement(device.announcement(nonce=bytes(32)), device.label, device.key)
        with pytest.raises(DeviceError, match="the connection ended"):
            await asyncio.to_thread(device.publish, forged)
