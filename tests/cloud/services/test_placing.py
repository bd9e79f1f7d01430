"""Sites and devices, arranged by several people at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.site_tree import TOP
from cloud.postgres import sites
from cloud.postgres.pool import Pool, make_pool
from cloud.services import placing
from tests.support.claiming import NOW, make_actors
from tests.support.fleet import FIRST, fill


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """Connections of a test."""
    async with make_pool(database, name="test", max_size=4) as opened:
        yield opened


async def test_two_people_cannot_put_two_sites_into_each_other(database: str, pool: Pool) -> None:
    (actor,) = make_actors(database, 1)
    one = await placing.add_site(pool, actor, "One", NOW)
    two = await placing.add_site(pool, actor, "Two", NOW)
    done = await asyncio.gather(
        placing.change_site(pool, actor, one, NOW, parent_id=two),
        placing.change_site(pool, actor, two, NOW, parent_id=one),
        return_exceptions=True,
    )
    refused = [error for error in done if isinstance(error, RefusedError)]
    assert [(error.code, error.field) for error in refused] == [(RefusalCode.FIELD_INVALID, "parent")]
    assert done.count(None) == 1
    async with pool.connection() as connection:
        tree = await sites.tree(connection, actor.company_id)
    assert sorted(node.depth for node in tree.nodes) == [0, 1]


async def test_the_way_up_is_kept_with_every_move(database: str, pool: Pool) -> None:
    (actor,) = make_actors(database, 1)
    made = [TOP]
    for name in ("a", "b", "c"):
        made.append(await placing.add_site(pool, actor, name, NOW, made[-1]))
    _, a, b, c = made

    async def lines() -> dict[int, list[int]]:
        async with pool.connection() as connection:
            found = await connection.execute("SELECT site_id, above FROM site")
            return {row[0]: row[1] async for row in found}

    assert await lines() == {a: [], b: [a], c: [a, b]}
    await placing.change_site(pool, actor, b, NOW, parent_id=TOP)
    assert await lines() == {a: [], b: [], c: [b]}
    await placing.change_site(pool, actor, b, NOW, parent_id=a, name="d")
    await placing.remove_site(pool, actor, b, NOW)
    assert await lines() == {a: [], c: [a]}


async def test_a_site_goes_only_where_its_names_are_free_above(database: str, pool: Pool) -> None:
    (actor,) = make_actors(database, 1)
    outer = await placing.add_site(pool, actor, "Outer", NOW)
    await placing.add_site(pool, actor, "Rack", NOW)
    await placing.add_site(pool, actor, "Rack", NOW, outer)
    with pytest.raises(RefusedError, match="taken one level up"):
        await placing.remove_site(pool, actor, outer, NOW)
    async with pool.connection() as connection:
        assert len((await sites.tree(connection, actor.company_id)).nodes) == 3


async def test_nobody_uses_a_site_of_another_company(database: str, pool: Pool) -> None:
    ada, eve = make_actors(database, 2)
    hers = await placing.add_site(pool, eve, "Hers", NOW)
    mine = await placing.add_site(pool, ada, "Mine", NOW)
    fill(database, ada, 3, NOW)
    for refused in (
        placing.add_site(pool, ada, "In hers", NOW, hers),
        placing.change_site(pool, ada, mine, NOW, parent_id=hers),
        placing.change_site(pool, ada, hers, NOW, name="Mine now"),
        placing.remove_site(pool, ada, hers, NOW),
        placing.move(pool, ada, [FIRST], hers, NOW),
        placing.move(pool, eve, [FIRST], hers, NOW),
        placing.place(pool, ada, hers, [FIRST], NOW),
    ):
        with pytest.raises(RefusedError):
            await refused
    assert await placing.move(pool, ada, [FIRST, FIRST + 1], mine, NOW) == 2
    assert await placing.move(pool, ada, [FIRST, 5], TOP, NOW, strict=False) == 1
    async with pool.connection() as connection:
        assert await sites.places(connection, ada.company_id, [FIRST, FIRST + 1, FIRST + 2]) == {
            FIRST: TOP,
            FIRST + 1: mine,
            FIRST + 2: TOP,
        }
        assert await sites.places(connection, eve.company_id, [FIRST]) == {}
