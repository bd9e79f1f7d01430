"""Company, members, roles and invitations.

Everything takes the acting person as ``Actor`` (``actor_of(request)``); whoever is no member, or of too low
a role, gets NotAllowedError or RefusedError role_not_allowed. Roles are read again under the company's
lock, so a session that is a moment old decides nothing.

*Send a co-worker an invite*: ``invite`` → the page says "Invitation Sent". Its errors:
AccountError (``str``: "Please enter email address", "You have entered an invalid email address. Please
re-enter the email address."), RefusedError already_invited. A person who has an account gets the same mail
and logs in by the link.

``resend`` mails an invitation again, ``withdraw`` makes its links void. How much is mailed is bounded per
address, company and day, for resent and withdrawn ones too.

The link is ``/join#TOKEN``: the page posts the token. ``look_at_invitation`` says who invites (RefusedError
link_invalid, link_withdrawn); without a log-in go on to sign-up with ``signing_up.begin(…,
invitation=token)``; with one, ``accept`` (RefusedError other_address, already_member and those of the link)
makes the person a member and lets this log-in act for the company.

``remove`` ends a membership and every log-in that acts for the company by it; devices stay with the
company. A person without any company left gets an empty one of their own and can log in again. Open live
streams end by ``NOTIFY account`` and, without it, at the next poll (≤ 1 s).
"""

from collections.abc import Mapping
from typing import Final

from cloud.core.account import Email
from cloud.core.authz import Action, Actor, NotAllowedError, Role
from cloud.core.language import gettext, speaking, spoken
from cloud.core.membership import INVITATION_LIFE_MS, must_change_role, must_invite, must_remove
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.sign_up import choices_with, parse_company
from cloud.postgres import accounts, companies, outbox, witness
from cloud.postgres.accounts import Session
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.companies import Company, Invitation, Member
from cloud.postgres.transaction import Connection
from cloud.services import letters
from cloud.services.kit import Kit, hash_of, new_token

MAX_OPEN_INVITATIONS: Final = 200
"""Per company: nobody sends mails to the world by us."""
DAY_MS: Final = 86_400_000
MAX_INVITATIONS_A_DAY: Final = 100
"""Per company, ended ones too: to withdraw one does not make room for another mail."""
MAX_INVITATIONS_EACH_A_DAY: Final = 3
"""Per company and invited address."""


async def details(kit: Kit, actor: Actor) -> Company:
    """What the company says about itself."""
    found = await companies.find(kit.pool, actor.company_id)
    if found is None:
        raise RefusedError(RefusalCode.NOT_FOUND)
    return found


async def change_details(kit: Kit, actor: Actor, form: Mapping[str, str], now_ms: int) -> None:
    """Write page two's fields and the contact (contact_name, contact_email, contact_phone). FormError."""
    actor.must(Action.COMPANY)
    present = await details(kit, actor)
    chosen = {field: getattr(present, field) for field in kit.choices}
    values = parse_company(form, choices_with(kit.choices, chosen))
    async with kit.pool.connection() as connection, connection.transaction():
        await role_now(connection, actor, Action.COMPANY)
        await companies.update(connection, actor.company_id, values)
        await audit(connection, "company_changed", actor, now_ms, fields=sorted(values))


# --- members ------------------------------------------------------------------------------------------------


async def members(kit: Kit, actor: Actor) -> list[Member]:
    """Everybody in the company, owners first."""
    actor.must(Action.SEE)
    async with kit.pool.connection() as connection:
        return await companies.members(connection, actor.company_id)


@crossing(Reason.MEMBERSHIP)
async def change_role(kit: Kit, actor: Actor, account_id: int, role: Role, now_ms: int) -> None:
    """Another role for a member. RefusedError role_not_allowed, last_owner, not_found."""
    async with kit.pool.connection() as connection, connection.transaction():
        mine = await role_now(connection, actor, Action.MEMBERS)
        people = await companies.members(connection, actor.company_id)
        member = _find(people, account_id)
        must_change_role(mine, member.role, role, owners=_owners(people))
        await companies.set_role(connection, actor.company_id, account_id, role)
        await audit(
            connection, "role_changed", actor, now_ms, member=account_id, before=member.role, after=role
        )


