"""Two-Factor Authentication on a real PostgreSQL: turning on, log-in, step-up, guessing, recovery."""

import asyncio
from dataclasses import dataclass

import pytest

from cloud.core import second_factor as core
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres.accounts import Session
from cloud.services import second_factor
from cloud.services.accounts import Authenticator, Identity
from cloud.services.kit import Kit
from cloud.services.second_factor import PACE, TELL_AFTER
from tests.support.kit import (
    PASSWORD,
    add_person,
    audit_kinds,
    log_in,
    newest_letter,
    refusal_of,
    session_of,
)

NOW = 1_800_000_000_000
ADA = "ada@example.org"


@dataclass
class Ada:
    """Somebody with an authenticator app."""

    kit: Kit
    session: Session
    secret: str
    recovery: list[str]

    def code(self, now_ms: int) -> str:
        """What the app shows."""
        return core.code_at(self.secret, core.step_of(now_ms))

    async def check(self, typed: str, now_ms: int) -> str:
        """Spend a code."""
        return await second_factor.check(self.kit, self.session.account_id, typed, now_ms)


@pytest.fixture
async def session(kit: Kit) -> Session:
    """Ada, logged in, without a second factor."""
    return await log_in(kit, await add_person(kit, ADA, NOW), NOW)


@pytest.fixture
async def ada(kit: Kit, session: Session) -> Ada:
    """Ada with her second factor turned on an hour before ``NOW``."""
    then = NOW - 3_600_000
    enrolment = await second_factor.start(kit, session.account_id, fresh=True, now_ms=then)
    code = core.code_at(enrolment.secret, core.step_of(then))
    recovery = await second_factor.confirm(kit, session.account_id, session.session_hash, code, then)
    found = await session_of(kit, session.session_hash, NOW)
    assert found is not None
    return Ada(kit, found, enrolment.secret, recovery)


def wrong(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 500_000) % 1_000_000:06d}"


async def test_turning_on(kit: Kit, session: Session) -> None:
    other = await log_in(kit, Identity(session.account_id, session.company_id), NOW)
    assert await refusal_of(second_factor.start(kit, session.account_id, fresh=False, now_ms=NOW)) is (
        RefusalCode.FRESH_NEEDED
    )
    await second_factor.start(kit, session.account_id, fresh=True, now_ms=NOW)
    enrolment = await second_factor.start(kit, session.account_id, fresh=True, now_ms=NOW)
    assert ADA.replace("@", "%40") in enrolment.uri
    assert not (await second_factor.status(kit, session.account_id)).on
    code = core.code_at(enrolment.secret, core.step_of(NOW))
    confirm = second_factor.confirm
    assert (
        await refusal_of(confirm(kit, session.account_id, session.session_hash, wrong(code), NOW))
        is RefusalCode.FACTOR_WRONG
    )
    codes = await confirm(kit, session.account_id, session.session_hash, code, NOW)
    assert len(set(codes)) == core.RECOVERY_CODES
    status = await second_factor.status(kit, session.account_id)
    assert (status.on, status.since_ms, status.recovery_codes_left) == (True, NOW, core.RECOVERY_CODES)
    assert (await newest_letter(kit.pool, ADA)).kind == "factor_on"
    here = await session_of(kit, session.session_hash, NOW)
    there = await session_of(kit, other.session_hash, NOW)
    assert here is not None
    assert there is not None
    assert (here.two_factor, here.is_fresh(NOW)) == (True, True)
    assert not there.is_fresh(NOW)  # proved by the password alone
    assert await refusal_of(second_factor.start(kit, session.account_id, fresh=True, now_ms=NOW)) is (
        RefusalCode.FACTOR_ON
    )
    assert (
        await refusal_of(confirm(kit, session.account_id, session.session_hash, code, NOW))
        is RefusalCode.FACTOR_ON
    )


async def test_neither_secret_nor_recovery_codes_are_in_the_database(kit: Kit, ada: Ada) -> None:
    async with kit.pool.connection() as connection:
        for table in ("totp", "recovery_code", "account_audit", "mail"):
            cursor = await connection.execute(f"SELECT t::text FROM {table} t")
            text = str(await cursor.fetchall())
            assert ada.secret not in text
            assert ada.secret.encode().hex() not in text
            for code in ada.recovery:
                assert code not in text
                assert code.replace("-", "").encode().hex() not in text


