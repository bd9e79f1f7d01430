"""A round of judging, on samples that arrive as through a gateway."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from cloud.core.rule import Side
from cloud.postgres import rule_watch, rules, sites
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.telemetry import Store
from cloud.services import rule_watch as service
from cloud.services.rule_watch import RuleWatch
from protocol import faults
from tests.support.ingest import NOW_MS, ONE, TWO, own_devices, run
from tests.support.ruling import LOAD, MINUTE_MS, START_MS, Feed, add_rule, company_of, told

RAISED, CLEARED = "rule_raised", "rule_cleared"
WORKER, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """Of a database where ONE and TWO are owned by one company."""
    own_devices(database, [ONE, TWO])
    async with make_pool(database, name="test", max_size=4) as made:
        yield made


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """As a gateway's writer has it."""
    made = Store(database, "test")
    made.connect()
    yield made
    made.close()
    faults.disarm()


def watch_of(pool: Pool, worker: UUID = WORKER, at_ms: int = NOW_MS) -> RuleWatch:
    """A process that judges."""
    return RuleWatch(pool, worker, lambda: at_ms)


async def test_a_rule_is_raised_and_cleared_by_the_samples_that_complete_it(
    database: str, pool: Pool, store: Store
) -> None:
    await add_rule(pool, company_of(database, ONE))
    one, two, watch = Feed(store, ONE), Feed(store, TWO), watch_of(pool)
    one.send([90, 90])
    two.send([50, 50])
    assert await watch.round() == 4
    assert told(database) == []
    one.send([90, 78])
    assert await watch.round() == 2
    assert told(database) == [(ONE, RAISED, 3)]
    assert await watch.round() == 0
    one.send([70, 70])
    await watch.round()
    assert told(database) == [(ONE, RAISED, 3), (ONE, CLEARED, 6)]
    assert run(database, "SELECT count(*) FROM rule_state") == [(0,)]
    [(detail,)] = run(database, "SELECT detail FROM event WHERE kind = %s", CLEARED)
    assert (detail["rule"], detail["value"], detail["threshold"]) == ("Load", 70, 80)
    assert detail["lasted_s"] == 180


async def test_devices_without_a_rule_cost_nothing(database: str, pool: Pool, store: Store) -> None:
    company = company_of(database, ONE)
    await add_rule(pool, company, scope="device", scope_id=ONE, epoch=1)
    Feed(store, TWO).send([90] * 5)
    assert await watch_of(pool).round() == 0
    assert run(database, "SELECT device_id FROM rule_cursor") == [(ONE,)]


async def test_samples_of_before_the_rule_are_none_of_its_business(
    database: str, pool: Pool, store: Store
) -> None:
    late = replace(LOAD, from_ms=START_MS + 4 * MINUTE_MS)
    await add_rule(pool, company_of(database, ONE), late)
    Feed(store, ONE).send([90] * 6)
    await watch_of(pool).round()
    assert told(database) == [(ONE, RAISED, 6)]


async def test_uncertain_and_out_of_order_samples_are_left_out(
    database: str, pool: Pool, store: Store
) -> None:
    await add_rule(pool, company_of(database, ONE), replace(LOAD, hold_ms=0))
    feed, watch = Feed(store, ONE), watch_of(pool)
    feed.send([90], flags=1)
    await watch.round()
    feed.send([50])
    await watch.round()
    feed.send([90], ts=START_MS)
    await watch.round()
    assert told(database) == []
    feed.send([90])
    await watch.round()
    assert told(database) == [(ONE, RAISED, 4)]


