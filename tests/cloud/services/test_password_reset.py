"""A new password by a mailed link, on a real PostgreSQL."""

import asyncio

import pytest

from cloud.core import second_factor as factor_core
from cloud.core.account import AccountError
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import outbox
from cloud.services import password_reset, second_factor
from cloud.services.accounts import Authenticator
from cloud.services.kit import Kit
from cloud.services.letters import RESET_LIFE_MS
from tests.support.kit import (
    PASSWORD,
    add_person,
    log_in,
    mailed_token,
    never_a_robot,
    newest_letter,
    refusal_of,
    session_of,
)

NOW = 1_800_000_000_000
ADA = "ada@example.org"
NEW_PASSWORD = "Another horse 8"


async def ask(kit: Kit, email: str = ADA, now_ms: int = NOW) -> None:
    """Ask for a link."""
    await password_reset.ask(kit, email, check_robot=never_a_robot, now_ms=now_ms)


async def test_a_link_sets_a_password_once(kit: Kit) -> None:
    identity = await add_person(kit, ADA, NOW)
    session = await log_in(kit, identity, NOW)
    await ask(kit, " ADA@example.org")
    letter = await newest_letter(kit.pool, ADA)
    link = await mailed_token(kit.pool, ADA)
    assert f"https://portal.example.org/reset/new#{link}" in letter.text
    assert await password_reset.look(kit, link, NOW) == ADA
    with pytest.raises(AccountError, match="at least 8"):
        await password_reset.reset(kit, link, "short", NOW)
    await password_reset.reset(kit, link, NEW_PASSWORD, NOW)
    check = Authenticator(kit.pool, kit.passwords)
    assert await check.authenticate(ADA, PASSWORD, address="192.0.2.1", now_ms=NOW) is None
    assert await check.authenticate(ADA, NEW_PASSWORD, address="192.0.2.1", now_ms=NOW) == identity
    assert await session_of(kit, session.session_hash, NOW) is None
    assert (await newest_letter(kit.pool, ADA)).kind == "password_reset_done"
    assert await refusal_of(password_reset.reset(kit, link, NEW_PASSWORD, NOW)) is RefusalCode.LINK_INVALID


async def test_a_link_used_twice_at_once_works_once(kit: Kit) -> None:
    await add_person(kit, ADA, NOW)
    await ask(kit)
    link = await mailed_token(kit.pool, ADA)
    results = await asyncio.gather(
        *(password_reset.reset(kit, link, f"{NEW_PASSWORD}{number}", NOW) for number in range(3)),
        return_exceptions=True,
    )
    assert results.count(None) == 1
    assert sum(isinstance(result, RefusedError) for result in results) == 2


async def test_links_end(kit: Kit) -> None:
    await add_person(kit, ADA, NOW)
    await ask(kit)
    first = await mailed_token(kit.pool, ADA)
    late = NOW + RESET_LIFE_MS
    for link, now_ms in ((first, late), ("", NOW), ("x" * 43, NOW)):
        assert await refusal_of(password_reset.look(kit, link, now_ms)) is RefusalCode.LINK_INVALID
    await ask(kit, now_ms=NOW + 1)
    await password_reset.reset(kit, await mailed_token(kit.pool, ADA), NEW_PASSWORD, NOW + 1)
    # The other link that was out is void, too.
    assert await refusal_of(password_reset.look(kit, first, NOW + 1)) is RefusalCode.LINK_INVALID


async def test_an_unknown_address_gets_no_mail_and_the_same_answer(kit: Kit) -> None:
    await ask(kit, "nobody@example.org")
    assert await outbox.newest(kit.pool) == []
    async with kit.pool.connection() as connection:
        cursor = await connection.execute("SELECT account_id FROM password_reset")
        assert await cursor.fetchall() == [(None,)]


async def test_known_and_unknown_addresses_cost_the_same_rows(kit: Kit) -> None:
    """As much is written for an address that nobody has."""
    await add_person(kit, ADA, NOW)

    async def rows_written(email: str) -> tuple[object, ...]:
        async with kit.pool.connection() as connection:
            counts = (
                "SELECT (SELECT count(*) FROM mail), (SELECT count(*) FROM password_reset),"
                " (SELECT count(*) FROM account_audit)"
            )
            before = await (await connection.execute(counts)).fetchone()
            await ask(kit, email)
            after = await (await connection.execute(counts)).fetchone()
        assert before is not None
        assert after is not None
        return tuple(new - old for old, new in zip(before, after, strict=True))

    assert await rows_written(ADA) == await rows_written("nobody@example.org") == (1, 1, 1)


async def test_a_mailbox_is_not_flooded(kit: Kit) -> None:
    await add_person(kit, ADA, NOW)
    for _ in range(2 * password_reset.MAX_OPEN):
        await ask(kit)
    assert len(await outbox.newest(kit.pool)) == password_reset.MAX_OPEN
    await ask(kit, now_ms=NOW + RESET_LIFE_MS)
    assert len(await outbox.newest(kit.pool)) == password_reset.MAX_OPEN + 1


async def test_the_robot_check_comes_first(kit: Kit) -> None:
    async def robot() -> None:
        raise LookupError

    await add_person(kit, ADA, NOW)
    with pytest.raises(LookupError):
        await password_reset.ask(kit, ADA, check_robot=robot, now_ms=NOW)
    assert await outbox.newest(kit.pool) == []
    with pytest.raises(AccountError):
        await ask(kit, "no address")


async def test_the_second_factor_stays_on(kit: Kit) -> None:
    session = await log_in(kit, await add_person(kit, ADA, NOW), NOW)
    enrolment = await second_factor.start(kit, session.account_id, fresh=True, now_ms=NOW)
    code = factor_core.code_at(enrolment.secret, factor_core.step_of(NOW))
    await second_factor.confirm(kit, session.account_id, session.session_hash, code, NOW)
    await ask(kit)
    link = await mailed_token(kit.pool, ADA)
    check = Authenticator(kit.pool, kit.passwords)
    before = await check.authenticate(ADA, PASSWORD, address="192.0.2.1", now_ms=NOW)
    assert before is not None
    waiting = await second_factor.begin_login(kit, before, NOW)
    await password_reset.reset(kit, link, NEW_PASSWORD, NOW)
    identity = await check.authenticate(ADA, NEW_PASSWORD, address="192.0.2.1", now_ms=NOW)
    assert identity is not None
    assert identity.needs_factor
    # A log-in that had got past the old password does not get on.
    assert await refusal_of(second_factor.finish_login(kit, waiting, "123456", NOW)) is RefusalCode.LOGIN_GONE
