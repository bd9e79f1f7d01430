"""Deleting an account on a real PostgreSQL: devices, companies, and what is left."""

import asyncio
from typing import Final, LiteralString

import pytest

from cloud.core.authz import Actor, NotAllowedError, Role
from cloud.core.refusal import RefusalCode
from cloud.postgres import bulk, closing, leftovers, outbox
from cloud.postgres import companies as rows
from cloud.postgres.accounts import Session
from cloud.services import account_deletion, claiming, companies, offering, owning
from cloud.services.accounts import Authenticator, Identity
from cloud.services.claim_view import ViewState
from cloud.services.kit import Kit
from tests.support.claiming import TestDevice
from tests.support.kit import PASSWORD, add_person, audit_kinds, log_in, refusal_of, session_of

NOW = 1_800_000_000_000
ADA = "ada@example.org"
WAIT_S: Final = 20.0
JOB: Final = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
async def session(kit: Kit) -> Session:
    """Ada, logged in, alone in her company."""
    return await log_in(kit, await add_person(kit, ADA, NOW), NOW)


def actor_of(session: Session) -> Actor:
    """Whom this log-in acts as."""
    return Actor(session.account_id, session.company_id, Role(session.role))


async def claim(kit: Kit, session: Session, *, announced: bool = True) -> TestDevice:
    """A device of the session's company, or a claim that waits for it."""
    device = TestDevice()
    if announced:
        await device.announce(kit.pool, NOW)
    view = await claiming.submit(kit.pool, actor_of(session), device.product_id, device.label_pub, NOW)
    assert (view.state is ViewState.WON) is announced
    return device


async def owner_of(kit: Kit, device: TestDevice) -> int | None:
    """The company that owns it now."""
    async with kit.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT company_id FROM ownership WHERE device_id = %s AND until_ms IS NULL", [device.device_id]
        )
        row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def test_the_last_member_s_devices_are_released_and_nothing_personal_stays(
    kit: Kit, session: Session
) -> None:
    device, waiting = await claim(kit, session), await claim(kit, session, announced=False)
    assert await refusal_of(account_deletion.delete(kit, session, fresh=False, now_ms=NOW)) is (
        RefusalCode.FRESH_NEEDED
    )
    outlook = await account_deletion.foresee(kit, session)
    assert [(part.company_id, part.devices) for part in outlook.closing] == [(session.company_id, 1)]
    await account_deletion.delete(kit, session, fresh=True, now_ms=NOW + 1)
    assert await owner_of(kit, device) is None
    assert await session_of(kit, session.session_hash, NOW) is None
    check = Authenticator(kit.pool, kit.passwords)
    assert await check.authenticate(ADA, PASSWORD, address="192.0.2.1", now_ms=NOW) is None
    async with kit.pool.connection() as connection:
        cursor = await connection.execute("SELECT state FROM claim WHERE device_id = %s", [waiting.device_id])
        assert await cursor.fetchone() == ("cancelled",)
        for table in ("account", "company", "account_audit"):
            found = await connection.execute(f"SELECT t::text FROM {table} t")
            text = str(await found.fetchall())
            assert "Ada" not in text
            assert "example.org" not in text
    assert [letter.kind for letter in await outbox.newest(kit.pool, to_address=ADA)] == ["account_deleted"]
    assert (await audit_kinds(kit, session.account_id))[-1] == "account_deleted"
    again = await add_person(kit, ADA, NOW + 2)  # the address is free
    assert again.account_id != session.account_id


async def test_devices_may_be_handed_to_another_company_of_the_person(kit: Kit, session: Session) -> None:
    device = await claim(kit, session)
    eve = await add_person(kit, "eve@example.org", NOW)
    assert (
        await refusal_of(
            account_deletion.delete(kit, session, fresh=True, hand_to=eve.company_id, now_ms=NOW)
        )
        is RefusalCode.NOT_FOUND
    )
    async with kit.pool.connection() as connection:
        await rows.add_member(connection, eve.company_id, session.account_id, Role.OPERATOR, NOW)
    outlook = await account_deletion.foresee(kit, session)
    assert [part.company_id for part in outlook.takers] == [eve.company_id]
    assert [part.company_id for part in outlook.staying] == [eve.company_id]
    await account_deletion.delete(kit, session, fresh=True, hand_to=eve.company_id, now_ms=NOW + 1)
    assert await owner_of(kit, device) == eve.company_id
    head = Actor(eve.account_id, eve.company_id, Role.OWNER)
    assert [member.account_id for member in await companies.members(kit, head)] == [eve.account_id]


