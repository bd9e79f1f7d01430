"""My Profile on a real PostgreSQL: data, password, e-mail address, log-ins."""

import pytest

from cloud.core.account import AccountError
from cloud.core.one_time_code import FIRST_PAUSE_MS, TRIES
from cloud.core.refusal import RefusalCode
from cloud.core.sign_up import FormError
from cloud.postgres.accounts import Session
from cloud.services import password_reset, profile
from cloud.services.accounts import Authenticator, Identity
from cloud.services.kit import Kit
from tests.support.kit import (
    PASSWORD,
    add_person,
    audit_kinds,
    log_in,
    mailed_code,
    mailed_token,
    never_a_robot,
    newest_letter,
    refusal_of,
    session_of,
)

NOW = 1_800_000_000_000
ADA = "ada@example.org"
NEW = "north@example.org"
OTHER_PASSWORD = "Another horse 8"


@pytest.fixture
async def session(kit: Kit) -> Session:
    """Ada, logged in."""
    return await log_in(kit, await add_person(kit, ADA, NOW), NOW)


async def proves(kit: Kit, email: str, password: str) -> Identity | None:
    """Whom this proves."""
    check = Authenticator(kit.pool, kit.passwords)
    return await check.authenticate(email, password, address="192.0.2.1", now_ms=NOW)


async def test_data(kit: Kit, session: Session) -> None:
    form = {
        "first_name": " Ada  Maria ",
        "time_zone": "Europe/Berlin",
        "location": "DE",
        "city": "Exampleton",
        "email": "x",
        "password_hash": "x",
    }
    await profile.change(kit, session, form, NOW, promotions=True)
    found = await profile.read(kit, session.account_id)
    assert (found.first_name, found.last_name, found.time_zone) == ("Ada Maria", "North", "Europe/Berlin")
    assert (found.email, found.city, found.promotions, found.two_factor) == (ADA, "Exampleton", True, False)
    assert await proves(kit, ADA, PASSWORD) is not None
    with pytest.raises(FormError) as caught:
        await profile.change(
            kit,
            session,
            {"first_name": "", "time_zone": "Mars", "language": "?", "location": "XX", "phone": "1" * 201},
            NOW,
        )
    assert set(caught.value.faults) == {"first_name", "time_zone", "language", "location", "phone"}
    await profile.change(kit, session, {}, NOW)
    assert (await profile.read(kit, session.account_id)).promotions


async def test_a_new_password_ends_the_other_log_ins(kit: Kit, session: Session) -> None:
    other = await log_in(kit, Identity(session.account_id, session.company_id), NOW)
    change = profile.change_password
    assert await refusal_of(change(kit, session, "x", OTHER_PASSWORD, NOW)) is RefusalCode.PASSWORD_WRONG
    with pytest.raises(AccountError, match="first name or last name"):
        await change(kit, session, PASSWORD, "Ada horse 8", NOW)
    await change(kit, session, PASSWORD, OTHER_PASSWORD, NOW)
    assert await session_of(kit, session.session_hash, NOW) is not None
    assert await session_of(kit, other.session_hash, NOW) is None
    assert await proves(kit, ADA, PASSWORD) is None
    assert await proves(kit, ADA, OTHER_PASSWORD) is not None
    assert (await newest_letter(kit.pool, ADA)).kind == "password_changed"


async def test_another_address(kit: Kit, session: Session) -> None:
    ask, confirm = profile.ask_email_change, profile.confirm_email_change
    assert await refusal_of(ask(kit, session, NEW, fresh=False, now_ms=NOW)) is RefusalCode.FRESH_NEEDED
    with pytest.raises(AccountError, match="already"):
        await ask(kit, session, "ADA@example.org", fresh=True, now_ms=NOW)
    await password_reset.ask(kit, ADA, check_robot=never_a_robot, now_ms=NOW)
    link = await mailed_token(kit.pool, ADA)
    await ask(kit, session, NEW, fresh=True, now_ms=NOW)
    assert (await newest_letter(kit.pool, ADA)).kind == "email_change_asked"
    code = await mailed_code(kit.pool, NEW)
    assert (await profile.read(kit, session.account_id)).email == ADA
    await confirm(kit, session, code, NOW)
    assert await proves(kit, ADA, PASSWORD) is None
    assert await proves(kit, NEW, PASSWORD) is not None
    for address in (ADA, NEW):
        assert (await newest_letter(kit.pool, address)).kind == "email_changed"
    # Whoever reads the old mailbox cannot take the account back by an older link.
    assert await refusal_of(password_reset.look(kit, link, NOW)) is RefusalCode.LINK_INVALID
    assert await refusal_of(confirm(kit, session, code, NOW)) is RefusalCode.CODE_SPENT


