"""Places of open claims on a real PostgreSQL: who pays, who gets one back, what is refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from cloud.core.authz import Actor
from cloud.core.limits import DERIVING_MS, SPENT_MS, Pace
from cloud.core.proof_of_work import BITS
from cloud.postgres import limits as postgres_limits
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming, limits
from cloud.services.claim_view import ClaimView, ViewState
from cloud.services.derivation import ACTIVE, MAX_EACH, BusyError, LabelKeys
from cloud.services.limits import Paces, TooManyOpenError, WorkNeededError
from protocol.identity import ProductId, ProductKey
from tests.support.claiming import NOW, TestDevice, make_actors
from tests.support.device import random_codes
from tests.support.portal import labelled_device

HERE = "192.0.2.7"
FEW = Paces(Pace(free=3, first_ms=1_000, longest_ms=8_000, step=1), Pace(6, 1_000, 4_000, 1))


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, name="test", max_size=8) as opened:
        yield opened


@pytest.fixture
def keys() -> Iterator[LabelKeys]:
    with LabelKeys() as label_keys:
        yield label_keys


@pytest.fixture
def people(database: str) -> list[Actor]:
    return make_actors(database, 4)


class Desk:
    """Claims of somebody from somewhere."""

    def __init__(self, pool: Pool, keys: LabelKeys) -> None:
        self.pool = pool
        self.keys = keys
        self.proved: list[int] = []

    async def claim(
        self,
        actor: Actor,
        device: tuple[TestDevice, str] | None = None,
        *,
        now_ms: int = NOW,
        address: str = HERE,
        works: bool = False,
    ) -> ClaimView:
        """Claim these codes, or wrong ones."""
        product_id, product_key = random_codes()
        if device is not None:
            product_id, product_key = device[0].product_id, ProductKey.parse(device[1])

        async def prove(bits: int) -> None:
            self.proved.append(bits)

        return await limits.claim(
            self.pool,
            self.keys,
            actor,
            product_id,
            product_key,
            address=address,
            now_ms=now_ms,
            check_work=prove if works else None,
            paces=FEW,
        )


@pytest.fixture
def desk(pool: Pool, keys: LabelKeys) -> Desk:
    return Desk(pool, keys)


class FullPool(LabelKeys):
    """A pool that filled up between admission and derivation."""

    async def label_pub(self, *_codes: object, **_how: object) -> bytes:
        raise BusyError(1)


class HeldKeys(LabelKeys):
    """Derivations that wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.go = asyncio.Event()

    async def label_pub(self, product_id: ProductId, product_key: ProductKey, *, bulk: bool = False) -> bytes:
        """Wait, then derive."""
        self.begun += 1
        await self.go.wait()
        return await super().label_pub(product_id, product_key, bulk=bulk)


