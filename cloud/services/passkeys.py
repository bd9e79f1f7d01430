"""Passkeys as a second factor: adding them, log-in by one, proving oneself again by one.

Adding (logged in, with a fresh proof): ``begin`` → options for ``navigator.credentials.create``, then ``add``
with its answer → Added; the recovery codes in it are new where this was the account's first factor. Log-in:
``ask_log_in`` with the token of the log-in's step (:mod:`cloud.services.second_factor`) → options for
``navigator.credentials.get``, then ``finish_log_in``. Step-up: ``ask_step_up``, then ``step_up``.

RefusedError passkeys_unavailable (``hindrance`` says why), passkey_expired, passkey_wrong, passkey_copied,
passkey_known, too_many_open, fresh_needed, factor_off, login_gone, not_found; AccountError for a name.

A challenge is bound to one log-in (or to one log-in's step) and one purpose, lives five minutes, and is gone
with the first answer, be it right or wrong. A counter that does not grow is refused and told by mail. What is
signed names the site; that is the host of the portal's public address.
"""

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog

from cloud.core.language import N_, gettext
from cloud.core.passkey import (
    CHALLENGE_BYTES,
    CHALLENGE_LIFE_MS,
    MAX_PASSKEYS,
    Hindrance,
    Purpose,
    Site,
    goes_on,
    passkey_name,
    site_of,
)
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import accounts, companies, factors
from cloud.postgres import passkeys as rows
from cloud.postgres.accounts import Session
from cloud.postgres.passkeys import NewPasskey, Passkey
from cloud.services import ceremony, second_factor
from cloud.services.accounts import Identity
from cloud.services.ceremony import Known, NotProvedError, Person
from cloud.services.kit import Kit, hash_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Added:
    """A passkey that was added; recovery codes, shown this once, where it is the first factor."""

    passkey_id: int
    recovery_codes: list[str]


def place_of(kit: Kit) -> Site | Hindrance:
    """Where this portal's passkeys work, or why there can be none."""
    address = urlsplit(kit.portal_url)
    try:
        host, port = (address.hostname or "").encode("idna").decode(), address.port
    except ValueError:  # UnicodeError is one
        return Hindrance.NEEDS_NAME
    return site_of(address.scheme, host, port) if host else Hindrance.NEEDS_NAME


def _site(kit: Kit) -> Site:
    place = place_of(kit)
    if isinstance(place, Hindrance):
        raise RefusedError(RefusalCode.PASSKEYS_UNAVAILABLE)
    return place


def handle_of(kit: Kit, account_id: int) -> bytes:
    """What authenticators call an account: always the same, and it tells nothing (section 14.6.1)."""
    return kit.vault.hash_code("passkey_user", str(account_id).encode(), "")


# --- adding, naming, removing -------------------------------------------------------------------------------


async def begin(kit: Kit, session: Session, *, fresh: bool, now_ms: int) -> dict[str, Any]:
    """What the browser is given to make a passkey."""
    second_factor.must_be_fresh(fresh)
    site = _site(kit)
    async with kit.pool.connection() as connection, connection.transaction():
        mine = await rows.of_account(connection, session.account_id)
        _must_have_room(mine)
        challenge = os.urandom(CHALLENGE_BYTES)
        await rows.put_challenge(
            connection,
            Purpose.REGISTER,
            session.session_hash,
            challenge,
            now_ms=now_ms,
            expires_ms=now_ms + CHALLENGE_LIFE_MS,
        )
    name = f"{session.first_name} {session.last_name}".strip()
    person = Person(handle_of(kit, session.account_id), session.email, name)
    return ceremony.creation_options(site, kit.brand, person, challenge, _known(mine, site))


async def add(kit: Kit, session: Session, *, name: str, answer: str, now_ms: int) -> Added:
    """Keep the passkey that the browser has made."""
    site, name, account_id = _site(kit), passkey_name(name), session.account_id
    challenge = await _take(kit, Purpose.REGISTER, session.session_hash, now_ms)
    try:
        made = ceremony.made(site, challenge, answer)
    except NotProvedError as error:
        raise _not_proved("a passkey was not made as asked", account_id, error) from error
    new = NewPasskey(
        account_id=account_id,
        credential_id=made.credential_id,
        public_key=made.public_key,
        sign_count=made.sign_count,
        transports=made.transports,
        name=name,
        rp_id=site.rp_id,
        now_ms=now_ms,
    )
    async with kit.pool.connection() as connection, connection.transaction():
        await companies.lock_account(connection, account_id)
        _must_have_room(await rows.of_account(connection, account_id))
        is_first = not await factors.has_any(connection, account_id)
        passkey_id = await rows.insert(connection, new)
        if passkey_id is None:
            raise RefusedError(RefusalCode.PASSKEY_KNOWN)
        if is_first:
            await accounts.record(connection, "passkey_added", now_ms=now_ms, account_id=account_id)
            codes = await second_factor.turned_on(kit, connection, account_id, session.session_hash, now_ms)
        else:
            codes = []
            what = N_("The passkey “{name}” was added.")
            await second_factor.tell(kit, connection, account_id, "passkey_added", what, now_ms, name=name)
    return Added(passkey_id, codes)


async def rename(kit: Kit, account_id: int, passkey_id: int, name: str) -> None:
    """Call it something else. AccountError, RefusedError not_found."""
    name = passkey_name(name)
    async with kit.pool.connection() as connection:
        if not await rows.rename(connection, account_id, passkey_id, name):
            raise RefusedError(RefusalCode.NOT_FOUND)


