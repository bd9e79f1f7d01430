"""What judging rules reads and writes: which devices have new samples, these samples as columns, the outcome.

A device's ``rule_cursor`` is the fence: whoever writes an outcome names the position it began from, and where
the row says otherwise, somebody else was faster and nothing is written. So it does no harm when two processes
judge the same device for a moment.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from cloud.core.rule import EARLY_MS, Phase, State
from cloud.postgres.rules import APPLIES, RULE_COLUMNS, Rule, rule_of
from cloud.postgres.transaction import Connection

WORKER_LIFE_MS: Final = 10_000
"""A process that was not heard for so long is gone; the others take its devices."""
AHEAD_MS: Final = 3_600_000
"""Samples from further ahead are flagged and not judged: no partition of a later day need be looked into."""


@dataclass(frozen=True, slots=True)
class Due:
    """A device with samples that were not judged. The ``old_`` are its cursor, None where it has none.

    ``stream`` and ``seq``: where to begin; ``to_stream`` and ``to_seq``: its stored position now.
    """

    device_id: int
    epoch: int
    company_id: int
    sites: list[int]
    from_ms: int
    rated_real_power_w: int
    battery_installed_ms: int
    old_epoch: int | None
    stream: int
    seq: int
    ts_ms: int
    to_stream: int
    to_seq: int


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a device was judged."""

    due: Due
    stream: int
    seq: int
    ts_ms: int


@dataclass(frozen=True, slots=True)
class StateRow:
    """Where a rule stands on a device."""

    device_id: int
    rule_id: int
    epoch: int
    version: int
    state: State


@dataclass(frozen=True, slots=True)
class Over:
    """A state that is over: of a rule that was changed, switched off or ended, or of an earlier ownership.

    ``epoch`` is that of the state, ``name`` and the others those of the rule as it is now.
    """

    device_id: int
    rule_id: int
    epoch: int
    version: int
    phase: str
    raised_ms: int
    name: str
    subject: str
    why: str


# --- who judges which devices -------------------------------------------------------------------------------

BEAT: Final = """
WITH gone AS (DELETE FROM rule_worker WHERE seen_ms < %(now)s - %(life)s AND worker_id <> %(worker)s),
     mine AS (INSERT INTO rule_worker VALUES (%(worker)s, %(now)s)
              ON CONFLICT (worker_id) DO UPDATE SET seen_ms = excluded.seen_ms RETURNING worker_id),
     live AS (SELECT worker_id FROM rule_worker WHERE seen_ms >= %(now)s - %(life)s
              UNION SELECT worker_id FROM mine)
SELECT count(*) FILTER (WHERE worker_id < %(worker)s), count(*) FROM live"""


async def beat(connection: Connection, worker_id: UUID, now_ms: int) -> tuple[int, int]:
    """Say that this process is there; its place among so many.

    It has the devices whose ``number % many`` is its place.
    """
    found = await connection.execute(BEAT, {"worker": worker_id, "now": now_ms, "life": WORKER_LIFE_MS})
    row = await found.fetchone()
    return (0, 1) if row is None else (int(row[0]), int(row[1]))


async def leave(connection: Connection, worker_id: UUID) -> None:
    """Leave the devices to the others at once."""
    await connection.execute("DELETE FROM rule_worker WHERE worker_id = %s", [worker_id])


# --- what is to be judged -----------------------------------------------------------------------------------

DUE: Final = f"""
SELECT o.device_id, o.epoch, o.company_id, o.from_ms, d.rated_real_power_w,
       coalesce((SELECT w.above || w.site_id FROM site w WHERE w.site_id = o.site_id), '{{}}') AS sites,
       coalesce(b.installed_ms, 0) AS battery_installed_ms, c.epoch AS old_epoch,
       coalesce(c.stream, 0) AS stream, coalesce(c.seq, 0) AS seq,
       CASE WHEN c.epoch = o.epoch THEN c.ts_ms ELSE o.from_ms - {EARLY_MS} END AS ts_ms,
       l.stream AS to_stream, l.seq AS to_seq
  FROM ownership o
  JOIN latest l ON l.device_id = o.device_id AND l.epoch = o.epoch
  JOIN device d ON d.device_id = o.device_id
  LEFT JOIN rule_cursor c ON c.device_id = o.device_id
  LEFT JOIN battery b ON b.device_id = o.device_id AND b.epoch = o.epoch
 WHERE o.until_ms IS NULL AND o.device_id > %(after)s AND o.device_id %% %(many)s = %(place)s
   AND (c.device_id IS NULL OR c.epoch <> o.epoch OR (l.stream, l.seq) > (c.stream, c.seq))
   AND EXISTS (SELECT 1 FROM rule r WHERE r.enabled AND {APPLIES})
 ORDER BY o.device_id LIMIT %(limit)s"""  # noqa: S608  words of ours alone


