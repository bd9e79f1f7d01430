"""Opinions of help pages, and the accounts that read them."""

from collections.abc import Sequence
from dataclasses import dataclass

from cloud.core.help import Opinion
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class PageRating:
    """What all accounts say of a page: how many, and how many of them gave 1, 2, 3, 4 and 5."""

    page: str
    count: int
    given: Sequence[int]

    @property
    def mean(self) -> float:
        """The mean rating."""
        return sum(rating * count for rating, count in enumerate(self.given, 1)) / self.count


@dataclass(frozen=True, slots=True)
class Comment:
    """One account's words on a page; it may have left since, then ``name`` and ``email`` are empty."""

    page: str
    opinion: Opinion
    changed_ms: int
    name: str
    email: str


async def save(connection: Connection, account_id: int, page: str, opinion: Opinion, now_ms: int) -> None:
    """The account's only opinion of this page."""
    await connection.execute(
        "INSERT INTO help_opinion (account_id, page, rating, comment, changed_ms)"
        " VALUES (%(account)s, %(page)s, %(rating)s, %(comment)s, %(now)s)"
        " ON CONFLICT (account_id, page) DO UPDATE"
        " SET rating = %(rating)s, comment = %(comment)s, changed_ms = %(now)s",
        {
            "account": account_id,
            "page": page,
            "rating": opinion.rating,
            "comment": opinion.comment,
            "now": now_ms,
        },
    )


async def find(pool: Pool, account_id: int, page: str) -> Opinion | None:
    """What the account says of this page."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT rating, comment FROM help_opinion WHERE account_id = %s AND page = %s", [account_id, page]
        )
        row = await found.fetchone()
    return None if row is None else Opinion(*row)


async def is_operator(pool: Pool, account_id: int) -> bool:
    """Whether the account looks after this installation."""
    async with pool.connection() as connection:
        found = await connection.execute("SELECT 1 FROM operator WHERE account_id = %s", [account_id])
        return await found.fetchone() is not None


async def name_operator(connection: Connection, account_id: int, now_ms: int, *, on: bool) -> None:
    """Let the account see the operator's pages, or no longer."""
    if on:
        await connection.execute(
            "INSERT INTO operator (account_id, since_ms) VALUES (%s, %s) ON CONFLICT (account_id) DO NOTHING",
            [account_id, now_ms],
        )
    else:
        await connection.execute("DELETE FROM operator WHERE account_id = %s", [account_id])


async def list_ratings(pool: Pool) -> list[PageRating]:
    """Every page that somebody has rated, the worst first."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT page, count(*), count(*) FILTER (WHERE rating = 1), count(*) FILTER (WHERE rating = 2),"
            " count(*) FILTER (WHERE rating = 3), count(*) FILTER (WHERE rating = 4),"
            " count(*) FILTER (WHERE rating = 5)"
            " FROM help_opinion GROUP BY page ORDER BY avg(rating), page"
        )
        return [PageRating(page, count, given) for page, count, *given in await found.fetchall()]


@crossing(Reason.OPERATOR)
async def list_comments(pool: Pool, limit: int) -> list[Comment]:
    """The newest opinions that say something."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT page, rating, comment, changed_ms, trim(first_name || ' ' || last_name), email"
            " FROM help_opinion JOIN account USING (account_id) WHERE comment <> ''"
            " ORDER BY changed_ms DESC, account_id, page LIMIT %s",
            [limit],
        )
        rows = await found.fetchall()
    return [Comment(page, Opinion(rating, text), *rest) for page, rating, text, *rest in rows]
