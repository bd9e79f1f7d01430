"""My Profile: data, password, e-mail address, log-ins, audit trail.

- ``read`` / ``change`` (a form with any of ``cloud.core.profile.FIELDS``; FormError).
- ``change_password(kit, session, current, new, now_ms)``: every other log-in ends. RefusedError
  password_wrong, too_fast; AccountError for the new one (``field`` password).
- ``ask_email_change(kit, session, email, fresh=…, now_ms)`` mails six digits to the new address and a notice
  to the old one; ``confirm_email_change(kit, session, code, now_ms)``. The same answer for an address that
  has an account (its owner gets a mail, no code fits). AccountError, RefusedError fresh_needed, resend_later,
  resend_enough, code_wrong, code_expired, code_spent. Asking again resends; the pause before it is kept.
- ``log_ins`` lists the sessions, ``end_log_in`` ends one (``name``: LogInView.name), ``end_other_log_ins``
  all but this one. Open live pages of an ended log-in end within a second.
- ``history`` is the newest part of the audit trail about a person.
"""

import hashlib
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cloud.core.account import AccountError, Email, password_faults, told
from cloud.core.language import gettext, speaking
from cloud.core.one_time_code import LIFE_MS, Purpose
from cloud.core.profile import parse_profile
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import accounts, companies, outbox, profiles, sign_ups
from cloud.postgres.accounts import Session
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.profiles import LogIn, Profile
from cloud.services import letters, mailed_code, second_factor
from cloud.services.kit import Kit
from protocol.identity import b64url

IDLE_MS: Final = 7 * 86_400_000
SHOWN_LINES: Final = 50


@dataclass(frozen=True, slots=True)
class LogInView:
    """One log-in in the list; ``name`` is for ``end_log_in``."""

    name: str
    row: LogIn
    here: bool


@cache
def time_zones() -> frozenset[str]:
    """What may be chosen as a time zone."""
    return frozenset(zoneinfo.available_timezones())


async def read(kit: Kit, account_id: int) -> Profile:
    """A person's data."""
    found = await profiles.find(kit.pool, account_id)
    if found is None:
        raise RefusedError(RefusalCode.NOT_FOUND)
    return found


async def change(
    kit: Kit, session: Session, form: Mapping[str, str], now_ms: int, *, promotions: bool | None = None
) -> None:
    """Write what the form has; ``promotions`` None leaves that as it is."""
    values = parse_profile(form, time_zones())
    async with kit.pool.connection() as connection, connection.transaction():
        await profiles.update(connection, session.account_id, values, promotions)
        await accounts.record(
            connection,
            "profile_changed",
            now_ms=now_ms,
            account_id=session.account_id,
            company_id=session.company_id,
            detail={"fields": sorted(values)},
        )


def must_be_good(password: str, *, email: str, first_name: str, last_name: str) -> None:
    """AccountError (field ``password``) where the policy refuses it."""
    faults = password_faults(password, email=Email.parse(email), first_name=first_name, last_name=last_name)
    if faults:
        raise AccountError("password", told(faults))


async def change_password(kit: Kit, session: Session, current: str, new: str, now_ms: int) -> None:
    """Another password, proved by the one before; every other log-in ends."""
    must_be_good(new, email=session.email, first_name=session.first_name, last_name=session.last_name)
    await second_factor.check_password(kit, session.account_id, current, now_ms)
    password_hash = await kit.passwords.hash(new)
    async with kit.pool.connection() as connection, connection.transaction():
        await profiles.set_password(connection, session.account_id, password_hash, now_ms)
        await profiles.end_log_ins(connection, session.account_id, keep=session.session_hash)
        await companies.hint(connection, session.account_id)
        await accounts.record(connection, "password_changed", now_ms=now_ms, account_id=session.account_id)
        with speaking(session.language):
            what = gettext("The password was changed.")
            letter = letters.notice(kit, session.email, "password_changed", what, now_ms, session.account_id)
        await outbox.put(connection, letter)


# --- e-mail address -----------------------------------------------------------------------------------------


