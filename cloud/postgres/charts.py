"""What charts and tables are drawn from: pieces of time of one ownership of a device by a company.

Up to where a device is rolled up, long windows come from ``rollup``, and from there on from the samples; a
piece that lies on that edge is put together of both. All of that is in functions of the database: the portal
may not read telemetry otherwise (migration 0038).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cloud.core.chart import Plan
from cloud.postgres.devices import EventRow
from cloud.postgres.pool import Pool
from cloud.postgres.rollups import POINTS

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


PIECES: Final = """
SELECT ts_ms, samples, on_battery, imported, means, lows, highs
  FROM company_pieces(
       %(company)s, %(device)s, %(epoch)s, %(points)s, %(piece)s, %(width)s, %(from)s, %(to)s)"""
STORED_FROM: Final = "SELECT company_stored_from(%s, %s, %s)"
EVENTS: Final = """
SELECT device_id, stream, seq, (extract(epoch FROM ts) * 1000)::bigint, time_uncertain, kind, detail
  FROM event WHERE device_id = %(device)s AND epoch = %(epoch)s
   AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)
 ORDER BY ts DESC, stream DESC, seq DESC LIMIT %(limit)s"""


async def read_pieces(
    pool: Pool, company_id: int, device_id: int, epoch: int, points: Sequence[str], plan: Plan
) -> list[Piece]:
    """The pieces of a plan, oldest first, of one ownership by this company; no empty ones."""
    unknown = [name for name in points if name not in POINTS]
    if unknown:
        raise ValueError(f"no such points: {unknown}")
    values = {
        "company": company_id,
        "device": device_id,
        "epoch": epoch,
        "points": list(points),
        "piece": plan.piece_ms,
        "width": plan.width_s,
        "from": plan.from_ms,
        "to": plan.to_ms,
    }
    async with pool.connection() as connection:
        found = await connection.execute(PIECES, values)
        return _joined([_piece(*row) for row in await found.fetchall()])


def _piece(
    ts_ms: int,
    samples: int,
    on_battery: bool,
    imported: bool,
    *values: Sequence[float | None],
) -> Piece:
    means, lows, highs = (tuple(part) for part in values)
    return Piece(ts_ms, samples, on_battery, imported, means, lows, highs)


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


async def stored_from_ms(pool: Pool, company_id: int, device_id: int, epoch: int) -> int:
    """Since when something of this ownership may be stored, unix ms: an imported past lies before it."""
    async with pool.connection() as connection:
        row = await (await connection.execute(STORED_FROM, [company_id, device_id, epoch])).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


async def list_events(
    pool: Pool, device_id: int, epoch: int, *, from_ms: int, to_ms: int, limit: int
) -> list[EventRow]:
    """The newest events of a window, the oldest first."""
    values = {"device": device_id, "epoch": epoch, "from": from_ms, "to": to_ms, "limit": limit}
    async with pool.connection() as connection:
        found = await connection.execute(EVENTS, values)
        return [EventRow(*row) for row in (await found.fetchall())[::-1]]
