"""Thousands of owned devices, written by SQL: for the list that shows them."""

from collections.abc import Sequence
from typing import Final, LiteralString

import psycopg

from cloud.core.authz import Actor

FIRST: Final = 1_000_000_000_000_000
"""The number of device 0."""

_DEVICES: Final[Sequence[LiteralString]] = (
    """
INSERT INTO device (device_id, product_id, label_pub, last_epoch, model, sku, serial, firmware,
                    rated_real_power_w, rated_apparent_power_va, created_ms)
SELECT %(first)s + n, 'FLT' || lpad(n::text, 9, '0'), '', 1,
       CASE n %% 3 WHEN 0 THEN 'Smart-UPS 1500' WHEN 1 THEN 'Smart-UPS X 3000' ELSE 'Smart-UPS SRT 5000' END,
       CASE n %% 3 WHEN 0 THEN 'SMT1500IC' WHEN 1 THEN 'SMX3000HV' ELSE 'SRT5KXLI' END,
       'AS' || lpad(n::text, 10, '0'), 'UPS 15.1', CASE n %% 5 WHEN 4 THEN 0 ELSE 1000 + n %% 3 * 1000 END,
       1500 + n %% 3 * 1000, %(now)s - 86400000
  FROM generate_series(0, %(count)s - 1) AS n""",
    """
INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms, name, site_id)
SELECT %(first)s + n, 1, %(company)s, %(account)s, 'k' || n, %(now)s - 86400000,
       CASE n %% 4 WHEN 3 THEN '' ELSE 'Rack ' || lpad((n * 7919 %% 100000)::text, 5, '0') END,
       (%(sites)s::bigint[])[1 + n %% (cardinality(%(sites)s::bigint[]) + 1)]
  FROM generate_series(0, %(count)s - 1) AS n""",
    """
INSERT INTO latest (device_id, session_no, epoch, kid, ts_ms, seen_ms, connected, ups_status,
                    battery_system_error, input_voltage, output_voltage, output_frequency, output_current,
                    output_real_power_pct, output_apparent_power_pct, state_of_charge, battery_voltage,
                    battery_temperature, runtime_remaining, efficiency)
SELECT %(first)s + n, 1, 1, 'k' || n, heard, heard, n %% 100 NOT IN (3, 4),
       CASE n %% 100 WHEN 0 THEN 1 << 5 WHEN 1 THEN 1 << 2 WHEN 2 THEN 1 << 2 WHEN 7 THEN 2 + (1 << 21)
                    WHEN 8 THEN 1 << 3 ELSE 2 END,
       CASE n %% 100 WHEN 6 THEN 4 ELSE 0 END,
       231, 230, 50, 1.8, n * 37 %% 100, n * 41 %% 100, CASE n %% 100 WHEN 2 THEN 11 ELSE 60 + n %% 41 END,
       27.3, 20 + n %% 15,
       CASE WHEN n %% 100 = 2 THEN 60 WHEN n %% 50 = 9 THEN 'NaN'::real ELSE 300 + n * 13 %% 4000 END, 95
  FROM generate_series(0, %(count)s - 1) AS n,
       LATERAL (SELECT %(now)s - CASE n %% 100 WHEN 3 THEN 7200000 WHEN 4 THEN 172800000
                                  ELSE n %% 60 * 1000 END AS heard) AS h""",
    """
INSERT INTO event (device_id, stream, seq, epoch, ts, received_ms, time_uncertain, kind, detail)
SELECT %(first)s + n, 1, e, 1, to_timestamp((%(now)s - (1 + e) * 3600000) / 1000.0), %(now)s, false,
       (ARRAY['on_battery', 'mains_back', 'communication_lost', 'communication_restored', 'self_test'])
           [1 + e %% 5], '{}'
  FROM generate_series(0, %(count)s - 1) AS n, generate_series(0, %(events)s - 1) AS e""",
    "ANALYZE device, ownership, latest, site, event",
)


def fill(
    dsn: str, actor: Actor, count: int, now_ms: int, sites: Sequence[int] = (), *, events: int = 0
) -> None:
    """So many devices for somebody, most of them well, spread over these sites and none, each with events of
    the hours before its newest values.
    """
    arguments = {
        "first": FIRST,
        "count": count,
        "now": now_ms,
        "company": actor.company_id,
        "account": actor.account_id,
        "sites": list(sites),
        "events": events,
    }
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in _DEVICES[:-1]:
            connection.execute(statement, arguments)
        connection.execute(_DEVICES[-1])
