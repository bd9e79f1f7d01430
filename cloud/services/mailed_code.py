"""Six digits by mail: made, resent, checked once. Used by sign-up and change of address."""

import hmac
import secrets
from typing import Final

from cloud.core import one_time_code
from cloud.core.language import N_, gettext
from cloud.core.one_time_code import Purpose
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import accounts, factors, sign_ups
from cloud.postgres.transaction import Connection
from cloud.services.kit import Kit
from cloud.services.mail_pace import subject_of

SCOPE: Final = "code"
ENOUGH: Final = N_("Too many wrong codes were entered for this email address. Please try again tomorrow.")


async def issue(
    kit: Kit, connection: Connection, purpose: Purpose, holder: bytes, now_ms: int, *, fits: bool
) -> str:
    """Make the next code of a holder in the caller's transaction and return it for its mail.

    ``fits`` False stores one that no digits match, with the same work: for addresses that are taken.
    RefusedError resend_later or resend_enough.
    """
    before = await sign_ups.find_code(connection, purpose, holder)
    if before is not None:
        if before.sends >= one_time_code.SENDS:
            raise RefusedError(RefusalCode.RESEND_ENOUGH)
        left_ms = before.made_ms + one_time_code.resend_after_ms(before.sends) - now_ms
        if left_ms > 0:
            raise RefusedError(RefusalCode.RESEND_LATER, after_s=-(-left_ms // 1000))
    code = one_time_code.text_of(secrets.randbelow(one_time_code.CODES))
    stored = kit.vault.hash_code(purpose, holder, code if fits else secrets.token_hex())
    await sign_ups.put_code(connection, purpose, holder, stored, now_ms)
    return code


async def check(
    kit: Kit, purpose: Purpose, holder: bytes, typed: str, now_ms: int, *, email_norm: str
) -> bytes:
    """The hash of a right code, for ``sign_ups.use_code`` in the transaction of its effect.

    A try is counted first, whatever follows: of this code and of the address it was mailed to, for whoever
    asks for many codes to one address must not get tries with each. RefusedError code_wrong, code_expired or
    code_spent.
    """
    code = one_time_code.parse(typed)
    if code is None:
        raise RefusedError(RefusalCode.CODE_WRONG, field="code")  # a slip of the finger is no guess
    subject = subject_of(email_norm)
    async with kit.pool.connection() as connection, connection.transaction():
        tries, _ = await factors.lock_attempts(
            connection, SCOPE, subject, now_ms, one_time_code.ADDRESS_FORGET_MS
        )
        if tries >= one_time_code.ADDRESS_TRIES:
            raise RefusedError(RefusalCode.CODE_SPENT, text=gettext(ENOUGH), field="code")
        wanted = await sign_ups.count_try(connection, purpose, holder, now_ms)
        if wanted is not None:
            await factors.set_attempts(connection, SCOPE, subject, tries + 1, now_ms)
        row = await sign_ups.find_code(connection, purpose, holder) if wanted is None else None
    given = kit.vault.hash_code(purpose, holder, code)
    if wanted is None:
        reason = row and one_time_code.refusal_before_try(
            made_ms=row.made_ms, tries=row.tries, used_ms=row.used_ms, now_ms=now_ms
        )
        raise RefusedError(reason or RefusalCode.CODE_EXPIRED, field="code")
    if not hmac.compare_digest(wanted, given):
        raise RefusedError(RefusalCode.CODE_WRONG, field="code")
    await accounts.clear_failures(kit.pool, SCOPE, [subject])
    return wanted
