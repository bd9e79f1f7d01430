"""Schedules of runtime calibrations. Whoever changes one holds the device's row."""

from dataclasses import dataclass

from cloud.core.authz import Role
from cloud.core.schedule import Schedule
from cloud.postgres.commands import Rights
from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as stored, with who set it up."""

    schedule: Schedule
    epoch: int
    company_id: int
    account_id: int


async def find(connection: Connection, device_id: int) -> ScheduleRow | None:
    """The schedule of a device, of whatever ownership."""
    found = await connection.execute(
        "SELECT every_days, due_ms, try_ms, missing, epoch, company_id, account_id FROM calibration_schedule"
        " WHERE device_id = %s",
        [device_id],
    )
    row = await found.fetchone()
    return None if row is None else ScheduleRow(Schedule(*row[:4]), *row[4:])


async def put(connection: Connection, device_id: int, row: ScheduleRow, now_ms: int) -> None:
    """Store it in place of an earlier one."""
    schedule = row.schedule
    await connection.execute(
        "INSERT INTO calibration_schedule (device_id, epoch, company_id, account_id, every_days, due_ms,"
        " try_ms, missing, made_ms) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (device_id) DO UPDATE SET epoch = excluded.epoch, company_id = excluded.company_id,"
        " account_id = excluded.account_id, every_days = excluded.every_days, due_ms = excluded.due_ms,"
        " try_ms = excluded.try_ms, missing = excluded.missing, made_ms = excluded.made_ms",
        [
            *(device_id, row.epoch, row.company_id, row.account_id, schedule.every_days),
            *(schedule.due_ms, schedule.try_ms, schedule.missing, now_ms),
        ],
    )


async def note(connection: Connection, device_id: int, schedule: Schedule) -> None:
    """Store what a try came to."""
    await connection.execute(
        "UPDATE calibration_schedule SET due_ms = %s, try_ms = %s, missing = %s WHERE device_id = %s",
        [schedule.due_ms, schedule.try_ms, schedule.missing, device_id],
    )


async def remove(connection: Connection, device_id: int) -> bool:
    """Forget it; whether there was one."""
    done = await connection.execute("DELETE FROM calibration_schedule WHERE device_id = %s", [device_id])
    return done.rowcount == 1


async def to_try(connection: Connection, now_ms: int, limit: int) -> list[int]:
    """Devices with a schedule that is to be tried."""
    found = await connection.execute(
        "SELECT device_id FROM calibration_schedule WHERE try_ms <= %s ORDER BY try_ms LIMIT %s",
        [now_ms, limit],
    )
    return [row[0] for row in await found.fetchall()]


async def member_rights(connection: Connection, account_id: int, company_id: int) -> Rights | None:
    """What somebody may who is not here: their role, and no factor. None for who is no member (any more)."""
    found = await connection.execute(
        "SELECT m.role FROM membership m JOIN account a USING (account_id)"
        " WHERE m.account_id = %s AND m.company_id = %s AND a.disabled_ms IS NULL",
        [account_id, company_id],
    )
    row = await found.fetchone()
    return None if row is None else Rights(Role(row[0]), two_factor=False, factor_ms=None)
