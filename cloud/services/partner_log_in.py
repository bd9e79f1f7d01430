"""Log-in with a partner's account, once the provider has said who it is (:mod:`cloud.core.partner`).

1. ``meet(kit, person, invitation=…, now_ms)`` → Met: an account that is connected with this identity
   (``identity``; where it says ``needs_factor``, our second factor is still asked for), an account of the
   same address that is not (``known``: its owner logs in as always and says yes), or nobody yet
   (``sign_up``: the token of a sign-up that goes on with page two, the names filled in).
2. ``connect(kit, session, …, fresh=…, now_ms)`` after the owner's own log-in. RefusedError fresh_needed,
   other_address (the partner's address is not that of the account), partner_taken.
3. ``connection_of`` and ``disconnect`` are for the profile; the latter is RefusedError fresh_needed,
   not_found. Whoever has no password yet gets one by *Forgot your password?*

``prove(kit, session, person, now_ms)`` is the step-up of an account that has no second factor: the partner
has just asked for the password again. RefusedError partner_refused.

The sign-up itself is that of :mod:`cloud.services.signing_up`; the partner's word stands for the mailed code.
"""

from dataclasses import dataclass

from cloud.core.account import Email
from cloud.core.language import N_, gettext, speaking
from cloud.core.partner import PartnerPerson
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.sign_up import SIGN_UP_LIFE_MS
from cloud.postgres import accounts, factors, outbox, partners, profiles, sign_ups
from cloud.postgres.accounts import Session
from cloud.postgres.partners import Connected
from cloud.postgres.sign_ups import SignUpRow
from cloud.postgres.transaction import Connection
from cloud.services import letters, signing_up
from cloud.services.accounts import Identity
from cloud.services.kit import Kit, hash_of, new_token


@dataclass(frozen=True, slots=True)
class Met:
    """Where somebody stands here; exactly one of the three is set."""

    identity: Identity | None = None
    known: bool = False
    sign_up: str = ""


async def meet(kit: Kit, person: PartnerPerson, *, invitation: str | None = None, now_ms: int) -> Met:
    """Whom the partner has logged in is who here? RefusedError link_invalid, other_address (invitations)."""
    async with kit.pool.connection() as connection, connection.transaction():
        account_id = await partners.find_account(connection, person.issuer, person.subject)
        if account_id is not None:
            await partners.note_use(connection, person.issuer, person.subject, now_ms)
        known = await profiles.find_by_email(connection, person.email) is not None
    if account_id is not None:
        found = await accounts.find_credentials(kit.pool, account_id)
        if found is None:
            raise RefusedError(RefusalCode.PARTNER_REFUSED)
        fresh = person.is_fresh(now_ms)
        return Met(Identity(found.account_id, found.company_id, found.two_factor, fresh=fresh))
    if known:
        return Met(known=True)
    return Met(sign_up=await _begin_sign_up(kit, person, invitation, now_ms))


async def _begin_sign_up(kit: Kit, person: PartnerPerson, invitation: str | None, now_ms: int) -> str:
    invitation_id = None
    if invitation is not None:
        invitation_id = await signing_up.open_invitation(kit, person.email, invitation, now_ms)
    token = new_token()
    row = SignUpRow(
        token_hash=hash_of(token),
        email=person.email.value,
        email_norm=person.email.folded,
        known=False,  # the database decides
        password_hash=await kit.passwords.hash(new_token()),  # nobody knows it
        profile={"first_name": person.first_name, "last_name": person.last_name, "location": ""},
        company=None,
        promotions=None,
        privacy_ms=None,
        invitation_id=invitation_id,
        created_ms=now_ms,
        expires_ms=now_ms + SIGN_UP_LIFE_MS,
        partner={
            "issuer": person.issuer,
            "subject": person.subject,
            "authenticated_ms": person.authenticated_ms,
        },
    )
    await sign_ups.insert(kit.pool, row)
    return token


async def connect(
    kit: Kit, session: Session, *, issuer: str, subject: str, email: str, fresh: bool, now_ms: int
) -> None:
    """Connect an identity with the account that is logged in. Done twice, it is done."""
    _must_be_fresh(fresh)
    if Email.parse(email).folded != Email.parse(session.email).folded:
        text = gettext(
            "The other account has the address {email}, which is not that of this one.", email=email
        )
        raise RefusedError(RefusalCode.OTHER_ADDRESS, text=text)
    partner = {"issuer": issuer, "subject": subject}
    async with kit.pool.connection() as connection, connection.transaction():
        before = await partners.find_account(connection, issuer, subject)
        if not await partners.connect(connection, partner, session.account_id, email, now_ms):
            raise RefusedError(RefusalCode.PARTNER_TAKEN)
        if before is None:
            what = N_("A log-in with an account of another portal was connected.")
            await _tell(kit, connection, session, "partner_connected", what, now_ms)


async def disconnect(kit: Kit, session: Session, issuer: str, *, fresh: bool, now_ms: int) -> None:
    """End the connection: from now on only the account's own log-in leads in."""
    _must_be_fresh(fresh)
    async with kit.pool.connection() as connection, connection.transaction():
        if not await partners.disconnect(connection, issuer, session.account_id):
            raise RefusedError(RefusalCode.NOT_FOUND)
        what = N_("The log-in with an account of another portal was disconnected.")
        await _tell(kit, connection, session, "partner_disconnected", what, now_ms)


async def connection_of(kit: Kit, account_id: int, issuer: str) -> Connected | None:
    """What the profile shows."""
    async with kit.pool.connection() as connection:
        return await partners.find_connection(connection, issuer, account_id)


async def prove(kit: Kit, session: Session, person: PartnerPerson, now_ms: int) -> None:
    """The log-in is fresh for 5 minutes. An account with a second factor proves itself by that alone."""
    async with kit.pool.connection() as connection, connection.transaction():
        owner = await partners.find_account(connection, person.issuer, person.subject)
        if owner != session.account_id or session.two_factor or not person.is_fresh(now_ms):
            raise RefusedError(RefusalCode.PARTNER_REFUSED)
        await factors.set_factor_time(connection, session.session_hash, session.account_id, now_ms)
        await accounts.record(
            connection,
            "proved_again",
            now_ms=now_ms,
            account_id=session.account_id,
            company_id=session.company_id,
            detail={"by": "partner"},
        )


def _must_be_fresh(fresh: bool) -> None:
    if not fresh:
        raise RefusedError(RefusalCode.FRESH_NEEDED)


async def _tell(
    kit: Kit, connection: Connection, session: Session, kind: str, what: str, now_ms: int
) -> None:
    company_id, account_id = session.company_id, session.account_id
    await accounts.record(connection, kind, now_ms=now_ms, account_id=account_id, company_id=company_id)
    with speaking(session.language):
        letter = letters.notice(kit, session.email, kind, gettext(what), now_ms, account_id)
    await outbox.put(connection, letter)