async def due(connection: Connection, place: int, many: int, after: int, limit: int) -> list[Due]:
    """The next devices after ``after`` that have samples to be judged, in the order of their numbers."""
    async with connection.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(DUE, {"after": after, "many": many, "place": place, "limit": limit})
        return await cursor.fetchall()


async def rules_of(connection: Connection, company_ids: Iterable[int]) -> list[Rule]:
    """The rules of these companies that are switched on."""
    found = await connection.execute(
        sql.SQL(
            "SELECT {} FROM rule r WHERE r.company_id = ANY (%s) AND r.enabled AND r.ended_ms IS NULL"
            " ORDER BY r.rule_id"
        ).format(RULE_COLUMNS),
        [sorted(set(company_ids))],
    )
    return [rule_of(row) for row in await found.fetchall()]


async def states_of(connection: Connection, device_ids: Sequence[int]) -> list[StateRow]:
    """Where rules stand on these devices; those that are "ok" have no row."""
    found = await connection.execute(
        "SELECT device_id, rule_id, epoch, version, phase, since_ms, raised_ms FROM rule_state"
        " WHERE device_id = ANY (%s)",
        [list(device_ids)],
    )
    return [
        StateRow(device_id, rule_id, epoch, version, State(Phase(phase), since_ms, raised_ms))
        for device_id, rule_id, epoch, version, phase, since_ms, raised_ms in await found.fetchall()
    ]


_PART: Final[LiteralString] = (
    "SELECT {columns} FROM {table} t WHERE t.device_id = c.device_id AND t.ts >= c.earliest"
    " AND t.ts <= to_timestamp(%(until)s / 1000.0) AND (t.stream, t.seq) > (c.stream, c.seq)"
    " AND (t.stream, t.seq) <= (c.to_stream, c.to_seq)"
)


@dataclass(frozen=True, slots=True)
class Read:
    """Rows of telemetry as columns (``array_send``), by name; ``count`` of them."""

    columns: dict[str, bytes]
    count: int


async def read_samples(
    connection: Connection,
    wanted: Sequence[Due],
    floors_ms: Sequence[int],
    points: Sequence[str],
    *,
    each: int,
    now_ms: int,
) -> Read:
    """The samples of these devices between their two positions, ``each`` of one device at most.

    Not older than ``floors_ms``. ``place`` counts the devices from 0; the position is in ``stream``, ``seq``.
    """
    names = ["stream", "seq", "ts", "epoch", "flags", *(name for name in points if name != "flags")]
    columns = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in names)
    part = sql.SQL(_PART)
    statement = sql.SQL(
        "SELECT array_send(array_agg(s.place - 1)), {sums}, count(*) FROM (SELECT c.place, t.* FROM"
        " (SELECT ord AS place, device_id, stream, seq, to_stream, to_seq,"
        "  to_timestamp((floor_ms - 1) / 1000.0) AS earliest FROM unnest(%(devices)s::bigint[],"
        "  %(streams)s::bigint[], %(seqs)s::bigint[], %(to_streams)s::bigint[], %(to_seqs)s::bigint[],"
        "  %(floors)s::bigint[]) WITH ORDINALITY"
        "  u(device_id, stream, seq, to_stream, to_seq, floor_ms, ord)) c"
        " CROSS JOIN LATERAL (SELECT * FROM ({part} UNION ALL {late}) of_both ORDER BY stream, seq"
        "  LIMIT %(each)s) t ORDER BY c.place, t.stream, t.seq) s"
    ).format(
        sums=sql.SQL(", ").join(
            sql.SQL("array_send(array_agg(s.{}))").format(sql.Identifier(name)) for name in names
        ),
        part=part.format(columns=columns, table=sql.Identifier("telemetry")),
        late=part.format(columns=columns, table=sql.Identifier("telemetry_late")),
    )
    found = await connection.execute(
        statement,
        {
            "devices": [one.device_id for one in wanted],
            "streams": [one.stream for one in wanted],
            "seqs": [one.seq for one in wanted],
            "to_streams": [one.to_stream for one in wanted],
            "to_seqs": [one.to_seq for one in wanted],
            "floors": list(floors_ms),
            "until": now_ms + AHEAD_MS,
            "each": each,
        },
    )
    row = await found.fetchone()
    if row is None or not row[-1]:
        return Read({}, 0)
    return Read(dict(zip(["place", *names], row[:-1], strict=True)), int(row[-1]))


# --- the outcome --------------------------------------------------------------------------------------------