@crossing(Reason.MEMBERSHIP)
async def remove(kit: Kit, actor: Actor, account_id: int, now_ms: int) -> None:
    """Remove a member, or leave. RefusedError role_not_allowed, last_owner, not_found."""
    async with kit.pool.connection() as connection, connection.transaction():
        leaving = account_id == actor.account_id
        mine = await role_now(connection, actor, Action.SEE if leaving else Action.MEMBERS)
        people = await companies.members(connection, actor.company_id)
        member = _find(people, account_id)
        if leaving and len(people) == 1:
            raise RefusedError(RefusalCode.LAST_OWNER)  # that is what deleting the account is for
        must_remove(mine, member.role, self_removal=leaving, owners=_owners(people), members=len(people))
        # Another company may be removing the same person: the second sees that none is left.
        await companies.lock_account(connection, account_id)
        await companies.remove_member(connection, actor.company_id, account_id)
        await audit(connection, "member_removed", actor, now_ms, member=account_id, role=member.role)
        await _give_home(connection, member, now_ms)
        name = await companies.name_of(connection, actor.company_id)
        with speaking(await accounts.language_of(connection, account_id)):
            what = gettext("You are no longer a member of {company}.", company=name)
            letter = letters.notice(kit, member.email, "member_removed", what, now_ms, account_id)
        await outbox.put(connection, letter)


async def _give_home(connection: Connection, member: Member, now_ms: int) -> None:
    """An empty company for somebody who belongs to none."""
    if not await companies.companies_of(connection, member.account_id):
        company_id = await companies.insert(connection, {"name": member.name or member.email}, now_ms)
        await companies.add_member(connection, company_id, member.account_id, Role.OWNER, now_ms)


async def mine(kit: Kit, account_id: int) -> list[tuple[int, str, Role]]:
    """(company_id, name, role) of the companies of a person, in the order of joining."""
    async with kit.pool.connection() as connection:
        return await companies.companies_of(connection, account_id)


async def switch(kit: Kit, session: Session, company_id: int) -> None:
    """Let this log-in act for another company of the person. RefusedError not_found."""
    async with kit.pool.connection() as connection:
        if not await companies.switch(connection, session.session_hash, session.account_id, company_id):
            raise RefusedError(RefusalCode.NOT_FOUND)


# --- invitations --------------------------------------------------------------------------------------------


@crossing(Reason.MEMBERSHIP)
async def invite(kit: Kit, actor: Actor, email: str, role: Role, now_ms: int) -> Invitation:
    """Send a co-worker an invite. AccountError, RefusedError already_invited, too_many_open, too_fast."""
    address = Email.parse(email)
    token = new_token()
    async with kit.pool.connection() as connection, connection.transaction():
        must_invite(await role_now(connection, actor, Action.MEMBERS), role)
        waiting = await companies.pending_invitations(connection, actor.company_id)
        if sum(one.is_open(now_ms) for one in waiting) >= MAX_OPEN_INVITATIONS:
            raise RefusedError(RefusalCode.TOO_MANY_OPEN)
        new = companies.NewInvitation(
            company_id=actor.company_id,
            email=address.value,
            email_norm=address.folded,
            role=role,
            token_hash=hash_of(token),
            invited_by=actor.account_id,
            now_ms=now_ms,
            expires_ms=now_ms + INVITATION_LIFE_MS,
        )
        number = await companies.insert_invitation(connection, new)
        if number is None:
            raise RefusedError(RefusalCode.ALREADY_INVITED, field="email")
        await _must_not_flood(connection, new.company_id, new.email_norm, now_ms)
        found = await companies.find_invitation(connection, invitation_id=number)
        if found is None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        await audit(connection, "invited", actor, now_ms, invitation=number, role=role)
        await _mail_invitation(kit, connection, found, token, now_ms)
        await witness.tell(connection, found)
    return found


async def _must_not_flood(connection: Connection, company_id: int, email_norm: str, now_ms: int) -> None:
    """RefusedError too_fast where the mail just written is too many for a day; the rollback removes it."""
    sent, sent_here = await companies.invitations_since(connection, company_id, email_norm, now_ms - DAY_MS)
    if sent_here > MAX_INVITATIONS_EACH_A_DAY:
        text = gettext("This address was invited several times today. Please try again tomorrow.")
        raise RefusedError(RefusalCode.TOO_FAST, text=text, field="email")
    if sent > MAX_INVITATIONS_A_DAY:
        text = gettext("Your company has sent very many invitations today. Please try again tomorrow.")
        raise RefusedError(RefusalCode.TOO_FAST, text=text)


async def invitations(kit: Kit, actor: Actor) -> list[Invitation]:
    """Those that nobody has answered, newest first; ``is_open`` says whether their time is over."""
    actor.must(Action.MEMBERS)
    async with kit.pool.connection() as connection:
        return await companies.pending_invitations(connection, actor.company_id)


