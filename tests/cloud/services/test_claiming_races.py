"""Both halves at the same instant, held at the fault points around each commit; lost connections."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
import pytest

from cloud.core.authz import Actor
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming
from cloud.services.claim_view import ClaimView, ViewState
from cloud.services.claiming import Noted
from protocol import faults
from tests.support.claiming import NOW, TestDevice, make_actors

T = TypeVar("T")
WAIT_S = 20


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    faults.disarm()


class Hold:
    """Stops the thread that reaches a fault point until it is let go."""

    def __init__(self, point: str) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        faults.arm(point, 1, self._stop)

    def _stop(self, _name: str) -> None:
        self.reached.set()
        assert self.go.wait(WAIT_S)


class Side:
    """A process of its own, as far as the database can tell: a thread with a loop and a pool."""

    def __init__(self, dsn: str, threads: ThreadPoolExecutor) -> None:
        self._dsn = dsn
        self._threads = threads

    def start(self, work: Callable[[Pool], Coroutine[Any, Any, T]]) -> "Future[T]":
        """Run it with a pool of its own."""

        async def run() -> T:
            async with make_pool(self._dsn, name="side", max_size=1) as pool:
                return await work(pool)

        return self._threads.submit(lambda: asyncio.run(run()))


@pytest.fixture
def sides(database: str) -> Iterator[tuple[Side, Side]]:
    with ThreadPoolExecutor(2) as threads:
        yield Side(database, threads), Side(database, threads)


@pytest.fixture
def person(database: str) -> Actor:
    return make_actors(database, 1)[0]


def claim_of(actor: Actor, device: TestDevice) -> Callable[[Pool], Coroutine[Any, Any, ClaimView]]:
    return lambda pool: claiming.submit(pool, actor, device.product_id, device.label_pub, NOW)


def state_of(dsn: str, actor: Actor, device: TestDevice) -> ViewState:
    async def look() -> ClaimView:
        async with make_pool(dsn, name="look", max_size=1) as pool:
            return await claiming.view(pool, actor, device_id=device.device_id, now_ms=NOW)

    return asyncio.run(look()).state


def waits_for_lock(dsn: str) -> bool:
    """Until some connection waits for a lock; False if none ever does."""
    for _ in range(2000):
        with psycopg.connect(dsn, autocommit=True) as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            ).fetchone()
            if found is not None and found[0]:
                return True
    return False


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_device_announces_while_the_claim_commits(
    database: str, sides: tuple[Side, Side], person: Actor, when: str
) -> None:
    device, hold = TestDevice(), Hold(f"claim.submit.{when}")
    submitted = sides[0].start(claim_of(person, device))
    assert hold.reached.wait(WAIT_S)
    announced = sides[1].start(device.announce)
    if when == "before":
        assert waits_for_lock(database)
    else:
        assert announced.result(WAIT_S) is Noted.BOUND
    hold.go.set()
    assert submitted.result(WAIT_S).state is ViewState.WAITING_FOR_DEVICE
    assert announced.result(WAIT_S) is Noted.BOUND
    assert state_of(database, person, device) is ViewState.WON


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_claim_comes_while_the_announcement_commits(
    database: str, sides: tuple[Side, Side], person: Actor, when: str
) -> None:
    device, hold = TestDevice(), Hold(f"gateway.announce.{when}")
    announced = sides[0].start(device.announce)
    assert hold.reached.wait(WAIT_S)
    submitted = sides[1].start(claim_of(person, device))
    if when == "before":
        assert waits_for_lock(database)
    else:
        assert submitted.result(WAIT_S).state is ViewState.WON
    hold.go.set()
    assert announced.result(WAIT_S) is Noted.RECORDED
    assert submitted.result(WAIT_S).state is ViewState.WON


def test_two_halves_at_once_never_miss_each_other(
    database: str, sides: tuple[Side, Side], person: Actor
) -> None:
    devices = [TestDevice() for _ in range(60)]
    together = threading.Barrier(2)

    async def claim_all(pool: Pool) -> None:
        for device in devices:
            together.wait(WAIT_S)
            await claiming.submit(pool, person, device.product_id, device.label_pub, NOW)

    async def announce_all(pool: Pool) -> None:
        for device in devices:
            together.wait(WAIT_S)
            await device.announce(pool)

    for side in (sides[0].start(claim_all), sides[1].start(announce_all)):
        side.result(WAIT_S)
    with psycopg.connect(database) as connection:
        owned = connection.execute("SELECT device_id FROM v_ownership").fetchall()
    assert {row[0] for row in owned} == {device.device_id for device in devices}
    assert len(owned) == len(devices)


@pytest.mark.parametrize("point", ["claim.submit.before", "gateway.announce.before"])
async def test_a_connection_lost_at_the_commit_costs_a_repeat_and_nothing_else(
    database: str, person: Actor, point: str
) -> None:
    def cut(_name: str) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'smartconnect test'"
            )

    device = TestDevice()
    async with make_pool(database, name="test", max_size=1) as pool:
        faults.arm(point, 1, cut)
        await device.announce(pool)
        won = await claiming.submit(pool, person, device.product_id, device.label_pub, NOW)
        assert (won.state, won.reason) == (ViewState.WON, "")
    with psycopg.connect(database) as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM claim), (SELECT count(*) FROM ownership),"
            " (SELECT count(*) FROM device_audit)"
        ).fetchone()
    assert counts == (1, 1, 3)


async def test_an_answer_lost_after_the_commit_is_given_again_by_the_repeat(
    database: str, person: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = TestDevice()
    # The same name for both: what the second attempt of one request uses.
    monkeypatch.setattr("cloud.services.claiming.secrets.randbits", lambda _bits: 5)
    async with make_pool(database, name="test", max_size=1) as pool:
        await device.announce(pool)
        first = await claiming.submit(pool, person, device.product_id, device.label_pub, NOW)
        again = await claiming.submit(pool, person, device.product_id, device.label_pub, NOW)
    assert again == first
    assert first.state is ViewState.WON
