"""A device changes hands while it is connected: what it is told, and what it then sends, fit together."""

import pytest

from protocol import codec, topics
from protocol.messages import Event, EventKind
from protocol.mqtt import V5, V311, PubAck
from tests.cloud.gateway.conftest import Site
from tests.support.raw_mqtt import RawDevice

STREAM = 5


async def change_hands(site: Site, device: RawDevice, epoch: int) -> None:
    """A new ownership of the same key, as a transfer would write it."""
    device_id = device.identity.device_id
    async with site.pool.connection() as connection, connection.transaction():
        await connection.execute("UPDATE device SET last_epoch = %s WHERE device_id = %s", [epoch, device_id])
        await connection.execute("UPDATE ownership SET epoch = %s WHERE device_id = %s", [epoch, device_id])
        await connection.execute("UPDATE latest SET epoch = %s WHERE device_id = %s", [epoch, device_id])
        await connection.execute("SELECT pg_notify('device', %s)", [str(device_id)])


@pytest.mark.parametrize("version", [V311, V5])
async def test_the_first_samples_of_a_new_ownership_are_stored(site: Site, version: int) -> None:
    """The writer still believes in the old one: it must look, not refuse."""
    device, epoch = await site.owned(version)
    await device.send(device.telemetry(epoch, STREAM, 1))
    assert (await device.wait(PubAck)).reason == 0
    await change_hands(site, device, epoch + 1)
    hello = await device.hello(lambda hello: hello.epoch == epoch + 1)
    assert (hello.owned, hello.stream, hello.seq) == (True, STREAM, 1)
    await device.send(device.telemetry(epoch + 1, STREAM + 1, 1, 2))
    assert (await device.wait(PubAck)).reason == 0
    assert await site.stored(device) == [(STREAM, 1), (STREAM + 1, 1), (STREAM + 1, 2)]
    assert await site.rows("SELECT DISTINCT epoch FROM v_telemetry ORDER BY 1") == [(epoch,), (epoch + 1,)]


async def test_the_first_event_of_a_new_ownership_is_stored(site: Site) -> None:
    device, epoch = await site.owned()
    await device.send(device.telemetry(epoch, STREAM, 1))
    assert (await device.wait(PubAck)).reason == 0
    await change_hands(site, device, epoch + 1)
    await device.hello(lambda hello: hello.epoch == epoch + 1)
    event = Event(stream=1, seq=1, ts_ms=1, kind=EventKind.ON_BATTERY)
    topic = topics.event(device.identity.kid, epoch + 1)
    await device.send(device.publish(topic, codec.encode(event)))
    assert (await device.wait(PubAck)).reason == 0
    assert await site.rows("SELECT epoch FROM event") == [(epoch + 1,)]


async def test_what_was_sent_for_the_old_owner_is_dropped_and_what_follows_is_stored(site: Site) -> None:
    """Both in one batch, whatever the writer believed before."""
    device, epoch = await site.owned()
    await device.send(device.telemetry(epoch, STREAM, 1))
    assert (await device.wait(PubAck)).reason == 0
    await change_hands(site, device, epoch + 1)
    await device.hello(lambda hello: hello.epoch == epoch + 1)
    await device.send(
        device.telemetry(epoch, STREAM, 2),
        device.telemetry(epoch + 1, STREAM + 1, 1),
        device.telemetry(epoch + 2, STREAM + 2, 1),
    )
    assert [ack.reason for ack in await device.wait_acks(3)] == [0x10, 0, 0x87]
    assert await site.stored(device) == [(STREAM, 1), (STREAM + 1, 1)]
