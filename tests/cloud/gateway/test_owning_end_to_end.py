"""Transfer, release and re-key reach the device's session, and cut what it still sends of the old time."""

import asyncio
import time

from cloud.services import offering, owning
from protocol.errors import Reason
from tests.cloud.gateway.conftest import Site
from tests.support.raw_mqtt import RawDevice, gone


def now() -> int:
    return time.time_ns() // 1_000_000


async def send(device: RawDevice, epoch: int, stream: int, *seqs: int) -> int:
    """Reason code of the PUBACK of these samples."""
    await device.send(device.telemetry(epoch, stream, *seqs))
    return (await device.wait_acks(1))[0].reason


async def test_a_transfer_begins_anew_on_the_open_session(site: Site) -> None:
    device, epoch = await site.owned()
    old, new = site.actors[:2]
    device_id = device.identity.device_id
    stream = device.iat_ms
    assert await send(device, epoch, stream, 1, 2) == 0
    made = await offering.offer(site.pool, old, device_id, now(), fresh=True, to_company_id=new.company_id)
    taken = await offering.accept_offer(site.pool, new, made.offer_id, now(), fresh=True)
    assert taken.owner is not None
    hello = await device.hello(lambda hello: hello.epoch != epoch)
    assert (hello.owned, hello.epoch, hello.stream, hello.seq) == (True, taken.owner.epoch, stream, 2)
    assert await send(device, epoch, stream, 3) == Reason.NO_MATCHING_SUBSCRIBERS
    assert await send(device, hello.epoch, stream + 1, 1) == 0
    found = await site.rows(
        "SELECT o.company_id, t.stream, t.seq FROM v_telemetry t JOIN v_ownership o USING (device_id, epoch)"
        " ORDER BY t.stream, t.seq"
    )
    assert found == [
        (old.company_id, stream, 1),
        (old.company_id, stream, 2),
        (new.company_id, stream + 1, 1),
    ]


async def test_what_comes_after_the_end_is_dropped_and_the_session_goes_on(site: Site) -> None:
    device, epoch = await site.owned()
    await owning.release(site.pool, site.actors[0], device.identity.device_id, now(), fresh=True)
    assert await send(device, epoch, device.iat_ms, 1) == Reason.NO_MATCHING_SUBSCRIBERS
    assert not (await device.hello(lambda hello: not hello.owned)).owned
    assert await site.rows("SELECT 1 FROM v_telemetry") == []


async def test_a_released_device_is_told_and_may_be_claimed_again(site: Site) -> None:
    device, epoch = await site.owned()
    device_id = device.identity.device_id
    async with asyncio.timeout(20):
        while await site.rows("SELECT connected FROM latest") != [(True,)]:
            await asyncio.sleep(0.01)
    draining = await owning.release(site.pool, site.actors[0], device_id, now(), fresh=True)
    assert draining.owner is not None
    await device.send(device.telemetry(epoch, device.iat_ms, 1))
    await device.wait_acks(1)
    async with site.pool.connection() as connection:  # a sample of after the request
        await connection.execute("UPDATE telemetry SET ts = now() + interval '1 s'")
        await connection.execute("UPDATE telemetry_late SET ts = now() + interval '1 s'")
    assert await owning.sweep(site.pool, now()) == 1
    hello = await device.hello(lambda hello: not hello.owned)
    assert hello.epoch == epoch
    await device.announce(hello)
    await site.claim(device, 1)
    again = await device.hello(lambda hello: hello.owned)
    assert again.epoch > epoch


async def test_a_revoked_key_is_shown_the_door(site: Site) -> None:
    device, epoch = await site.owned()
    board = site.device()
    board.identity = device.identity.twin()
    hello = await board.greet()
    await board.announce(hello)
    after = await owning.approve_rekey(
        site.pool, site.actors[0], device.identity.device_id, board.identity.kid, now(), fresh=True
    )
    assert after.owner is not None
    assert await gone(device) == Reason.ADMINISTRATIVE_ACTION
    told = await board.hello(lambda hello: hello.owned)
    assert told.epoch == epoch
    assert await send(board, epoch, board.iat_ms, 1) == 0
