"""Events that the cloud tells of a device, and that no device can send them."""

import asyncio
import json

import psycopg
import pytest

from cloud.core.cloud_event import CloudEventKind
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.cloud_events import tell
from protocol import codec
from protocol.errors import DecodeError
from protocol.messages import EventKind
from tests.support.ingest import NOW_MS, ONE, TWO, own_devices


async def told(pool: Pool, device_id: int, kind: CloudEventKind, epoch: int = 1) -> bool:
    async def work(connection: Connection) -> bool:
        return await tell(connection, device_id, epoch, NOW_MS, kind, {"rule": "load", "limit": 80.0})

    return await in_transaction(pool, work)


def stored(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT device_id, stream, seq, epoch, (extract(epoch FROM ts) * 1000)::bigint, kind, detail"
            " FROM event ORDER BY device_id, stream, seq"
        ).fetchall()


async def test_events_are_numbered_per_device_also_when_many_tell_at_once(database: str) -> None:
    own_devices(database, [ONE, TWO])
    async with make_pool(database, name="test", max_size=6) as pool:
        offline = [told(pool, device, CloudEventKind.DEVICE_OFFLINE) for device in (ONE, TWO) * 6]
        assert all(await asyncio.gather(*offline))
    detail = {"rule": "load", "limit": 80.0}
    assert stored(database) == [
        (device, 0, seq, 1, NOW_MS, "device_offline", detail) for device in (ONE, TWO) for seq in range(1, 7)
    ]


async def test_nothing_is_told_of_an_ownership_that_is_over_or_a_device_that_is_unknown(
    database: str,
) -> None:
    own_devices(database, [ONE])
    async with make_pool(database, name="test") as pool:
        assert not await told(pool, ONE, CloudEventKind.RULE_RAISED, epoch=2)
        assert not await told(pool, TWO, CloudEventKind.RULE_RAISED)
        with psycopg.connect(database) as connection:
            connection.execute("UPDATE ownership SET until_ms = %s", [NOW_MS])
        assert not await told(pool, ONE, CloudEventKind.RULE_RAISED)
    assert stored(database) == []


async def test_who_looks_at_the_device_gets_a_hint(database: str) -> None:
    own_devices(database, [ONE])
    async with make_pool(database, name="test") as pool, pool.connection() as listener:
        await listener.execute("LISTEN device")
        await listener.commit()
        await told(pool, ONE, CloudEventKind.DEVICE_ONLINE)
        assert [one.payload async for one in listener.notifies(timeout=10, stop_after=1)] == [str(ONE)]


@pytest.mark.parametrize("kind", [kind.value for kind in CloudEventKind])
def test_a_device_cannot_send_what_the_cloud_finds(kind: str) -> None:
    assert kind not in {known.value for known in EventKind}
    message = {"stream": 1, "seq": 1, "ts_ms": 1, "kind": EventKind.ON_BATTERY.value, "values": {}}
    assert codec.decode_event(json.dumps(message).encode()).stream == 1
    for forged in ({"kind": kind}, {"stream": 0}, {"kind": kind, "stream": 0}):
        with pytest.raises(DecodeError):
            codec.decode_event(json.dumps(message | forged).encode())
