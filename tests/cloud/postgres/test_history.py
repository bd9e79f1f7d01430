"""Importing a past that no session delivered."""

import json
from uuid import uuid4

import psycopg
import pytest

from cloud.postgres.history import find_owned, import_past
from cloud.postgres.pool import make_pool
from protocol.points import SampleFlag
from simulators.core.nameplate import Nameplate
from simulators.core.smart_ups import SmartUps
from simulators.demo.history import SPAN_S, STEP_S, simulate

PRODUCT_ID = "ABCDEFGH2345"
FROM_MS = 1_795_000_000_000


@pytest.fixture
def owned_device(database: str) -> str:
    """A database with one owned device, written past the services."""
    with psycopg.connect(database) as connection:
        company = connection.execute(
            "INSERT INTO company (name, created_ms) VALUES ('c', 0) RETURNING company_id"
        ).fetchone()
        account = connection.execute(
            "INSERT INTO account (email, email_norm, password_hash, created_ms) VALUES ('a', 'a', '', 0)"
            " RETURNING account_id"
        ).fetchone()
        assert company is not None
        assert account is not None
        connection.execute(
            "INSERT INTO device (device_id, product_id, label_pub, created_ms) VALUES (5, %s, '', 0)",
            [PRODUCT_ID],
        )
        connection.execute(
            "INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)"
            " VALUES (5, %s, %s, %s, 'k', %s)",
            [FROM_MS, company[0], account[0], FROM_MS],
        )
    return database


async def test_a_simulated_hour_lands_once_and_is_marked(owned_device: str) -> None:
    history = json.loads(simulate(SmartUps(Nameplate())).to_json(PRODUCT_ID))
    async with make_pool(owned_device, name="test") as pool:
        for _ in range(2):
            async with pool.connection() as connection:
                (owned,) = await find_owned(connection, PRODUCT_ID)
                await import_past(connection, owned, history["samples"], history["events"])
    with psycopg.connect(owned_device) as connection:
        rows = connection.execute(
            "SELECT (extract(epoch FROM ts) * 1000)::bigint, epoch, flags, input_voltage"
            " FROM telemetry ORDER BY ts"
        ).fetchall()
        kinds = connection.execute("SELECT kind FROM event ORDER BY ts").fetchall()
        late = connection.execute("SELECT count(*) FROM telemetry_late").fetchone()
    assert len(rows) == SPAN_S // STEP_S
    assert {(epoch, flags) for _, epoch, flags, _ in rows} == {(FROM_MS, SampleFlag.IMPORTED)}
    assert FROM_MS - SPAN_S * 1000 <= rows[0][0] < rows[-1][0] <= FROM_MS
    assert {0.0} < {volts for *_, volts in rows}, "the mains failed for a while"
    assert kinds == [("on_battery",), ("mains_back",)]
    assert late == (0,)


async def test_an_unknown_product_id_owns_nothing(database: str) -> None:
    async with make_pool(database, name="test") as pool, pool.connection() as connection:
        assert await find_owned(connection, str(uuid4())[:12]) == []
