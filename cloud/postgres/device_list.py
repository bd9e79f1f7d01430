"""The list of a company's devices in SQL: filtered, counted, sorted, a page at a time.

One statement looks at every device of the company once. It gives the counts by site and state, of all devices
and of those that the query finds, and a page in the order asked for, behind or before a place in it (keyset).
What a page shows of its devices is then read by their numbers (:mod:`cloud.postgres.devices`).

The states are those of :func:`cloud.core.device_state.condition_of`, in SQL; a test holds the two together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from cloud.core import device_state as bits
from cloud.core.device_filters import STATES, NumberField, TextField
from cloud.core.device_query import At, Compare, Holds, Is, Measured, Query, Term, Word
from cloud.core.device_state import LOW_RUNTIME_S, QUIET_MS, Condition
from cloud.core.fleet import Order, Place, Sort
from cloud.core.site_tree import RANKS, URGENCY
from cloud.postgres.pool import Pool

_RANK: Final = sql.SQL(
    """
CASE
    WHEN NOT l.smartconnect THEN {smartconnect_off}
    WHEN l.ts_ms = 0 AND %(now)s - o.from_ms <= {quiet}
         AND (l.connected OR l.seen_ms < o.from_ms OR l.seen_ms = 0) THEN {starting}
    WHEN NOT l.connected OR l.seen_ms < o.from_ms OR %(now)s - l.seen_ms > {quiet} THEN {offline}
    WHEN %(now)s - l.ts_ms > {quiet} THEN {silent}
    WHEN gone.at >= to_timestamp(l.ts_ms / 1000::float8) THEN {silent}
    WHEN l.ups_status & {FAULT} <> 0 THEN {fault}
    WHEN l.ups_status & {OVERLOAD} <> 0 THEN {overload}
    WHEN l.ups_status & {TEST} <> 0 AND l.ups_status & {INPUT_BAD} = 0 THEN {self_test}
    WHEN l.ups_status & {ON_BATTERY} <> 0 AND l.runtime_remaining < {low_runtime} THEN {low_battery}
    WHEN l.ups_status & {ON_BATTERY} <> 0 THEN {on_battery}
    WHEN l.ups_status & {BYPASS} <> 0 THEN {bypass}
    WHEN l.ups_status & {OUTPUT_OFF} <> 0 THEN {output_off}
    WHEN l.battery_system_error & {BATTERY} <> 0 THEN {replace_battery}
    ELSE {on_mains}
END"""
).format(
    quiet=sql.Literal(QUIET_MS),
    low_runtime=sql.Literal(LOW_RUNTIME_S),
    BATTERY=sql.Literal(bits.REPLACE_BATTERY | bits.BATTERY_DISCONNECTED),
    **{
        name: sql.Literal(getattr(bits, name))
        for name in ("FAULT", "OVERLOAD", "TEST", "INPUT_BAD", "ON_BATTERY", "BYPASS", "OUTPUT_OFF")
    },
    **{condition.value: sql.Literal(rank) for condition, rank in RANKS.items()},
)
"""NaN is greater than any number, so an unknown runtime is not low."""

# OFFSET 0: the state of a device is worked out once, not once for each column that is made of it.

_LIST: Final = sql.SQL(
    """
WITH gone AS MATERIALIZED (
    SELECT lost.device_id, lost.epoch, max(lost.ts) AS at
      FROM event lost JOIN ownership o ON o.device_id = lost.device_id AND o.epoch = lost.epoch
     WHERE lost.kind = 'communication_lost' AND lost.ts >= to_timestamp((%(now)s - {quiet}) / 1000::float8)
       AND o.company_id = %(company)s AND o.until_ms IS NULL
       AND NOT EXISTS (SELECT FROM event back
                        WHERE back.device_id = lost.device_id AND back.epoch = lost.epoch
                          AND back.kind = 'communication_restored'
                          AND (back.ts, back.seq) > (lost.ts, lost.seq))
     GROUP BY lost.device_id, lost.epoch),
