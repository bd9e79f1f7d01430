"""Bulk jobs in the database: which lines there were, what became of each, and who is at work on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cloud.core.bulk import COMING, KEPT_MS, YOURS, Result, Row
from cloud.postgres.transaction import Connection

LEASE_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Job:
    """A job as stored; ``state`` is running, done or interrupted."""

    job_id: str
    company_id: int
    state: str
    rows: int
    created_ms: int
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one line of a list."""

    line: int
    product_id: str
    result: Result
    claim_id: str | None = None


async def lock_company(connection: Connection, company_id: int) -> None:
    """One submission of a company at a time, so that its open claims are counted once."""
    await connection.execute("SELECT 1 FROM company WHERE company_id = %s FOR NO KEY UPDATE", [company_id])


async def count_open(connection: Connection, company_id: int, now_ms: int) -> int:
    """Claims of a company that wait, and lines that still have to be checked."""
    cursor = await connection.execute(
        "SELECT (SELECT count(*) FROM claim WHERE company_id = %(company)s AND state = 'pending'"
        " AND expires_ms > %(now)s) + (SELECT count(*) FROM bulk_job AS j JOIN bulk_row AS r USING (job_id)"
        " WHERE j.company_id = %(company)s AND j.state = 'running' AND r.result = 'open')",
        {"company": company_id, "now": now_ms},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def insert(
    connection: Connection, job_id: str, company_id: int, account_id: int, rows: Sequence[Row], now_ms: int
) -> None:
    """Write a job and its lines, without their Product Keys; doing it again changes nothing."""
    cursor = await connection.execute(
        "INSERT INTO bulk_job (job_id, company_id, account_id, state, rows, created_ms, lease_ms)"
        " VALUES (%s, %s, %s, 'running', %s, %s, %s) ON CONFLICT DO NOTHING",
        [job_id, company_id, account_id, len(rows), now_ms, now_ms + LEASE_MS],
    )
    if cursor.rowcount == 0:
        return
    async with connection.cursor() as writer:
        await writer.executemany(
            "INSERT INTO bulk_row (job_id, line, product_id, result) VALUES (%s, %s, %s, %s)",
            [
                [job_id, row.line, row.product_id.value if row.product_id else "", row.fault or Result.OPEN]
                for row in rows
            ],
        )


async def save(connection: Connection, job_id: str, lines: Iterable[Line], now_ms: int) -> bool:
    """Write what became of these lines and renew the lease; False where the job is no longer ours."""
    cursor = await connection.execute(
        "UPDATE bulk_job SET lease_ms = %s WHERE job_id = %s AND state = 'running'",
        [now_ms + LEASE_MS, job_id],
    )
    if cursor.rowcount == 0:
        return False
    async with connection.cursor() as writer:
        await writer.executemany(
            "UPDATE bulk_row SET result = %s, claim_id = %s WHERE job_id = %s AND line = %s",
            [[one.result, one.claim_id, job_id, one.line] for one in lines],
        )
    return True


async def finish(connection: Connection, job_id: str, now_ms: int) -> None:
    """Every line has its result."""
    await connection.execute(
        "UPDATE bulk_job SET state = 'done', ended_ms = %s WHERE job_id = %s AND state = 'running'",
        [now_ms, job_id],
    )


async def interrupt(connection: Connection, job_id: str | None, now_ms: int) -> int:
    """End a job whose codes are gone, or, without a name, all whose process has gone; how many."""
    cursor = await connection.execute(
        "UPDATE bulk_job SET state = 'interrupted', ended_ms = %(now)s WHERE state = 'running'"
        " AND CASE WHEN %(job)s::uuid IS NULL THEN lease_ms <= %(now)s ELSE job_id = %(job)s::uuid END"
        " RETURNING job_id",
        {"job": job_id, "now": now_ms},
    )
    jobs = [row[0] for row in await cursor.fetchall()]
    if jobs:
        await connection.execute(
            "UPDATE bulk_row SET result = 'interrupted' WHERE job_id = ANY(%s) AND result = 'open'", [jobs]
        )
    return len(jobs)


async def forget(connection: Connection, now_ms: int) -> None:
    """Drop results nobody needs any more."""
    await connection.execute(
        "DELETE FROM bulk_job WHERE state <> 'running' AND created_ms <= %s", [now_ms - KEPT_MS]
    )


async def find(connection: Connection, company_id: int, job_id: str) -> Job | None:
    """A job of this company."""
    cursor = await connection.execute(
        "SELECT job_id::text, company_id, state, rows, created_ms, ended_ms FROM bulk_job"
        " WHERE job_id = %s::uuid AND company_id = %s",
        [job_id, company_id],
    )
    row = await cursor.fetchone()
    return None if row is None else Job(*row)


async def newest(connection: Connection, company_id: int, limit: int) -> list[Job]:
    """The jobs of a company, newest first."""
    cursor = await connection.execute(
        "SELECT job_id::text, company_id, state, rows, created_ms, ended_ms FROM bulk_job"
        " WHERE company_id = %s ORDER BY created_ms DESC, job_id LIMIT %s",
        [company_id, limit],
    )
    return [Job(*row) for row in await cursor.fetchall()]


_MAY_CHANGE: Final = [Result.WAITING, Result.SMARTCONNECT_OFF, Result.SEVERAL_KEYS]
DEVICE_OF_CLAIM: Final = (
    "((('x0000' || left(replace(claim_id::text, '-', ''), 12))::bit(64)::bigint << 15)"
    " | (('x0' || substr(claim_id::text, 16, 3))::bit(16)::integer << 3)"
    " | (('x' || substr(claim_id::text, 20, 2))::bit(8)::integer >> 3 & 7))"
)
"""``cloud.core.claim_id.device_id_of_claim`` of a column, so that a claim is found by its primary key."""
_NOW: Final = (
    "(SELECT r.line, r.product_id, r.claim_id::text AS claim_id, CASE c.state WHEN 'won' THEN 'won'"
    " WHEN 'refused' THEN 'owned_elsewhere' WHEN 'expired' THEN 'expired' WHEN 'cancelled' THEN 'cancelled'"
    " ELSE r.result END AS result FROM bulk_row AS r LEFT JOIN claim AS c ON r.result = ANY(%(may_change)s)"
    " AND c.claim_id = r.claim_id AND c.device_id = {device} WHERE r.job_id = %(job)s::uuid) AS now"
).replace("{device}", DEVICE_OF_CLAIM.replace("claim_id", "r.claim_id"))
"""Every line of a job, as its claim stands now."""


async def count_results(connection: Connection, job_id: str) -> dict[Result, int]:
    """How many lines of a job have each result, as their claims stand now."""
    cursor = await connection.execute(
        f"SELECT result, count(*) FROM {_NOW} GROUP BY result".encode(),  # noqa: S608 - constants
        {"job": job_id, "may_change": _MAY_CHANGE},
    )
    return {Result(result): count for result, count in await cursor.fetchall()}


async def find_lines(
    connection: Connection,
    job_id: str,
    *,
    after: int = 0,
    limit: int | None = None,
    result: Result | None = None,
) -> list[Line]:
    """Lines of a job behind this one, as their claims stand now, perhaps of one result only."""
    return await _lines(
        connection,
        "line > %(after)s AND (%(result)s::text IS NULL OR result = %(result)s)"
        " ORDER BY line LIMIT %(limit)s",
        {"job": job_id, "after": after, "limit": limit, "result": result},
    )


async def find_lines_not_owned(connection: Connection, job_id: str, limit: int) -> list[Line]:
    """The first checked lines whose devices are not the company's; those that may still be come last."""
    return await _lines(
        connection,
        "result <> ALL(%(out)s) ORDER BY result = ANY(%(coming)s), line LIMIT %(limit)s",
        {"job": job_id, "out": [*YOURS, Result.OPEN], "coming": list(COMING), "limit": limit},
    )


async def _lines(connection: Connection, which: str, values: dict[str, object]) -> list[Line]:
    cursor = await connection.execute(
        f"SELECT line, product_id, result, claim_id FROM {_NOW} WHERE {which}".encode(),  # noqa: S608 - constants
        {"may_change": _MAY_CHANGE, **values},
    )
    return [
        Line(line, product, Result(result), claim) for line, product, result, claim in await cursor.fetchall()
    ]
