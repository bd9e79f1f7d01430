"""Sites of a company, and which devices are there, in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class Site:
    """A place, and how many devices are there."""

    site_id: int
    name: str
    devices: int


@dataclass(frozen=True, slots=True)
class Sited:
    """A device of the company and where it is (0: nowhere)."""

    device_id: int
    epoch: int
    name: str
    model: str
    product_id: str
    site_id: int


async def sites(connection: Connection, company_id: int) -> list[Site]:
    """The sites of a company, by name."""
    async with connection.cursor(row_factory=class_row(Site)) as cursor:
        await cursor.execute(
            "SELECT s.site_id, s.name, (SELECT count(*) FROM ownership o WHERE o.site_id = s.site_id"
            " AND o.until_ms IS NULL) AS devices FROM site s WHERE s.company_id = %s ORDER BY lower(s.name)",
            (company_id,),
        )
        return await cursor.fetchall()


async def devices(connection: Connection, company_id: int) -> list[Sited]:
    """The devices of a company, by name."""
    async with connection.cursor(row_factory=class_row(Sited)) as cursor:
        await cursor.execute(
            "SELECT o.device_id, o.epoch, o.name, d.model, d.product_id, coalesce(o.site_id, 0) AS site_id"
            " FROM ownership o JOIN device d USING (device_id) WHERE o.company_id = %s"
            " AND o.until_ms IS NULL ORDER BY lower(coalesce(nullif(o.name, ''), d.model)), d.product_id",
            (company_id,),
        )
        return await cursor.fetchall()


async def insert(connection: Connection, company_id: int, name: str, now_ms: int) -> int | None:
    """A new site; None where the company has one of this name."""
    done = await connection.execute(
        "INSERT INTO site (company_id, name, created_ms) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
        " RETURNING site_id",
        (company_id, name, now_ms),
    )
    row = await done.fetchone()
    return None if row is None else int(row[0])


async def rename(connection: Connection, company_id: int, site_id: int, name: str) -> bool | None:
    """Another name; None where the company has another site of it, False where there is no such site."""
    try:
        async with connection.transaction():
            done = await connection.execute(
                "UPDATE site SET name = %s WHERE site_id = %s AND company_id = %s",
                (name, site_id, company_id),
            )
    except UniqueViolation:
        return None
    return done.rowcount == 1


async def remove(connection: Connection, company_id: int, site_id: int, now_ms: int) -> bool:
    """The site goes, with its policies and windows; its devices are nowhere then."""
    found = await connection.execute(
        "SELECT 1 FROM site WHERE site_id = %s AND company_id = %s FOR UPDATE", (site_id, company_id)
    )
    if await found.fetchone() is None:
        return False
    await connection.execute("UPDATE ownership SET site_id = NULL WHERE site_id = %s", (site_id,))
    await connection.execute(
        "UPDATE notice_policy SET ended_ms = %s WHERE scope = 'site' AND scope_id = %s AND company_id = %s"
        " AND ended_ms IS NULL",
        (now_ms, site_id, company_id),
    )
    await connection.execute(
        "DELETE FROM maintenance_window WHERE scope = 'site' AND scope_id = %s AND company_id = %s",
        (site_id, company_id),
    )
    await connection.execute("DELETE FROM site WHERE site_id = %s", (site_id,))
    return True


async def move(
    connection: Connection, company_id: int, device_ids: Sequence[int], site_id: int | None
) -> int:
    """Say where devices of the company are; how many were moved, 0 where the site is not the company's."""
    done = await connection.execute(
        "UPDATE ownership SET site_id = %(site)s WHERE company_id = %(company)s AND until_ms IS NULL"
        " AND device_id = ANY(%(devices)s) AND (%(site)s::bigint IS NULL OR EXISTS"
        " (SELECT 1 FROM site WHERE site_id = %(site)s AND company_id = %(company)s))",
        {"site": site_id, "company": company_id, "devices": list(device_ids)},
    )
    return done.rowcount


async def names(
    connection: Connection, company_id: int, device_ids: Sequence[int]
) -> tuple[dict[int, str], dict[int, str]]:
    """What the company calls these devices, and its sites."""
    found = await connection.execute(
        "SELECT o.device_id, coalesce(nullif(o.name, ''), nullif(d.model, '') || ' ' || d.product_id,"
        " d.product_id) FROM ownership o JOIN device d USING (device_id)"
        " WHERE o.company_id = %s AND o.until_ms IS NULL AND o.device_id = ANY(%s)",
        (company_id, list(device_ids)),
    )
    named = {row[0]: row[1] for row in await found.fetchall()}
    found = await connection.execute("SELECT site_id, name FROM site WHERE company_id = %s", (company_id,))
    return named, {row[0]: row[1] for row in await found.fetchall()}
