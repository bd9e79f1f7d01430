"""A gateway says that it listens; its own start gives every device time, and nobody is told of meanwhile."""

import asyncio

import pytest

from cloud import background
from cloud.gateway import hub
from cloud.gateway.hub import Hub
from cloud.jobs.presence import look
from cloud.postgres.pool import make_pool
from tests.support.ingest import ONE, own_devices

BEAT = "SELECT since_ms, beat_ms FROM listening"
LONG_AGO = "UPDATE latest SET seen_ms = 1, connected = false"
AFTER_MS = 1_500


async def test_devices_count_as_away_only_while_a_gateway_listens(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LISTENING_EVERY_S", 0.1)
    own_devices(database, [ONE])

    async with make_pool(database, name="test") as pool:

        async def beats(count: int) -> tuple[int, int]:
            """The row after the beat has grown so often."""
            seen: list[tuple[int, int]] = []
            async with asyncio.timeout(10):
                while True:
                    async with pool.connection() as connection:
                        found = await (await connection.execute(BEAT)).fetchall()
                    seen += [(row[0], row[1]) for row in found if (row[0], row[1]) not in seen]
                    if len(seen) > count:
                        return seen[-1]
                    await asyncio.sleep(0.02)

        async with pool.connection() as connection:
            await connection.execute(LONG_AGO)
            await connection.execute("UPDATE ownership SET from_ms = 1")
        assert await look(pool, AFTER_MS) == 0, "no gateway ever listened"
        for _ in range(2):
            async with background.running(Hub(pool, database).parts()):
                since_ms, beat_ms = await beats(3)
                assert since_ms < beat_ms
                assert await look(pool, AFTER_MS) == 0, "it has only just begun to listen"
        async with background.running(Hub(pool, database).parts()), asyncio.timeout(10):
            while await look(pool, AFTER_MS) == 0:
                await asyncio.sleep(0.1)
