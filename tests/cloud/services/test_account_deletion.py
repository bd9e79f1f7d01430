"""Deleting an account on a real PostgreSQL: devices, companies, and what is left."""

import pytest

from cloud.core.authz import Actor, Role
from cloud.core.refusal import RefusalCode
from cloud.postgres import companies as rows
from cloud.postgres import outbox
from cloud.postgres.accounts import Session
from cloud.services import account_deletion, claiming, companies
from cloud.services.accounts import Authenticator, Identity
from cloud.services.claim_view import ViewState
from cloud.services.kit import Kit
from tests.support.claiming import TestDevice
from tests.support.kit import PASSWORD, add_person, audit_kinds, log_in, refusal_of, session_of

NOW = 1_800_000_000_000
ADA = "ada@example.org"


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
