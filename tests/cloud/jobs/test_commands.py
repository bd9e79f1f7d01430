"""The parts of the jobs process that end commands whose time is over, and order scheduled ones."""

import asyncio
import time

from cloud import background
from cloud.jobs import commands, schedules
from cloud.jobs.metrics import Metrics
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming, scheduling
from protocol.commands import MAX_LIFE_MS
from tests.support.claiming import TestDevice, make_actors
from tests.support.commanding import ask, commander, log_in, tell

PERIOD_S = 0.02
WAIT_S = 20.0


async def until(pool: Pool, statement: str, *wanted: tuple[object, ...]) -> None:
    """Wait until a query gives these rows. TimeoutError."""
    async with asyncio.timeout(WAIT_S):
        while True:
            async with pool.connection() as connection:
                found = await (await connection.execute(statement.encode())).fetchall()
            if found == list(wanted):
                return
            await asyncio.sleep(PERIOD_S)


async def test_commands_end_by_time_and_come_by_schedule(database: str) -> None:
    (actor,) = make_actors(database, 1)
    device, now_ms = TestDevice(), time.time_ns() // 1_000_000
    long_ago = now_ms - MAX_LIFE_MS
    async with make_pool(database, name="test", max_size=4) as pool:
        await device.announce(pool, long_ago)
        await claiming.submit(pool, actor, device.product_id, device.label_pub, long_ago)
        signs = commander(pool)
        session = await log_in(pool, actor, long_ago)
        await tell(pool, device.device_id, long_ago)
        await ask(signs, session, device.device_id, long_ago)
        await tell(pool, device.device_id, now_ms)
        await scheduling.set_up(pool, actor, device.device_id, every_days=30, first_ms=now_ms, now_ms=now_ms)
        parts = {
            "commands": commands.run(pool, Metrics(), PERIOD_S),
            "schedules": schedules.run(pool, signs.signer, Metrics(), PERIOD_S),
        }
        async with background.running(parts):
            await until(
                pool,
                "SELECT kind, state FROM command ORDER BY counter",
                ("outlet_reboot", "expired"),
                ("calibration_start", "requested"),
            )