def places(dsn: str) -> int:
    """How many places are held."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM claim_place").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_guesser_waits_and_works_and_nothing_is_spent_before(desk: Desk, people: list[Actor]) -> None:
    for _ in range(3):
        assert (await desk.claim(people[0])).state is ViewState.WAITING_FOR_DEVICE
    assert desk.keys.spent == 3
    with pytest.raises(TooManyOpenError) as refused:
        await desk.claim(people[0], works=True)
    assert refused.value.after_s == 1
    with pytest.raises(WorkNeededError) as asked:
        await desk.claim(people[0], now_ms=NOW + 1_000)
    assert asked.value.bits == BITS
    assert (desk.keys.spent, desk.proved) == (3, [])
    await desk.claim(people[0], now_ms=NOW + 1_000, works=True)
    assert (desk.keys.spent, desk.proved) == (4, [BITS])
    with pytest.raises(TooManyOpenError) as refused:
        await desk.claim(people[0], now_ms=NOW + 1_000, works=True)
    assert refused.value.after_s == 2


async def test_a_neighbour_of_guessers_works_but_does_not_wait(desk: Desk, people: list[Actor]) -> None:
    for actor in people[:2]:
        for _ in range(3):
            await desk.claim(actor)
    device = labelled_device()
    await device[0].announce(desk.pool, NOW)
    with pytest.raises(WorkNeededError):
        await desk.claim(people[2], device)
    assert (await desk.claim(people[2], device, works=True)).state is ViewState.WON
    elsewhere = labelled_device()
    await elsewhere[0].announce(desk.pool, NOW)
    assert (await desk.claim(people[3], elsewhere, address="192.0.2.8")).state is ViewState.WON


async def test_winning_gives_the_place_back(desk: Desk, people: list[Actor], database: str) -> None:
    for _ in range(6):  # won at once: never in the way
        device = labelled_device()
        await device[0].announce(desk.pool, NOW)
        assert (await desk.claim(people[0], device)).state is ViewState.WON
    assert places(database) == 0
    waiting = [labelled_device() for _ in range(3)]
    for device in waiting:
        await desk.claim(people[0], device)
    assert places(database) == 3
    with pytest.raises(TooManyOpenError):
        await desk.claim(people[0])
    for device in waiting:  # the gateway binds them
        await device[0].announce(desk.pool, NOW + 1)
    assert (await desk.claim(people[0], now_ms=NOW + 2)).state is ViewState.WAITING_FOR_DEVICE
    assert places(database) == 1


async def test_the_same_codes_again_take_no_second_place(
    desk: Desk, people: list[Actor], database: str
) -> None:
    device = labelled_device()
    first = await desk.claim(people[0], device)
    for number in range(5):
        assert (await desk.claim(people[0], device, now_ms=NOW + number)).claim_id == first.claim_id
    assert places(database) == 1


async def test_cancelling_does_not_make_guesses_free(desk: Desk, people: list[Actor], database: str) -> None:
    for _ in range(3):
        view = await desk.claim(people[0])
        assert view.claim_id is not None
        await claiming.cancel(desk.pool, people[0], view.claim_id, NOW)
    with pytest.raises(TooManyOpenError):
        await desk.claim(people[0])
    await desk.claim(people[0], now_ms=NOW + SPENT_MS)
    assert places(database) == 1


async def test_owned_by_another_with_the_right_key_keeps_no_place(
    desk: Desk, people: list[Actor], database: str
) -> None:
    device = labelled_device()
    await device[0].announce(desk.pool, NOW)
    await desk.claim(people[0], device)
    assert (await desk.claim(people[1], device)).reason == "owned_elsewhere"
    assert places(database) == 0


async def test_many_at_once_get_no_more_than_one_after_the_other(
    desk: Desk, people: list[Actor], database: str
) -> None:
    results = await asyncio.gather(*(desk.claim(people[0]) for _ in range(MAX_EACH)), return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds.count(ClaimView) == 3
    assert kinds.count(TooManyOpenError) == MAX_EACH - 3
    assert desk.keys.spent == places(database) == 3


async def test_a_busy_pool_gives_the_place_back(desk: Desk, people: list[Actor], database: str) -> None:
    with FullPool() as desk.keys, pytest.raises(BusyError):
        await desk.claim(people[0])
    assert places(database) == 0


async def test_few_are_worked_on_and_the_others_keep_nothing_from_anybody(
    desk: Desk, people: list[Actor], database: str
) -> None:
    with HeldKeys() as held:
        desk.keys = held
        doing = [
            asyncio.ensure_future(desk.claim(people[number % 4], address=f"192.0.2.{number}"))
            for number in range(ACTIVE + 3)
        ]
        async with asyncio.timeout(10):
            while held.begun < ACTIVE:
                await asyncio.sleep(0)
        assert held.taken_in == ACTIVE + 3
        assert held.begun == places(database) == ACTIVE
        held.go.set()
        views = await asyncio.gather(*doing)
    assert {view.state for view in views} == {ViewState.WAITING_FOR_DEVICE}
    assert held.taken_in == 0


async def test_a_claim_without_its_place_is_none(
    desk: Desk, people: list[Actor], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_values: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(postgres_limits, "name", fail)
    with pytest.raises(ZeroDivisionError):
        await desk.claim(people[0])
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM claim").fetchone() == (0,)


async def test_a_place_of_a_claim_that_never_was_comes_free(desk: Desk, people: list[Actor]) -> None:
    for _ in range(3):
        await limits.take(desk.pool, people[0].account_id, HERE, now_ms=NOW, paces=FEW)
    with pytest.raises(TooManyOpenError):
        await desk.claim(people[0])
    await desk.claim(people[0], now_ms=NOW + DERIVING_MS)


async def test_it_fails_closed(desk: Desk, people: list[Actor], database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP TABLE claim_place")
    with pytest.raises(psycopg.Error):
        await desk.claim(people[0])
    assert desk.keys.spent == 0