async def test_a_step_is_spent_once_even_at_the_same_moment(ada: Ada) -> None:
    code = ada.code(NOW)
    results = await asyncio.gather(*(ada.check(code, NOW) for _ in range(4)), return_exceptions=True)
    assert results.count("totp") == 1
    assert all(result == "totp" or isinstance(result, RefusedError) for result in results)


async def test_no_step_before_a_spent_one_is_accepted(ada: Ada) -> None:
    await ada.check(ada.code(NOW), NOW)
    assert await refusal_of(ada.check(ada.code(NOW - core.STEP_MS), NOW)) is RefusalCode.FACTOR_WRONG
    await ada.check(ada.code(NOW + core.STEP_MS), NOW)


async def test_log_in_needs_the_factor(kit: Kit, ada: Ada) -> None:
    check = Authenticator(kit.pool, kit.passwords)
    identity = await check.authenticate(ADA, PASSWORD, address="192.0.2.1", now_ms=NOW)
    assert identity is not None
    assert identity.needs_factor
    token = await second_factor.begin_login(kit, identity, NOW)
    assert await refusal_of(second_factor.finish_login(kit, token, wrong(ada.code(NOW)), NOW)) is (
        RefusalCode.FACTOR_WRONG
    )
    proved = await second_factor.finish_login(kit, token, ada.code(NOW), NOW)
    assert proved == Identity(identity.account_id, identity.company_id)
    assert await refusal_of(second_factor.finish_login(kit, token, ada.recovery[0], NOW)) is (
        RefusalCode.LOGIN_GONE
    )


async def test_a_log_in_waits_five_minutes_and_five_tries(kit: Kit, ada: Ada) -> None:
    identity = Identity(ada.session.account_id, ada.session.company_id, needs_factor=True)
    token = await second_factor.begin_login(kit, identity, NOW)
    late = NOW + core.LOGIN_STEP_LIFE_MS
    assert await refusal_of(second_factor.finish_login(kit, token, ada.code(late), late)) is (
        RefusalCode.LOGIN_GONE
    )
    for _ in range(core.LOGIN_STEP_TRIES):
        assert await refusal_of(second_factor.finish_login(kit, token, wrong(ada.code(NOW)), NOW)) is (
            RefusalCode.FACTOR_WRONG
        )
    assert await refusal_of(second_factor.finish_login(kit, token, ada.code(NOW), NOW)) is (
        RefusalCode.LOGIN_GONE
    )
    assert await refusal_of(second_factor.finish_login(kit, "", ada.code(NOW), NOW)) is (
        RefusalCode.LOGIN_GONE
    )


async def test_a_recovery_code_works_once_and_is_told(kit: Kit, ada: Ada) -> None:
    assert await ada.check(ada.recovery[3].lower(), NOW) == "recovery"
    assert (await newest_letter(kit.pool, ADA)).kind == "recovery_used"
    assert await refusal_of(ada.check(ada.recovery[3], NOW)) is RefusalCode.FACTOR_WRONG
    assert (await second_factor.status(kit, ada.session.account_id)).recovery_codes_left == 9


async def test_guessing_gets_slower_is_told_and_never_locks(kit: Kit, ada: Ada) -> None:
    at_ms = NOW
    guesses = 0
    for _ in range(3 * TELL_AFTER):
        code = await refusal_of(ada.check(wrong(ada.code(at_ms)), at_ms))
        if code is RefusalCode.TOO_FAST:
            at_ms += PACE.longest_ms
        else:
            guesses += 1
    assert TELL_AFTER <= guesses < 3 * TELL_AFTER
    assert (await newest_letter(kit.pool, ADA)).kind == "factor_guessed"
    assert (await audit_kinds(kit, ada.session.account_id)).count("factor_guessed") == 1
    at_ms += PACE.longest_ms
    assert await ada.check(ada.code(at_ms), at_ms) == "totp"
    assert await refusal_of(ada.check("000000", at_ms + 1)) is RefusalCode.FACTOR_WRONG


