"""Sites of a company, and which devices are there, in the caller's transaction.

Sites are a tree (:mod:`cloud.core.site_tree`); TOP stands for no site, here as there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from cloud.core import site_tree
from cloud.core.site_tree import TOP, Tree
from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class Site:
    """A place by its path, and how many devices are there."""

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


async def tree(connection: Connection, company_id: int) -> Tree:
    """The sites of a company as they lie in each other."""
    found = await connection.execute(
        "SELECT site_id, coalesce(parent_id, 0), name FROM site WHERE company_id = %s", (company_id,)
    )
    return Tree([site_tree.Site(*row) for row in await found.fetchall()])


async def sites(connection: Connection, company_id: int) -> list[Site]:
    """The sites of a company as the tree has them."""
    found = await connection.execute(
        "SELECT s.site_id, count(o.device_id) FROM site s LEFT JOIN ownership o"
        " ON o.site_id = s.site_id AND o.until_ms IS NULL WHERE s.company_id = %s GROUP BY s.site_id",
        (company_id,),
    )
    counts = {row[0]: row[1] for row in await found.fetchall()}
    nodes = (await tree(connection, company_id)).nodes
    return [Site(node.site_id, node.title, counts.get(node.site_id, 0)) for node in nodes]


async def places(connection: Connection, company_id: int, device_ids: Sequence[int]) -> dict[int, int]:
    """At which site each of these devices of the company is."""
    found = await connection.execute(
        "SELECT device_id, coalesce(site_id, 0) FROM ownership WHERE company_id = %s AND until_ms IS NULL"
        " AND device_id = ANY(%s)",
        (company_id, list(device_ids)),
    )
    return {row[0]: row[1] for row in await found.fetchall()}


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


async def insert(
    connection: Connection, company_id: int, name: str, now_ms: int, parent_id: int = TOP
) -> int | None:
    """A new site; None where there is one of this name beside it."""
    done = await connection.execute(
        "INSERT INTO site (company_id, name, created_ms, parent_id, above)"
        " VALUES (%(company)s, %(name)s, %(now)s, %(parent)s,"
        " coalesce((SELECT above || site_id FROM site WHERE site_id = %(parent)s), '{}'))"
        " ON CONFLICT DO NOTHING RETURNING site_id",
        {"company": company_id, "name": name, "now": now_ms, "parent": parent_id or None},
    )
    row = await done.fetchone()
    return None if row is None else int(row[0])


async def update(
    connection: Connection, company_id: int, site_id: int, name: str, parent_id: int
) -> bool | None:
    """Another name and place; None where one of that name is there, False where there is no such site."""
    try:
        async with connection.transaction():
            done = await connection.execute(
                "UPDATE site SET name = %s, parent_id = %s WHERE site_id = %s AND company_id = %s",
                (name, parent_id or None, site_id, company_id),
            )
    except UniqueViolation:
        return None
    await _put_lines(connection, company_id)
    return done.rowcount == 1


async def remove(connection: Connection, company_id: int, site_id: int, now_ms: int) -> bool | None:
    """The site goes, with its policies and windows; what was in it is in the site above then, or in none.

    None where that has a site of the same name as one in it; False where there is no such site.
    """
    found = await connection.execute(
        "SELECT parent_id FROM site WHERE site_id = %s AND company_id = %s FOR UPDATE", (site_id, company_id)
    )
    row = await found.fetchone()
    if row is None:
        return False
    await connection.execute("UPDATE ownership SET site_id = %s WHERE site_id = %s", (row[0], site_id))
    try:
        async with connection.transaction():
            await connection.execute(
                "UPDATE site SET parent_id = %s WHERE parent_id = %s AND company_id = %s",
                (row[0], site_id, company_id),
            )
    except UniqueViolation:
        return None
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
    await _put_lines(connection, company_id)
    return True


async def _put_lines(connection: Connection, company_id: int) -> None:
    """Write anew, where it has changed, which sites each one is in."""
    await connection.execute(
        "WITH RECURSIVE line AS ("
        " SELECT site_id, '{}'::bigint[] AS above FROM site"
        " WHERE company_id = %(company)s AND parent_id IS NULL UNION ALL"
        " SELECT s.site_id, line.above || line.site_id FROM site s JOIN line ON s.parent_id = line.site_id)"
        " UPDATE site SET above = line.above FROM line"
        " WHERE site.site_id = line.site_id AND site.above <> line.above",
        {"company": company_id},
    )


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
    """What the company calls these devices, and its sites by their paths."""
    found = await connection.execute(
        "SELECT o.device_id, coalesce(nullif(o.name, ''), nullif(d.model, '') || ' ' || d.product_id,"
        " d.product_id) FROM ownership o JOIN device d USING (device_id)"
        " WHERE o.company_id = %s AND o.until_ms IS NULL AND o.device_id = ANY(%s)",
        (company_id, list(device_ids)),
    )
    named = {row[0]: row[1] for row in await found.fetchall()}
    return named, {node.site_id: node.title for node in (await tree(connection, company_id)).nodes}
