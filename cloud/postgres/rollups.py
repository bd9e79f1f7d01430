"""Rollups made of telemetry: pieces of five minutes and of an hour, for each ownership epoch its own.

Theory of operation
-------------------
Nothing in the path of telemetry knows of rollups. A device stores its samples in order, and ``latest`` says
how far it is; so a device has news exactly where that position differs from the one in ``rollup_state``. What
is new then lies at or after the newest sample that was rolled up before, however late it comes: a spool that
was offline for a week goes on where it stopped. ``done_ms`` is never later than that sample, nor than
``SETTLE_MS`` ago; all pieces before it are rolled up, and charts read samples from there on.

What came in another order all the same (a clock that was put back) is found by counting: ``sweep`` compares
the rows of each hour with those that its rollup has seen, and rolls up again where they differ.

Everything may be repeated. A piece is computed anew from its rows and replaces what was there unless that had
seen more rows: where telemetry has been thrown away, the rollup stays what it was.
"""

from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from cloud.core.chart import COARSE_S, DAY_S, FINE_KEPT_MS, FINE_S
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection
from protocol.points import SampleFlag

POINTS: Final = (
    "input_voltage",
    "output_voltage",
    "output_frequency",
    "output_current",
    "output_real_power_pct",
    "state_of_charge",
    "battery_voltage",
    "battery_temperature",
    "runtime_remaining",
    "efficiency",
)
"""Measurement points that have a lowest, mean and highest value in each piece."""
FUTURE: Final = int(SampleFlag.FROM_FUTURE)
IMPORTED: Final = int(SampleFlag.IMPORTED)
ON_BATTERY: Final = 1 << 2  # register 0
TABLES: Final = ("telemetry", "telemetry_late")
FINE_MS: Final = FINE_S * 1000
COARSE_MS: Final = COARSE_S * 1000
DAY_MS: Final = DAY_S * 1000
SETTLE_MS: Final = 20 * 60_000
"""A sample may be stamped ten minutes ahead and count; twice that is never done for good."""
PERIOD_MS: Final = 3 * FINE_MS
"""A device with news is rolled up again after this; until then charts read so many more samples."""
SWEEP_MS: Final = 6 * COARSE_MS
SWEEP_BACK_MS: Final = 15 * DAY_MS
"""As far back as an agent's spool may reach; what comes in order has no such bound."""
MAX_MENDED: Final = 200
"""Hours that one sweep mends; the next one goes on."""

DUE: Final = """
SELECT l.device_id FROM latest l LEFT JOIN rollup_state s USING (device_id)
 WHERE s.device_id IS NULL
    OR (s.due_ms <= %(now)s
        AND ((l.stream, l.seq) <> (s.stream, s.seq) OR s.swept_ms <= %(now)s - %(sweep)s))
 LIMIT %(limit)s"""
MAKE: Final = "INSERT INTO rollup_state (device_id) VALUES (%(device)s) ON CONFLICT (device_id) DO NOTHING"
LOCK: Final = """
SELECT s.stream, s.seq, s.done_ms, s.due_ms, s.swept_ms, l.stream, l.seq
  FROM rollup_state s JOIN latest l USING (device_id)
 WHERE s.device_id = %(device)s FOR UPDATE OF s"""
STORE: Final = """
UPDATE rollup_state SET stream = %(stream)s, seq = %(seq)s, done_ms = %(done)s, due_ms = %(due)s
 WHERE device_id = %(device)s"""
SWEPT: Final = "UPDATE rollup_state SET swept_ms = %(now)s WHERE device_id = %(device)s"
FORGET: Final = """
DELETE FROM rollup WHERE device_id = %(device)s AND width_s = %(fine)s
   AND ts < to_timestamp(%(before)s / 1000.0)"""
FIRST: Final = """
SELECT (extract(epoch FROM least(
    (SELECT min(ts) FROM telemetry WHERE device_id = %(device)s
        AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)),
    (SELECT min(ts) FROM telemetry_late WHERE device_id = %(device)s
        AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)))) * 1000)::bigint"""
NEWEST: Final = """
SELECT (extract(epoch FROM greatest(
    (SELECT max(ts) FROM telemetry WHERE device_id = %(device)s AND flags & %(future)s = 0
        AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)),
    (SELECT max(ts) FROM telemetry_late WHERE device_id = %(device)s AND flags & %(future)s = 0
        AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)))) * 1000)::bigint"""
