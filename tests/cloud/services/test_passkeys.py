"""Passkeys on a real PostgreSQL, with an authenticator in software: adding, log-in, step-up, every fraud."""

import asyncio
import dataclasses
import json
from dataclasses import dataclass

import pytest

from cloud.core import second_factor as core
from cloud.core.account import AccountError
from cloud.core.passkey import CHALLENGE_LIFE_MS, MAX_PASSKEYS
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import passkeys as rows
from cloud.postgres.accounts import Session
from cloud.services import account_deletion, passkeys, second_factor
from cloud.services.accounts import Authenticator as Checker
from cloud.services.accounts import Identity
from cloud.services.kit import Kit
from tests.support.authenticator import Authenticator
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
ORIGIN = "https://portal.example.org"
OLD = NOW + core.FRESH_MS + 1


@dataclass
class Holder:
    """Somebody with a passkey, and a log-in."""

    kit: Kit
    session: Session
    phone: Authenticator
    recovery: list[str]

    @property
    def account_id(self) -> int:
        """Whose it is."""
        return self.session.account_id

    async def waiting(self) -> str:
        """A log-in whose password was right."""
        identity = Identity(self.account_id, self.session.company_id, needs_factor=True)
        return await second_factor.begin_login(self.kit, identity, NOW)

    async def finish(self, token: str, **wrong: object) -> Identity:
        """The second step of it."""
        options = await passkeys.ask_log_in(self.kit, token, NOW)
        return await passkeys.finish_log_in(self.kit, token, self.phone.get(options, **wrong), NOW)


async def make(kit: Kit, session: Session, name: str = "Phone", now_ms: int = NOW) -> Holder:
    """Add a passkey."""
    phone = Authenticator(ORIGIN)
    options = await passkeys.begin(kit, session, fresh=True, now_ms=now_ms)
    added = await passkeys.add(kit, session, name=name, answer=phone.create(options), now_ms=now_ms)
    found = await session_of(kit, session.session_hash, now_ms)
    assert found is not None
    return Holder(kit, found, phone, added.recovery_codes)


@pytest.fixture
async def session(kit: Kit) -> Session:
    """Ada, logged in, without a second factor."""
    return await log_in(kit, await add_person(kit, ADA, NOW), NOW)


@pytest.fixture
async def ada(kit: Kit, session: Session) -> Holder:
    """Ada with a passkey."""
    return await make(kit, session)


async def test_the_first_passkey_turns_two_factor_on(kit: Kit, session: Session) -> None:
    other = await log_in(kit, Identity(session.account_id, session.company_id), NOW)
    begin = passkeys.begin(kit, session, fresh=False, now_ms=NOW)
    assert await refusal_of(begin) is RefusalCode.FRESH_NEEDED
    ada = await make(kit, session)
    assert (ada.session.two_factor, ada.session.has_passkey) == (True, True)
    assert len(set(ada.recovery)) == core.RECOVERY_CODES
    assert ada.session.is_fresh(NOW)
    there = await session_of(kit, other.session_hash, NOW)
    assert there is not None
    assert not there.is_fresh(NOW)  # proved by the password alone
    status = await second_factor.status(kit, ada.account_id)
    assert (status.on, status.app_since_ms, [one.name for one in status.passkeys]) == (True, None, ["Phone"])
    assert (await newest_letter(kit.pool, ADA)).kind == "factor_on"
    assert {"passkey_added", "factor_on"} <= set(await audit_kinds(kit, ada.account_id))
    second = await make(kit, ada.session, "Key")
    assert second.recovery == []  # those of the first stay good
    assert (await newest_letter(kit.pool, ADA)).kind == "passkey_added"
    assert (await second_factor.status(kit, ada.account_id)).recovery_codes_left == core.RECOVERY_CODES