async def remove(kit: Kit, account_id: int, passkey_id: int, *, fresh: bool, now_ms: int) -> None:
    """Remove it; the last factor of an account turns Two-Factor Authentication off."""
    second_factor.must_be_fresh(fresh)
    async with kit.pool.connection() as connection, connection.transaction():
        await companies.lock_account(connection, account_id)
        name = await rows.remove(connection, account_id, passkey_id)
        if name is None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        what = N_("The passkey “{name}” was removed.")
        await second_factor.removed(kit, connection, account_id, "passkey_removed", what, now_ms, name=name)


# --- proving ------------------------------------------------------------------------------------------------


async def ask_log_in(kit: Kit, token: str, now_ms: int) -> dict[str, Any]:
    """What the browser is given for the second step of a log-in."""
    step = await second_factor.login_step(kit, token, now_ms)
    return await _ask(kit, Purpose.LOG_IN, hash_of(token), step.account_id, now_ms)


async def finish_log_in(kit: Kit, token: str, answer: str, now_ms: int) -> Identity:
    """Check the passkey of a log-in; the token is spent by a right one, a try of it by a wrong one."""
    identity = await second_factor.count_login_try(kit, token, now_ms)
    await _check(kit, Purpose.LOG_IN, hash_of(token), identity.account_id, answer, now_ms)
    await second_factor.spend_login_step(kit, token)
    return identity


async def ask_step_up(kit: Kit, session: Session, now_ms: int) -> dict[str, Any]:
    """What the browser is given to prove again who is here."""
    return await _ask(kit, Purpose.STEP_UP, session.session_hash, session.account_id, now_ms)


async def step_up(kit: Kit, session: Session, answer: str, now_ms: int) -> None:
    """Prove once more who is here; the log-in is fresh for 5 minutes."""
    await _check(kit, Purpose.STEP_UP, session.session_hash, session.account_id, answer, now_ms)
    await second_factor.proved(kit, session, "passkey", now_ms)


async def _ask(kit: Kit, purpose: Purpose, holder: bytes, account_id: int, now_ms: int) -> dict[str, Any]:
    site, challenge = _site(kit), os.urandom(CHALLENGE_BYTES)
    async with kit.pool.connection() as connection, connection.transaction():
        known = _known(await rows.of_account(connection, account_id), site)
        if not known:
            raise RefusedError(RefusalCode.FACTOR_OFF, text=gettext("You have no passkey for this address."))
        await rows.put_challenge(
            connection,
            purpose,
            holder,
            challenge,
            now_ms=now_ms,
            expires_ms=now_ms + CHALLENGE_LIFE_MS,
        )
    return ceremony.request_options(site, challenge, known)


async def _check(
    kit: Kit, purpose: Purpose, holder: bytes, account_id: int, answer: str, now_ms: int
) -> None:
    site = _site(kit)
    challenge = await _take(kit, purpose, holder, now_ms)
    async with kit.pool.connection() as connection:
        mine = await rows.of_account(connection, account_id)
    try:
        used = _claimed(mine, handle_of(kit, account_id), answer)
        count = ceremony.shown_count(site, challenge, used.public_key, answer)
    except NotProvedError as error:
        raise _not_proved("a passkey proved nothing", account_id, error) from error
    await _count_use(kit, account_id, used, count, now_ms)


def _claimed(mine: list[Passkey], handle: bytes, answer: str) -> Passkey:
    """The passkey that an answer claims to be of. NotProvedError."""
    credential_id, told = ceremony.credential_of(answer)
    for one in mine:
        if one.credential_id == credential_id and told in {None, handle}:
            return one
    raise NotProvedError("a passkey that is not of this account")


async def _count_use(kit: Kit, account_id: int, used: Passkey, count: int, now_ms: int) -> None:
    """Two answers at once are judged one after the other. RefusedError passkey_copied, passkey_wrong."""
    async with kit.pool.connection() as connection, connection.transaction():
        stored = await rows.lock_count(connection, used.passkey_id)
        if stored is None:
            raise RefusedError(RefusalCode.PASSKEY_WRONG)
        genuine = goes_on(stored, count)
        if genuine:
            await rows.note_use(connection, used.passkey_id, count, now_ms)
        else:
            what = N_("There may be a copy of your passkey “{name}”. It was refused: remove it.")
            await second_factor.tell(
                kit, connection, account_id, "passkey_copied", what, now_ms, name=used.name
            )
    if not genuine:
        raise RefusedError(RefusalCode.PASSKEY_COPIED)


async def _take(kit: Kit, purpose: Purpose, holder: bytes, now_ms: int) -> bytes:
    async with kit.pool.connection() as connection:
        challenge = await rows.take_challenge(connection, purpose, holder, now_ms)
    if challenge is None:
        raise RefusedError(RefusalCode.PASSKEY_EXPIRED)
    return challenge


def _known(mine: list[Passkey], site: Site) -> list[Known]:
    """Those that work at this address."""
    return [Known(one.credential_id, one.transports) for one in mine if one.rp_id == site.rp_id]


def _must_have_room(mine: list[Passkey]) -> None:
    if len(mine) >= MAX_PASSKEYS:
        text = gettext(
            "An account has {count} passkeys at most. Please remove one first.", count=MAX_PASSKEYS
        )
        raise RefusedError(RefusalCode.TOO_MANY_OPEN, text=text)


def _not_proved(what: str, account_id: int, error: NotProvedError) -> RefusedError:
    log.info(what, account_id=account_id, reason=str(error)[:200])
    return RefusedError(RefusalCode.PASSKEY_WRONG)