MISSED: Final = """
SELECT (extract(epoch FROM counted.ts) * 1000)::bigint
  FROM (SELECT date_bin('1 hour', ts, 'epoch') AS ts, count(*) AS rows FROM (
            SELECT ts FROM telemetry WHERE device_id = %(device)s
               AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)
            UNION ALL
            SELECT ts FROM telemetry_late WHERE device_id = %(device)s
               AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)) found
         GROUP BY 1) counted
  LEFT JOIN (SELECT ts, sum(rows) AS rows FROM rollup WHERE device_id = %(device)s AND width_s = %(coarse)s
               AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)
              GROUP BY ts) rolled USING (ts)
 WHERE counted.rows > coalesce(rolled.rows, 0)
 ORDER BY counted.ts LIMIT %(limit)s"""

_COUNTS: Final = ("rows", "samples", "on_battery", "imported")
_PARTS: Final = ("low", "mean", "high")
_COLUMNS: Final = (*_COUNTS, *(f"{point}_{part}" for point in POINTS for part in _PARTS))


def _upsert(rows: sql.Composable) -> sql.Composed:
    """Pieces that replace those that have seen fewer rows."""
    return sql.SQL(
        "INSERT INTO rollup (device_id, epoch, width_s, ts, {columns}) {rows}"
        " ON CONFLICT (device_id, epoch, width_s, ts) DO UPDATE SET {news}"
        " WHERE excluded.rows >= rollup.rows"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
        rows=rows,
        news=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in _COLUMNS
        ),
    )


def _made(name: str) -> sql.Composed:
    """Lowest, mean and highest of a column."""
    return sql.SQL("min({0}), avg({0}), max({0})").format(sql.Identifier(name))


def _merged(name: str) -> sql.Composed:
    """The same of pieces."""
    low, mean, high = (sql.Identifier(f"{name}_{part}") for part in _PARTS)
    return sql.SQL(
        "min({low}), sum({mean} * samples) / nullif(sum(samples) FILTER (WHERE {mean} IS NOT NULL), 0),"
        " max({high})"
    ).format(low=low, mean=mean, high=high)


_SAMPLES: Final = sql.SQL(
    "SELECT device_id, epoch, ts, flags, ups_status, {values} FROM {table} WHERE device_id = %(device)s"
    " AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)"
)
_ROLL_FINE: Final = _upsert(
    sql.SQL(
        "SELECT device_id, epoch, {width}, date_bin({interval}, ts, 'epoch') AS piece, count(*),"
        " count(*) FILTER (WHERE flags & {future} = 0),"
        " count(*) FILTER (WHERE flags & {future} = 0 AND ups_status & {battery} <> 0),"
        " bool_or(flags & {imported} <> 0), {values}"
        " FROM ({samples}) AS found GROUP BY device_id, epoch, piece"
    ).format(
        width=sql.Literal(FINE_S),
        interval=sql.Literal(f"{FINE_S} seconds"),
        future=sql.Literal(FUTURE),
        battery=sql.Literal(ON_BATTERY),
        imported=sql.Literal(IMPORTED),
        values=sql.SQL(", ").join(map(_made, POINTS)),
        samples=sql.SQL(" UNION ALL ").join(
            _SAMPLES.format(
                table=sql.Identifier(table),
                values=sql.SQL(", ").join(
                    sql.SQL("CASE WHEN flags & {1} = 0 THEN nullif({0}, 'NaN') END AS {0}").format(
                        sql.Identifier(name), sql.Literal(FUTURE)
                    )
                    for name in POINTS
                ),
            )
            for table in TABLES
        ),
    )
)
_ROLL_COARSE: Final = _upsert(
    sql.SQL(
        "SELECT device_id, epoch, {width}, date_bin({interval}, ts, 'epoch') AS piece, sum(rows),"
        " sum(samples), sum(on_battery), bool_or(imported), {values} FROM rollup"
        " WHERE device_id = %(device)s AND width_s = {fine}"
        " AND ts >= to_timestamp(%(from)s / 1000.0) AND ts < to_timestamp(%(to)s / 1000.0)"
        " GROUP BY device_id, epoch, piece"
    ).format(
        width=sql.Literal(COARSE_S),
        interval=sql.Literal(f"{COARSE_S} seconds"),
        fine=sql.Literal(FINE_S),
        values=sql.SQL(", ").join(map(_merged, POINTS)),
    )
)


@dataclass(frozen=True, slots=True)
class _State:
    """A row of ``rollup_state``, and the position in ``latest``."""

    stream: int
    seq: int
    done_ms: int
    due_ms: int
    swept_ms: int
    latest_stream: int
    latest_seq: int


async def due(pool: Pool, now_ms: int, limit: int) -> list[int]:
    """Devices with something new to roll up, or to count."""
    values = {"now": now_ms, "sweep": SWEEP_MS, "limit": limit}
    async with pool.connection() as connection:
        found = await connection.execute(DUE, values)
        return [device_id for (device_id,) in await found.fetchall()]