async def test_log_in_by_a_passkey(kit: Kit, ada: Holder) -> None:
    checker = Checker(kit.pool, kit.passwords)
    identity = await checker.authenticate(ADA, PASSWORD, address="192.0.2.1", now_ms=NOW)
    assert identity is not None
    assert identity.needs_factor
    token = await second_factor.begin_login(kit, identity, NOW)
    step = await second_factor.login_step(kit, token, NOW)
    assert (step.app, step.passkey) == (False, True)
    assert await ada.finish(token) == Identity(identity.account_id, identity.company_id)
    assert await refusal_of(ada.finish(token)) is RefusalCode.LOGIN_GONE
    (stored,) = (await second_factor.status(kit, ada.account_id)).passkeys
    assert (stored.sign_count, stored.used_ms) == (ada.phone.count, NOW)


async def test_a_recovery_code_stands_in_for_a_passkey(kit: Kit, ada: Holder) -> None:
    found = await second_factor.finish_login(kit, await ada.waiting(), ada.recovery[0], NOW)
    assert found.account_id == ada.account_id


async def test_step_up_by_a_passkey(kit: Kit, ada: Holder) -> None:
    assert not ada.session.is_fresh(OLD)
    password = second_factor.step_up(kit, ada.session, password=PASSWORD, now_ms=OLD)
    assert await refusal_of(password) is RefusalCode.FACTOR_WRONG
    options = await passkeys.ask_step_up(kit, ada.session, OLD)
    await passkeys.step_up(kit, ada.session, ada.phone.get(options), OLD)
    found = await session_of(kit, ada.session.session_hash, OLD)
    assert found is not None
    assert found.is_fresh(OLD + core.FRESH_MS)
    assert (await audit_kinds(kit, ada.account_id))[-1] == "proved_again"


async def test_an_answer_is_good_once(kit: Kit, ada: Holder) -> None:
    options = await passkeys.ask_step_up(kit, ada.session, NOW)
    answer = ada.phone.get(options)
    await passkeys.step_up(kit, ada.session, answer, NOW)
    replayed = passkeys.step_up(kit, ada.session, answer, NOW)
    assert await refusal_of(replayed) is RefusalCode.PASSKEY_EXPIRED
    await passkeys.ask_step_up(kit, ada.session, NOW)  # another challenge
    replayed = passkeys.step_up(kit, ada.session, answer, NOW)
    assert await refusal_of(replayed) is RefusalCode.PASSKEY_WRONG


async def test_many_answers_at_one_moment_are_one(kit: Kit, ada: Holder) -> None:
    options = await passkeys.ask_step_up(kit, ada.session, NOW)
    answer = ada.phone.get(options)
    found = await asyncio.gather(
        *(passkeys.step_up(kit, ada.session, answer, NOW) for _ in range(4)), return_exceptions=True
    )
    assert found.count(None) == 1
    assert all(one is None or isinstance(one, RefusedError) for one in found)


async def test_a_challenge_belongs_to_one_log_in_and_one_purpose(kit: Kit, ada: Holder) -> None:
    other = await log_in(kit, Identity(ada.account_id, ada.session.company_id), NOW)
    options = await passkeys.ask_step_up(kit, ada.session, NOW)
    answer = ada.phone.get(options)
    elsewhere = passkeys.step_up(kit, other, answer, NOW)
    assert await refusal_of(elsewhere) is RefusalCode.PASSKEY_EXPIRED
    as_log_in = passkeys.finish_log_in(kit, await ada.waiting(), answer, NOW)
    assert await refusal_of(as_log_in) is RefusalCode.PASSKEY_EXPIRED
    as_new = passkeys.add(kit, ada.session, name="x", answer=answer, now_ms=NOW)
    assert await refusal_of(as_new) is RefusalCode.PASSKEY_EXPIRED
    late = NOW + CHALLENGE_LIFE_MS
    assert await refusal_of(passkeys.step_up(kit, ada.session, answer, late)) is RefusalCode.PASSKEY_EXPIRED


