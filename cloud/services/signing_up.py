"""Sign-up in two pages (person, company), with a 6-digit code by mail.

Steps, each a function; the pages keep only the token (in a cookie of the visitor):

1. ``begin(kit, …page one…, address=request.remote, now_ms)`` → token. FormError (``faults``: field → text)
   for a bad page, RefusedError too_fast where one network begins very many.
2. ``look(kit, token, now_ms)`` → SignUp, for showing page two or the code page again. ``invited_by`` is set
   for invited people, who see no page two.
3. ``register(kit, token, page_two, privacy=…, promotions=…, check_robot=…, now_ms)`` mails the code.
   ``check_robot`` is awaited first and raises what the proof of work's own service raises. ``page_two`` is
   the form as a mapping; it is ignored for invited people. FormError, RefusedError privacy_needed, and
   resend_later where this address was sent many mails (:mod:`cloud.services.mail_pace`). Where a partner's
   log-in began the sign-up (:mod:`cloud.services.partner_log_in`), first and last name are fields of this
   page, the partner's word stands for the code, and the Identity is given at once, without steps 4 and 5.
   RefusedError email_taken, partner_taken where somebody was faster.
4. ``resend(kit, token, now_ms)`` mails another one. RefusedError resend_later (``after_s``), resend_enough.
5. ``verify(kit, token, code, now_ms)`` → Identity: the account exists; log the person in
   (``sessions.begin``), offer Two-Factor Authentication. RefusedError code_wrong, code_expired, code_spent.

Every step but the first raises RefusedError sign_up_gone an hour after ``begin`` or once an account was
made.

Known and unknown addresses get the same answers with the same work; a known one gets a mail that says so,
and no code ever fits.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cloud.core.account import AccountError, Email, Pace, delay_ms
from cloud.core.authz import Role
from cloud.core.language import speaking, spoken
from cloud.core.one_time_code import Purpose
from cloud.core.privacy import PRIVACY_VERSION
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.second_factor import is_fresh
from cloud.core.sign_up import SIGN_UP_LIFE_MS, FormError, parse_page_one, parse_page_two, person_name
from cloud.postgres import accounts, companies, factors, outbox, partners, sign_ups
from cloud.postgres.accounts import EmailTakenError
from cloud.postgres.sign_ups import SignUpRow
from cloud.postgres.transaction import Connection
from cloud.services import letters, mail_pace, mailed_code
from cloud.services.accounts import Identity, network_of
from cloud.services.companies import invitation_of_link
from cloud.services.kit import Kit, hash_of, new_token

SCOPE: Final = "sign_up"
PACE: Final = Pace(free=30, first_ms=1_000, longest_ms=60_000)
"""A class of students behind one address signs up at once; a flood is one a minute."""

RobotCheck = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SignUp:
    """What the pages may show of a sign-up. ``code_sent`` says that the code page comes next;
    ``partner``, that a partner's log-in began it.
    """

    email: str
    first_name: str
    last_name: str
    location: str
    invited_by: str | None
    code_sent: bool
    partner: bool = False


async def begin(
    kit: Kit,
    *,
    email: str,
    first_name: str,
    last_name: str,
    password: str,
    location: str,
    now_ms: int,
    invitation: str | None = None,
    address: str = "",
) -> str:
    """Check and keep page one; the token of this sign-up. ``invitation`` is the token of its link."""
    page = parse_page_one(
        email=email, first_name=first_name, last_name=last_name, password=password, location=location
    )
    invitation_id = None
    if invitation is not None:
        invitation_id = await open_invitation(kit, page.email, invitation, now_ms)
    if address:
        await _pace(kit, network_of(address), now_ms)
    password_hash = await kit.passwords.hash(page.password)
    token = new_token()
    row = SignUpRow(
        token_hash=hash_of(token),
        email=page.email.value,
        email_norm=page.email.folded,
        known=False,  # the database decides
        password_hash=password_hash,
        profile={
            "first_name": page.first_name,
            "last_name": page.last_name,
            "location": page.location,
        },
        company=None,
        promotions=None,
        privacy_ms=None,
        invitation_id=invitation_id,
        created_ms=now_ms,
        expires_ms=now_ms + SIGN_UP_LIFE_MS,
    )
    await sign_ups.insert(kit.pool, row)
    return token


async def _pace(kit: Kit, network: str, now_ms: int) -> None:
    """Each password costs a hash before any proof of work: beginnings of one network get slower."""
    async with kit.pool.connection() as connection, connection.transaction():
        subject = f"address {network}"
        begun, last_ms = await factors.lock_attempts(connection, SCOPE, subject, now_ms)
        left_ms = last_ms + delay_ms(PACE, begun, last_ms, now_ms) - now_ms
        if left_ms > 0:
            raise RefusedError(RefusalCode.TOO_FAST, after_s=-(-left_ms // 1000))
        await factors.set_attempts(connection, SCOPE, subject, begun + 1, now_ms)


async def open_invitation(kit: Kit, email: Email, token: str, now_ms: int) -> int:
    """The number of the open invitation of this link. RefusedError link_invalid, other_address."""
    async with kit.pool.connection() as connection, connection.transaction():
        found = await invitation_of_link(connection, hash_of(token), now_ms)
    if found.email_norm != email.folded:
        raise RefusedError(RefusalCode.OTHER_ADDRESS, field="email")
    return found.invitation_id


async def look(kit: Kit, token: str, now_ms: int) -> SignUp:
    """Where a sign-up stands."""
    async with kit.pool.connection() as connection, connection.transaction():
        row = await _find(connection, token, now_ms)
        inviting = None
        if row.invitation_id is not None:
            inviting = await companies.find_invitation(connection, invitation_id=row.invitation_id)
        code = await sign_ups.find_code(connection, Purpose.SIGN_UP, row.token_hash)
    return SignUp(
        email=row.email,
        first_name=row.profile["first_name"],
        last_name=row.profile["last_name"],
        location=row.profile["location"],
        invited_by=None if inviting is None else inviting.company_name,
        code_sent=code is not None,
        partner=row.partner is not None,
    )


async def register(
    kit: Kit,
    token: str,
    page_two: Mapping[str, str],
    *,
    privacy: bool,
    promotions: bool,
    check_robot: RobotCheck,
    now_ms: int,
) -> Identity | None:
    """Keep page two and mail the code. Asked again, it works like ``resend``. The Identity of whom a partner
    has vouched for: their account exists.
    """
    async with kit.pool.connection() as connection, connection.transaction():
        before = await _find(connection, token, now_ms)
    company, profile = _parse(kit, before, page_two)
    if not privacy:
        raise RefusedError(RefusalCode.PRIVACY_NEEDED, field="privacy")
    await check_robot()
    async with kit.pool.connection() as connection, connection.transaction():
        row = await _find(connection, token, now_ms)
        profile["privacy_version"] = PRIVACY_VERSION
        await sign_ups.complete(
            connection, row.token_hash, company=company, profile=profile, promotions=promotions, now_ms=now_ms
        )
        row = await _find(connection, token, now_ms)
        if row.partner is not None:
            return await _make_account(kit, connection, row, now_ms)
        await _mail_code(kit, connection, row, now_ms)
    return None


def _parse(kit: Kit, row: SignUpRow, form: Mapping[str, str]) -> tuple[dict[str, str] | None, dict[str, str]]:
    """Page two, None for invited people; and page one, whose names a partner only suggests. FormError."""
    company, profile, faults = None, dict(row.profile), {}
    for field in () if row.partner is None else ("first_name", "last_name"):
        try:
            profile[field] = person_name(field, form.get(field, ""))
        except AccountError as error:
            faults[field] = str(error)
    if row.invitation_id is None:
        try:
            company = parse_page_two(form, kit.choices).as_dict()
        except FormError as error:
            faults |= error.faults
    if faults:
        raise FormError(faults)
    if company is not None:
        profile["location"] = profile["location"] or company["location"]
    return company, profile


async def resend(kit: Kit, token: str, now_ms: int) -> None:
    """Mail another code; the one before is void."""
    async with kit.pool.connection() as connection, connection.transaction():
        row = await _find(connection, token, now_ms)
        if row.privacy_ms is None:
            raise RefusedError(RefusalCode.SIGN_UP_GONE)
        await _mail_code(kit, connection, row, now_ms)


async def verify(kit: Kit, token: str, code: str, now_ms: int) -> Identity:
    """Check the code and make the account, with a company of its own or in the inviting one."""
    async with kit.pool.connection() as connection, connection.transaction():
        row = await _find(connection, token, now_ms)
    holder = row.token_hash
    code_hash = await mailed_code.check(kit, Purpose.SIGN_UP, holder, code, now_ms, email_norm=row.email_norm)
    async with kit.pool.connection() as connection, connection.transaction():
        row = await _find(connection, token, now_ms)
        if not await sign_ups.use_code(connection, Purpose.SIGN_UP, holder, code_hash, now_ms):
            raise RefusedError(RefusalCode.CODE_SPENT, field="code")
        return await _make_account(kit, connection, row, now_ms)


async def _find(connection: Connection, token: str, now_ms: int) -> SignUpRow:
    row = await sign_ups.find(connection, hash_of(token), now_ms)
    if row is None:
        raise RefusedError(RefusalCode.SIGN_UP_GONE)
    return row


async def _mail_code(kit: Kit, connection: Connection, row: SignUpRow, now_ms: int) -> None:
    code = await mailed_code.issue(
        kit, connection, Purpose.SIGN_UP, row.token_hash, now_ms, fits=not row.known
    )
    await mail_pace.count_sign_up(connection, row.email_norm, now_ms)
    with speaking(await accounts.language_at(connection, row.email_norm) or spoken()):
        if row.known:
            letter = letters.sign_up_known(kit, row.email, now_ms)
        else:
            letter = letters.sign_up_code(kit, row.email, code, now_ms)
    await outbox.put(connection, letter)


async def _make_account(kit: Kit, connection: Connection, row: SignUpRow, now_ms: int) -> Identity:
    first_name, last_name = row.profile["first_name"], row.profile["last_name"]
    new = accounts.NewAccount(
        email=Email(row.email, row.email_norm),
        password_hash=row.password_hash,
        first_name=first_name,
        last_name=last_name,
        location=row.profile["location"],
        now_ms=now_ms,
        verified=True,
        privacy_ms=row.privacy_ms,
        privacy_version=row.profile.get("privacy_version", ""),
        promotions=bool(row.promotions),
        language=spoken(),
    )
    try:
        account_id = await accounts.insert_person(connection, new)
    except EmailTakenError:  # signed up twice at once; who is here has proved the address
        raise RefusedError(RefusalCode.EMAIL_TAKEN) from None
    if row.partner is not None:
        if not await partners.connect(connection, row.partner, account_id, row.email, now_ms):
            raise RefusedError(RefusalCode.PARTNER_TAKEN)
        await partners.forget_password_time(connection, account_id)
    company_id = await _join(connection, row, account_id, now_ms)
    if company_id is None:
        details = dict(row.company or {})
        details["name"] = details.pop("company_name", "") or f"{first_name} {last_name}"
        company_id = await companies.insert(connection, details, now_ms)
        await companies.add_member(connection, company_id, account_id, Role.OWNER, now_ms)
    await sign_ups.delete(connection, row.token_hash)
    await accounts.record(
        connection, "signed_up", now_ms=now_ms, account_id=account_id, company_id=company_id
    )
    await outbox.put(connection, letters.welcome(kit, row.email, now_ms, account_id))
    return Identity(account_id, company_id, fresh=_has_just_proved(row, now_ms))


def _has_just_proved(row: SignUpRow, now_ms: int) -> bool:
    """Whether a code has come back, or the partner has asked for the password a moment ago."""
    if row.partner is None:
        return True
    when_ms = row.partner["authenticated_ms"]
    return when_ms is not None and is_fresh(min(when_ms, now_ms), now_ms)


async def _join(connection: Connection, row: SignUpRow, account_id: int, now_ms: int) -> int | None:
    """The company that invited this person; None when there is none, or the invitation was withdrawn."""
    if row.invitation_id is None:
        return None
    found = await companies.find_invitation(connection, invitation_id=row.invitation_id)
    if found is None or not found.is_open(now_ms):
        return None
    await companies.lock(connection, found.company_id)
    await companies.add_member(connection, found.company_id, account_id, found.role, now_ms)
    await companies.end_invitation(connection, found.invitation_id, now_ms, account_id)
    await accounts.record(
        connection,
        "joined",
        now_ms=now_ms,
        account_id=account_id,
        company_id=found.company_id,
        detail={"invitation": found.invitation_id, "role": found.role},
    )
    return found.company_id
