"""Runtime calibrations on a schedule: set up and given up by people, tried by the jobs process.

A try is one transaction of one device. It makes an ordinary command, in the name of who set the schedule up:
where they may not send commands any more it is void, as it is in another ownership.
"""

import uuid
from typing import Final

import structlog

from cloud.core.authz import ALLOWED, Action, Actor
from cloud.core.command import Order, missing_steps
from cloud.core.schedule import Schedule, after_try, begun, is_usable
from cloud.postgres import claims, devices, schedules
from cloud.postgres.pool import Pool
from cloud.postgres.schedules import ScheduleRow
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import commanding
from cloud.services.commanding import Commander
from cloud.services.naming import UnknownDeviceError
from protocol.commands import CommandKind

CALIBRATE: Final = Order(CommandKind.CALIBRATION_START)
AT_ONCE: Final = 200

log = structlog.get_logger()


class ScheduleError(Exception):
    """Not a rhythm or a first time that a schedule may have."""


async def look(pool: Pool, actor: Actor, device_id: int) -> Schedule | None:
    """The schedule of a device of the actor's company. UnknownDeviceError."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> Schedule | None:
        epoch = await _epoch_of(connection, actor, device_id)
        row = await schedules.find(connection, device_id)
        return row.schedule if row is not None and row.epoch == epoch else None

    return await in_transaction(pool, work)


async def set_up(
    pool: Pool, actor: Actor, device_id: int, *, every_days: int, first_ms: int, now_ms: int
) -> Schedule:
    """From then on, in this rhythm. ScheduleError, NotAllowedError, UnknownDeviceError."""

    async def work(connection: Connection) -> Schedule:
        if not await claims.lock_known(connection, device_id):
            raise UnknownDeviceError
        epoch = await _epoch_of(connection, actor, device_id)
        actor.must(Action.CONTROL)
        if not is_usable(every_days, first_ms, now_ms):
            raise ScheduleError
        row = ScheduleRow(begun(every_days, first_ms), epoch, actor.company_id, actor.account_id)
        await schedules.put(connection, device_id, row, now_ms)
        await _write_down(connection, actor, device_id, "schedule_set", epoch, now_ms)
        return row.schedule

    return await in_transaction(pool, work)


async def give_up(pool: Pool, actor: Actor, device_id: int, now_ms: int) -> None:
    """No more calibrations by themselves; nothing where there is no schedule. As set_up."""

    async def work(connection: Connection) -> None:
        if not await claims.lock_known(connection, device_id):
            raise UnknownDeviceError
        epoch = await _epoch_of(connection, actor, device_id)
        actor.must(Action.CONTROL)
        if await schedules.remove(connection, device_id):
            await _write_down(connection, actor, device_id, "schedule_ended", epoch, now_ms)

    await in_transaction(pool, work)


async def _epoch_of(connection: Connection, actor: Actor, device_id: int) -> int:
    view = await devices.load_view(connection, actor.company_id, device_id)
    if view is None:
        raise UnknownDeviceError
    return view.epoch


async def _write_down(
    connection: Connection, actor: Actor, device_id: int, kind: str, epoch: int, now_ms: int
) -> None:
    await claims.audit(
        connection,
        device_id,
        kind,
        now_ms,
        epoch=epoch,
        company_id=actor.company_id,
        account_id=actor.account_id,
        command=CALIBRATE.kind.value,
    )


# --- time ---------------------------------------------------------------------------------------------------


async def run_due(commander: Commander, now_ms: int) -> int:
    """Try what is to be tried, device by device; how many calibrations were ordered."""

    async def find(connection: Connection) -> list[int]:
        return await schedules.to_try(connection, now_ms, AT_ONCE)

    found = await in_transaction(commander.pool, find)
    return sum([await _try(commander, device_id, now_ms) for device_id in found])


async def _try(commander: Commander, device_id: int, now_ms: int) -> bool:
    command_id = str(uuid.uuid4())

    async def work(connection: Connection) -> bool:
        if not await claims.lock_known(connection, device_id):
            return False
        row = await schedules.find(connection, device_id)
        if row is None or row.schedule.try_ms > now_ms:  # another jobs process was faster
            return False
        rights = await schedules.member_rights(connection, row.account_id, row.company_id)
        try:
            view, now = await commanding.circumstances(connection, rights, row.company_id, device_id, now_ms)
        except UnknownDeviceError:
            await schedules.remove(connection, device_id)
            return False
        if view.epoch != row.epoch or rights is None or rights.role not in ALLOWED[Action.CONTROL]:
            await schedules.remove(connection, device_id)
            return False
        missing = missing_steps(CALIBRATE, now)
        if not missing:
            who = Actor(row.account_id, row.company_id, rights.role)
            await commanding.make(commander.signer, connection, who, view, CALIBRATE, command_id, now_ms)
        step = missing[0].value if missing else ""
        await schedules.note(connection, device_id, after_try(row.schedule, step, now_ms))
        log.info("scheduled calibration", device_id=device_id, missing=step or None)
        return not missing

    return await in_transaction(
        commander.pool, work, before_commit="command.schedule.before", after_commit="command.schedule.after"
    )
