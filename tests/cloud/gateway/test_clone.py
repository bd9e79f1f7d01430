"""Two holders of one device key: sessions that end each other while both are alive."""

import asyncio

from cloud.services.owning import MAX_TAKEOVERS
from tests.cloud.gateway.conftest import Site
from tests.support.raw_mqtt import RawDevice

WAIT_S = 20.0


def twin_of(site: Site, device: RawDevice) -> RawDevice:
    """Another holder of the same device key."""
    twin = site.device(device.version)
    twin.identity = device.identity
    return twin


async def takeovers(site: Site, count: int) -> None:
    """Until so many take-overs were counted. TimeoutError."""
    async with asyncio.timeout(WAIT_S):
        while await site.rows("SELECT takeovers FROM device_key") != [(count,)]:
            await asyncio.sleep(0.02)


async def test_sessions_that_take_turns_raise_a_suspicion(site: Site) -> None:
    first, epoch = await site.owned()
    second = twin_of(site, first)
    for turn in range(1, MAX_TAKEOVERS + 2):
        taker, taken = (second, first) if turn % 2 else (first, second)
        taker.iat_ms = max(first.iat_ms, second.iat_ms)
        assert (await taker.greet()).epoch == epoch
        await taken.wait_closed()
        await takeovers(site, turn)
    assert await site.rows("SELECT kind, status FROM v_matter") == [("clone", "open")]
    notices = await site.rows("SELECT kind, company_id FROM ownership_notice")
    assert notices == [("clone_suspected", site.actors[0].company_id)]


async def test_a_device_that_hangs_up_and_comes_back_is_none(site: Site) -> None:
    device, _ = await site.owned()
    for _turn in range(MAX_TAKEOVERS + 2):
        await device.close()
        async with asyncio.timeout(WAIT_S):
            while len(site.gateway.hub):
                await asyncio.sleep(0.01)
        await device.greet()
    await site.gateway.hub.flush_presence()
    assert await site.rows("SELECT takeovers FROM device_key") == [(0,)]