async def test_a_viewer_hands_nothing_over(kit: Kit, session: Session) -> None:
    eve = await add_person(kit, "eve@example.org", NOW)
    async with kit.pool.connection() as connection:
        await rows.add_member(connection, eve.company_id, session.account_id, Role.VIEWER, NOW)
    assert (await account_deletion.foresee(kit, session)).takers == ()


async def test_the_only_owner_of_others_names_another_one_first(kit: Kit, session: Session) -> None:
    device = await claim(kit, session)
    eve = await add_person(kit, "eve@example.org", NOW)
    async with kit.pool.connection() as connection:
        await rows.add_member(connection, session.company_id, eve.account_id, Role.VIEWER, NOW)
    assert await refusal_of(account_deletion.delete(kit, session, fresh=True, now_ms=NOW)) is (
        RefusalCode.LAST_OWNER
    )
    assert await owner_of(kit, device) == session.company_id
    await companies.change_role(kit, actor_of(session), eve.account_id, Role.OWNER, NOW)
    await account_deletion.delete(kit, session, fresh=True, now_ms=NOW)
    assert await owner_of(kit, device) == session.company_id  # the company's, whoever leaves
    found = await log_in(kit, Identity(eve.account_id, session.company_id), NOW)
    assert found.role == Role.OWNER


async def test_what_comes_while_a_company_closes_does_not_stay_with_it(kit: Kit, session: Session) -> None:
    """The first device is held where the sweep wants it, and the others come meanwhile."""
    device, waiting = await claim(kit, session), await claim(kit, session, announced=False)
    late = TestDevice()
    await late.announce(kit.pool, NOW)
    async with kit.pool.connection() as holder, holder.transaction():
        await holder.execute("SELECT 1 FROM device WHERE device_id = %s FOR UPDATE", [device.device_id])
        deletion = asyncio.create_task(account_deletion.delete(kit, session, fresh=True, now_ms=NOW + 1))
        await waits_for_a_lock(kit)
        assert await waiting.announce(kit.pool, NOW + 1) is claiming.Noted.RECORDED
        with pytest.raises(NotAllowedError):
            await claiming.submit(kit.pool, actor_of(session), late.product_id, late.label_pub, NOW + 1)
    await deletion
    assert [await owner_of(kit, one) for one in (device, waiting, late)] == [None, None, None]
    assert await count(kit, "SELECT count(*) FROM claim WHERE state = 'pending'") == 0
    assert await waiting.announce(kit.pool, NOW + 2) is claiming.Noted.RECORDED


async def test_a_device_that_was_being_bound_when_the_company_was_shut_is_released_too(
    kit: Kit, session: Session
) -> None:
    waiting = await claim(kit, session, announced=False)
    await waiting.announce(kit.pool, NOW, smartconnect=False)
    async with kit.pool.connection() as binder, binder.transaction():
        done = await binder.execute(
            "SELECT bind_device(device_id, claim_id, %s, %s) FROM claim WHERE device_id = %s",
            [waiting.kid, NOW, waiting.device_id],
        )
        assert (await done.fetchone()) != (None,)
        deletion = asyncio.create_task(account_deletion.delete(kit, session, fresh=True, now_ms=NOW + 1))
        await waits_for_a_lock(kit)
    await deletion
    assert await owner_of(kit, waiting) is None


async def test_claims_whose_time_is_over_do_not_hold_a_deletion_up(kit: Kit, session: Session) -> None:
    await claim(kit, session, announced=False)
    async with asyncio.timeout(WAIT_S):
        await account_deletion.delete(kit, session, fresh=True, now_ms=NOW + claiming.PENDING_MS + 1)
    assert await count(kit, "SELECT count(*) FROM claim WHERE state = 'expired'") == 1


