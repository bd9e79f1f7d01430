"""Two-Factor Authentication: turning it on, recovery codes, log-in with it, proving oneself again.

Of its two methods the authenticator app is here, passkeys are in :mod:`cloud.services.passkeys`. The first of
either kind turns it on and makes the recovery codes; when the last one goes, it is off.

Turning it on (*My Profile → Two-Factor Authentication → Turn On*, or offered right after sign-up):

1. ``start(kit, account_id, fresh=…, now_ms)`` → Enrolment with ``uri`` for the QR code and ``secret`` to
   type. It may be repeated; nothing is on yet. RefusedError factor_on, fresh_needed.
2. ``confirm(kit, account_id, session_hash, code, now_ms)`` → ten recovery codes, shown this once; none where
   there was a passkey, and with it recovery codes, before. RefusedError factor_wrong, factor_on, too_fast.

``status``, ``new_recovery_codes``, ``remove_app`` and ``turn_off`` are the page's other parts; all but the
first need ``fresh``.

Log-in: ``Authenticator.authenticate`` gives an Identity; where it says ``needs_factor`` there is no session
yet: ``begin_login`` → token (for a hidden field or a cookie), then ``finish_login(kit, token, code, …)``
with a code of the app or a recovery code → Identity for ``sessions.begin``. RefusedError factor_wrong,
too_fast, and login_gone after 5 minutes or 5 tries: back to the password.

Step-up: ``step_up(kit, session, code=…, password=…, now_ms)`` makes ``session.factor_ms`` fresh for 5
minutes (``session.is_fresh(now_ms)``). An account with Two-Factor Authentication needs a code, another one
its password. RefusedError factor_wrong, password_wrong, too_fast.

A secret lies sealed in the database, its key outside; a time step or recovery code is spent once.
Wrong codes are answered later and later, per account; a right one is never refused for good.
"""

import base64
import os
from dataclasses import dataclass
from typing import Final

from cloud.core import second_factor as core
from cloud.core.account import PASSWORD_MAX_CHARS, Email, Pace, delay_ms
from cloud.core.language import N_, gettext, speaking
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import accounts, companies, factors, outbox, passkeys, profiles
from cloud.postgres.accounts import Session
from cloud.postgres.factors import LoginStep
from cloud.postgres.passkeys import Passkey
from cloud.postgres.transaction import Connection
from cloud.services import letters
from cloud.services.accounts import Identity
from cloud.services.kit import Kit, hash_of, new_token

PURPOSE: Final = "totp"
RECOVERY_PURPOSE: Final = "recovery"
SCOPE: Final = "factor"
PACE: Final = Pace(free=5, first_ms=1_000, longest_ms=30_000)
"""Whoever gets this far knows the password. At one guess in 30 s, three codes of a million being right at any
time, a guesser needs 80 days for an even chance; the owner is told by mail long before that."""
TELL_AFTER: Final = 10
"""Wrong codes in a row after which the owner gets a mail."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app is given: as a link for the QR code, and as text to type."""

    uri: str
    secret: str


@dataclass(frozen=True, slots=True)
class Status:
    """Whether it is on, since when, by what, and how many recovery codes are left."""

    on: bool
    since_ms: int | None
    recovery_codes_left: int
    app_since_ms: int | None = None
    passkeys: tuple[Passkey, ...] = ()


async def status(kit: Kit, account_id: int) -> Status:
    """What the profile page shows."""
    async with kit.pool.connection() as connection:
        row = await factors.find(connection, account_id)
        keys = await passkeys.of_account(connection, account_id)
        left = await factors.recovery_codes_left(connection, account_id)
    app_ms = None if row is None else row.confirmed_ms
    times = [one.created_ms for one in keys] + ([] if app_ms is None else [app_ms])
    return Status(bool(times), min(times, default=None), left, app_ms, tuple(keys))


async def start(kit: Kit, account_id: int, *, fresh: bool, now_ms: int) -> Enrolment:
    """Make a new secret; nothing is on before ``confirm``."""
    must_be_fresh(fresh)
    secret = base64.b32encode(os.urandom(core.SECRET_BYTES)).decode()
    sealed = kit.vault.seal(PURPOSE, account_id, secret.encode())
    async with kit.pool.connection() as connection, connection.transaction():
        if not await factors.put_unconfirmed(connection, account_id, sealed, now_ms):
            raise RefusedError(RefusalCode.FACTOR_ON)
        email = await accounts.email_of(connection, account_id)
    return Enrolment(core.provisioning_uri(secret, account_name=email, issuer=kit.brand), secret)