async def test_a_backlog_is_judged_whole_in_pieces(
    database: str, pool: Pool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PAGE_SAMPLES_EACH", 3)
    monkeypatch.setattr(service, "ALONE_SAMPLES", 5)
    monkeypatch.setattr(service, "PAGE_DEVICES", 1)
    await add_rule(pool, company_of(database, ONE))
    Feed(store, ONE).send([90] * 4 + [50] * 4 + [90] * 4)
    Feed(store, TWO).send([90] * 3)
    assert await watch_of(pool).round() == 15
    assert told(database) == [(ONE, RAISED, 3), (ONE, CLEARED, 6), (ONE, RAISED, 11), (TWO, RAISED, 3)]


async def test_a_process_killed_at_a_commit_neither_loses_nor_repeats(
    database: str, pool: Pool, store: Store
) -> None:
    await add_rule(pool, company_of(database, ONE))
    feed = Feed(store, ONE)
    for point in (service.BEFORE, service.AFTER):
        feed.send([90] * 3)
        faults.arm(point, 1, _break)
        with pytest.raises(ZeroDivisionError):
            await watch_of(pool).round()
        faults.disarm()
        await watch_of(pool).round()
        feed.send([50] * 2)
        await watch_of(pool).round()
    kinds = [kind for _, kind, _ in told(database)]
    assert kinds == [RAISED, CLEARED, RAISED, CLEARED]


def _break(_name: str) -> None:
    raise ZeroDivisionError


async def test_two_processes_share_the_devices_and_judge_each_once(
    database: str, pool: Pool, store: Store
) -> None:
    await add_rule(pool, company_of(database, ONE))
    first, second = watch_of(pool), watch_of(pool, OTHER)
    await first.round()
    await second.round()
    Feed(store, ONE).send([90] * 3)
    Feed(store, TWO).send([90] * 3)
    assert (await first.round(), await second.round()) == (3, 3)
    assert sorted(told(database)) == [(ONE, RAISED, 3), (TWO, RAISED, 3)]
    late = watch_of(pool, OTHER, NOW_MS + 2 * rule_watch.WORKER_LIFE_MS)
    await late.round()  # the first is gone by now
    assert run(database, "SELECT worker_id FROM rule_worker") == [(OTHER,)]
    assert len(told(database)) == 2


async def test_who_was_overtaken_writes_nothing(database: str, pool: Pool, store: Store) -> None:
    await add_rule(pool, company_of(database, ONE))
    Feed(store, ONE).send([90] * 3)
    async with pool.connection() as connection:
        page = await rule_watch.due(connection, 0, 1, -1, 10)
        assert [due.device_id for due in page] == [ONE, TWO]
        await watch_of(pool).round()
        assert await watch_of(pool, OTHER)._judge_page(connection, page) == 3
    assert told(database) == [(ONE, RAISED, 3)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE rule SET version = version + 1, threshold = 85, from_ms = %s", "changed"),
        ("UPDATE rule SET enabled = false, changed_ms = %s", "switched_off"),
        ("UPDATE rule SET ended_ms = %s", "deleted"),
    ],
)
async def test_what_a_rule_said_ends_with_its_words(
    database: str, pool: Pool, store: Store, change: str, why: str
) -> None:
    await add_rule(pool, company_of(database, ONE))
    feed, watch = Feed(store, ONE), watch_of(pool)
    feed.send([90] * 3)
    await watch.round()
    run(database, change, START_MS + 3 * MINUTE_MS + 1)
    feed.send([83] * 3)
    await watch.round()
    assert [kind for _, kind, _ in told(database)] == [RAISED, CLEARED]
    assert run(database, "SELECT detail ->> 'why' FROM event WHERE kind = %s", CLEARED) == [(why,)]
    assert run(database, "SELECT count(*) FROM rule_state") == [(0,)]


async def test_a_transfer_ends_the_states_and_the_rules_of_the_device(
    database: str, pool: Pool, store: Store
) -> None:
    company = company_of(database, ONE)
    await add_rule(pool, company)
    await add_rule(pool, company, name="Only here", scope="device", scope_id=ONE, epoch=1)
    feed, watch = Feed(store, ONE), watch_of(pool)
    feed.send([90] * 3)
    await watch.round()
    assert len(told(database)) == 2
    feed.send([90] * 3)
    [(other,)] = run(
        database, "INSERT INTO company (name, created_ms) VALUES ('Example Other', 1) RETURNING company_id"
    )
    [(epoch,)] = run(
        database, "SELECT move_ownership(%s, 1, %s, NULL, 'transferred', %s)", ONE, other, NOW_MS
    )
    assert epoch
    await watch.round()
    assert len(told(database)) == 2  # nobody is told of what another owner sees now
    assert run(database, "SELECT count(*) FROM rule_state") == [(0,)]
    listed = {one.rule.name: one.over for one in await rules.list_rules(pool, company)}
    assert listed == {"Load": False, "Only here": True}


