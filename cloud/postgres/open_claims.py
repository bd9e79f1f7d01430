"""The claims that a company waits for, as lists show them."""

from dataclasses import dataclass

from cloud.postgres.pool import Pool


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """A claim whose device was not heard yet, or cannot be bound yet. Times are unix ms."""

    claim_id: str
    device_id: int
    product_id: str
    created_ms: int
    expires_ms: int


async def list_open(
    pool: Pool, company_id: int, now_ms: int, limit: int, after: tuple[int, str] | None = None
) -> list[OpenClaim]:
    """The newest ones; ``after`` (created_ms, claim_id) goes on behind that one."""
    created_ms, claim_id = after or (None, None)
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT c.claim_id::text, c.device_id, d.product_id, c.created_ms, c.expires_ms"
            " FROM claim c JOIN device d ON d.device_id = c.device_id"
            " WHERE c.company_id = %(company)s AND c.state = 'pending' AND c.expires_ms > %(now)s"
            " AND (%(created)s::bigint IS NULL OR c.created_ms < %(created)s"
            "      OR (c.created_ms = %(created)s AND c.claim_id > %(claim)s::uuid))"
            " ORDER BY c.created_ms DESC, c.claim_id LIMIT %(limit)s",
            {
                "company": company_id,
                "now": now_ms,
                "created": created_ms,
                "claim": claim_id,
                "limit": limit,
            },
        )
        return [OpenClaim(*row) for row in await found.fetchall()]
