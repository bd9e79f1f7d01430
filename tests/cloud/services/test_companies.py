"""Company, members, roles and invitations on a real PostgreSQL."""

import asyncio

import psycopg
import pytest

from cloud.core.account import AccountError
from cloud.core.authz import Actor, NotAllowedError, Role
from cloud.core.membership import INVITATION_LIFE_MS
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.sign_up import FormError
from cloud.postgres import companies as rows
from cloud.services import companies, signing_up
from cloud.services.accounts import Authenticator, Identity
from cloud.services.kit import Kit
from tests.support.kit import (
    PAGE_TWO,
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


@pytest.fixture
async def head(kit: Kit) -> Actor:
    """The owner of a company."""
    identity = await add_person(kit, "ada@example.org", NOW)
    return Actor(identity.account_id, identity.company_id, Role.OWNER)


async def add_member(kit: Kit, head: Actor, email: str, role: Role) -> Actor:
    """Somebody with an account who was invited and has accepted."""
    identity = await add_person(kit, email, NOW, first_name="Eve")
    await companies.invite(kit, head, email, role, NOW)
    session = await log_in(kit, identity, NOW)
    await companies.accept(kit, session, await mailed_token(kit.pool, email), NOW)
    return Actor(identity.account_id, head.company_id, role)


async def roles(kit: Kit, head: Actor) -> dict[str, Role]:
    """E-mail address → role."""
    return {member.email: member.role for member in await companies.members(kit, head)}


async def test_details(kit: Kit, head: Actor) -> None:
    form = {**PAGE_TWO, "contact_name": "Ada North", "contact_email": "ups@example.org"}
    await companies.change_details(kit, head, form, NOW)
    found = await companies.details(kit, head)
    assert (found.name, found.city, found.contact_email) == (
        "Example Works",
        "Exampleton",
        "ups@example.org",
    )
    with pytest.raises(FormError) as caught:
        await companies.change_details(
            kit, head, {**form, "contact_email": "x", "city": "", "contact_phone": "1" * 201}, NOW
        )
    assert set(caught.value.faults) == {"contact_email", "city", "contact_phone"}
    assert (await audit_kinds(kit, head.account_id))[-1] == "company_changed"


async def test_an_invited_person_registers_without_page_two(kit: Kit, head: Actor) -> None:
    await companies.invite(kit, head, "eve@example.org ", Role.OPERATOR, NOW)
    letter = await newest_letter(kit.pool, "eve@example.org")
    assert letter.kind == "invitation"
    assert "Ada North invites you" in letter.text
    link = await mailed_token(kit.pool, "eve@example.org")
    found = await companies.look_at_invitation(kit, link, NOW)
    assert (found.inviter, found.email, found.role) == ("Ada North", "eve@example.org", Role.OPERATOR)
    token = await signing_up.begin(
        kit,
        email="EVE@example.org",
        first_name="Eve",
        last_name="South",
        password=PASSWORD,
        location="DE",
        now_ms=NOW,
        invitation=link,
    )
    assert (await signing_up.look(kit, token, NOW)).invited_by == "Ada North"
    await signing_up.register(
        kit, token, {}, privacy=True, promotions=False, check_robot=never_a_robot, now_ms=NOW
    )
    identity = await signing_up.verify(kit, token, await mailed_code(kit.pool, "EVE@example.org"), NOW)
    assert identity.company_id == head.company_id
    assert await roles(kit, head) == {"ada@example.org": Role.OWNER, "EVE@example.org": Role.OPERATOR}
    assert await refusal_of(companies.look_at_invitation(kit, link, NOW)) is RefusalCode.LINK_INVALID
    assert await audit_kinds(kit, identity.account_id) == ["joined", "signed_up"]


@pytest.mark.parametrize(
    ("email", "text"),
    [
        ("", "Please enter email address"),
        ("eve", "You have entered an invalid email address. Please re-enter the email address."),
    ],
)
async def test_the_texts_of_the_seed(kit: Kit, head: Actor, email: str, text: str) -> None:
    with pytest.raises(AccountError) as caught:
        await companies.invite(kit, head, email, Role.VIEWER, NOW)
    assert str(caught.value) == text


@pytest.mark.parametrize("email", ["Eve@Example.org", "ada@example.org"])
async def test_nobody_is_invited_twice_and_no_member_is(kit: Kit, head: Actor, email: str) -> None:
    await companies.invite(kit, head, "eve@example.org", Role.VIEWER, NOW)
    with pytest.raises(RefusedError) as caught:
        await companies.invite(kit, head, email, Role.VIEWER, NOW)
    assert caught.value.code is RefusalCode.ALREADY_INVITED
    assert str(caught.value) == (
        "This co-worker has already been invited to the portal. Please invite another co-worker."
    )


async def test_two_invitations_at_once_are_one(kit: Kit, head: Actor) -> None:
    results = await asyncio.gather(
        *(companies.invite(kit, head, "eve@example.org", Role.VIEWER, NOW) for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in results) == 1
    assert len(await companies.invitations(kit, head)) == 1


async def test_an_invitation_ends_by_time_or_by_hand(kit: Kit, head: Actor) -> None:
    await companies.invite(kit, head, "eve@example.org", Role.VIEWER, NOW)
    first = await mailed_token(kit.pool, "eve@example.org")
    late = NOW + INVITATION_LIFE_MS
    assert await refusal_of(companies.look_at_invitation(kit, first, late)) is RefusalCode.LINK_INVALID
    await companies.invite(kit, head, "eve@example.org", Role.VIEWER, late)
    second = await mailed_token(kit.pool, "eve@example.org")
    (found,) = await companies.invitations(kit, head)
    await companies.withdraw(kit, head, found.invitation_id, late)
    assert await refusal_of(companies.look_at_invitation(kit, second, late)) is RefusalCode.LINK_WITHDRAWN
    assert await refusal_of(companies.look_at_invitation(kit, first, late)) is RefusalCode.LINK_INVALID
    assert await refusal_of(companies.withdraw(kit, head, found.invitation_id, late)) is (
        RefusalCode.NOT_FOUND
    )


async def test_an_invitation_is_for_its_address(kit: Kit, head: Actor) -> None:
    await companies.invite(kit, head, "eve@example.org", Role.ADMIN, NOW)
    link = await mailed_token(kit.pool, "eve@example.org")
    mallory = await log_in(kit, await add_person(kit, "mallory@example.org", NOW), NOW)
    assert await refusal_of(companies.accept(kit, mallory, link, NOW)) is RefusalCode.OTHER_ADDRESS
    assert (
        await refusal_of(
            signing_up.begin(
                kit,
                email="other@example.org",
                first_name="Mallory",
                last_name="North",
                password=PASSWORD,
                location="DE",
                now_ms=NOW,
                invitation=link,
            )
        )
        is RefusalCode.OTHER_ADDRESS
    )


async def test_who_accepts_acts_for_the_company_and_can_switch_back(kit: Kit, head: Actor) -> None:
    identity = await add_person(kit, "eve@example.org", NOW, first_name="Eve")
    session = await log_in(kit, identity, NOW)
    await companies.invite(kit, head, "eve@example.org", Role.VIEWER, NOW)
    link = await mailed_token(kit.pool, "eve@example.org")
    assert await companies.accept(kit, session, link, NOW + 1) == head.company_id
    now = await session_of(kit, session.session_hash, NOW)
    assert now is not None
    assert (now.company_id, now.role) == (head.company_id, Role.VIEWER)
    mine = await companies.mine(kit, identity.account_id)
    assert [company_id for company_id, _, _ in mine] == [identity.company_id, head.company_id]
    await companies.switch(kit, now, identity.company_id)
    back = await session_of(kit, session.session_hash, NOW)
    assert back is not None
    assert back.company_id == identity.company_id
    stranger = await add_person(kit, "sam@example.org", NOW)
    assert await refusal_of(companies.switch(kit, now, stranger.company_id)) is RefusalCode.NOT_FOUND


async def test_removing_a_member_ends_the_log_ins_for_this_company_at_once(
    kit: Kit, head: Actor, database: str
) -> None:
    eve = await add_member(kit, head, "eve@example.org", Role.OPERATOR)
    here = await log_in(kit, Identity(eve.account_id, head.company_id), NOW)
    (home, _, _) = next(
        entry for entry in await companies.mine(kit, eve.account_id) if entry[0] != head.company_id
    )
    elsewhere = await log_in(kit, Identity(eve.account_id, home), NOW)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as listener:
        await listener.execute("LISTEN account")
        await companies.remove(kit, head, eve.account_id, NOW)
        async for notice in listener.notifies(timeout=10, stop_after=1):
            assert notice.payload == str(eve.account_id)
    assert await session_of(kit, here.session_hash, NOW) is None
    assert await session_of(kit, elsewhere.session_hash, NOW) is not None
    assert await roles(kit, head) == {"ada@example.org": Role.OWNER}
    assert (await newest_letter(kit.pool, "eve@example.org")).kind == "member_removed"
    with pytest.raises(NotAllowedError):
        await companies.invite(kit, eve, "x@example.org", Role.VIEWER, NOW)


async def test_whoever_belongs_nowhere_gets_a_company_of_their_own(kit: Kit, head: Actor) -> None:
    eve = await add_member(kit, head, "eve@example.org", Role.OPERATOR)
    for company_id, _, _ in await companies.mine(kit, eve.account_id):
        if company_id != head.company_id:
            async with kit.pool.connection() as connection:
                await rows.remove_member(connection, company_id, eve.account_id)
    await companies.remove(kit, head, eve.account_id, NOW)
    check = Authenticator(kit.pool, kit.passwords)
    identity = await check.authenticate("eve@example.org", PASSWORD, address="192.0.2.1", now_ms=NOW)
    assert identity is not None
    assert identity.company_id != head.company_id


async def test_roles(kit: Kit, head: Actor) -> None:
    admin = await add_member(kit, head, "eve@example.org", Role.ADMIN)
    viewer = await add_member(kit, head, "sam@example.org", Role.VIEWER)
    await companies.change_role(kit, admin, viewer.account_id, Role.OPERATOR, NOW)
    for work in (
        companies.change_role(kit, admin, viewer.account_id, Role.OWNER, NOW),
        companies.change_role(kit, admin, head.account_id, Role.VIEWER, NOW),
        companies.remove(kit, admin, head.account_id, NOW),
        companies.invite(kit, admin, "x@example.org", Role.OWNER, NOW),
    ):
        assert await refusal_of(work) is RefusalCode.ROLE_NOT_ALLOWED
    for work in (
        companies.change_role(kit, viewer, viewer.account_id, Role.OWNER, NOW),
        companies.remove(kit, viewer, admin.account_id, NOW),
        companies.change_details(kit, viewer, PAGE_TWO, NOW),
    ):
        with pytest.raises(NotAllowedError):
            await work
    assert await refusal_of(companies.change_role(kit, head, 999, Role.VIEWER, NOW)) is (
        RefusalCode.NOT_FOUND
    )
    assert await refusal_of(companies.change_role(kit, head, head.account_id, Role.ADMIN, NOW)) is (
        RefusalCode.LAST_OWNER
    )
    assert await refusal_of(companies.remove(kit, head, head.account_id, NOW)) is RefusalCode.LAST_OWNER
    await companies.remove(kit, viewer, viewer.account_id, NOW)  # leaves
    assert set(await roles(kit, head)) == {"ada@example.org", "eve@example.org"}


async def test_an_old_session_s_role_decides_nothing(kit: Kit, head: Actor) -> None:
    admin = await add_member(kit, head, "eve@example.org", Role.ADMIN)
    await companies.change_role(kit, head, admin.account_id, Role.VIEWER, NOW)
    with pytest.raises(NotAllowedError):
        await companies.invite(kit, admin, "x@example.org", Role.VIEWER, NOW)


async def test_two_owners_who_step_down_at_once_leave_one(kit: Kit, head: Actor) -> None:
    other = await add_member(kit, head, "eve@example.org", Role.OWNER)
    results = await asyncio.gather(
        companies.change_role(kit, head, head.account_id, Role.VIEWER, NOW),
        companies.change_role(kit, other, other.account_id, Role.VIEWER, NOW),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in results) == 1
    assert list((await roles(kit, head)).values()).count(Role.OWNER) == 1


async def test_accepting_and_withdrawing_at_once_is_one_of_the_two(kit: Kit, head: Actor) -> None:
    identity = await add_person(kit, "eve@example.org", NOW)
    session = await log_in(kit, identity, NOW)
    for _ in range(companies.MAX_INVITATIONS_EACH_A_DAY):
        await companies.invite(kit, head, "eve@example.org", Role.VIEWER, NOW)
        link = await mailed_token(kit.pool, "eve@example.org")
        (found,) = await companies.invitations(kit, head)
        accepted, withdrawn = await asyncio.gather(
            companies.accept(kit, session, link, NOW),
            companies.withdraw(kit, head, found.invitation_id, NOW),
            return_exceptions=True,
        )
        assert isinstance(accepted, RefusedError) is not isinstance(withdrawn, RefusedError)
        assert ("eve@example.org" in await roles(kit, head)) is isinstance(accepted, int)
        if isinstance(accepted, int):
            await companies.remove(kit, head, identity.account_id, NOW)
            session = await log_in(kit, identity, NOW)


async def test_an_invitation_is_sent_again_with_all_its_time(kit: Kit, head: Actor) -> None:
    invited = await companies.invite(kit, head, "eve@example.org", Role.VIEWER, NOW)
    first = await mailed_token(kit.pool, "eve@example.org")
    late = NOW + INVITATION_LIFE_MS
    (found,) = await companies.invitations(kit, head)
    assert (found.sent_ms, found.is_open(late)) == (NOW, False)
    again = await companies.resend(kit, head, invited.invitation_id, late)
    assert (again.invitation_id, again.sent_ms, again.expires_ms) == (
        invited.invitation_id,
        late,
        late + INVITATION_LIFE_MS,
    )
    second = await mailed_token(kit.pool, "eve@example.org")
    assert second != first
    for link in (first, second):  # whichever of the two mails is found
        assert (await companies.look_at_invitation(kit, link, late)).invitation_id == invited.invitation_id
    assert (await audit_kinds(kit, head.account_id))[-1] == "invitation_resent"
    await companies.withdraw(kit, head, invited.invitation_id, late)
    for link in (first, second):
        look = companies.look_at_invitation(kit, link, late)
        assert await refusal_of(look) is RefusalCode.LINK_WITHDRAWN
    resend = companies.resend(kit, head, invited.invitation_id, late)
    assert await refusal_of(resend) is RefusalCode.NOT_FOUND


async def test_sending_again_is_bounded_and_for_those_who_may_invite(kit: Kit, head: Actor) -> None:
    invited = await companies.invite(kit, head, "eve@example.org", Role.OWNER, NOW)
    for number in range(1, companies.MAX_INVITATIONS_EACH_A_DAY):
        await companies.resend(kit, head, invited.invitation_id, NOW + number)
    with pytest.raises(RefusedError, match="tomorrow") as caught:
        await companies.resend(kit, head, invited.invitation_id, NOW + 9)
    assert caught.value.code is RefusalCode.TOO_FAST
    (found,) = await companies.invitations(kit, head)
    assert found.sent_ms < NOW + 9  # the refused one left nothing
    await companies.resend(kit, head, invited.invitation_id, NOW + companies.DAY_MS)
    admin = await add_member(kit, head, "sam@example.org", Role.ADMIN)
    as_admin = companies.resend(kit, admin, invited.invitation_id, NOW + 2 * companies.DAY_MS)
    assert await refusal_of(as_admin) is RefusalCode.ROLE_NOT_ALLOWED
    stranger = await add_person(kit, "bob@example.org", NOW)
    theirs = Actor(stranger.account_id, stranger.company_id, Role.OWNER)
    foreign = companies.resend(kit, theirs, invited.invitation_id, NOW + 2 * companies.DAY_MS)
    assert await refusal_of(foreign) is RefusalCode.NOT_FOUND


async def _invite_and_withdraw(kit: Kit, head: Actor, email: str, now_ms: int) -> None:
    found = await companies.invite(kit, head, email, Role.VIEWER, now_ms)
    await companies.withdraw(kit, head, found.invitation_id, now_ms)


async def test_withdrawing_makes_no_room_for_another_mail_to_the_same_address(kit: Kit, head: Actor) -> None:
    for number in range(companies.MAX_INVITATIONS_EACH_A_DAY):
        await _invite_and_withdraw(kit, head, "eve@example.org", NOW + number)
    with pytest.raises(RefusedError, match="tomorrow") as caught:
        await companies.invite(kit, head, "EVE@example.org", Role.VIEWER, NOW + 9)
    assert (caught.value.code, caught.value.field) == (RefusalCode.TOO_FAST, "email")
    assert await companies.invitations(kit, head) == []
    await companies.invite(kit, head, "grace@example.org", Role.VIEWER, NOW + 9)
    await companies.invite(kit, head, "eve@example.org", Role.VIEWER, NOW + companies.DAY_MS)


async def test_a_company_sends_so_many_invitations_a_day(
    kit: Kit, head: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companies, "MAX_INVITATIONS_A_DAY", 4)
    for number in range(4):
        await _invite_and_withdraw(kit, head, f"{number}@example.org", NOW)
    assert (
        await refusal_of(companies.invite(kit, head, "4@example.org", Role.VIEWER, NOW + 1))
        is RefusalCode.TOO_FAST
    )
    await companies.invite(kit, head, "4@example.org", Role.VIEWER, NOW + companies.DAY_MS)
