"""Open live pages lose their rights with the log-in, the membership or the role behind them."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from cloud.core.authz import Role
from cloud.postgres import accounts, companies
from cloud.services import companies as company_service
from cloud.web.sessions import hash_of
from tests.cloud.web.conftest import Somebody
from tests.support.claiming import TestDevice
from tests.support.portal import Owned, Portal, Visitor, claim, now_ms, visitor
from tests.support.streams import open_stream

AT_ONCE_S = 1.0
BY_POLL_S = 2.0


@dataclass
class Colleague:
    """A member of Ada's company who looks at her device."""

    account_id: int
    company_id: int
    browser: Visitor
    session_hash: bytes
    owned: Owned


@pytest.fixture
async def colleague(portal: Portal, ada: Somebody) -> AsyncIterator[Colleague]:
    """Logged in and acting for Ada's company."""
    actor = await portal.add_person("sam@example.org", first_name="Sam")
    async with portal.pool.connection() as connection:
        await companies.add_member(
            connection, ada.actor.company_id, actor.account_id, Role.OPERATOR, now_ms()
        )
    owned = await portal.own_device(ada.actor)
    await owned.show()
    async with visitor() as http:
        browser = Visitor(http, portal.url)
        session_hash = hash_of(await browser.log_in("sam@example.org"))
        async with portal.pool.connection() as connection:
            assert await companies.switch(connection, session_hash, actor.account_id, ada.actor.company_id)
        yield Colleague(actor.account_id, ada.actor.company_id, browser, session_hash, owned)


Act = Callable[[Portal, Somebody, Colleague], Awaitable[object]]


async def removed(portal: Portal, ada: Somebody, colleague: Colleague) -> None:
    """Ada removes the colleague."""
    await company_service.remove(portal.kit, ada.actor, colleague.account_id, now_ms())


async def demoted(portal: Portal, ada: Somebody, colleague: Colleague) -> None:
    """Ada gives the colleague another role."""
    await company_service.change_role(portal.kit, ada.actor, colleague.account_id, Role.VIEWER, now_ms())


async def logged_out(portal: Portal, _ada: Somebody, colleague: Colleague) -> None:
    """The colleague's log-in is ended elsewhere."""
    await accounts.delete_session(portal.pool, colleague.session_hash)


async def forgotten(portal: Portal, _ada: Somebody, colleague: Colleague) -> None:
    """The membership goes without a hint: the poll finds out."""
    async with portal.pool.connection() as connection:
        await connection.execute(
            "DELETE FROM membership WHERE account_id = %s AND company_id = %s",
            [colleague.account_id, colleague.company_id],
        )


@pytest.mark.parametrize(
    ("act", "within_s"),
    [
        (removed, AT_ONCE_S),
        (demoted, AT_ONCE_S),
        (logged_out, AT_ONCE_S),
        (forgotten, BY_POLL_S),
    ],
)
async def test_a_live_page_ends_with_the_rights_behind_it(
    portal: Portal, ada: Somebody, colleague: Colleague, act: Act, within_s: float
) -> None:
    path = f"/devices/{colleague.owned.device_id}/live"
    async with (
        open_stream(ada.browser, path) as hers,
        open_stream(colleague.browser, path) as stream,
    ):
        await stream.until('data-condition="on_mains"', timeout_s=5)
        await hers.until('data-condition="on_mains"', timeout_s=5)
        await act(portal, ada, colleague)
        acted = time.monotonic()
        await stream.until_event("gone", timeout_s=within_s)
        assert time.monotonic() - acted < within_s
        assert await stream.next() is None
        await colleague.owned.show(state_of_charge=81.0)
        await hers.until("81", timeout_s=5)  # whoever kept the rights goes on
    answer = await colleague.browser.get(f"/devices/{colleague.owned.device_id}")
    assert answer.status == (200 if act is demoted else 303)


async def test_a_claim_s_live_page_ends_with_the_membership(
    portal: Portal, ada: Somebody, colleague: Colleague
) -> None:
    view = await claim(portal.pool, ada.actor, TestDevice())
    async with open_stream(colleague.browser, f"/claims/{view.claim_id}/live") as stream:
        await stream.next()
        await removed(portal, ada, colleague)
        await stream.until_event("gone", timeout_s=AT_ONCE_S)
        assert await stream.next() is None