seen AS (
    SELECT o.device_id, coalesce(o.site_id, 0) AS site_id, d.model, d.sku, d.serial, d.firmware, d.product_id,
           coalesce(nullif(o.name, ''), nullif(d.model, ''), 'UPS ' || d.product_id) AS title,
           CASE WHEN l.seen_ms >= o.from_ms THEN l.seen_ms ELSE 0 END AS seen_ms,
           nullif(l.runtime_remaining, 'NaN')::float8 AS runtime,
           nullif(l.state_of_charge, 'NaN')::float8 AS charge,
           nullif(l.output_real_power_pct, 'NaN')::float8 AS load,
           nullif(l.output_real_power_pct, 'NaN')::float8 / 100 * nullif(d.rated_real_power_w, 0) AS watts,
           nullif(l.battery_temperature, 'NaN')::float8 AS temperature,
           {rank} AS rank
      FROM ownership o JOIN device d USING (device_id) JOIN latest l USING (device_id)
      LEFT JOIN gone ON gone.device_id = o.device_id AND gone.epoch = o.epoch
     WHERE o.company_id = %(company)s AND o.until_ms IS NULL
    OFFSET 0),
fleet AS MATERIALIZED (
    SELECT device_id, seen.site_id, rank, {hit} AS hit,
           coalesce(({number})::float8, {unknown}) AS k, {text} AS t
      FROM seen LEFT JOIN unnest(%(tree)s::bigint[]) WITH ORDINALITY AS tree (site_id, position)
           ON tree.site_id = seen.site_id)
SELECT 0 AS place, NULL::bigint AS device_id, site_id, rank, count(*) FILTER (WHERE hit), count(*),
       NULL::float8 AS k, NULL::text AS t
  FROM fleet GROUP BY site_id, rank
UNION ALL
SELECT row_number() OVER (ORDER BY k {way}, t {way}, device_id {way}), device_id, site_id, rank, 0, 0, k, t
  FROM (SELECT * FROM fleet WHERE hit {beyond}
         ORDER BY k {inner}, t {inner}, device_id {inner} LIMIT %(limit)s) AS page
"""
)
_BEYOND: Final = sql.SQL(
    "AND (k, t, device_id) {} (%(place_k)s::float8, %(place_t)s::text, %(place_id)s::bigint)"
)
_ASCENDING: Final = sql.SQL("ASC")
_DESCENDING: Final = sql.SQL("DESC")
_TEXTS: Final[Mapping[TextField, sql.SQL]] = {
    TextField.NAME: sql.SQL("title"),
    TextField.MODEL: sql.SQL("model || ' ' || sku"),
    TextField.SERIAL: sql.SQL("serial"),
    TextField.FIRMWARE: sql.SQL("firmware"),
    TextField.ID: sql.SQL("product_id"),
}
_NUMBERS: Final[Mapping[NumberField, sql.SQL]] = {
    NumberField.RUNTIME: sql.SQL("runtime"),
    NumberField.CHARGE: sql.SQL("charge"),
    NumberField.LOAD: sql.SQL("load"),
    NumberField.WATTS: sql.SQL("watts"),
    NumberField.TEMPERATURE: sql.SQL("temperature"),
    NumberField.LASTSEEN: sql.SQL("((%(now)s - seen_ms) / 1000.0)"),
}
_COMPARES: Final[Mapping[Compare, sql.SQL]] = {
    Compare.LESS: sql.SQL("<"),
    Compare.AT_MOST: sql.SQL("<="),
    Compare.MORE: sql.SQL(">"),
    Compare.AT_LEAST: sql.SQL(">="),
}
_NONE: Final = sql.SQL("0")
_TITLE: Final = sql.SQL("lower(title)")
_ORDERS: Final[Mapping[Sort, tuple[sql.SQL, sql.SQL]]] = {
    Sort.STATE: (sql.SQL("rank"), _TITLE),
    Sort.NAME: (_NONE, _TITLE),
    Sort.SITE: (sql.SQL("tree.position"), _TITLE),
    Sort.MODEL: (_NONE, sql.SQL("lower(model) || E'\\n' || lower(title)")),
    Sort.RUNTIME: (sql.SQL("runtime"), _TITLE),
    Sort.CHARGE: (sql.SQL("charge"), _TITLE),
    Sort.LOAD: (sql.SQL("-load"), _TITLE),
    Sort.WATTS: (sql.SQL("-watts"), _TITLE),
    Sort.LASTSEEN: (sql.SQL("seen_ms"), _TITLE),
}
"""Number and text that each order goes by, the smallest first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. ``sites``: numbers of the sites that each term names, its own company's alone;
    ``order_of_sites``: all of them as the tree has them; ``after`` and ``before``: the devices next to this
    place, behind it or in front of it; without either the first ones.
    """

    company_id: int
    query: Query
    sites: Mapping[Term, Sequence[int]]
    order_of_sites: Sequence[int]
    order: Order
    after: Place | None
    limit: int
    now_ms: int
    before: Place | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A device of the page."""

    device_id: int
    site_id: int
    condition: Condition
    place: Place


