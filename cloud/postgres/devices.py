"""What pages show of devices: the live owner's view of ``device``, ``latest``, telemetry and events.

Every query of a page is cut by company and by ownership epoch: nothing of an earlier owner is ever returned.
"""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from cloud.core.device_state import DeviceView
from cloud.postgres import companies
from cloud.postgres.pool import CONNECT_TIMEOUT_S, KEEPALIVE, Pool
from cloud.postgres.transaction import Connection
from protocol.points import VALUES, Wire

CHANNEL: Final = "device"
MAX_EVENTS: Final = 200
SHOWN_EVENTS: Final = 20
FLOATS: Final = tuple(point.name for point in VALUES if point.wire in {Wire.FLOAT, Wire.DOUBLE})
BITS: Final = tuple(point.name for point in VALUES if point.wire is Wire.FIXED32)
ON_BATTERY_BIT: Final = 2  # register 0

_VIEW: Final = sql.SQL(
    """
SELECT d.device_id, d.product_id, d.model, d.sku, d.serial, d.firmware, d.rated_real_power_w,
       d.rated_apparent_power_va, d.version, o.company_id, o.epoch, o.kid, o.from_ms, o.name, o.description,
       o.time_zone, l.ts_ms, CASE WHEN l.seen_ms >= o.from_ms THEN l.seen_ms ELSE 0 END AS seen_ms,
       l.connected, l.smartconnect, l.revoked, l.watch_until_ms,
       {values},
       CASE WHEN e.kind = 'on_battery' THEN (extract(epoch FROM e.ts) * 1000)::bigint END
           AS on_battery_since_ms,
       coalesce(c.kind = 'communication_lost', false) AS contact_lost,
       coalesce(s.reported, '{{}}') AS settings
  FROM ownership o
  JOIN device d USING (device_id)
  JOIN latest l USING (device_id)
  LEFT JOIN device_setting s ON s.device_id = o.device_id AND s.epoch = o.epoch
  LEFT JOIN LATERAL (
       SELECT kind, ts FROM event
        WHERE l.ups_status & {battery} <> 0 AND event.device_id = o.device_id AND event.epoch = o.epoch
          AND kind IN ('on_battery', 'mains_back')
        ORDER BY ts DESC, seq DESC LIMIT 1) e ON true
  LEFT JOIN LATERAL (
       SELECT kind FROM event
        WHERE event.device_id = o.device_id AND event.epoch = o.epoch
          AND ts >= to_timestamp(l.ts_ms / 1000.0)
          AND kind IN ('communication_lost', 'communication_restored')
        ORDER BY ts DESC, seq DESC LIMIT 1) c ON true
 WHERE o.until_ms IS NULL AND """
).format(
    values=sql.SQL(", ").join(sql.Identifier("l", name) for name in (*BITS, *FLOATS)),
    battery=sql.Literal(1 << ON_BATTERY_BIT),
)


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as it was received."""

    device_id: int
    stream: int
    seq: int
    ts_ms: int
    time_uncertain: bool
    kind: str
    detail: Mapping[str, Any]


async def list_views(pool: Pool, company_id: int) -> list[DeviceView]:
    """All devices a company owns, by name."""
    order = sql.SQL("o.company_id = %s ORDER BY lower(coalesce(nullif(o.name, ''), d.model)), d.product_id")
    return await _views(pool, order, [company_id])


async def company_views(pool: Pool, company_id: int, device_ids: Sequence[int]) -> dict[int, DeviceView]:
    """Those of these devices that the company owns now, by number."""
    condition = sql.SQL("o.company_id = %s AND o.device_id = ANY(%s)")
    found = await _views(pool, condition, [company_id, list(device_ids)]) if device_ids else []
    return {view.device_id: view for view in found}


async def views_after(pool: Pool, company_id: int, after: int, limit: int) -> list[DeviceView]:
    """So many devices a company owns, by number, behind this one."""
    page = sql.SQL("o.company_id = %s AND o.device_id > %s ORDER BY o.device_id LIMIT %s")
    return await _views(pool, page, [company_id, after, limit])


async def find_view(pool: Pool, company_id: int, device_id: int) -> DeviceView | None:
    """A device, if this company owns it now."""
    found = await _views(pool, sql.SQL("o.device_id = %s AND o.company_id = %s"), [device_id, company_id])
    return found[0] if found else None


async def load_view(connection: Connection, company_id: int, device_id: int) -> DeviceView | None:
    """As :func:`find_view`, in the caller's transaction."""
    condition = sql.SQL("o.device_id = %s AND o.company_id = %s")
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + condition, [device_id, company_id])
        row = await cursor.fetchone()
    return None if row is None else _view(row)