async def test_a_rule_of_a_site_ends_for_a_device_that_leaves_it(
    database: str, pool: Pool, store: Store
) -> None:
    company = company_of(database, ONE)
    [(site,)] = run(
        database,
        "INSERT INTO site (company_id, name, created_ms) VALUES (%s, 'Example Hall', 1) RETURNING site_id",
        company,
    )
    run(database, "UPDATE ownership SET site_id = %s WHERE device_id = %s", site, ONE)
    await add_rule(pool, company, scope="site", scope_id=site)
    Feed(store, ONE).send([90] * 3)
    Feed(store, TWO).send([90] * 3)
    await watch_of(pool).round()
    assert told(database) == [(ONE, RAISED, 3)]
    run(database, "UPDATE ownership SET site_id = NULL")
    await watch_of(pool).round()
    assert run(database, "SELECT detail ->> 'why' FROM event WHERE kind = %s", CLEARED) == [("moved",)]


async def test_a_rule_of_a_site_is_about_the_sites_in_it(database: str, pool: Pool, store: Store) -> None:
    company = company_of(database, ONE)
    async with pool.connection() as connection, connection.transaction():
        outer = await sites.insert(connection, company, "Berlin", 1)
        assert outer is not None
        inner = await sites.insert(connection, company, "Hall", 1, outer)
        assert inner is not None
        assert await sites.move(connection, company, [ONE], inner) == 1
    await add_rule(pool, company, scope="site", scope_id=outer)
    Feed(store, ONE).send([90] * 3)
    await watch_of(pool).round()
    assert told(database) == [(ONE, RAISED, 3)]
    assert await rules.sites_of(pool, company, ONE) == [outer, inner]
    async with pool.connection() as connection, connection.transaction():
        assert await sites.update(connection, company, inner, "Hall", 0)
    assert await rules.sites_of(pool, company, ONE) == [inner]
    await watch_of(pool).round()
    assert run(database, "SELECT detail ->> 'why' FROM event WHERE kind = %s", CLEARED) == [("moved",)]


async def test_derived_values_need_what_is_known_of_the_device(
    database: str, pool: Pool, store: Store
) -> None:
    company = company_of(database, ONE)
    quick = replace(LOAD, hold_ms=0, clear_ms=0, hysteresis=0)
    await add_rule(pool, company, replace(quick, subject="load_w", threshold=700), name="Watts")
    age = replace(quick, subject="battery_age_days", threshold=1000)
    await add_rule(pool, company, age, name="Old battery")
    status = replace(quick, subject="on_battery", threshold=0.5)
    await add_rule(pool, company, status, name="On battery")
    below = replace(quick, subject="runtime_remaining", side=Side.BELOW, threshold=900)
    await add_rule(pool, company, below, name="Runtime")
    run(database, "UPDATE device SET rated_real_power_w = 1000")
    run(database, "INSERT INTO battery VALUES (%s, 1, %s, 1, 1)", ONE, NOW_MS - 1001 * 86_400_000)
    values = {"ups_status": 1 << 2, "runtime_remaining": 899.0}
    Feed(store, ONE).send([75], **values)
    Feed(store, TWO).send([65], ups_status=1 << 1, runtime_remaining=900.0)
    await watch_of(pool).round()
    names = run(database, "SELECT device_id, detail ->> 'rule' FROM event WHERE stream = 0 ORDER BY 1, 2")
    assert names == [(ONE, "Old battery"), (ONE, "On battery"), (ONE, "Runtime"), (ONE, "Watts")]
