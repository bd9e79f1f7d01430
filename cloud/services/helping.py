"""Opinions of help pages, and who reads them."""

from cloud.core.account import Email
from cloud.core.help import Opinion
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import help_opinions, profiles
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction


async def give(pool: Pool, account_id: int, page: str, opinion: Opinion, now_ms: int) -> None:
    """Keep the account's only opinion of this page."""
    await in_transaction(
        pool, lambda connection: help_opinions.save(connection, account_id, page, opinion, now_ms)
    )


async def name_operator(pool: Pool, email: str, now_ms: int, *, on: bool) -> None:
    """Let an account see the operator's pages, or no longer. AccountError, RefusedError not_found."""
    address = Email.parse(email)

    async def work(connection: Connection) -> None:
        found = await profiles.find_by_email(connection, address)
        if found is None:
            raise RefusedError(RefusalCode.NOT_FOUND, text=f"no account has the address {address.value}")
        await help_opinions.name_operator(connection, found[0], now_ms, on=on)

    await in_transaction(pool, work)
