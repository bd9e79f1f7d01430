"""Scheduled calibrations on a real PostgreSQL: set up, tried, ordered, void when rights or owner change."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from cloud.core.authz import Actor, NotAllowedError, Role
from cloud.core.schedule import AGAIN_MS, DAY_MS, Schedule
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming, offering, scheduling
from cloud.services.commanding import Commander
from cloud.services.naming import UnknownDeviceError
from cloud.services.scheduling import ScheduleError
from protocol import faults
from tests.support.claiming import NOW, TestDevice, make_actors
from tests.support.commanding import commander, tell

DUE = NOW + DAY_MS


@dataclass
class Room:
    """An owned, healthy UPS with a monthly calibration that is due in a day."""

    pool: Pool
    commander: Commander
    actor: Actor
    other: Actor
    device_id: int

    async def rows(self, statement: str) -> list[tuple[object, ...]]:
        async with self.pool.connection() as connection:
            return await (await connection.execute(statement.encode())).fetchall()

    async def set_up(self, actor: Actor | None = None, every_days: int = 30) -> Schedule:
        return await scheduling.set_up(
            self.pool, actor or self.actor, self.device_id, every_days=every_days, first_ms=DUE, now_ms=NOW
        )

    async def look(self) -> Schedule | None:
        return await scheduling.look(self.pool, self.actor, self.device_id)


@pytest.fixture
async def room(database: str) -> AsyncIterator[Room]:
    actor, other = make_actors(database, 2)
    device = TestDevice()
    async with make_pool(database, name="test", max_size=4) as pool:
        await device.announce(pool)
        await claiming.submit(pool, actor, device.product_id, device.label_pub, NOW)
        await tell(pool, device.device_id, DUE)
        made = Room(pool, commander(pool), actor, other, device.device_id)
        await made.set_up()
        yield made


async def test_it_is_ordered_when_it_is_due_once_and_in_the_name_of_who_set_it_up(room: Room) -> None:
    assert await scheduling.run_due(room.commander, DUE - 1) == 0
    found = await asyncio.gather(*(scheduling.run_due(room.commander, DUE) for _ in range(3)))
    assert sum(found) == 1
    assert await room.rows("SELECT kind, state, account_id FROM command") == [
        ("calibration_start", "requested", room.actor.account_id)
    ]
    assert await room.look() == Schedule(30, DUE + 30 * DAY_MS, DUE + 30 * DAY_MS)


async def test_what_speaks_against_it_is_kept_and_it_is_tried_again(room: Room) -> None:
    await tell(room.pool, room.device_id, DUE, ups_status=1 << 2)
    assert await scheduling.run_due(room.commander, DUE) == 0
    assert await room.look() == Schedule(30, DUE, DUE + AGAIN_MS, "on_battery")
    assert await scheduling.run_due(room.commander, DUE + 1) == 0
    await tell(room.pool, room.device_id, DUE + AGAIN_MS)
    assert await scheduling.run_due(room.commander, DUE + AGAIN_MS) == 1


async def test_it_is_void_without_the_right_or_the_device(room: Room) -> None:
    for statement in ("UPDATE membership SET role = 'viewer'", "DELETE FROM membership"):
        async with room.pool.connection() as connection:
            await connection.execute(statement.encode())
        assert await scheduling.run_due(room.commander, DUE) == 0
        assert await room.rows("SELECT 1 FROM command UNION ALL SELECT 1 FROM calibration_schedule") == []
        await room.set_up()
    offer = await offering.offer(
        room.pool, room.actor, room.device_id, NOW, fresh=True, to_company_id=room.other.company_id
    )
    await offering.accept_offer(room.pool, room.other, offer.offer_id, NOW, fresh=True)
    assert await scheduling.look(room.pool, room.other, room.device_id) is None
    assert await scheduling.run_due(room.commander, DUE) == 0
    assert await room.rows("SELECT 1 FROM command UNION ALL SELECT 1 FROM calibration_schedule") == []


async def test_people_change_it_give_it_up_and_need_the_right(room: Room) -> None:
    assert (await room.set_up(every_days=90)).every_days == 90
    with pytest.raises(ScheduleError):
        await room.set_up(every_days=1)
    viewer = replace(room.actor, role=Role.VIEWER)
    with pytest.raises(NotAllowedError):
        await room.set_up(viewer)
    with pytest.raises(NotAllowedError):
        await scheduling.give_up(room.pool, viewer, room.device_id, NOW)
    for stranger in (room.set_up(room.other), scheduling.give_up(room.pool, room.other, room.device_id, NOW)):
        with pytest.raises(UnknownDeviceError):
            await stranger
    assert (await room.look()) is not None
    for _ in range(2):
        await scheduling.give_up(room.pool, room.actor, room.device_id, NOW)
    assert await room.look() is None
    kinds = await room.rows("SELECT kind FROM device_audit WHERE kind LIKE 'schedule%' ORDER BY audit_id")
    assert kinds == [("schedule_set",), ("schedule_set",), ("schedule_ended",)]


async def test_jobs_that_die_while_they_try_order_it_once(room: Room) -> None:
    def die(name: str) -> None:
        raise RuntimeError(name)

    for made, (point, later) in enumerate((("before", 1), ("after", 0)), 1):
        faults.arm(f"command.schedule.{point}", 1, die)
        with pytest.raises(RuntimeError):
            await scheduling.run_due(room.commander, DUE)
        assert await scheduling.run_due(room.commander, DUE) == later
        assert await room.rows("SELECT count(*) FROM command") == [(made,)]
        await room.set_up()
