"""What charts and tables are drawn from: pieces of time of one device, cut by its ownership epoch.

Up to where a device is rolled up, long windows come from ``rollup``, and from there on from the samples; a
piece that lies on that edge is put together of both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from cloud.core.chart import COARSE_S, Plan
from cloud.postgres.devices import EventRow
from cloud.postgres.pool import Pool
from cloud.postgres.rollups import FUTURE, IMPORTED, ON_BATTERY, POINTS, TABLES
from cloud.postgres.transaction import Connection

Values = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of time: how many samples, was the UPS on battery at any moment of it, was any of it
    imported; of each point the mean, the lowest and the highest value.
    """

    ts_ms: int
    samples: int
    on_battery: bool
    imported: bool
    means: Values
    lows: Values
    highs: Values


STORED_FROM: Final = """
SELECT least(o.from_ms, (SELECT (extract(epoch FROM min(r.ts)) * 1000)::bigint FROM rollup r
        WHERE r.device_id = o.device_id AND r.epoch = o.epoch AND r.width_s = %(coarse)s))
  FROM ownership o WHERE o.device_id = %(device)s AND o.epoch = %(epoch)s"""
DONE: Final = "SELECT done_ms FROM rollup_state WHERE device_id = %s"
EVENTS: Final = """
SELECT device_id, stream, seq, (extract(epoch FROM ts) * 1000)::bigint, time_uncertain, kind, detail
  FROM event WHERE device_id = %(device)s AND epoch = %(epoch)s
   AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)
 ORDER BY ts DESC, stream DESC, seq DESC LIMIT %(limit)s"""

_SAMPLES: Final = sql.SQL(
    "SELECT date_bin({interval}, ts, 'epoch') AS piece, count(*), bool_or(ups_status & {battery} <> 0),"
    " bool_or(flags & {imported} <> 0) AS imported, {values} FROM ({tables}) AS samples GROUP BY piece"
)
_TABLE: Final = sql.SQL(
    "SELECT ts, ups_status, flags, {columns} FROM {table} WHERE device_id = %(device)s AND epoch = %(epoch)s"
    " AND ts >= to_timestamp(%(split)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)"
    " AND flags & {future} = 0"
)
_ROLLED: Final = sql.SQL(
    "SELECT date_bin({interval}, ts, 'epoch') AS piece, sum(samples), sum(on_battery) > 0,"
    " bool_or(imported) AS imported, {values} FROM rollup"
    " WHERE device_id = %(device)s AND epoch = %(epoch)s AND width_s = {width} AND samples > 0"
    " AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(split)s / 1000.0) GROUP BY piece"
)


async def read_pieces(
    pool: Pool, device_id: int, epoch: int, points: Sequence[str], plan: Plan
) -> list[Piece]:
    """The pieces of a plan, oldest first; no empty ones."""
    unknown = [name for name in points if name not in POINTS]
    if unknown:
        raise ValueError(f"no such points: {unknown}")
    async with pool.connection() as connection:
        split_ms = plan.from_ms
        if plan.width_s is not None:
            split_ms = await _split(connection, device_id, plan)
        parts = [_of_samples(points, plan)]
        if split_ms > plan.from_ms:
            parts.append(_of_rollups(points, plan))
        statement = sql.SQL(
            "SELECT (extract(epoch FROM piece) * 1000)::bigint, found.* FROM ({}) AS found ORDER BY piece"
        ).format(sql.SQL(" UNION ALL ").join(parts))
        values = {
            "device": device_id,
            "epoch": epoch,
            "from": plan.from_ms,
            "split": split_ms,
            "to": plan.to_ms,
        }
        found = await connection.execute(statement, values)
        return _joined([_piece(row, len(points)) for row in await found.fetchall()])


