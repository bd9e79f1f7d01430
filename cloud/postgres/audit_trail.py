"""The audit trail of a company: what its people did there, and what happened to its devices in its time."""

from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row

from cloud.postgres.pool import Pool

_LINES: Final = """
SELECT * FROM (
    (SELECT a.ts_ms, a.kind, p.email, NULL::bigint AS device_id, '' AS product_id, a.detail
       FROM account_audit a LEFT JOIN account p USING (account_id)
      WHERE a.company_id = %(company)s AND a.ts_ms >= %(from)s AND a.ts_ms < %(to)s
      ORDER BY a.audit_id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT a.ts_ms, a.kind, p.email, a.device_id, d.product_id, a.detail
       FROM (SELECT DISTINCT device_id FROM ownership WHERE company_id = %(company)s) own
       JOIN device_audit a USING (device_id) JOIN device d USING (device_id)
       LEFT JOIN account p ON p.account_id = a.account_id
      WHERE a.company_id = %(company)s AND a.ts_ms >= %(from)s AND a.ts_ms < %(to)s
      ORDER BY a.ts_ms DESC LIMIT %(limit)s)) AS line
ORDER BY ts_ms DESC LIMIT %(limit)s"""
"""Lines of devices are found by the company's ownerships, for their key begins with the device."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that was done. ``email``: by whom; None: nobody, empty: a deleted account."""

    ts_ms: int
    kind: str
    email: str | None
    device_id: int | None
    product_id: str
    detail: dict[str, Any]


async def of_company(pool: Pool, company_id: int, *, from_ms: int, to_ms: int, limit: int) -> list[Line]:
    """The newest lines of this time (``to_ms`` not included), newest first."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Line)) as cursor:
        await cursor.execute(_LINES, {"company": company_id, "from": from_ms, "to": to_ms, "limit": limit})
        return await cursor.fetchall()
