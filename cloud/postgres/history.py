"""Imports a past that no session of the device delivered, for instance simulated history of a demonstration.

Imported rows are marked: telemetry has the flag ``IMPORTED``, and both telemetry and events lie in stream
1, which no agent uses (theirs are unix milliseconds). Importing again changes nothing: the keys are the
same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from cloud.postgres import rollups
from cloud.postgres.transaction import Connection
from protocol.points import VALUES, SampleFlag, Wire

IMPORT_STREAM: Final = 1

OWNED = """
SELECT o.device_id, o.epoch, o.from_ms FROM ownership o JOIN device d USING (device_id)
WHERE d.product_id = %s AND o.until_ms IS NULL"""

ENSURE_DAYS = """
SELECT ensure_telemetry_days((to_timestamp(%(first)s / 1000.0) AT TIME ZONE 'UTC')::date,
    (to_timestamp(%(last)s / 1000.0) AT TIME ZONE 'UTC')::date
    - (to_timestamp(%(first)s / 1000.0) AT TIME ZONE 'UTC')::date + 1)"""

INSERT_SAMPLE = sql.SQL(
    "INSERT INTO telemetry (device_id, ts, stream, seq, epoch, {columns})"
    " VALUES (%s, to_timestamp(%s / 1000.0), %s, %s, %s, {values}) ON CONFLICT DO NOTHING"
).format(
    columns=sql.SQL(", ").join(sql.Identifier(point.name) for point in VALUES),
    values=sql.SQL(", ").join(sql.Placeholder() * len(VALUES)),
)

INSERT_EVENT = """
INSERT INTO event (device_id, stream, seq, epoch, ts, received_ms, time_uncertain, kind, detail)
VALUES (%s, %s, %s, %s, to_timestamp(%s / 1000.0), %s, false, %s, %s) ON CONFLICT DO NOTHING"""


@dataclass(frozen=True, slots=True)
class Owned:
    """A live ownership: the device, its epoch and when it began."""

    device_id: int
    epoch: int
    from_ms: int


async def find_owned(connection: Connection, product_id: str) -> list[Owned]:
    """Live ownerships of devices with this Product ID (two labels may share one)."""
    cursor = await connection.execute(OWNED, [product_id])
    return [Owned(*row) for row in await cursor.fetchall()]


async def import_past(
    connection: Connection,
    owned: Owned,
    samples: Sequence[Mapping[str, float]],
    events: Sequence[Mapping[str, Any]],
) -> None:
    """Write samples and events, whose ``age_ms`` counts back from the start of this ownership."""
    if samples:
        ages = [int(sample["age_ms"]) for sample in samples]
        span = {"first": owned.from_ms - max(ages), "last": owned.from_ms - min(ages)}
        await connection.execute(ENSURE_DAYS, span)
    async with connection.cursor() as cursor:
        await cursor.executemany(
            INSERT_SAMPLE, [_sample_row(owned, n, item) for n, item in enumerate(samples, 1)]
        )
        await cursor.executemany(
            INSERT_EVENT, [_event_row(owned, n, item) for n, item in enumerate(events, 1)]
        )
    await rollups.begin_again(connection, owned.device_id)
    await connection.execute("SELECT pg_notify('device', %s)", [str(owned.device_id)])


def _sample_row(owned: Owned, seq: int, sample: Mapping[str, float]) -> list[float]:
    row: list[float] = [
        owned.device_id,
        owned.from_ms - int(sample["age_ms"]),
        IMPORT_STREAM,
        seq,
        owned.epoch,
    ]
    for point in VALUES:
        if point.name == "flags":
            row.append(int(SampleFlag.IMPORTED))
        elif point.wire is Wire.FIXED32:
            row.append(int(sample.get(point.name, 0)))
        else:
            row.append(float(sample.get(point.name, math.nan)))
    return row


def _event_row(owned: Owned, seq: int, event: Mapping[str, Any]) -> list[Any]:
    moment_ms = owned.from_ms - int(event["age_ms"])
    detail = Jsonb({**event.get("values", {}), "imported": True})
    # The number carries the epoch, so that a later owner's import does not collide with an earlier one's.
    return [
        owned.device_id,
        IMPORT_STREAM,
        owned.epoch + seq,
        owned.epoch,
        moment_ms,
        owned.from_ms,
        event["kind"],
        detail,
    ]
