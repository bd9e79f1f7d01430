"""API tokens in PostgreSQL: their hashes, what they may be used for, when and from where they were used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.rows import dict_row

from cloud.core.api_token import KEPT_MS, Scope
from cloud.core.authz import Role
from cloud.postgres.accounts import Session
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection

TOUCH_MS: Final = 60_000
"""A token's use is written down once a minute at most."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token about to be written."""

    token_hash: bytes
    company_id: int
    account_id: int
    name: str
    scopes: Sequence[Scope]
    created_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as its owner's list shows it."""

    token_id: int
    company_id: int
    company_name: str
    name: str
    scopes: Sequence[Scope]
    created_ms: int
    expires_ms: int
    used_ms: int | None
    used_network: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do by its token: as this person, but for these scopes only."""

    token_id: int
    name: str
    scopes: frozenset[Scope]
    session: Session
    """Never fresh, and known to no list of log-ins; its ``session_hash`` is the token's."""


async def find(pool: Pool, token_hash: bytes, *, network: str, now_ms: int) -> Grant | None:
    """A live token with its person's rights as they are now; notes that it was used."""
    async with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT token_id, t.name, scopes, t.used_ms, t.expires_ms, account_id,"
            " company_id, email, first_name, last_name, company.name AS company_name, role,"
            " two_factor, factor_due_ms FROM api_token t"
            " JOIN account USING (account_id) JOIN company USING (company_id)"
            " JOIN membership USING (company_id, account_id) JOIN account_factor USING (account_id)"
            " JOIN member_factor USING (company_id, account_id)"
            " WHERE token_hash = %s AND t.expires_ms > %s AND disabled_ms IS NULL",
            [token_hash, now_ms],
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        if row["used_ms"] is None or now_ms - row["used_ms"] > TOUCH_MS:
            await connection.execute(
                "UPDATE api_token SET used_ms = greatest(used_ms, %s), used_network = %s WHERE token_id = %s",
                [now_ms, network, row["token_id"]],
            )
    session = Session(
        session_hash=token_hash,
        account_id=row["account_id"],
        company_id=row["company_id"],
        csrf_key=b"",
        seen_ms=now_ms,
        expires_ms=row["expires_ms"],
        email=row["email"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        company_name=row["company_name"],
        role=Role(row["role"]),
        factor_ms=None,
        two_factor=row["two_factor"],
        factor_due_ms=row["factor_due_ms"],
    )
    return Grant(row["token_id"], row["name"], frozenset(map(Scope, row["scopes"])), session)


async def rights(pool: Pool, token_hash: bytes, now_ms: int) -> tuple[int, str] | None:
    """(company_id, role) of a live token; None once it has ended."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT company_id, role FROM api_token t JOIN account USING (account_id)"
            " JOIN membership USING (company_id, account_id)"
            " JOIN member_factor USING (company_id, account_id)"
            " WHERE token_hash = %s AND expires_ms > %s AND disabled_ms IS NULL"
            " AND coalesce(factor_due_ms > %s, true)",
            [token_hash, now_ms, now_ms],
        )
        row = await found.fetchone()
    return None if row is None else (row[0], row[1])


async def of_person(connection: Connection, account_id: int) -> list[TokenRow]:
    """A person's tokens in all companies, newest first."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT token_id, company_id, company.name AS company_name, t.name, scopes, t.created_ms,"
            " expires_ms, used_ms, used_network FROM api_token t JOIN company USING (company_id)"
            " WHERE account_id = %s ORDER BY token_id DESC",
            [account_id],
        )
        rows = await cursor.fetchall()
    return [TokenRow(**{**row, "scopes": tuple(map(Scope, row["scopes"]))}) for row in rows]


async def count(connection: Connection, company_id: int, account_id: int) -> int:
    """How many a person has in a company."""
    found = await connection.execute(
        "SELECT count(*) FROM api_token WHERE company_id = %s AND account_id = %s", [company_id, account_id]
    )
    row = await found.fetchone()
    return 0 if row is None else int(row[0])


async def insert(connection: Connection, new: NewToken) -> int:
    """Write a token; its number. Forgets the person's own that ended long ago."""
    await connection.execute(
        "DELETE FROM api_token WHERE account_id = %s AND expires_ms <= %s",
        [new.account_id, new.created_ms - KEPT_MS],
    )
    found = await connection.execute(
        "INSERT INTO api_token (token_hash, company_id, account_id, name, scopes, created_ms, expires_ms)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING token_id",
        [
            new.token_hash,
            new.company_id,
            new.account_id,
            new.name,
            [scope.value for scope in new.scopes],
            new.created_ms,
            new.expires_ms,
        ],
    )
    row = await found.fetchone()
    return 0 if row is None else int(row[0])


async def delete(connection: Connection, account_id: int, token_id: int) -> tuple[int, str] | None:
    """End a person's token: (company_id, name); None where they have none of this number."""
    found = await connection.execute(
        "DELETE FROM api_token WHERE token_id = %s AND account_id = %s RETURNING company_id, name",
        [token_id, account_id],
    )
    row = await found.fetchone()
    return None if row is None else (int(row[0]), str(row[1]))
