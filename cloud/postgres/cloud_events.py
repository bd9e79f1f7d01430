"""Events of the cloud's own as rows, numbered under the device's lock."""

from collections.abc import Mapping
from typing import Final

from psycopg.types.json import Jsonb

from cloud.core.cloud_event import CLOUD_STREAM
from cloud.postgres.transaction import Connection
from protocol.messages import Scalar

ADD: Final = """
INSERT INTO event (device_id, stream, seq, epoch, ts, received_ms, time_uncertain, kind, detail)
SELECT o.device_id, %(stream)s,
       1 + coalesce((SELECT max(seq) FROM event WHERE device_id = o.device_id AND stream = %(stream)s), 0),
       o.epoch, to_timestamp(%(ts)s / 1000.0), (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
       false, %(kind)s, %(detail)s
  FROM ownership o WHERE o.device_id = %(device)s AND o.epoch = %(epoch)s AND o.until_ms IS NULL"""


async def add(
    connection: Connection, device_id: int, epoch: int, ts_ms: int, kind: str, detail: Mapping[str, Scalar]
) -> bool:
    """Add an event under the device's lock, with a hint; False where this ownership is over."""
    added = await connection.execute(
        ADD,
        {
            "device": device_id,
            "stream": CLOUD_STREAM,
            "epoch": epoch,
            "ts": ts_ms,
            "kind": kind,
            "detail": Jsonb(dict(detail)),
        },
    )
    if added.rowcount != 1:
        return False
    await connection.execute("SELECT pg_notify('device', %s)", [str(device_id)])
    return True