async def _split(connection: Connection, device_id: int, plan: Plan) -> int:
    """From where on samples are read: where what is rolled up for good ends."""
    row = await (await connection.execute(DONE, [device_id])).fetchone()
    width_ms = (plan.width_s or COARSE_S) * 1000
    done_ms = 0 if row is None else int(row[0]) // width_ms * width_ms
    return max(plan.from_ms, min(done_ms, plan.to_ms // width_ms * width_ms))


def _interval(plan: Plan) -> sql.Literal:
    return sql.Literal(f"{plan.piece_ms} milliseconds")


def _of_samples(points: Sequence[str], plan: Plan) -> sql.Composed:
    values = sql.SQL(", ").join(
        sql.SQL("avg(nullif({0}, 'NaN')), min(nullif({0}, 'NaN')), max(nullif({0}, 'NaN'))").format(
            sql.Identifier(name)
        )
        for name in points
    )
    tables = sql.SQL(" UNION ALL ").join(
        _TABLE.format(
            columns=sql.SQL(", ").join(map(sql.Identifier, points)),
            table=sql.Identifier(table),
            future=sql.Literal(FUTURE),
        )
        for table in TABLES
    )
    return _SAMPLES.format(
        interval=_interval(plan),
        battery=sql.Literal(ON_BATTERY),
        imported=sql.Literal(IMPORTED),
        values=values,
        tables=tables,
    )


def _of_rollups(points: Sequence[str], plan: Plan) -> sql.Composed:
    values = sql.SQL(", ").join(
        sql.SQL(
            "sum({mean} * samples) / nullif(sum(samples) FILTER (WHERE {mean} IS NOT NULL), 0),"
            " min({low}), max({high})"
        ).format(
            low=sql.Identifier(f"{name}_low"),
            mean=sql.Identifier(f"{name}_mean"),
            high=sql.Identifier(f"{name}_high"),
        )
        for name in points
    )
    return _ROLLED.format(interval=_interval(plan), width=sql.Literal(plan.width_s), values=values)


def _piece(row: Sequence[Any], points: int) -> Piece:
    ts_ms, _piece, samples, on_battery, imported, *values = row
    numbers = [None if value is None else float(value) for value in values]
    means, lows, highs = (tuple(numbers[part : 3 * points : 3]) for part in range(3))
    return Piece(ts_ms, int(samples), on_battery, imported, means, lows, highs)


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces in order of time, of which two may be parts of one."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].ts_ms == piece.ts_ms:
            joined[-1] = _both(joined[-1], piece)
        else:
            joined.append(piece)
    return joined


def _both(one: Piece, other: Piece) -> Piece:
    samples = one.samples + other.samples
    return Piece(
        one.ts_ms,
        samples,
        one.on_battery or other.on_battery,
        one.imported or other.imported,
        tuple(
            b if a is None else a if b is None else (a * one.samples + b * other.samples) / samples
            for a, b in zip(one.means, other.means, strict=True)
        ),
        tuple(
            b if a is None else a if b is None else min(a, b)
            for a, b in zip(one.lows, other.lows, strict=True)
        ),
        tuple(
            b if a is None else a if b is None else max(a, b)
            for a, b in zip(one.highs, other.highs, strict=True)
        ),
    )


async def stored_from_ms(pool: Pool, device_id: int, epoch: int) -> int:
    """Since when something of this ownership may be stored, unix ms: an imported past lies before it."""
    values = {"device": device_id, "epoch": epoch, "coarse": COARSE_S}
    async with pool.connection() as connection:
        row = await (await connection.execute(STORED_FROM, values)).fetchone()
    return 0 if row is None else int(row[0])


async def list_events(
    pool: Pool, device_id: int, epoch: int, *, from_ms: int, to_ms: int, limit: int
) -> list[EventRow]:
    """The newest events of a window, the oldest first."""
    values = {"device": device_id, "epoch": epoch, "from": from_ms, "to": to_ms, "limit": limit}
    async with pool.connection() as connection:
        found = await connection.execute(EVENTS, values)
        return [EventRow(*row) for row in (await found.fetchall())[::-1]]
