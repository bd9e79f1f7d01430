"""The verdict on a race can fail: each fault, put into the tables by hand, is found and named."""

import asyncio
from dataclasses import dataclass, field

import psycopg
import pytest

from cloud.postgres.pool import make_pool
from cloud.services import claiming, owning
from tests.accept import CheckError
from tests.accept._claim_run import stopped
from tests.accept._race_device import Heard
from tests.accept._race_verdict import Yours, judge, judge_streams
from tests.support.claiming import NOW, TestDevice, make_actors

BROKEN = {
    "without exactly one live owner": "UPDATE ownership SET until_ms = from_ms WHERE until_ms IS NULL",
    "overlapping intervals": "UPDATE ownership SET until_ms = until_ms + 1000 WHERE until_ms IS NOT NULL",
    "end before they begin": "UPDATE ownership SET until_ms = from_ms - 1 WHERE until_ms IS NOT NULL",
    "owners without their audit row": "DELETE FROM device_audit WHERE kind = 'bound'",
    "ended ownerships without their audit row": "DELETE FROM device_audit WHERE kind = 'released'",
    "owners who never claimed": "DELETE FROM device_audit WHERE kind = 'claimed'",
    "is owned with key": "UPDATE ownership SET kid = 'another';UPDATE device_audit SET kid = 'another'",
    "claims still wait": "UPDATE claim SET state = 'pending' WHERE claim_id ="
    " (SELECT claim_id FROM claim ORDER BY created_ms LIMIT 1)",
}


@dataclass
class Raced:
    """One device after a race of two companies, the first of which gave it up."""

    device: TestDevice
    told: list[Yours]
    heard: Heard = field(default_factory=Heard)

    @property
    def device_id(self) -> int:
        return self.device.device_id

    @property
    def kid(self) -> str:
        return self.device.kid


@pytest.fixture
async def raced(database: str) -> Raced:
    device, told = TestDevice(), []
    async with make_pool(database, name="race", max_size=2) as pool:
        for number, actor in enumerate(make_actors(database, 2)):
            at_ms = NOW + 100 * number
            await device.announce(pool, at_ms)
            view = await claiming.submit(pool, actor, device.product_id, device.label_pub, at_ms)
            assert view.epoch is not None
            told.append((device.device_id, actor.company_id, view.epoch))
            if not number:
                await owning.release(pool, actor, device.device_id, at_ms + 50, fresh=True)
    return Raced(device, told)


def store(database: str, device_id: int, epoch: int, ts_ms: int) -> None:
    """A sample, its number 1 of stream 1."""
    with psycopg.connect(database, autocommit=True) as connection:
        names = [
            column.name for column in connection.execute("SELECT * FROM telemetry_late").description or ()
        ]
        known = {"device_id": device_id, "epoch": epoch, "stream": 1, "seq": 1}
        values = ["to_timestamp(%s / 1000.0)" if name == "ts" else "%s" for name in names]
        connection.execute(
            f"INSERT INTO telemetry_late ({', '.join(names)}) VALUES ({', '.join(values)})".encode(),
            [ts_ms if name == "ts" else known.get(name, 0) for name in names],
        )


def test_what_is_right_passes(database: str, raced: Raced) -> None:
    epoch = raced.told[0][2]
    store(database, raced.device_id, epoch, NOW + 20)
    raced.heard.sent.add((epoch, 1, 1))
    raced.heard.acked.add((epoch, 1, 1))
    verdict = judge(database, [raced], [], raced.told)
    assert (verdict.intervals, verdict.samples, verdict.acknowledged) == (2, 1, 1)


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_is_named(database: str, raced: Raced, fault: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in BROKEN[fault].split(";"):
            connection.execute(statement.encode())
    with pytest.raises(CheckError, match=fault):
        judge(database, [raced], [], raced.told)


@pytest.mark.parametrize(
    ("epoch", "ts_ms", "fault"),
    [(0, NOW + 20, "no ownership"), (NOW, NOW + 51, "outside"), (NOW, NOW - 1, "outside")],
)
def test_a_sample_of_another_time_is_found(
    database: str, raced: Raced, epoch: int, ts_ms: int, fault: str
) -> None:
    store(database, raced.device_id, epoch, ts_ms)
    raced.heard.sent.add((epoch, 1, 1))
    with pytest.raises(CheckError, match=fault):
        judge(database, [raced], [], raced.told)


def test_an_answer_without_its_row_is_found(database: str, raced: Raced) -> None:
    device_id, company_id, epoch = raced.told[1]
    with pytest.raises(CheckError, match="1 answered yours have no row"):
        judge(database, [raced], [], [*raced.told, (device_id, company_id, epoch + 1)])
    with pytest.raises(CheckError, match="1 owners were never told"):
        judge(database, [raced], [], raced.told[:1])


def test_an_acknowledged_sample_that_is_not_stored_is_found(database: str, raced: Raced) -> None:
    raced.heard.acked.add((raced.told[0][2], 1, 1))
    with pytest.raises(CheckError, match="1 acknowledged samples are not stored"):
        judge(database, [raced], [], raced.told)


def test_an_impostor_that_won_is_found(database: str, raced: Raced) -> None:
    with pytest.raises(CheckError, match="1 devices are owned, 0 were raced for"):
        judge(database, [], [raced], raced.told)


@pytest.mark.parametrize(("acked", "seconds"), [(0, 1), (3, 1), (40, 40)])
def test_a_device_that_stopped_streaming_is_found(
    database: str, raced: Raced, acked: int, seconds: int
) -> None:
    raced.heard.acked.update((raced.told[1][2], 1, seq) for seq in range(acked))
    with pytest.raises(CheckError, match=f"was acknowledged {acked} samples"):
        judge_streams(database, [raced], NOW + 100 + seconds * 1000)


@pytest.mark.parametrize(("acked", "seconds", "share"), [(4, 1, 0.95), (41, 40, 0.25), (160, 40, 1.0)])
def test_a_device_that_streams_passes(
    database: str, raced: Raced, acked: int, seconds: int, share: float
) -> None:
    raced.heard.acked.update((raced.told[1][2], 1, seq) for seq in range(acked))
    least = judge_streams(database, [raced], NOW + 100 + seconds * 1000)
    assert least == pytest.approx(share, abs=0.01)


async def test_what_broke_beside_a_check_is_raised_when_it_is_stopped() -> None:
    began = asyncio.Event()

    async def load(*, breaks: bool) -> None:
        began.set()
        if breaks:
            raise CheckError("an announcement was refused")
        await asyncio.Event().wait()

    await stopped(asyncio.create_task(load(breaks=False)))
    for breaks in (False, True):
        began.clear()
        beside = asyncio.create_task(load(breaks=breaks))
        await began.wait()
        if breaks:
            with pytest.raises(CheckError, match="was refused"):
                await stopped(beside)
        else:
            await stopped(beside)
            assert beside.cancelled()
