"""Claims on a device whose key logs in at the same moment: the fence never stays behind the newest log-in."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from cloud.core.authz import Actor
from cloud.core.session import judge_standing
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.sessions import find_standings, log_in
from cloud.services import claiming
from cloud.services.claim_view import ViewState
from cloud.services.claiming import Noted
from tests.support.claiming import NOW, TestDevice, make_actors
from tests.support.postgres import until_someone_waits

OLD, NEW, NEWEST = 10, 20, 30


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, name="test", max_size=4) as opened:
        yield opened


@pytest.fixture
def person(database: str) -> Actor:
    return make_actors(database, 1)[0]


async def fence_of(pool: Pool, device: TestDevice) -> tuple[int, int, bool]:
    """(session_no, login_ms, owned) as the gateway reads them."""
    standing = (await find_standings(pool, [(device.device_id, device.kid)]))[0]
    return standing.session_no, standing.login_ms, standing.owned


async def test_a_login_amid_the_binding_is_not_lost(database: str, pool: Pool, person: Actor) -> None:
    device = TestDevice()
    await device.announce(pool, iat_ms=OLD)
    # A third party's uncommitted owner holds the binding between reading the key and writing the fence.
    async with await psycopg.AsyncConnection.connect(database) as blocker:
        await blocker.execute(
            "INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)"
            " VALUES (%s, 1, %s, %s, 'other', 1)",
            (device.device_id, person.company_id, person.account_id),
        )
        async with asyncio.TaskGroup() as group:
            submitted = group.create_task(
                claiming.submit(pool, person, device.product_id, device.label_pub, NOW)
            )
            await until_someone_waits(database, 1)
            logged_in = group.create_task(log_in(pool, device.device_id, device.kid, NEW, NOW))
            await until_someone_waits(database, 2)
            await blocker.rollback()
    assert submitted.result().state is ViewState.WON
    assert logged_in.result() is True
    assert await fence_of(pool, device) == (NEW, NEW, True)


async def test_logins_and_bindings_at_once_never_leave_the_fence_behind(pool: Pool, person: Actor) -> None:
    for number in range(30):
        device = TestDevice()
        await device.announce(pool, iat_ms=OLD)
        halves = [
            claiming.submit(pool, person, device.product_id, device.label_pub, NOW),
            log_in(pool, device.device_id, device.kid, NEW, NOW),
        ]
        answers = await asyncio.gather(*(halves if number % 2 else reversed(halves)))
        assert True in answers
        assert await fence_of(pool, device) == (NEW, NEW, True)


async def test_an_announcement_of_a_newer_login_raises_the_fence(pool: Pool, person: Actor) -> None:
    """Two connections of a key the cloud did not know, neither written down: the older one was bound."""
    device = TestDevice()
    await device.announce(pool, iat_ms=OLD)
    await claiming.submit(pool, person, device.product_id, device.label_pub, NOW)
    assert await fence_of(pool, device) == (OLD, OLD, True)
    assert await device.announce(pool, NOW + 1, iat_ms=NEW) is Noted.BOUND
    assert await fence_of(pool, device) == (NEW, NEW, True)
    standing = (await find_standings(pool, [(device.device_id, device.kid)]))[0]
    assert judge_standing(standing, NEW) is None
    assert judge_standing(standing, OLD) is not None
    assert await device.announce(pool, NOW + 2, iat_ms=OLD) is Noted.SUPERSEDED
    assert await log_in(pool, device.device_id, device.kid, NEWEST, NOW + 3)
    assert await fence_of(pool, device) == (NEWEST, NEWEST, True)


async def test_another_keys_login_and_announcement_never_touch_the_fence(pool: Pool, person: Actor) -> None:
    device = TestDevice()
    twin = device.twin()
    await device.announce(pool, iat_ms=OLD)
    await claiming.submit(pool, person, device.product_id, device.label_pub, NOW)
    await twin.announce(pool, NOW + 1, iat_ms=NEW)
    assert await log_in(pool, twin.device_id, twin.kid, NEWEST, NOW + 2)
    assert await fence_of(pool, device) == (OLD, OLD, True)
    assert (await find_standings(pool, [(twin.device_id, twin.kid)]))[0].owned is False


async def test_a_login_is_taken_once_also_after_its_key_was_bound(pool: Pool, person: Actor) -> None:
    device = TestDevice()
    await device.announce(pool, iat_ms=NEW)
    await claiming.submit(pool, person, device.product_id, device.label_pub, NOW)
    for iat_ms, taken in ((NEW, False), (OLD, False), (NEWEST, True), (NEWEST, False)):
        assert await log_in(pool, device.device_id, device.kid, iat_ms, NOW) is taken
    assert await fence_of(pool, device) == (NEWEST, NEWEST, True)