async def watched_views(pool: Pool, device_ids: Sequence[int]) -> dict[int, DeviceView]:
    """The devices that somebody looks at, for the portal's poller, which checks the company itself."""
    found = await _views(pool, sql.SQL("o.device_id = ANY(%s)"), [list(device_ids)])
    return {view.device_id: view for view in found}


async def _views(pool: Pool, condition: sql.SQL, arguments: list[object]) -> list[DeviceView]:
    async with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_VIEW + condition, arguments)
        return [_view(row) async for row in cursor]


def _view(row: dict[str, Any]) -> DeviceView:
    values = {name: None if math.isnan(row[name]) else float(row[name]) for name in FLOATS}
    bits = {name: int(row[name]) for name in BITS}
    rest = {name: value for name, value in row.items() if name not in values and name not in bits}
    return DeviceView(values=values, bits=bits, **rest)


async def list_events(pool: Pool, device_id: int, epoch: int, limit: int = 50) -> list[EventRow]:
    """The newest events of one ownership, newest first."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT device_id, stream, seq, (extract(epoch FROM ts) * 1000)::bigint, time_uncertain, kind,"
            " detail FROM event WHERE device_id = %s AND epoch = %s"
            " ORDER BY ts DESC, stream DESC, seq DESC LIMIT %s",
            [device_id, epoch, min(limit, MAX_EVENTS)],
        )
        return [EventRow(*row) async for row in cursor]


async def event_marks(pool: Pool, device_ids: Sequence[int]) -> dict[int, str]:
    """For each device something that changes when its list of newest events does."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT l.device_id, e.mark FROM latest l, LATERAL ("
            "   SELECT string_agg(stream || '.' || seq, ' ') AS mark FROM ("
            "       SELECT stream, seq FROM event WHERE device_id = l.device_id AND epoch = l.epoch"
            "        ORDER BY ts DESC, stream DESC, seq DESC LIMIT %s) AS newest) AS e"
            " WHERE l.device_id = ANY(%s)",
            [SHOWN_EVENTS, list(device_ids)],
        )
        return {device_id: mark or "" async for device_id, mark in cursor}


async def renew_watch(pool: Pool, device_ids: Sequence[int], *, until_ms: int, now_ms: int) -> None:
    """Somebody looks at these devices until then; a lease that had ended is announced to the gateways."""
    async with pool.connection() as connection:
        await connection.execute(
            "WITH old AS (SELECT device_id, watch_until_ms FROM latest WHERE device_id = ANY(%(ids)s)"
            "             ORDER BY device_id FOR UPDATE),"
            " renewed AS (UPDATE latest SET watch_until_ms = %(until)s FROM old"
            "              WHERE latest.device_id = old.device_id AND latest.watch_until_ms < %(until)s"
            "              RETURNING latest.device_id, old.watch_until_ms)"
            " SELECT pg_notify('device', device_id::text) FROM renewed WHERE watch_until_ms <= %(now)s",
            {"ids": sorted(device_ids), "until": until_ms, "now": now_ms},
        )


async def set_profile(
    connection: Connection,
    device_id: int,
    *,
    company_id: int,
    account_id: int,
    name: str,
    description: str,
    now_ms: int,
) -> bool:
    """Write what its owner calls a device, with an audit row; False where this company does not own it."""
    found = await connection.execute(
        "WITH changed AS (UPDATE ownership SET name = %(name)s, description = %(description)s"
        "  WHERE device_id = %(device)s AND company_id = %(company)s AND until_ms IS NULL"
        "  RETURNING device_id, epoch, company_id)"
        " INSERT INTO device_audit (device_id, ts_ms, kind, epoch, company_id, account_id)"
        " SELECT device_id, %(now)s, 'profile', epoch, company_id, %(account)s FROM changed",
        {
            "name": name,
            "description": description,
            "device": device_id,
            "company": company_id,
            "account": account_id,
            "now": now_ms,
        },
    )
    return found.rowcount == 1


@dataclass(frozen=True, slots=True)
class Hint:
    """Somebody says that a device, or an account's rights, may have changed."""

    channel: str
    number: int


@asynccontextmanager
async def listen(dsn: str) -> AsyncIterator[AsyncIterator[Hint]]:
    """Hints about devices and accounts as they come. Lost hints must do no harm."""
    connection = await psycopg.AsyncConnection.connect(
        dsn,
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name="smartconnect portal hints",
        **cast("dict[str, Any]", KEEPALIVE),
    )
    async with connection:
        for channel in (CHANNEL, companies.CHANNEL):
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield _hints(connection)


async def _hints(connection: psycopg.AsyncConnection[Any]) -> AsyncIterator[Hint]:
    async for notice in connection.notifies():
        try:
            yield Hint(notice.channel, int(notice.payload))
        except ValueError:
            continue  # somebody else's payload is no hint