async def confirm(kit: Kit, account_id: int, session_hash: bytes, code: str, now_ms: int) -> list[str]:
    """Turn it on with the app's first code; the recovery codes, which nobody can read again.

    Empty where there was another factor before: its recovery codes stay good. What other log-ins of this
    account have proved by password alone counts no longer.
    """
    async with kit.pool.connection() as connection:
        row = await factors.find(connection, account_id)
    if row is None:
        raise RefusedError(RefusalCode.FACTOR_OFF)
    if row.confirmed_ms is not None:
        raise RefusedError(RefusalCode.FACTOR_ON)
    await check(kit, account_id, code, now_ms, confirming=True)
    async with kit.pool.connection() as connection, connection.transaction():
        await companies.lock_account(connection, account_id)
        is_first = not await factors.has_any(connection, account_id)
        if not await factors.confirm(connection, account_id, row.secret_sealed, now_ms):
            raise RefusedError(RefusalCode.FACTOR_WRONG, field="code")
        if is_first:
            codes = await turned_on(kit, connection, account_id, session_hash, now_ms)
        else:
            codes = []
            what = N_("An authenticator app was added.")
            await tell(kit, connection, account_id, "app_added", what, now_ms)
    return codes


async def turned_on(
    kit: Kit, connection: Connection, account_id: int, session_hash: bytes, now_ms: int
) -> list[str]:
    """What goes with an account's first factor, in the transaction that writes it; the recovery codes."""
    codes = await _make_recovery_codes(kit, connection, account_id)
    await factors.forget_factor_times(connection, account_id)
    await factors.set_factor_time(connection, session_hash, account_id, now_ms)
    what = N_("Two-Factor Authentication was turned on.")
    await tell(kit, connection, account_id, "factor_on", what, now_ms)
    return codes


async def new_recovery_codes(kit: Kit, account_id: int, *, fresh: bool, now_ms: int) -> list[str]:
    """Ten new recovery codes, shown this once; the old ones are void. RefusedError factor_off."""
    must_be_fresh(fresh)
    async with kit.pool.connection() as connection, connection.transaction():
        await companies.lock_account(connection, account_id)
        if not await factors.has_any(connection, account_id):
            raise RefusedError(RefusalCode.FACTOR_OFF)
        codes = await _make_recovery_codes(kit, connection, account_id)
        what = N_("New recovery codes were made.")
        await tell(kit, connection, account_id, "recovery_codes", what, now_ms)
    return codes


async def remove_app(kit: Kit, account_id: int, *, fresh: bool, now_ms: int) -> None:
    """Remove the authenticator app; without a passkey that turns it all off. RefusedError factor_off."""
    must_be_fresh(fresh)
    async with kit.pool.connection() as connection, connection.transaction():
        await companies.lock_account(connection, account_id)
        if not await factors.remove_totp(connection, account_id):
            raise RefusedError(RefusalCode.FACTOR_OFF)
        what = N_("The authenticator app was removed.")
        await removed(kit, connection, account_id, "app_removed", what, now_ms)


async def removed(
    kit: Kit, connection: Connection, account_id: int, kind: str, what: str, now_ms: int, **values: object
) -> None:
    """What goes with the end of a factor, in the transaction that removes it: perhaps it was the last one."""
    was_last = await factors.remove_leftovers(connection, account_id)
    then = N_("Two-Factor Authentication is turned off now.") if was_last else ""
    await tell(kit, connection, account_id, kind, what, now_ms, then=then, **values)


async def turn_off(kit: Kit, account_id: int, *, fresh: bool, now_ms: int) -> None:
    """Turn it off: app, passkeys and recovery codes. RefusedError factor_off, fresh_needed."""
    must_be_fresh(fresh)
    async with kit.pool.connection() as connection, connection.transaction():
        await companies.lock_account(connection, account_id)
        if not await factors.remove(connection, account_id):
            raise RefusedError(RefusalCode.FACTOR_OFF)
        what = N_("Two-Factor Authentication was turned off.")
        await tell(kit, connection, account_id, "factor_off", what, now_ms)


