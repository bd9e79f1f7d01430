"""Forgot your password: a link by mail.

1. ``ask(kit, email, check_robot=…, now_ms)``: always the same answer ("Check your email account …"), with
   the same work for known and unknown addresses. AccountError for what cannot be an address.
2. The link is ``/reset/new#TOKEN``; the page posts the token. ``look(kit, token, now_ms)`` → the address, for
   the form. RefusedError link_invalid.
3. ``reset(kit, token, password, now_ms)``: the new password; every log-in ends, the second factor stays on.
   RefusedError link_invalid; AccountError (field ``password``) where the policy refuses it, the link stays.

A link lives an hour and works once; at most three are out for an account, so that nobody's mailbox is
flooded.
"""

from typing import Final

from cloud.core.account import Email
from cloud.core.language import gettext, speaking, spoken
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import accounts, companies, outbox, profiles
from cloud.services import letters
from cloud.services.kit import Kit, hash_of, new_token
from cloud.services.letters import RESET_LIFE_MS
from cloud.services.profile import must_be_good
from cloud.services.signing_up import RobotCheck

MAX_OPEN: Final = 3


async def ask(kit: Kit, email: str, *, check_robot: RobotCheck, now_ms: int) -> None:
    """Mail a link, if somebody has this address."""
    address = Email.parse(email)
    await check_robot()
    token = new_token()
    async with kit.pool.connection() as connection, connection.transaction():
        found = await profiles.find_by_email(connection, address)
        account_id, known_as = (None, address.value) if found is None else found
        enough = await profiles.open_resets(connection, account_id, now_ms) >= MAX_OPEN
        await profiles.insert_reset(
            connection,
            hash_of(token),
            None if enough else account_id,
            now_ms=now_ms,
            expires_ms=now_ms + RESET_LIFE_MS,
        )
        with speaking(await accounts.language_at(connection, address.folded) or spoken()):
            letter = letters.password_reset(kit, known_as, token, now_ms, account_id)
        put = outbox.put_nothing if account_id is None or enough else outbox.put
        await put(connection, letter)
        await accounts.record(connection, "password_reset_asked", now_ms=now_ms, account_id=account_id)


async def look(kit: Kit, token: str, now_ms: int) -> str:
    """Whose link this is: the e-mail address."""
    async with kit.pool.connection() as connection, connection.transaction():
        account_id = await profiles.find_reset(connection, hash_of(token), now_ms)
        if account_id is None:
            raise RefusedError(RefusalCode.LINK_INVALID)
        return await accounts.email_of(connection, account_id)


async def reset(kit: Kit, token: str, password: str, now_ms: int) -> None:
    """Set the new password and end every log-in."""
    async with kit.pool.connection() as connection, connection.transaction():
        account_id = await profiles.find_reset(connection, hash_of(token), now_ms)
    profile = None if account_id is None else await profiles.find(kit.pool, account_id)
    if profile is None:
        raise RefusedError(RefusalCode.LINK_INVALID)
    must_be_good(password, email=profile.email, first_name=profile.first_name, last_name=profile.last_name)
    password_hash = await kit.passwords.hash(password)
    async with kit.pool.connection() as connection, connection.transaction():
        if await profiles.find_reset(connection, hash_of(token), now_ms) != profile.account_id:
            raise RefusedError(RefusalCode.LINK_INVALID)
        await profiles.set_password(connection, profile.account_id, password_hash, now_ms)
        await profiles.end_log_ins(connection, profile.account_id)
        await companies.hint(connection, profile.account_id)
        await accounts.record(connection, "password_reset", now_ms=now_ms, account_id=profile.account_id)
        with speaking(profile.language):
            what = gettext("A new password was set by the link in an email.")
            letter = letters.notice(
                kit, profile.email, "password_reset_done", what, now_ms, profile.account_id
            )
        await outbox.put(connection, letter)