async def test_guesses_at_one_moment_are_no_faster(ada: Ada) -> None:
    found = await asyncio.gather(
        *(refusal_of(ada.check(wrong(ada.code(NOW)), NOW)) for _ in range(4 * PACE.free))
    )
    assert found.count(RefusalCode.FACTOR_WRONG) == PACE.free
    assert found.count(RefusalCode.TOO_FAST) == 3 * PACE.free


async def test_step_up_by_code_or_by_password(kit: Kit, session: Session) -> None:
    old = NOW + core.FRESH_MS + 1
    assert not session.is_fresh(old)
    assert await refusal_of(second_factor.step_up(kit, session, password="x", now_ms=old)) is (
        RefusalCode.PASSWORD_WRONG
    )
    await second_factor.step_up(kit, session, password=PASSWORD, now_ms=old)
    found = await session_of(kit, session.session_hash, old)
    assert found is not None
    assert found.is_fresh(old + core.FRESH_MS)
    assert not found.is_fresh(old + core.FRESH_MS + 1)


async def test_a_password_is_not_enough_where_a_factor_is_on(kit: Kit, ada: Ada) -> None:
    assert await refusal_of(second_factor.step_up(kit, ada.session, password=PASSWORD, now_ms=NOW)) is (
        RefusalCode.FACTOR_WRONG
    )
    await second_factor.step_up(kit, ada.session, code=ada.code(NOW), now_ms=NOW)
    assert (await audit_kinds(kit, ada.session.account_id))[-1] == "proved_again"


async def test_password_guesses_in_a_session_get_slower(kit: Kit, session: Session) -> None:
    found = [
        await refusal_of(second_factor.step_up(kit, session, password="x", now_ms=NOW))
        for _ in range(PACE.free + 1)
    ]
    assert found == [RefusalCode.PASSWORD_WRONG] * PACE.free + [RefusalCode.TOO_FAST]
    await second_factor.step_up(kit, session, password=PASSWORD, now_ms=NOW + PACE.longest_ms)


async def test_new_recovery_codes_and_turning_off(kit: Kit, ada: Ada) -> None:
    account_id = ada.session.account_id
    assert (
        await refusal_of(second_factor.new_recovery_codes(kit, account_id, fresh=False, now_ms=NOW))
        is RefusalCode.FRESH_NEEDED
    )
    fresh = await second_factor.new_recovery_codes(kit, account_id, fresh=True, now_ms=NOW)
    assert not set(fresh) & set(ada.recovery)
    assert await refusal_of(ada.check(ada.recovery[0], NOW)) is RefusalCode.FACTOR_WRONG
    assert await refusal_of(second_factor.turn_off(kit, account_id, fresh=False, now_ms=NOW)) is (
        RefusalCode.FRESH_NEEDED
    )
    await second_factor.turn_off(kit, account_id, fresh=True, now_ms=NOW)
    assert await refusal_of(ada.check(fresh[0], NOW)) is RefusalCode.FACTOR_WRONG
    assert await refusal_of(second_factor.turn_off(kit, account_id, fresh=True, now_ms=NOW)) is (
        RefusalCode.FACTOR_OFF
    )
    assert (
        await refusal_of(second_factor.new_recovery_codes(kit, account_id, fresh=True, now_ms=NOW))
        is RefusalCode.FACTOR_OFF
    )
    check = Authenticator(kit.pool, kit.passwords)
    identity = await check.authenticate(ADA, PASSWORD, address="192.0.2.1", now_ms=NOW)
    assert identity is not None
    assert not identity.needs_factor


async def test_an_operator_helps_who_lost_everything(kit: Kit, ada: Ada) -> None:
    off = second_factor.turn_off_as_operator
    assert await refusal_of(off(kit, "eve@example.org", NOW)) is RefusalCode.NOT_FOUND
    await off(kit, " ADA@example.org", NOW)
    assert not (await second_factor.status(kit, ada.session.account_id)).on
    assert await session_of(kit, ada.session.session_hash, NOW) is None
    assert (await newest_letter(kit.pool, ADA)).kind == "factor_off_by_operator"
    assert await refusal_of(off(kit, ADA, NOW)) is RefusalCode.FACTOR_OFF
