"""A member is removed: each open session of theirs ends within a second, on each portal, streams included."""

import asyncio
import contextlib
import time
from pathlib import Path

from cloud.core.authz import Actor, Role
from cloud.postgres import companies
from cloud.services import companies as company_service
from cloud.web.sessions import hash_of
from tests.cloud.web.conftest import Somebody
from tests.support.claiming import TestDevice
from tests.support.portal import Portal, Visitor, claim, now_ms, running_portal, visitor
from tests.support.streams import Stream, open_stream

WITHIN_S = 1.0
LOG_INS = 3
"""Of the member, on each of the two portals."""


async def log_in_for(portal: Portal, browser: Visitor, member: Actor, company_id: int) -> None:
    """One more log-in of the member, acting for the company."""
    session_hash = hash_of(await browser.log_in("sam@example.org"))
    async with portal.pool.connection() as connection:
        assert await companies.switch(connection, session_hash, member.account_id, company_id)


async def ended(stream: Stream) -> float:
    """When the stream said that the rights have gone, and ended."""
    await stream.until_event("gone", timeout_s=10)
    assert await stream.next() is None
    return time.monotonic()


async def test_every_open_session_of_a_removed_member_ends_within_a_second(
    database: str, tmp_path: Path, portal: Portal, ada: Somebody
) -> None:
    member = await portal.add_person("sam@example.org", first_name="Sam")
    async with portal.pool.connection() as connection:
        await companies.add_member(connection, ada.actor.company_id, member.account_id, Role.ADMIN, now_ms())
    own = await portal.own_device(member)
    await own.show()
    owned = await portal.own_device(ada.actor)
    await owned.show()
    waiting = await claim(portal.pool, ada.actor, TestDevice())
    async with contextlib.AsyncExitStack() as stack:
        other = await stack.enter_async_context(running_portal(database, tmp_path / "other"))
        browsers: list[Visitor] = []
        streams: list[Stream] = []
        for one in (portal, other):
            for _ in range(LOG_INS):
                browser = Visitor(await stack.enter_async_context(visitor()), one.url)
                await log_in_for(one, browser, member, ada.actor.company_id)
                browsers.append(browser)
                for path in (f"/devices/{owned.device_id}/live", f"/claims/{waiting.claim_id}/live"):
                    stream = await stack.enter_async_context(open_stream(browser, path))
                    await stream.next()
                    streams.append(stream)
        at_home = Visitor(await stack.enter_async_context(visitor()), other.url)
        await at_home.log_in("sam@example.org")
        kept = await stack.enter_async_context(open_stream(at_home, f"/devices/{own.device_id}/live"))
        await kept.until('data-condition="on_mains"')

        before = time.monotonic()
        await company_service.remove(portal.kit, ada.actor, member.account_id, now_ms())
        answers = [await browser.get(f"/devices/{owned.device_id}") for browser in browsers]
        refused = time.monotonic()
        assert {answer.status for answer in answers} == {303}
        assert {answer.headers["Location"].partition("?")[0] for answer in answers} == {"/login"}
        last = max(await asyncio.gather(*[ended(stream) for stream in streams]))
        assert max(last, refused) - before < WITHIN_S

        await own.show(state_of_charge=81.0)
        await kept.until("81")  # what is theirs goes on
        assert (await ada.browser.get(f"/devices/{owned.device_id}")).status == 200
    async with portal.pool.connection() as connection:
        found = await connection.execute(
            "SELECT company_id FROM ownership WHERE until_ms IS NULL ORDER BY epoch"
        )
        assert sorted(await found.fetchall()) == sorted([(member.company_id,), (ada.actor.company_id,)])
