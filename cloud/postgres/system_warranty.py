"""Warranties of registered systems that end soon or have ended, and whether that was told."""

from dataclasses import dataclass

from psycopg.rows import class_row

from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class Due:
    """A registration whose holders are to be told: ``kind`` is that of the line in its history."""

    number: int
    system_id: str
    kind: str
    warranty_end: str


async def due(
    connection: Connection, *, past: str, today: str, soon: str, limit: int, number: int | None = None
) -> list[Due]:
    """Warranties whose last day (YYYY-MM-DD) is from ``past`` to ``soon``, told neither of this day nor so.

    ``number``: of this registration only, which is locked.
    """
    async with connection.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(
            "SELECT * FROM (SELECT r.number, r.system_id, f.value AS warranty_end,"
            " CASE WHEN f.value < %(today)s THEN 'warranty_ended' ELSE 'warranty_ends' END AS kind"
            " FROM registration_field f JOIN registration r USING (number)"
            " WHERE f.field = 'warranty_end' AND f.value >= %(past)s AND f.value <= %(soon)s"
            " AND r.ended_ms IS NULL"
            " AND (%(number)s::bigint IS NULL OR r.number = %(number)s)) AS w"
            " WHERE NOT EXISTS (SELECT 1 FROM registration_audit a WHERE a.number = w.number"
            " AND a.kind = w.kind AND a.after = w.warranty_end) ORDER BY w.number LIMIT %(limit)s",
            {"past": past, "today": today, "soon": soon, "limit": limit, "number": number},
        )
        return await cursor.fetchall()