async def test_a_wrong_answer_spends_the_challenge(kit: Kit, ada: Holder) -> None:
    options = await passkeys.ask_step_up(kit, ada.session, NOW)
    wrong = passkeys.step_up(kit, ada.session, "{}", NOW)
    assert await refusal_of(wrong) is RefusalCode.PASSKEY_WRONG
    right = passkeys.step_up(kit, ada.session, ada.phone.get(options), NOW)
    assert await refusal_of(right) is RefusalCode.PASSKEY_EXPIRED


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "https://portal.example.net"},
        {"origin": "http://portal.example.org"},
        {"rp_id": "example.org"},
        {"verified": False},
        {"handle": b"somebody else"},
    ],
)
async def test_what_does_not_prove_who_is_here_logs_nobody_in(
    kit: Kit, ada: Holder, wrong: dict[str, object]
) -> None:
    token = await ada.waiting()
    assert await refusal_of(ada.finish(token, **wrong)) is RefusalCode.PASSKEY_WRONG
    (stored,) = (await second_factor.status(kit, ada.account_id)).passkeys
    assert stored.used_ms is None
    await ada.finish(token)  # a try is spent, not the log-in


async def test_five_tries_and_it_is_over(ada: Holder) -> None:
    token = await ada.waiting()
    for _ in range(core.LOGIN_STEP_TRIES):
        assert await refusal_of(ada.finish(token, verified=False)) is RefusalCode.PASSKEY_WRONG
    assert await refusal_of(ada.finish(token)) is RefusalCode.LOGIN_GONE


async def test_somebody_elses_passkey_proves_nothing(kit: Kit, ada: Holder) -> None:
    eve = await make(kit, await log_in(kit, await add_person(kit, "eve@example.org", NOW), NOW))
    eve.phone.handle = ada.phone.handle
    options = await passkeys.ask_step_up(kit, ada.session, NOW)
    foreign = passkeys.step_up(kit, ada.session, eve.phone.get(options), NOW)
    assert await refusal_of(foreign) is RefusalCode.PASSKEY_WRONG
    options = await passkeys.begin(kit, eve.session, fresh=True, now_ms=NOW)
    again = passkeys.add(kit, eve.session, name="x", answer=ada.phone.create(options), now_ms=NOW)
    assert await refusal_of(again) is RefusalCode.PASSKEY_KNOWN
    (mine,) = (await second_factor.status(kit, ada.account_id)).passkeys
    gone = passkeys.remove(kit, eve.account_id, mine.passkey_id, fresh=True, now_ms=NOW)
    assert await refusal_of(gone) is RefusalCode.NOT_FOUND
    assert await refusal_of(passkeys.rename(kit, eve.account_id, mine.passkey_id, "x")) is (
        RefusalCode.NOT_FOUND
    )


async def test_a_copied_passkey_is_refused_and_told(kit: Kit, ada: Holder) -> None:
    await ada.finish(await ada.waiting(), count=41)
    token = await ada.waiting()
    assert await refusal_of(ada.finish(token, count=8)) is RefusalCode.PASSKEY_COPIED
    letter = await newest_letter(kit.pool, ADA)
    assert (letter.kind, "“Phone”" in letter.text) == ("passkey_copied", True)
    assert await refusal_of(ada.finish(token, count=41)) is RefusalCode.PASSKEY_COPIED
    await ada.finish(token, count=42)
    assert (await audit_kinds(kit, ada.account_id)).count("passkey_copied") == 2


async def test_a_passkey_that_does_not_count_is_fine(kit: Kit, session: Session) -> None:
    ada = await make(kit, session)
    ada.phone.step = 0
    for _ in range(2):
        await ada.finish(await ada.waiting())


async def test_the_app_beside_a_passkey(kit: Kit, ada: Holder) -> None:
    enrolment = await second_factor.start(kit, ada.account_id, fresh=True, now_ms=NOW)
    code = core.code_at(enrolment.secret, core.step_of(NOW))
    # An app that is not on yet logs nobody in, and a recovery code does not turn it on.
    assert await refusal_of(second_factor.finish_login(kit, await ada.waiting(), code, NOW)) is (
        RefusalCode.FACTOR_WRONG
    )
    confirm = second_factor.confirm
    by_recovery = confirm(kit, ada.account_id, ada.session.session_hash, ada.recovery[0], NOW)
    assert await refusal_of(by_recovery) is RefusalCode.FACTOR_WRONG
    assert await confirm(kit, ada.account_id, ada.session.session_hash, code, NOW) == []
    assert (await newest_letter(kit.pool, ADA)).kind == "app_added"
    step = await second_factor.login_step(kit, await ada.waiting(), NOW)
    assert (step.app, step.passkey) == (True, True)
    await second_factor.remove_app(kit, ada.account_id, fresh=True, now_ms=NOW)
    assert (await second_factor.status(kit, ada.account_id)).recovery_codes_left == core.RECOVERY_CODES
    again = second_factor.remove_app(kit, ada.account_id, fresh=True, now_ms=NOW)
    assert await refusal_of(again) is RefusalCode.FACTOR_OFF


