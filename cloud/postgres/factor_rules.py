"""Companies that ask all their members for a second factor."""

from dataclasses import dataclass

from psycopg.rows import class_row

from cloud.postgres.companies import CHANNEL
from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class FactorRule:
    """Whether all members of a company need a second factor: since when, and how long they have for it."""

    since_ms: int | None
    grace_ms: int


async def find(connection: Connection, company_id: int) -> FactorRule:
    """As it is; LookupError where there is no such company."""
    async with connection.cursor(row_factory=class_row(FactorRule)) as cursor:
        await cursor.execute(
            "SELECT factor_since_ms AS since_ms, factor_grace_ms AS grace_ms FROM company"
            " WHERE company_id = %s",
            [company_id],
        )
        row = await cursor.fetchone()
    if row is None:
        raise LookupError(f"there is no company {company_id}")
    return row


async def put(connection: Connection, company_id: int, rule: FactorRule) -> None:
    """Write it, known to every open page at once."""
    await connection.execute(
        "UPDATE company SET factor_since_ms = %s, factor_grace_ms = %s WHERE company_id = %s",
        [rule.since_ms, rule.grace_ms, company_id],
    )
    await connection.execute(
        "SELECT pg_notify(%s, account_id::text) FROM membership WHERE company_id = %s",
        [CHANNEL, company_id],
    )
