"""When an ownership ends: not before what was stored of it, not later than now, the next one after it."""

import time

import psycopg
import pytest

from tests.support import ingest
from tests.support.ingest import ONE, own_devices

ENDS = {
    "released": "SELECT end_ownership(%(device)s, 1, 'released', NULL, %(now)s)",
    "transferred": "SELECT move_ownership(%(device)s, 1, (SELECT min(company_id) FROM company), NULL,"
    " 'transferred', %(now)s)",
}


def store(connection: psycopg.Connection, table: str, ts_ms: int, epoch: int = 1) -> None:
    """A sample; its other values are 0."""
    names = [
        column.name for column in connection.execute(f"SELECT * FROM {table}".encode()).description or ()
    ]
    known = {"device_id": ONE, "epoch": epoch, "stream": 1, "seq": ts_ms}
    values = ["to_timestamp(%s / 1000.0)" if name == "ts" else "%s" for name in names]
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(values)})".encode(),
        [ts_ms if name == "ts" else known.get(name, 0) for name in names],
    )


@pytest.mark.parametrize("table", ["telemetry", "telemetry_late"])
@pytest.mark.parametrize("how", ENDS)
def test_what_was_stored_meanwhile_is_of_the_time_that_ends(database: str, how: str, table: str) -> None:
    own_devices(database, [ONE])
    asked_ms = time.time_ns() // 1_000_000 - 5_000
    with psycopg.connect(database) as connection:
        store(connection, table, asked_ms - 500)
        store(connection, table, asked_ms + 150)
        store(connection, table, asked_ms + 400, epoch=2)
        store(connection, table, asked_ms + 3_600_000)  # a clock that runs ahead
        connection.execute(ENDS[how], {"device": ONE, "now": asked_ms})
    found = ingest.run(database, "SELECT epoch, from_ms, until_ms FROM v_ownership ORDER BY epoch")
    assert found[0][2] == asked_ms + 150
    assert [row[1] for row in found[1:]] == ([asked_ms + 150] if how == "transferred" else [])


@pytest.mark.parametrize("how", ENDS)
def test_without_such_a_sample_it_ends_when_it_was_asked_for(database: str, how: str) -> None:
    own_devices(database, [ONE])
    asked_ms = time.time_ns() // 1_000_000
    with psycopg.connect(database) as connection:
        store(connection, "telemetry_late", asked_ms - 1)
        connection.execute(ENDS[how], {"device": ONE, "now": asked_ms})
    found = ingest.run(database, "SELECT until_ms FROM v_ownership WHERE epoch = 1")
    assert found == [(asked_ms,)]