async def turn_off_as_operator(kit: Kit, email: str, now_ms: int) -> None:
    """For somebody who lost app and recovery codes: the operator, who has made sure who asks, turns it off.

    Every log-in ends; the owner gets a mail. AccountError, RefusedError not_found, factor_off.
    """
    address = Email.parse(email)
    async with kit.pool.connection() as connection, connection.transaction():
        found = await profiles.find_by_email(connection, address)
        if found is None:
            raise RefusedError(RefusalCode.NOT_FOUND, text=f"no account has the address {address.value}")
        account_id, _ = found
        if not await factors.remove(connection, account_id):
            raise RefusedError(RefusalCode.FACTOR_OFF)
        await profiles.end_log_ins(connection, account_id)
        await companies.hint(connection, account_id)
        what = N_("Two-Factor Authentication was turned off by the operator.")
        await tell(kit, connection, account_id, "factor_off_by_operator", what, now_ms)


async def check(kit: Kit, account_id: int, typed: str, now_ms: int, *, confirming: bool = False) -> str:
    """Spend a code of the app or a recovery code; ``totp`` or ``recovery``.

    RefusedError factor_wrong, too_fast. Tries of one account go one by one: many at once are no faster.
    ``confirming``: a code of an app that is not on yet, and nothing else.
    """
    subject = f"account {account_id}"
    async with kit.pool.connection() as connection, connection.transaction():
        failures = await _pace(connection, subject, now_ms)
        found = await _spend(kit, connection, account_id, typed, now_ms, confirming=confirming)
        await factors.set_attempts(connection, SCOPE, subject, 0 if found else failures + 1, now_ms)
        if found == RECOVERY_PURPOSE:
            what = N_("A recovery code was used.")
            await tell(kit, connection, account_id, "recovery_used", what, now_ms)
        elif found is None and failures + 1 == TELL_AFTER:
            what = N_("Somebody who knows your password has entered wrong codes.")
            await tell(kit, connection, account_id, "factor_guessed", what, now_ms)
    if found is None:
        raise RefusedError(RefusalCode.FACTOR_WRONG, field="code")
    return found


async def begin_login(kit: Kit, identity: Identity, now_ms: int) -> str:
    """The password was right, the second factor is missing: a token for ``finish_login``."""
    token = new_token()
    async with kit.pool.connection() as connection, connection.transaction():
        await factors.insert_login_step(
            connection,
            hash_of(token),
            account_id=identity.account_id,
            company_id=identity.company_id,
            now_ms=now_ms,
            expires_ms=now_ms + core.LOGIN_STEP_LIFE_MS,
        )
    return token


async def finish_login(kit: Kit, token: str, typed: str, now_ms: int) -> Identity:
    """Check the second factor of a log-in; the token is spent by a right one."""
    identity = await count_login_try(kit, token, now_ms)
    await check(kit, identity.account_id, typed, now_ms)
    await spend_login_step(kit, token)
    return identity


async def login_step(kit: Kit, token: str, now_ms: int) -> LoginStep:
    """By what a log-in may be finished. RefusedError login_gone."""
    async with kit.pool.connection() as connection:
        found = await factors.find_login_step(connection, hash_of(token), now_ms)
    if found is None:
        raise RefusedError(RefusalCode.LOGIN_GONE)
    return found


async def count_login_try(kit: Kit, token: str, now_ms: int) -> Identity:
    """Whose log-in is being finished; the try counts, whatever comes of it. RefusedError login_gone."""
    async with kit.pool.connection() as connection:
        found = await factors.count_login_try(connection, hash_of(token), now_ms)
    if found is None:
        raise RefusedError(RefusalCode.LOGIN_GONE)
    return Identity(*found)


async def spend_login_step(kit: Kit, token: str) -> None:
    """It becomes a log-in, once. RefusedError login_gone."""
    async with kit.pool.connection() as connection:
        if not await factors.delete_login_step(connection, hash_of(token)):
            raise RefusedError(RefusalCode.LOGIN_GONE)


async def step_up(kit: Kit, session: Session, *, code: str = "", password: str = "", now_ms: int) -> None:
    """Prove once more who is here; the log-in is fresh for 5 minutes."""
    if session.two_factor:
        await check(kit, session.account_id, code, now_ms)
    else:
        await check_password(kit, session.account_id, password, now_ms)
    await proved(kit, session, "factor" if session.two_factor else "password", now_ms)


