"""What a client may use up that nobody knows, or that nobody answers."""

import time

import pytest

from protocol import topics
from protocol.codec import pack_batch, pack_sample
from protocol.mqtt import V5, V311, PubAck
from tests.cloud.gateway.conftest import Site


@pytest.mark.parametrize("version", [V311, V5])
async def test_a_token_of_an_unknown_key_works_once_and_disturbs_nobody(site: Site, version: int) -> None:
    device = site.device(version)
    token = device.token().encode()
    assert (await device.log_in(password=token)).code == 0
    (before,) = site.gateway.hub.sessions()
    thief = site.device(version)
    thief.identity = device.identity
    assert (await thief.log_in(password=token)).code == (0x86 if version == V5 else 4)
    assert site.gateway.hub.sessions() == [before]


async def test_what_nobody_acknowledges_is_bounded_too(site: Site) -> None:
    """QoS 0 past the window is dropped: nothing else would bound it while the database is away."""
    device, epoch = await site.owned()
    (session,) = site.gateway.hub.sessions()
    now = time.time_ns() // 1_000_000
    for full, volts in ((False, 231.5), (True, 99.0)):
        session.waiting += 64 * full
        sample = pack_sample({"ts": now + full, "seq": 0, "input_voltage": volts})
        await device.send(device.publish(topics.now(device.identity.kid), pack_batch([sample]), qos=0))
        await device.send(device.telemetry(epoch, 5))  # an empty batch is refused, after the snapshot
        assert (await device.wait(PubAck)).reason == 0x99
    assert await site.rows("SELECT input_voltage FROM latest") == [(231.5,)]


async def test_empty_messages_one_after_the_other_are_refused_and_others_stored(site: Site) -> None:
    device, epoch = await site.owned()
    await device.send(*[device.telemetry(epoch, 5) for _ in range(3)], device.telemetry(epoch, 5, 1))
    assert [ack.reason for ack in await device.wait_acks(4)] == [0x99, 0x99, 0x99, 0]
    assert await site.stored(device) == [(5, 1)]
