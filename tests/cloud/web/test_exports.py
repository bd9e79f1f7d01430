"""Exports: complete, bounded by the company's own time, and cut when the right to them is lost."""

import asyncio
import csv
import io
import json
import threading
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from cloud.services import exporting, offering, owning
from cloud.web.api import exports as export_views
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Owned, Portal, now_ms

MINUTE_MS = 60_000


def table(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(text)))


async def export(who: Somebody, owned: Owned, what: str, query: str = "") -> list[dict[str, str]]:
    """The rows of an export of a device."""
    answer = await who.browser.get(f"/api/v1/devices/{owned.device_id}/{what}.csv{query}")
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/csv")
    return table(answer.text)


async def test_samples_as_table_and_as_json(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    start_ms = now_ms() - 10 * MINUTE_MS
    nan = float("nan")
    await owned.add_samples(
        [(start_ms + i * MINUTE_MS, {"input_voltage": 200.0 + i, "bypass_voltage": nan}) for i in range(5)]
    )
    rows = await export(ada, owned, "samples")
    assert [float(row["input_voltage"]) for row in rows] == [200.0, 201.0, 202.0, 203.0, 204.0]
    assert [int(row["ts_ms"]) for row in rows] == [start_ms + i * MINUTE_MS for i in range(5)]
    assert {row["bypass_voltage"] for row in rows} == {""}
    assert rows[0]["time"].endswith("Z")
    part = f"?from_ms={start_ms + MINUTE_MS}&to_ms={start_ms + 3 * MINUTE_MS}"
    assert [row["input_voltage"] for row in await export(ada, owned, "samples", part)] == ["201.0", "202.0"]
    answer = await ada.browser.get(f"/api/v1/devices/{owned.device_id}/samples.json")
    found = json.loads(answer.text)
    assert found["device_id"] == str(owned.device_id)
    assert [one["input_voltage"] for one in found["samples"]] == [200.0, 201.0, 202.0, 203.0, 204.0]
    assert found["samples"][0]["bypass_voltage"] is None
    assert answer.headers["Content-Disposition"].endswith(f'{owned.device.product_id.value}-samples.json"')


async def test_events(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.add_event("on_battery", at_ms=now_ms() - 2000, why='=cmd("x")')
    await owned.add_event("mains_back", at_ms=now_ms() - 1000, lasted_s=1.0)
    rows = await export(ada, owned, "events")
    assert [row["kind"] for row in rows] == ["on_battery", "mains_back"]
    assert [json.loads(row["detail"]) for row in rows] == [{"why": '=cmd("x")'}, {"lasted_s": 1.0}]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    answer = await ada.browser.get(f"/api/v1/devices/{owned.device_id}/events.json")
    assert [one["kind"] for one in json.loads(answer.text)["events"]] == ["on_battery", "mains_back"]


async def test_nothing_to_export_is_an_empty_table(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    assert await export(ada, owned, "samples") == []
    answer = await ada.browser.get(f"/api/v1/devices/{owned.device_id}/events.json")
    assert json.loads(answer.text) == {"device_id": str(owned.device_id), "events": []}


async def test_many_pages_hold_every_sample_once_also_late_ones(
    portal: Portal, ada: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PAGE_ROWS", 7)
    owned = await portal.own_device(ada.actor)
    start_ms = now_ms() - 100_000
    # Several samples at one time: the page may end between them.
    await owned.add_samples([(start_ms + i // 5 * 1000, {"output_energy": float(i)}) for i in range(50)])
    async with portal.pool.connection() as connection:
        await connection.execute(
            "WITH moved AS (DELETE FROM telemetry WHERE seq % 3 = 0 RETURNING *)"
            " INSERT INTO telemetry_late SELECT * FROM moved"
        )
    rows = await export(ada, owned, "samples")
    assert [float(row["output_energy"]) for row in rows] == [float(i) for i in range(50)]
    found = json.loads((await ada.browser.get(f"/api/v1/devices/{owned.device_id}/samples.json")).text)
    assert [one["output_energy"] for one in found["samples"]] == [float(i) for i in range(50)]


async def test_each_owner_has_the_own_time(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.add_samples([(now_ms() - 5000, {"input_voltage": 111.0})])
    await owned.add_event("on_battery", at_ms=now_ms() - 5000)
    made = await offering.offer(
        portal.pool, ada.actor, owned.device_id, now_ms(), fresh=True, to_company_id=eve.actor.company_id
    )
    await offering.accept_offer(portal.pool, eve.actor, made.offer_id, now_ms(), fresh=True)
    hers = await portal.find_owned(owned.device)
    hers.seq = owned.seq
    await hers.add_samples([(now_ms(), {"input_voltage": 222.0})])
    await hers.add_event("mains_back")
    # What a device of the old time sends on lies outside of it, whatever its epoch says.
    await owned.add_samples([(now_ms() + 1000, {"input_voltage": 333.0})])
    assert [row["input_voltage"] for row in await export(ada, owned, "samples")] == ["111.0"]
    assert [row["input_voltage"] for row in await export(eve, owned, "samples")] == ["222.0"]
    assert [row["kind"] for row in await export(ada, owned, "events")] == ["on_battery"]
    assert [row["kind"] for row in await export(eve, owned, "events")] == ["mains_back"]
    told = json.loads((await ada.browser.get(f"/api/v1/devices/{owned.device_id}/tenures")).text)
    assert [one["until_ms"] is None for one in told["tenures"]] == [False]
    await owning.release(portal.pool, eve.actor, owned.device_id, now_ms(), fresh=True)
    assert [row["input_voltage"] for row in await export(eve, owned, "samples")] == ["222.0"]


async def test_a_stranger_and_wrong_questions(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    for what in ("samples.csv", "samples.json", "events.csv", "tenures"):
        for device in (owned.device_id, 1, 2**63, 10**18):
            answer = await eve.browser.get(f"/api/v1/devices/{device}/{what}")
            assert (answer.status, json.loads(answer.text)["code"]) == (404, "not_found")
    for query in ("from_ms=x", "from_ms=-1", "to_ms=1e9", "to_ms=" + "9" * 15, "from_ms=٣", "to_ms="):
        answer = await ada.browser.get(f"/api/v1/devices/{owned.device_id}/samples.csv?{query}")
        assert (answer.status, json.loads(answer.text)["code"]) == (400, "bad_request"), query
    assert (await ada.browser.get(f"/api/v1/devices/{owned.device_id}/samples.xml")).status == 404


async def test_only_so_many_at_once(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    portal.app[export_views.RUNNING][ada.actor.account_id] = export_views.MAX_EXPORTS_OF_ACCOUNT
    answer = await ada.browser.get(f"/api/v1/devices/{owned.device_id}/samples.csv")
    assert (answer.status, json.loads(answer.text)["code"]) == (429, "too_many")
    assert int(answer.headers["Retry-After"]) > 0
    portal.app[export_views.RUNNING].clear()
    assert await export(ada, owned, "samples") == []
    assert not portal.app[export_views.RUNNING]


async def test_an_export_ends_unfinished_when_the_log_in_ends(
    portal: Portal, ada: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PAGE_ROWS", 3)
    owned = await portal.own_device(ada.actor)
    await owned.add_samples([(now_ms() - 50_000 + i, {}) for i in range(20)])
    asked = 0
    look = export_views._has_rights

    async def and_then_log_out(request: Any) -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            async with portal.pool.connection() as connection:
                await connection.execute("DELETE FROM web_session")
        return await look(request)

    monkeypatch.setattr(export_views, "_has_rights", and_then_log_out)
    got = bytearray()

    async def read_all() -> None:
        url = f"{portal.url}/api/v1/devices/{owned.device_id}/samples.csv"
        async with asyncio.timeout(10), ada.browser.http.get(url) as response:
            async for part in response.content.iter_any():
                got.extend(part)

    with pytest.raises(aiohttp.ClientPayloadError):
        await read_all()
    assert asked == 3
    assert len(table(got.decode())) <= 6


async def test_my_data(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    other = await portal.own_device(eve.actor)
    await owning.release(portal.pool, ada.actor, owned.device_id, now_ms(), fresh=True)
    kept = await portal.own_device(ada.actor)
    answer = await ada.browser.get("/api/v1/account/data")
    assert answer.status == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    found = json.loads(answer.text)
    assert found["account"]["email"] == "ada@example.org"
    assert [one["name"] for one in found["companies"]] == ["Example Clinic"]
    assert [one["device_id"] for one in found["devices"]] == [str(kept.device_id)]
    assert {one["device_id"] for one in found["ownerships"]} == {str(kept.device_id), str(owned.device_id)}
    assert {line["kind"] for line in found["device_audit"]} >= {"bound", "released"}
    assert [line["kind"] for line in found["account_audit"]]
    assert found["claims"]
    for secret in (str(other.device_id), "eve@example.org", "argon2", "hash", "csrf"):
        assert secret not in answer.text


async def test_my_data_has_the_bound_of_exports_and_is_encoded_beside_the_event_loop(
    portal: Portal, ada: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = portal.app[export_views.RUNNING]
    encoded, seen = export_views._encoded, []

    def watched(found: Mapping[str, Any]) -> bytes:
        seen.append((threading.get_ident(), dict(running)))
        return encoded(found)

    monkeypatch.setattr(export_views, "_encoded", watched)
    monkeypatch.setattr("cloud.postgres.exports.AT_ONCE", 3)
    async with portal.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO account_audit (account_id, ts_ms, kind, detail)"
            " SELECT %s, number, 'logged_in', '{}' FROM generate_series(1, 10) AS number",
            [ada.actor.account_id],
        )
    answer = await ada.browser.get("/api/v1/account/data")
    assert [one["ts_ms"] for one in json.loads(answer.text)["account_audit"]][:10] == list(range(1, 11))
    ((thread, counted),) = seen
    assert thread != threading.get_ident()
    assert counted == {ada.actor.account_id: 1}
    assert not running
    running[ada.actor.account_id] = export_views.MAX_EXPORTS_OF_ACCOUNT
    answer = await ada.browser.get("/api/v1/account/data")
    assert (answer.status, json.loads(answer.text)["code"]) == (429, "too_many")
    assert int(answer.headers["Retry-After"]) > 0
    assert len(seen) == 1


async def test_pages_lead_to_the_exports(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    page = (await ada.browser.get(f"/devices/{owned.device_id}")).text
    assert f'href="/api/v1/devices/{owned.device_id}/samples.csv"' in page
    assert f'href="/api/v1/devices/{owned.device_id}/events.csv"' in page
    for path in ("/account", "/account/delete"):
        assert 'href="/api/v1/account/data"' in (await ada.browser.get(path)).text, path
