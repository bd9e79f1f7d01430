"""What happened to the devices of a company, the newest first, searched: SQL only.

Only events of the ownership that stands now are found, as on the pages of devices. Every statement is bounded
in time by its caller and reads each device's events by their index, newest first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from cloud.postgres.devices import EventRow
from cloud.postgres.pool import Pool


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the order an event stands: unix microseconds, then what tells equal times apart."""

    ts_us: int
    device_id: int
    stream: int
    seq: int


@dataclass(frozen=True, slots=True)
class Sought:
    """Which events. ``device_id`` None: of all devices of the company."""

    company_id: int
    device_id: int | None = None
    kinds: Sequence[str] | None = None
    """Only these kinds; None: all."""
    without: Sequence[str] = ()
    """And none of these."""
    text: str = ""
    """In small letters; stands in what the device is called or in the values of the event..."""
    named: Sequence[str] = ()
    """...or the event is of one of these kinds, whose words hold the text."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event with its device."""

    row: EventRow
    place: Place
    received_ms: int
    title: str
    """What the device is called."""
    product_id: str


_ONE: Final = sql.SQL(
    "SELECT e.device_id, e.stream, e.seq, (extract(epoch FROM e.ts) * 1000)::bigint, e.time_uncertain,"
    " e.kind, e.detail, (extract(epoch FROM e.ts) * 1000000)::bigint, e.received_ms,"
    " coalesce(nullif(o.name, ''), nullif(d.model, ''), d.product_id), d.product_id"
    " FROM ownership o JOIN device d USING (device_id), LATERAL ("
    "SELECT t.* FROM event t WHERE t.device_id = o.device_id AND t.epoch = o.epoch{conditions}"
    " ORDER BY t.ts DESC, t.stream DESC, t.seq DESC LIMIT %(limit)s) AS e"
    " WHERE o.company_id = %(company)s AND o.until_ms IS NULL{device}"
    " ORDER BY e.ts DESC, e.device_id DESC, e.stream DESC, e.seq DESC LIMIT %(limit)s"
)
LAST_US: Final = 4_102_444_800_000_000
"""The year 2100: no event is later, and no database has to be asked for it."""
_KEY: Final = "(t.ts, t.device_id, t.stream, t.seq)"
_TIME: Final = "to_timestamp(%({name})s / 1000000.0)"


async def read(
    pool: Pool,
    sought: Sought,
    *,
    limit: int,
    from_ms: int = 0,
    before: Place | None = None,
    after: Place | None = None,
) -> list[Happened]:
    """The newest that were found from this time on, before one place and after another."""
    conditions = ["t.ts >= to_timestamp(%(from)s / 1000.0)"]
    values: dict[str, Any] = {"company": sought.company_id, "limit": limit, "from": from_ms}
    for name, place, sign in (("before", before, "<"), ("after", after, ">")):
        if place is not None:
            moment = _TIME.format(name=name)
            key = f"({moment}, %({name}_device)s, %({name}_stream)s, %({name}_seq)s)"
            conditions += [f"t.ts {sign}= {moment}", f"{_KEY} {sign} {key}"]
            values |= {
                name: place.ts_us,
                f"{name}_device": place.device_id,
                f"{name}_stream": place.stream,
                f"{name}_seq": place.seq,
            }
    if sought.kinds is not None:
        conditions.append("t.kind = ANY(%(kinds)s)")
        values["kinds"] = list(sought.kinds)
    if sought.without:
        conditions.append("t.kind <> ALL(%(without)s)")
        values["without"] = list(sought.without)
    if sought.text:
        conditions.append(
            "(t.kind = ANY(%(named)s) OR strpos(lower(replace(t.detail::text, '_', ' ')), %(text)s) > 0 OR"
            " strpos(lower(concat_ws(' ', o.name, d.model, d.product_id)), %(text)s) > 0)"
        )
        values |= {"named": list(sought.named), "text": sought.text}
    device = ""
    if sought.device_id is not None:
        device = " AND o.device_id = %(device)s"
        values["device"] = sought.device_id
    statement = _ONE.format(
        conditions=sql.SQL("".join(f" AND {one}" for one in conditions)),
        device=sql.SQL(device),
    )
    return await _rows(pool, statement, values)


async def find(pool: Pool, company_id: int, device_id: int, stream: int, seq: int) -> Happened | None:
    """One event of a device that the company owns now, if it happened in its time."""
    statement = _ONE.format(
        conditions=sql.SQL(" AND t.stream = %(stream)s AND t.seq = %(seq)s"),
        device=sql.SQL(" AND o.device_id = %(device)s"),
    )
    values = {"company": company_id, "device": device_id, "stream": stream, "seq": seq, "limit": 1}
    return next(iter(await _rows(pool, statement, values)), None)


async def _rows(pool: Pool, statement: sql.Composed, values: Mapping[str, Any]) -> list[Happened]:
    async with pool.connection() as connection:
        found = await connection.execute(statement, values)
        return [
            Happened(EventRow(*row[:7]), Place(row[7], row[0], row[1], row[2]), *row[8:])
            for row in await found.fetchall()
        ]