async def proved(kit: Kit, session: Session, by: str, now_ms: int) -> None:
    """Who is logged in here has just shown who they are: the log-in is fresh."""
    async with kit.pool.connection() as connection, connection.transaction():
        await factors.set_factor_time(connection, session.session_hash, session.account_id, now_ms)
        await accounts.record(
            connection,
            "proved_again",
            now_ms=now_ms,
            account_id=session.account_id,
            company_id=session.company_id,
            detail={"by": by},
        )


async def check_password(kit: Kit, account_id: int, password: str, now_ms: int) -> None:
    """Whether it is the account's. RefusedError password_wrong, too_fast."""
    subject = f"password {account_id}"
    async with kit.pool.connection() as connection, connection.transaction():
        failures = await _pace(connection, subject, now_ms)
        # Counted before it is known, so that many at once are all counted.
        await factors.set_attempts(connection, SCOPE, subject, failures + 1, now_ms)
        stored = await accounts.password_hash_of(connection, account_id)
    usable = len(password) <= PASSWORD_MAX_CHARS
    if not await kit.passwords.verify(stored if usable else None, password[:PASSWORD_MAX_CHARS]):
        raise RefusedError(RefusalCode.PASSWORD_WRONG, field="password")
    await accounts.clear_failures(kit.pool, SCOPE, [subject])


def must_be_fresh(fresh: bool) -> None:
    """RefusedError fresh_needed."""
    if not fresh:
        raise RefusedError(RefusalCode.FRESH_NEEDED)


async def _pace(connection: Connection, subject: str, now_ms: int) -> int:
    """Failures so far, with their row held. RefusedError too_fast before the next try is due."""
    failures, last_ms = await factors.lock_attempts(connection, SCOPE, subject, now_ms)
    left_ms = last_ms + delay_ms(PACE, failures, last_ms, now_ms) - now_ms
    if failures and left_ms > 0:
        raise RefusedError(RefusalCode.TOO_FAST, after_s=-(-left_ms // 1000))
    return failures


async def _spend(
    kit: Kit, connection: Connection, account_id: int, typed: str, now_ms: int, *, confirming: bool
) -> str | None:
    code, recovery = core.parse_totp(typed), core.parse_recovery(typed)
    if code is not None:
        row = await factors.find(connection, account_id)
        if row is None or (row.confirmed_ms is None) is not confirming:
            return None
        secret = kit.vault.open(PURPOSE, account_id, row.secret_sealed).decode()
        step = core.matching_step(secret, code, now_ms=now_ms, last_step=row.last_step)
        spent = step is not None and await factors.use_step(connection, account_id, step)
        return PURPOSE if spent else None
    if recovery is not None and not confirming:
        wanted = _recovery_hash(kit, account_id, recovery)
        if await factors.use_recovery_code(connection, account_id, wanted, now_ms):
            return RECOVERY_PURPOSE
    return None


def _recovery_hash(kit: Kit, account_id: int, bare: str) -> bytes:
    return kit.vault.hash_code(RECOVERY_PURPOSE, str(account_id).encode(), bare)


async def _make_recovery_codes(kit: Kit, connection: Connection, account_id: int) -> list[str]:
    codes = core.recovery_texts(os.urandom(core.RECOVERY_BYTES) for _ in range(core.RECOVERY_CODES))
    hashes = [_recovery_hash(kit, account_id, code.replace("-", "")) for code in codes]
    await factors.put_recovery_codes(connection, account_id, hashes)
    return codes


async def tell(
    kit: Kit,
    connection: Connection,
    account_id: int,
    kind: str,
    what: str,
    now_ms: int,
    *,
    then: str = "",
    **values: object,
) -> None:
    """Audit line and mail about a change of the account's safety.

    ``what``, with its values, and ``then`` are sentences in English; the mail says them as its reader speaks.
    """
    email = await accounts.email_of(connection, account_id)
    await accounts.record(connection, kind, now_ms=now_ms, account_id=account_id)
    with speaking(await accounts.language_of(connection, account_id)):
        told = f"{gettext(what, **values)} {gettext(then)}".rstrip()
        letter = letters.notice(kit, email, kind, told, now_ms, account_id)
    await outbox.put(connection, letter)