MOVE: Final = """
UPDATE rule_cursor c SET epoch = u.epoch, stream = u.stream, seq = u.seq, ts_ms = u.ts_ms
  FROM unnest(%(device)s::bigint[], %(old_epoch)s::bigint[], %(old_stream)s::bigint[], %(old_seq)s::bigint[],
              %(epoch)s::bigint[], %(stream)s::bigint[], %(seq)s::bigint[], %(ts)s::bigint[])
       AS u(device_id, old_epoch, old_stream, old_seq, epoch, stream, seq, ts_ms)
 WHERE c.device_id = u.device_id AND c.epoch = u.old_epoch AND c.stream = u.old_stream AND c.seq = u.old_seq
RETURNING c.device_id"""
BEGIN_AT: Final = """
INSERT INTO rule_cursor (device_id, epoch, stream, seq, ts_ms)
SELECT * FROM unnest(%(device)s::bigint[], %(epoch)s::bigint[], %(stream)s::bigint[], %(seq)s::bigint[],
                     %(ts)s::bigint[])
ON CONFLICT (device_id) DO NOTHING RETURNING device_id"""


async def advance(connection: Connection, moves: Sequence[Advance]) -> set[int]:
    """Move these cursors; the devices whose cursor was what it was believed to be."""
    done: set[int] = set()
    for statement, chosen in (
        (MOVE, [move for move in moves if move.due.old_epoch is not None]),
        (BEGIN_AT, [move for move in moves if move.due.old_epoch is None]),
    ):
        if not chosen:
            continue
        values = {
            "device": [move.due.device_id for move in chosen],
            "epoch": [move.due.epoch for move in chosen],
            "stream": [move.stream for move in chosen],
            "seq": [move.seq for move in chosen],
            "ts": [move.ts_ms for move in chosen],
        }
        if statement is MOVE:
            values["old_epoch"] = [move.due.old_epoch or 0 for move in chosen]
            values["old_stream"] = [move.due.stream for move in chosen]
            values["old_seq"] = [move.due.seq for move in chosen]
        found = await connection.execute(statement, values)
        done |= {row[0] for row in await found.fetchall()}
    return done


async def set_state(connection: Connection, before: StateRow | None, after: StateRow) -> bool:
    """Write where a rule stands now; False where it did not stand at ``before`` (None: "ok", no row)."""
    state = after.state
    now = (after.epoch, after.version, state.phase.value, state.since_ms, state.raised_ms)
    key = (after.device_id, after.rule_id)
    if before is None:
        done = await connection.execute(
            "INSERT INTO rule_state (device_id, rule_id, epoch, version, phase, since_ms, raised_ms)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (device_id, rule_id) DO NOTHING",
            (*key, *now),
        )
        return done.rowcount == 1
    was = (before.epoch, before.version, before.state.phase.value, before.state.since_ms)
    if state.phase is Phase.OK:
        done = await connection.execute(
            "DELETE FROM rule_state WHERE device_id = %s AND rule_id = %s AND epoch = %s AND version = %s"
            " AND phase = %s AND since_ms = %s",
            (*key, *was),
        )
        return done.rowcount == 1
    done = await connection.execute(
        "UPDATE rule_state SET epoch = %s, version = %s, phase = %s, since_ms = %s, raised_ms = %s"
        " WHERE device_id = %s AND rule_id = %s AND epoch = %s AND version = %s AND phase = %s"
        " AND since_ms = %s",
        (*now, *key, *was),
    )
    return done.rowcount == 1


# --- states that are over -----------------------------------------------------------------------------------

OVER: Final = f"""
SELECT s.device_id, s.rule_id, s.epoch, s.version, s.phase, s.raised_ms, r.name, r.subject,
       CASE WHEN o.device_id IS NULL THEN 'owner' WHEN r.ended_ms IS NOT NULL THEN 'deleted'
            WHEN NOT r.enabled THEN 'switched_off' WHEN s.version <> r.version THEN 'changed'
            ELSE 'moved' END AS why
  FROM rule_state s JOIN rule r ON r.rule_id = s.rule_id
  LEFT JOIN ownership o ON o.device_id = s.device_id AND o.epoch = s.epoch AND o.until_ms IS NULL
 WHERE s.device_id %% %(many)s = %(place)s
   AND (o.device_id IS NULL OR s.version <> r.version OR (r.enabled AND {APPLIES}) IS NOT TRUE)
 ORDER BY s.device_id, s.rule_id LIMIT %(limit)s"""  # noqa: S608  words of ours alone


async def over(connection: Connection, place: int, many: int, limit: int) -> list[Over]:
    """States that are over, in the order of their devices."""
    async with connection.cursor(row_factory=class_row(Over)) as cursor:
        await cursor.execute(OVER, {"many": many, "place": place, "limit": limit})
        return await cursor.fetchall()


async def drop_state(connection: Connection, one: Over) -> bool:
    """Forget such a state; False where it is another one by now."""
    done = await connection.execute(
        "DELETE FROM rule_state WHERE device_id = %s AND rule_id = %s AND epoch = %s AND version = %s"
        " AND phase = %s",
        [one.device_id, one.rule_id, one.epoch, one.version, one.phase],
    )
    return done.rowcount == 1