async def roll(pool: Pool, device_id: int, now_ms: int) -> bool:
    """Roll up to a day of a device's time, in a transaction; whether there is more to do at once.

    Of several processes that come at the same time one does it, and the others find it done.
    """
    async with pool.connection() as connection, connection.transaction():
        state = await _lock(connection, device_id)
        if state is None or state.due_ms > now_ms:
            return False
        done_ms, more = await _advance(connection, device_id, state.done_ms, now_ms)
        values = {
            "device": device_id,
            "done": done_ms,
            "due": now_ms if more else now_ms + PERIOD_MS,
            "stream": state.stream if more else state.latest_stream,
            "seq": state.seq if more else state.latest_seq,
        }
        await connection.execute(STORE, values)
    return more


async def sweep(pool: Pool, device_id: int, now_ms: int) -> int:
    """Count a device's rows if that is due, mend what its rollups have missed, forget what is too old for
    pieces of five minutes; how many hours were mended.
    """
    async with pool.connection() as connection, connection.transaction():
        state = await _lock(connection, device_id)
        if state is None or state.swept_ms > now_ms - SWEEP_MS:
            return 0
        until_ms = state.done_ms // COARSE_MS * COARSE_MS
        values: dict[str, Any] = {"device": device_id, "coarse": COARSE_S, "limit": MAX_MENDED}
        values |= {"from": (now_ms - SWEEP_BACK_MS) // COARSE_MS * COARSE_MS, "to": until_ms}
        found = await connection.execute(MISSED, values)
        missed = [hour_ms for (hour_ms,) in await found.fetchall()]
        for hour_ms in missed:
            await _roll_span(connection, device_id, hour_ms, hour_ms + COARSE_MS)
        forgotten = {"device": device_id, "fine": FINE_S, "before": now_ms - FINE_KEPT_MS}
        await connection.execute(FORGET, forgotten)
        if len(missed) < MAX_MENDED:
            await connection.execute(SWEPT, {"device": device_id, "now": now_ms})
    return len(missed)


async def begin_again(connection: Connection, device_id: int) -> None:
    """Roll a device up from its first sample on: a past was imported, which no position tells of."""
    await connection.execute("DELETE FROM rollup_state WHERE device_id = %s", [device_id])


async def _lock(connection: Connection, device_id: int) -> _State | None:
    await connection.execute(MAKE, {"device": device_id})
    row = await (await connection.execute(LOCK, {"device": device_id})).fetchone()
    return None if row is None else _State(*row)


async def _advance(connection: Connection, device_id: int, done_ms: int, now_ms: int) -> tuple[int, bool]:
    """Roll up what comes next; up to where all is done now, and whether there is more."""
    end_ms = now_ms // FINE_MS * FINE_MS
    first_ms = await _moment(connection, FIRST, device_id, done_ms, end_ms)
    if first_ms is None:
        return done_ms, False
    from_ms = first_ms // FINE_MS * FINE_MS
    to_ms = min(end_ms, from_ms // DAY_MS * DAY_MS + DAY_MS)
    await _roll_span(connection, device_id, from_ms, to_ms)
    if to_ms < end_ms and await _moment(connection, NEWEST, device_id, to_ms, end_ms) is not None:
        return to_ms, True  # it stores in order: nothing can come before what is there already
    newest_ms = await _moment(connection, NEWEST, device_id, from_ms, to_ms)
    if newest_ms is None:
        return done_ms, False
    settled_ms = min(newest_ms, now_ms - SETTLE_MS) // FINE_MS * FINE_MS
    return max(done_ms, settled_ms), False


async def _moment(
    connection: Connection, statement: str, device_id: int, from_ms: int, to_ms: int
) -> int | None:
    """The first or newest sample of a span; None where there is none."""
    values = {"device": device_id, "from": from_ms, "to": to_ms, "future": FUTURE}
    row = await (await connection.execute(statement, values)).fetchone()
    return None if row is None or row[0] is None else int(row[0])


async def _roll_span(connection: Connection, device_id: int, from_ms: int, to_ms: int) -> None:
    """Both widths of a span whose ends are whole pieces of five minutes."""
    await connection.execute(_ROLL_FINE, {"device": device_id, "from": from_ms, "to": to_ms})
    hours = {"from": from_ms // COARSE_MS * COARSE_MS, "to": -(-to_ms // COARSE_MS) * COARSE_MS}
    await connection.execute(_ROLL_COARSE, {"device": device_id, **hours})