async def test_when_the_last_one_goes_it_is_off(kit: Kit, ada: Holder) -> None:
    second = await make(kit, ada.session, "Key", NOW + 1)
    first, other = (await second_factor.status(kit, ada.account_id)).passkeys
    stale = passkeys.remove(kit, ada.account_id, first.passkey_id, fresh=False, now_ms=NOW)
    assert await refusal_of(stale) is RefusalCode.FRESH_NEEDED
    await passkeys.remove(kit, ada.account_id, first.passkey_id, fresh=True, now_ms=NOW)
    token = await ada.waiting()
    assert await refusal_of(ada.finish(token)) is RefusalCode.PASSKEY_WRONG
    await second.finish(token)
    await passkeys.remove(kit, ada.account_id, other.passkey_id, fresh=True, now_ms=NOW)
    status = await second_factor.status(kit, ada.account_id)
    assert (status.on, status.recovery_codes_left) == (False, 0)
    assert "turned off now" in (await newest_letter(kit.pool, ADA)).text
    checker = Checker(kit.pool, kit.passwords)
    identity = await checker.authenticate(ADA, PASSWORD, address="192.0.2.1", now_ms=NOW)
    assert identity is not None
    assert not identity.needs_factor


async def test_turning_off_takes_all_methods(kit: Kit, ada: Holder) -> None:
    await second_factor.turn_off(kit, ada.account_id, fresh=True, now_ms=NOW)
    assert (await second_factor.status(kit, ada.account_id)).passkeys == ()
    ask = passkeys.ask_step_up(kit, ada.session, NOW)
    assert await refusal_of(ask) is RefusalCode.FACTOR_OFF


async def test_names_and_how_many(kit: Kit, ada: Holder) -> None:
    (mine,) = (await second_factor.status(kit, ada.account_id)).passkeys
    await passkeys.rename(kit, ada.account_id, mine.passkey_id, " Old phone ")
    (mine,) = (await second_factor.status(kit, ada.account_id)).passkeys
    assert mine.name == "Old phone"
    with pytest.raises(AccountError):
        await passkeys.rename(kit, ada.account_id, mine.passkey_id, " ")
    async with kit.pool.connection() as connection:
        for number in range(MAX_PASSKEYS - 1):
            new = rows.NewPasskey(
                account_id=ada.account_id,
                credential_id=b"%d" % number,
                public_key=b"",
                sign_count=0,
                transports=[],
                name="x",
                rp_id="elsewhere.example.org",
                now_ms=NOW,
            )
            assert await rows.insert(connection, new) is not None
    options = await passkeys.ask_step_up(kit, ada.session, NOW)
    assert len(options["allowCredentials"]) == 1  # of this address
    full = passkeys.begin(kit, ada.session, fresh=True, now_ms=NOW)
    assert await refusal_of(full) is RefusalCode.TOO_MANY_OPEN


@pytest.mark.parametrize(
    "url", ["https://192.0.2.7", "http://portal.example.org", "https://", "https://x:99999"]
)
async def test_where_there_can_be_none_it_says_so(kit: Kit, session: Session, url: str) -> None:
    there = dataclasses.replace(kit, portal_url=url)
    begin = passkeys.begin(there, session, fresh=True, now_ms=NOW)
    assert await refusal_of(begin) is RefusalCode.PASSKEYS_UNAVAILABLE


async def test_nothing_of_it_outlives_the_account(kit: Kit, ada: Holder) -> None:
    options = await passkeys.begin(kit, ada.session, fresh=True, now_ms=NOW)
    assert ADA not in json.dumps(options["user"]["id"])
    await account_deletion.delete(kit, ada.session, fresh=True, hand_to=None, now_ms=NOW)
    async with kit.pool.connection() as connection:
        assert await rows.of_account(connection, ada.account_id) == []