async def test_an_address_that_is_taken_is_answered_like_a_free_one(kit: Kit, session: Session) -> None:
    await add_person(kit, NEW, NOW)
    await profile.ask_email_change(kit, session, NEW, fresh=True, now_ms=NOW)
    letter = await newest_letter(kit.pool, NEW)
    assert letter.kind == "email_change_known"
    found = [
        await refusal_of(profile.confirm_email_change(kit, session, f"{number:06d}", NOW))
        for number in range(TRIES + 1)
    ]
    assert found == [RefusalCode.CODE_WRONG] * TRIES + [RefusalCode.CODE_SPENT]


async def test_the_code_of_one_address_does_not_prove_another(kit: Kit, session: Session) -> None:
    ask = profile.ask_email_change
    await ask(kit, session, NEW, fresh=True, now_ms=NOW)
    code = await mailed_code(kit.pool, NEW)
    other = "other@example.org"
    assert await refusal_of(ask(kit, session, other, fresh=True, now_ms=NOW)) is RefusalCode.RESEND_LATER
    later = NOW + FIRST_PAUSE_MS
    await ask(kit, session, other, fresh=True, now_ms=later)
    if await mailed_code(kit.pool, other) != code:
        assert await refusal_of(profile.confirm_email_change(kit, session, code, later)) is (
            RefusalCode.CODE_WRONG
        )
    await profile.confirm_email_change(kit, session, await mailed_code(kit.pool, other), later)
    assert (await profile.read(kit, session.account_id)).email == other


async def test_an_address_taken_in_between_is_refused(kit: Kit, session: Session) -> None:
    await profile.ask_email_change(kit, session, NEW, fresh=True, now_ms=NOW)
    code = await mailed_code(kit.pool, NEW)
    await add_person(kit, NEW, NOW)
    assert await refusal_of(profile.confirm_email_change(kit, session, code, NOW)) is RefusalCode.EMAIL_TAKEN
    assert (await profile.read(kit, session.account_id)).email == ADA


async def test_log_ins_are_listed_and_ended(kit: Kit, session: Session) -> None:
    me = Identity(session.account_id, session.company_id)
    two, three = await log_in(kit, me, NOW + 1), await log_in(kit, me, NOW + 2)
    strangers = await log_in(kit, await add_person(kit, "eve@example.org", NOW), NOW)
    views = await profile.log_ins(kit, session, NOW)
    assert [view.here for view in views] == [False, False, True]
    assert views[0].row.user_agent == "a browser"
    await profile.end_log_in(kit, session, views[0].name, NOW)
    assert await session_of(kit, three.session_hash, NOW) is None
    (hers,) = await profile.log_ins(kit, strangers, NOW)
    for name in (hers.name, views[0].name, "", "x"):
        assert await refusal_of(profile.end_log_in(kit, session, name, NOW)) is RefusalCode.NOT_FOUND
    assert await profile.end_other_log_ins(kit, session, NOW) == 1
    assert await session_of(kit, two.session_hash, NOW) is None
    assert await session_of(kit, session.session_hash, NOW) is not None
    assert await session_of(kit, strangers.session_hash, NOW) is not None


async def test_the_trail_is_read_newest_first(kit: Kit, session: Session) -> None:
    await profile.change(kit, session, {"city": "Exampleton"}, NOW)
    lines = await profile.history(kit, session.account_id)
    assert [line["kind"] for line in lines] == ["profile_changed", "account_created"]
    assert lines[0]["detail"] == {"fields": ["city"]}
    assert await audit_kinds(kit, session.account_id) == ["account_created", "profile_changed"]
