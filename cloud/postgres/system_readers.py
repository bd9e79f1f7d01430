"""Whom mails about registered systems go to, and in which language, in the caller's transaction."""

from dataclasses import dataclass

from psycopg.rows import class_row

from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class Reader:
    """An account that can be written to."""

    address: str
    account_id: int
    language: str


_READER = (
    "SELECT a.email AS address, a.account_id, a.language FROM membership m JOIN account a USING (account_id)"
    " WHERE m.company_id = %s AND a.disabled_ms IS NULL"
)


async def heads(connection: Connection, company_id: int) -> list[Reader]:
    """A company's owners and administrators."""
    async with connection.cursor(row_factory=class_row(Reader)) as cursor:
        await cursor.execute(
            _READER + " AND m.role IN ('owner', 'admin') ORDER BY a.account_id", (company_id,)
        )
        return await cursor.fetchall()


async def person(connection: Connection, account_id: int, company_id: int) -> Reader | None:
    """One member; None where they have left."""
    async with connection.cursor(row_factory=class_row(Reader)) as cursor:
        await cursor.execute(_READER + " AND a.account_id = %s", (company_id, account_id))
        return await cursor.fetchone()