async def test_a_deletion_that_cannot_finish_leaves_the_company_open(kit: Kit, session: Session) -> None:
    """Somebody joins after all, so the company does not close; what was released is, the rest goes on."""
    device = await claim(kit, session)
    eve = await add_person(kit, "eve@example.org", NOW)
    async with kit.pool.connection() as holder, holder.transaction():
        await holder.execute("SELECT 1 FROM device WHERE device_id = %s FOR UPDATE", [device.device_id])
        deletion = asyncio.create_task(account_deletion.delete(kit, session, fresh=True, now_ms=NOW + 1))
        await waits_for_a_lock(kit)
        async with kit.pool.connection() as connection:
            await rows.add_member(connection, session.company_id, eve.account_id, Role.VIEWER, NOW)
    assert await refusal_of(deletion) is RefusalCode.LAST_OWNER
    assert await owner_of(kit, device) is None
    assert await count(kit, "SELECT count(*) FROM company WHERE closed_ms IS NOT NULL") == 0
    assert await owner_of(kit, await claim(kit, session)) == session.company_id


async def test_a_shut_company_takes_no_offer(kit: Kit, session: Session) -> None:
    device = await claim(kit, session)
    eve = await log_in(kit, await add_person(kit, "eve@example.org", NOW), NOW)
    offer = await offering.offer(
        kit.pool, actor_of(session), device.device_id, NOW, fresh=True, to_company_id=eve.company_id
    )
    async with kit.pool.connection() as connection:
        await closing.shut(connection, eve.company_id, NOW)
    with pytest.raises(NotAllowedError):
        await offering.accept_offer(kit.pool, actor_of(eve), offer.offer_id, NOW, fresh=True)
    assert await owner_of(kit, device) == session.company_id


async def waits_for_a_lock(kit: Kit) -> None:
    """Until somebody waits for a row."""
    async with asyncio.timeout(WAIT_S):
        while not await count(
            kit,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock'",
        ):
            await asyncio.sleep(0.01)


async def count(kit: Kit, statement: LiteralString) -> int:
    """The number a statement gives."""
    async with kit.pool.connection() as connection:
        row = await (await connection.execute(statement)).fetchone()
    return 0 if row is None else int(row[0])


async def test_a_closing_company_gives_up_what_it_disputes_and_its_lists(kit: Kit, session: Session) -> None:
    eve = await log_in(kit, await add_person(kit, "eve@example.org", NOW), NOW)
    device = await claim(kit, eve)
    # The right codes and a new key: a dispute.
    twin = device.twin()
    await twin.announce(kit.pool, NOW)
    await claiming.submit(kit.pool, actor_of(session), device.product_id, device.label_pub, NOW)
    open_disputes: LiteralString = "SELECT count(*) FROM matter WHERE kind = 'dispute' AND status = 'open'"
    assert await count(kit, open_disputes) == 1
    async with kit.pool.connection() as connection:
        await bulk.insert(connection, JOB, session.company_id, session.account_id, [], NOW)
        await closing.shut(connection, session.company_id, NOW)
    with pytest.raises(NotAllowedError):
        await owning.ask_second_hand(kit.pool, actor_of(session), device.device_id, twin.kid, NOW)
    await account_deletion.delete(kit, session, fresh=True, now_ms=NOW + 1)
    assert await count(kit, open_disputes) == 0
    assert await owner_of(kit, device) == eve.company_id
    async with kit.pool.connection() as connection:
        assert not await bulk.save(connection, JOB, [], NOW + 2)


async def test_a_company_that_a_crash_left_shut_goes_on_after_an_hour(kit: Kit, session: Session) -> None:
    async with kit.pool.connection() as connection:
        await closing.shut(connection, session.company_id, NOW)
    await leftovers.forget(kit.pool, NOW + leftovers.HOUR_MS - 1, 30)
    with pytest.raises(NotAllowedError):
        await claim(kit, session)
    await leftovers.forget(kit.pool, NOW + leftovers.HOUR_MS, 30)
    assert await owner_of(kit, await claim(kit, session)) == session.company_id
