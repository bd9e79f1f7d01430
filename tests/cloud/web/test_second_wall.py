"""One of everything in one company: the portal's own database finds nothing of it for somebody else."""

from psycopg import sql

from cloud.core.authz import Actor
from cloud.postgres.acting import acting_for
from cloud.postgres.pool import Pool
from cloud.web.state import POOL
from tests.cloud.web.conftest import Somebody
from tests.support.foreign_world import build
from tests.support.portal import Portal

WALLS = (
    "SELECT p.tablename, array_agg(c.column_name::text) FROM pg_policies p JOIN information_schema.columns c"
    " ON c.table_name = p.tablename AND c.column_name IN ('company_id', 'account_id')"
    " WHERE p.policyname = 'of_whom_it_acts_for' GROUP BY 1 ORDER BY 1"
)
EMPTY = {"notice", "notice_delivery", "alarm", "totp", "recovery_code"}
"""Tables in which the world that is built has nothing; each has the same policy as the others."""


async def test_without_a_condition_nothing_of_another_company_is_found(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    bob = await portal.add_person("bob@example.org", first_name="Bob")
    await build(portal, ada.actor, bob)
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE passkey SET account_id = %s", [ada.actor.account_id])
        await connection.execute(
            "INSERT INTO partner_identity (issuer, subject, account_id, email, connected_ms, used_ms)"
            " VALUES ('https://id.example.org', 'ada', %s, '', 1, 1)",
            [ada.actor.account_id],
        )
        await connection.execute(
            "INSERT INTO notice_company (company_id, created_ms) VALUES (%s, 1) ON CONFLICT DO NOTHING",
            [ada.actor.company_id],
        )
        walls = {row[0]: row[1] for row in await (await connection.execute(WALLS)).fetchall()}
    assert len(walls) > 20
    empty = []
    for table, columns in walls.items():
        column = "company_id" if "company_id" in columns else "account_id"
        owned = ada.actor.company_id if column == "company_id" else ada.actor.account_id
        stored = await _values(portal.pool, table, column)
        if owned not in stored:
            empty.append(table)
        assert await _values(portal.app[POOL], table, column) == set(), f"{table}: for nobody"
        seen_by_ada = await _as(portal, ada.actor, table, column)
        assert (owned in seen_by_ada) == (owned in stored), table
        assert owned not in await _as(portal, eve.actor, table, column), table
    assert set(empty) <= EMPTY


async def _as(portal: Portal, actor: Actor, table: str, column: str) -> set[int]:
    with acting_for(actor.company_id, actor.account_id):
        return await _values(portal.app[POOL], table, column)


async def _values(pool: Pool, table: str, column: str) -> set[int]:
    statement = sql.SQL("SELECT DISTINCT {} FROM {}").format(sql.Identifier(column), sql.Identifier(table))
    async with pool.connection() as connection:
        return {row[0] for row in await (await connection.execute(statement)).fetchall()}
