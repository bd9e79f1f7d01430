"""API tokens: made, listed and revoked by the person they act for.

``make`` needs a fresh proof of who is there, and gives the token's text this once; only its hash is stored.
``identify`` is asked with every request that carries one. A token ends with its time, with the membership it
stands on, with the account, or at once by ``revoke``; a change of password leaves it.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from cloud.core.api_token import (
    MAX_TOKENS,
    RANDOM_BYTES,
    expiry_ms,
    is_token,
    parse_name,
    parse_scopes,
    text_of,
)
from cloud.core.language import gettext, speaking
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import accounts, api_tokens, companies, outbox
from cloud.postgres.accounts import Session
from cloud.postgres.api_tokens import Grant, NewToken, TokenRow
from cloud.postgres.pool import Pool
from cloud.services import letters
from cloud.services.accounts import network_of
from cloud.services.kit import Kit, hash_of


@dataclass(frozen=True, slots=True)
class Made:
    """A new token. ``text`` is shown this once."""

    token_id: int
    text: str
    expires_ms: int


async def make(
    kit: Kit, session: Session, name: str, scopes: Collection[str], days: int, now_ms: int
) -> Made:
    """A token of this person in the company they act for, told to them by mail.

    AccountError (name, scopes, expires_days), RefusedError fresh_needed, too_many_open, not_found.
    """
    if not session.is_fresh(now_ms):
        raise RefusedError(RefusalCode.FRESH_NEEDED)
    name, chosen, expires_ms = parse_name(name), parse_scopes(scopes), expiry_ms(days, now_ms)
    text = text_of(secrets.token_bytes(RANDOM_BYTES))
    async with kit.pool.connection() as connection, connection.transaction():
        await companies.lock_account(connection, session.account_id)
        if await companies.role_of(connection, session.company_id, session.account_id) is None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        if await api_tokens.count(connection, session.company_id, session.account_id) >= MAX_TOKENS:
            told = gettext("You have {count} tokens. Please revoke one first.", count=MAX_TOKENS)
            raise RefusedError(RefusalCode.TOO_MANY_OPEN, text=told)
        new = NewToken(
            hash_of(text), session.company_id, session.account_id, name, chosen, now_ms, expires_ms
        )
        token_id = await api_tokens.insert(connection, new)
        await accounts.record(
            connection,
            "token_made",
            now_ms=now_ms,
            account_id=session.account_id,
            company_id=session.company_id,
            detail={
                "token": token_id,
                "name": name,
                "scopes": [scope.value for scope in chosen],
                "expires_ms": expires_ms,
            },
        )
        with speaking(session.language):
            what = gettext("An API token was made: {name}.", name=name)
            letter = letters.notice(kit, session.email, "token_made", what, now_ms, session.account_id)
        await outbox.put(connection, letter)
    return Made(token_id, text, expires_ms)


async def list_mine(kit: Kit, account_id: int) -> list[TokenRow]:
    """A person's tokens in all companies, newest first."""
    async with kit.pool.connection() as connection:
        return await api_tokens.of_person(connection, account_id)


async def revoke(kit: Kit, session: Session, token_id: int, now_ms: int) -> None:
    """End a token of one's own, at once on every portal. RefusedError not_found."""
    async with kit.pool.connection() as connection, connection.transaction():
        ended = await api_tokens.delete(connection, session.account_id, token_id)
        if ended is None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        company_id, name = ended
        await accounts.record(
            connection,
            "token_revoked",
            now_ms=now_ms,
            account_id=session.account_id,
            company_id=company_id,
            detail={"token": token_id, "name": name},
        )


async def identify(pool: Pool, text: str, *, address: str, now_ms: int) -> Grant | None:
    """What this token allows now; None for any other text."""
    if not is_token(text):
        return None
    return await api_tokens.find(pool, hash_of(text), network=network_of(address), now_ms=now_ms)