@crossing(Reason.MEMBERSHIP)
async def resend(kit: Kit, actor: Actor, invitation_id: int, now_ms: int) -> Invitation:
    """Mail an invitation again, with a link of its own and all its time. The links of before work on.

    RefusedError not_found; too_fast where the address, or everybody together, has got too many.
    """
    token = new_token()
    async with kit.pool.connection() as connection, connection.transaction():
        # The invitation first, then the company: the order of those who accept it.
        found = await companies.find_invitation(connection, invitation_id=invitation_id)
        mine = await role_now(connection, actor, Action.MEMBERS)
        if found is None or found.company_id != actor.company_id or found.ended_ms is not None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        must_invite(mine, found.role)
        await companies.add_invitation_link(
            connection,
            invitation_id,
            hash_of(token),
            now_ms=now_ms,
            expires_ms=now_ms + INVITATION_LIFE_MS,
        )
        await _must_not_flood(connection, actor.company_id, found.email_norm, now_ms)
        await audit(connection, "invitation_resent", actor, now_ms, invitation=invitation_id)
        await _mail_invitation(kit, connection, found, token, now_ms)
        again = await companies.find_invitation(connection, invitation_id=invitation_id)
        if again is None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        await witness.tell(connection, again)
    return again


async def _mail_invitation(
    kit: Kit, connection: Connection, found: Invitation, token: str, now_ms: int
) -> None:
    with speaking(await accounts.language_at(connection, found.email_norm) or spoken()):
        letter = letters.invitation(
            kit,
            found.email,
            inviter=found.inviter,
            company=found.company_name,
            token=token,
            now_ms=now_ms,
        )
    await outbox.put(connection, letter)


async def withdraw(kit: Kit, actor: Actor, invitation_id: int, now_ms: int) -> None:
    """Make an invitation's link void. RefusedError not_found."""
    async with kit.pool.connection() as connection, connection.transaction():
        # The invitation first, then the company: the order of those who accept it.
        found = await companies.find_invitation(connection, invitation_id=invitation_id)
        await role_now(connection, actor, Action.MEMBERS)
        if found is None or found.company_id != actor.company_id or found.ended_ms is not None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        await companies.end_invitation(connection, invitation_id, now_ms)
        await audit(connection, "invitation_withdrawn", actor, now_ms, invitation=invitation_id)


@crossing(Reason.MEMBERSHIP)
async def look_at_invitation(kit: Kit, token: str, now_ms: int) -> Invitation:
    """Who invites whom, for the holder of the link. RefusedError link_invalid."""
    async with kit.pool.connection() as connection, connection.transaction():
        return await invitation_of_link(connection, hash_of(token), now_ms)


@crossing(Reason.MEMBERSHIP)
async def accept(kit: Kit, session: Session, token: str, now_ms: int) -> int:
    """Join by an invitation sent to the address of this account; the company's number."""
    async with kit.pool.connection() as connection, connection.transaction():
        found = await invitation_of_link(connection, hash_of(token), now_ms)
        if Email.parse(session.email).folded != found.email_norm:
            raise RefusedError(RefusalCode.OTHER_ADDRESS)
        await companies.lock(connection, found.company_id)
        joined = await companies.add_member(
            connection, found.company_id, session.account_id, found.role, now_ms
        )
        if not joined:
            raise RefusedError(RefusalCode.ALREADY_MEMBER)
        await companies.end_invitation(connection, found.invitation_id, now_ms, session.account_id)
        await companies.switch(connection, session.session_hash, session.account_id, found.company_id)
        await accounts.record(
            connection,
            "joined",
            now_ms=now_ms,
            account_id=session.account_id,
            company_id=found.company_id,
            detail={"invitation": found.invitation_id, "role": found.role},
        )
        await witness.tell(connection, found)
    return found.company_id


async def invitation_of_link(connection: Connection, token_hash: bytes, now_ms: int) -> Invitation:
    """That of a mailed link, locked. RefusedError link_invalid, link_withdrawn."""
    found = await companies.find_invitation(connection, token_hash=token_hash)
    if found is not None and found.ended_how == "withdrawn":
        raise RefusedError(RefusalCode.LINK_WITHDRAWN)
    if found is None or not found.is_open(now_ms):
        raise RefusedError(RefusalCode.LINK_INVALID)
    return found


# --- helpers ------------------------------------------------------------------------------------------------


async def role_now(connection: Connection, actor: Actor, action: Action) -> Role:
    """The actor's role as it is now, with the company's members held still. NotAllowedError."""
    await companies.lock(connection, actor.company_id)
    role = await companies.role_of(connection, actor.company_id, actor.account_id)
    if role is None:
        raise NotAllowedError(action, actor.role)
    Actor(actor.account_id, actor.company_id, role).must(action)
    return role


def _find(people: list[Member], account_id: int) -> Member:
    for member in people:
        if member.account_id == account_id:
            return member
    raise RefusedError(RefusalCode.NOT_FOUND)


def _owners(people: list[Member]) -> int:
    return sum(member.role is Role.OWNER for member in people)


async def audit(connection: Connection, kind: str, actor: Actor, now_ms: int, **detail: object) -> None:
    """A line of the audit trail about the actor's company."""
    await accounts.record(
        connection,
        kind,
        now_ms=now_ms,
        account_id=actor.account_id,
        company_id=actor.company_id,
        detail=detail,
    )