@crossing(Reason.MEMBERSHIP)
async def ask_email_change(kit: Kit, session: Session, email: str, *, fresh: bool, now_ms: int) -> None:
    """Mail a code to a new address; nothing changes before it comes back."""
    if not fresh:
        raise RefusedError(RefusalCode.FRESH_NEEDED)
    address = Email.parse(email)
    if address.folded == Email.parse(session.email).folded:
        raise AccountError("email", gettext("This is your email address already."))
    holder, account_id = _holder(session.account_id), session.account_id
    async with kit.pool.connection() as connection, connection.transaction():
        change = await profiles.put_email_change(
            connection, holder, account_id, address, now_ms=now_ms, expires_ms=now_ms + LIFE_MS
        )
        code = await mailed_code.issue(
            kit, connection, Purpose.EMAIL_CHANGE, holder, now_ms, fits=not change.known
        )
        with speaking(await accounts.language_at(connection, change.email_norm) or session.language):
            if change.known:
                letter = letters.email_change_known(kit, change.email, now_ms)
            else:
                letter = letters.email_change_code(kit, change.email, code, now_ms, account_id)
        await outbox.put(connection, letter)
        with speaking(session.language):
            what = gettext("A change of the email address was asked for.")
            letter = letters.notice(kit, session.email, "email_change_asked", what, now_ms, account_id)
        await outbox.put(connection, letter)
        await accounts.record(connection, "email_change_asked", now_ms=now_ms, account_id=account_id)


@crossing(Reason.MEMBERSHIP)
async def confirm_email_change(kit: Kit, session: Session, code: str, now_ms: int) -> None:
    """Check the code and change the address; links for a new password sent to the old one are void."""
    holder, account_id = _holder(session.account_id), session.account_id
    async with kit.pool.connection() as connection, connection.transaction():
        wish = await profiles.find_email_change(connection, account_id, now_ms)
    # Without a wish no code is good, whichever address it is counted for.
    email_norm = Email.parse(session.email).folded if wish is None else wish.email_norm
    code_hash = await mailed_code.check(
        kit, Purpose.EMAIL_CHANGE, holder, code, now_ms, email_norm=email_norm
    )
    async with kit.pool.connection() as connection, connection.transaction():
        change = await profiles.find_email_change(connection, account_id, now_ms)
        if change is None:
            raise RefusedError(RefusalCode.CODE_EXPIRED, field="code")
        if not await sign_ups.use_code(connection, Purpose.EMAIL_CHANGE, holder, code_hash, now_ms):
            raise RefusedError(RefusalCode.CODE_SPENT, field="code")
        if not await profiles.change_email(connection, account_id, change, now_ms):
            raise RefusedError(RefusalCode.EMAIL_TAKEN)
        await profiles.void_resets(connection, account_id, now_ms)
        await accounts.record(connection, "email_changed", now_ms=now_ms, account_id=account_id)
        for address in (session.email, change.email):
            with speaking(session.language):
                what = gettext("The email address of the account was changed.")
                letter = letters.notice(kit, address, "email_changed", what, now_ms, account_id)
            await outbox.put(connection, letter)


def _holder(account_id: int) -> bytes:
    return hashlib.sha256(f"account {account_id}".encode()).digest()


# --- log-ins ------------------------------------------------------------------------------------------------


async def log_ins(kit: Kit, session: Session, now_ms: int) -> list[LogInView]:
    """The live log-ins of this person, the most recently used first."""
    rows = await profiles.log_ins(kit.pool, session.account_id, now_ms=now_ms, idle_ms=IDLE_MS)
    return [
        LogInView(b64url(row.session_hash), row, row.session_hash == session.session_hash) for row in rows
    ]


async def end_log_in(kit: Kit, session: Session, name: str, now_ms: int) -> None:
    """End one of this person's log-ins. RefusedError not_found."""
    for view in await log_ins(kit, session, now_ms):
        if view.name == name:
            await _end(kit, session, now_ms, only=view.row.session_hash)
            return
    raise RefusedError(RefusalCode.NOT_FOUND)


async def end_other_log_ins(kit: Kit, session: Session, now_ms: int) -> int:
    """End all but this one; how many there were."""
    return await _end(kit, session, now_ms, keep=session.session_hash)


async def _end(
    kit: Kit, session: Session, now_ms: int, *, only: bytes | None = None, keep: bytes | None = None
) -> int:
    async with kit.pool.connection() as connection, connection.transaction():
        ended = await profiles.end_log_ins(connection, session.account_id, only=only, keep=keep)
        await companies.hint(connection, session.account_id)
        await accounts.record(
            connection,
            "log_ins_ended",
            now_ms=now_ms,
            account_id=session.account_id,
            detail={"count": ended},
        )
    return ended


async def history(kit: Kit, account_id: int) -> list[dict[str, Any]]:
    """ts_ms, kind, detail, address of the newest audit lines about a person, newest first."""
    return await accounts.audit_lines(kit.pool, account_id, SHOWN_LINES)
