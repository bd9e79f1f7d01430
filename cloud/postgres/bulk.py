"""Bulk jobs in the database: which lines there were, what became of each, and who is at work on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cloud.core.bulk import KEPT_MS, Result, Row
from cloud.core.claim_id import device_id_of_claim
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


async def find_lines(connection: Connection, job_id: str) -> list[Line]:
    """Every line of a job, as its claim stands now."""
    cursor = await connection.execute(
        "SELECT line, product_id, result, claim_id::text FROM bulk_row WHERE job_id = %s::uuid ORDER BY line",
        [job_id],
    )
    lines = [
        Line(line, product, Result(result), claim) for line, product, result, claim in await cursor.fetchall()
    ]
    waiting = [one.claim_id for one in lines if one.claim_id and one.result in _MAY_CHANGE]
    now = await _claims_now(connection, waiting)
    return [
        Line(one.line, one.product_id, now.get(one.claim_id or "", one.result), one.claim_id)
        if one.result in _MAY_CHANGE
        else one
        for one in lines
    ]


_MAY_CHANGE: Final = frozenset({Result.WAITING, Result.SMARTCONNECT_OFF, Result.SEVERAL_KEYS})
_DECIDED: Final = {
    "won": Result.WON,
    "refused": Result.OWNED_ELSEWHERE,
    "expired": Result.EXPIRED,
    "cancelled": Result.CANCELLED,
}


async def _claims_now(connection: Connection, claim_ids: Sequence[str]) -> dict[str, Result]:
    """The claims among these that were decided since."""
    devices = [device for one in claim_ids if (device := device_id_of_claim(one)) is not None]
    cursor = await connection.execute(
        "SELECT claim_id::text, state FROM claim WHERE device_id = ANY(%s) AND claim_id = ANY(%s::uuid[])"
        " AND state <> 'pending'",
        [devices, list(claim_ids)],
    )
    return {claim: _DECIDED[state] for claim, state in await cursor.fetchall()}