@dataclass(frozen=True, slots=True)
class Found:
    """``found`` and ``there``: how many devices the query finds and there are, by (site or 0, state)."""

    found: Mapping[tuple[int, Condition], int]
    there: Mapping[tuple[int, Condition], int]
    page: Sequence[Row]


async def find(pool: Pool, wanted: Wanted) -> Found:
    """A page and all counts."""
    arguments: dict[str, Any] = {
        "company": wanted.company_id,
        "now": wanted.now_ms,
        "limit": wanted.limit,
        "tree": list(wanted.order_of_sites) if wanted.order.sort is Sort.SITE else [],
    }
    statement = _statement(wanted, arguments)
    found: dict[tuple[int, Condition], int] = {}
    there: dict[tuple[int, Condition], int] = {}
    page: list[tuple[int, Row]] = []
    async with pool.connection() as connection:
        cursor = await connection.execute(statement, arguments)
        async for place, device_id, site_id, rank, hits, count, k, t in cursor:
            condition = URGENCY[rank]
            if device_id is None:
                found[site_id, condition] = hits
                there[site_id, condition] = count
            else:
                page.append((place, Row(device_id, site_id, condition, Place(k, t, device_id))))
    page.sort(key=lambda one: one[0])
    return Found(found, there, [row for _, row in page])


def _statement(wanted: Wanted, arguments: dict[str, Any]) -> sql.Composed:
    number, text = _ORDERS[wanted.order.sort]
    backwards = wanted.order.backwards
    beyond: sql.Composable = sql.SQL("")
    place, up = (wanted.after, backwards) if wanted.before is None else (wanted.before, not backwards)
    if place is not None:
        beyond = _BEYOND.format(sql.SQL("<" if up else ">"))
        arguments |= {"place_k": place.number, "place_t": place.text, "place_id": place.device_id}
    hits = [_condition(term, wanted.sites.get(term, ()), arguments) for term in wanted.query.terms]
    return _LIST.format(
        rank=_RANK,
        quiet=sql.Literal(QUIET_MS),
        hit=sql.SQL(" AND ").join(hits) if hits else sql.SQL("true"),
        number=number,
        unknown=sql.SQL("'-Infinity'" if backwards else "'Infinity'"),
        text=text,
        way=_DESCENDING if backwards else _ASCENDING,
        inner=_DESCENDING if up else _ASCENDING,
        beyond=beyond,
    )


def _condition(term: Term, sites: Sequence[int], arguments: dict[str, Any]) -> sql.Composable:
    """What holds of a row of ``seen`` that the term finds; never null."""
    name = f"p{len(arguments)}"
    value = sql.Placeholder(name)
    match term:
        case Is(states):
            arguments[name] = sorted({RANKS[one] for state in states for one in STATES[state]})
            found: sql.Composable = sql.SQL("rank = ANY({})").format(value)
        case At():
            arguments[name] = list(sites)
            found = sql.SQL("seen.site_id = ANY({})").format(value)
        case Holds(field, text):
            arguments[name] = text
            found = sql.SQL("strpos(lower({}), lower({}::text)) > 0").format(_TEXTS[field], value)
        case Measured(field, compare, number):
            arguments[name] = float(number)
            found = sql.SQL("coalesce({} {} {}::float8, false)").format(
                _NUMBERS[field], _COMPARES[compare], value
            )
        case Word(text):
            arguments[name] = text
            arguments[f"{name}s"] = list(sites)
            found = sql.SQL(
                "(strpos(lower(concat_ws(E'\\n', title, model, sku, serial, product_id)),"
                " lower({}::text)) > 0 OR seen.site_id = ANY({}))"
            ).format(value, sql.Placeholder(f"{name}s"))
    return sql.SQL("NOT {}").format(found) if term.negated else found
