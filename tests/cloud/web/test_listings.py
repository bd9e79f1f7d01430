"""Lists as files, the company's audit trail, and the metrics that Prometheus takes."""

import csv
import io
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cloud.core.authz import Role
from cloud.services import naming, placing
from cloud.web import audit_views
from cloud.web.api import exports, metrics
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Portal, now_ms

FORMULA = '=HYPERLINK("https://evil.example.org")'


def table(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(text)))


async def furnish(portal: Portal, ada: Somebody, name: str = "Cellar") -> int:
    """A device with a name, at a site; its number."""
    owned = await portal.own_device(ada.actor)
    await owned.show(state_of_charge=77.0)
    await naming.save_profile(
        portal.pool, ada.actor, owned.device_id, name=name, description="", now_ms=now_ms()
    )
    site = await placing.add_site(portal.pool, ada.actor, "South", now_ms())
    await placing.place(portal.pool, ada.actor, site, [owned.device_id], now_ms())
    return owned.device_id


async def test_devices_as_a_table_and_as_json(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    device_id = await furnish(portal, ada, FORMULA)
    silent = await portal.own_device(ada.actor)
    await silent.show(state_of_charge=55.0, at_ms=now_ms() - 86_400_000)
    await portal.own_device(eve.actor)
    answer = await ada.browser.get("/api/v1/devices.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="devices.csv"'
    rows = {row["device_id"]: row for row in table(answer.text)}
    assert set(rows) == {str(device_id), str(silent.device_id)}
    mine = rows[str(device_id)]
    assert (mine["charge_pct"], mine["site"], mine["condition"]) == ("77.0", "South", "on_mains")
    assert mine["name"] == f"'{FORMULA}"
    assert mine["time"].endswith("Z")
    assert (rows[str(silent.device_id)]["charge_pct"], rows[str(silent.device_id)]["condition"]) == (
        "",
        "offline",
    )
    found = json.loads((await ada.browser.get("/api/v1/devices.json")).text)["devices"]
    assert {one["name"] for one in found if one["device_id"] == str(device_id)} == {FORMULA}


async def test_outages_of_a_device(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    began_ms = now_ms() - 60_000
    await owned.add_event("on_battery", at_ms=began_ms, cause="high_input_voltage")
    await owned.add_event("mains_back", at_ms=began_ms + 5_000)
    path = f"/api/v1/devices/{owned.device_id}/outages"
    (row,) = table((await ada.browser.get(f"{path}.csv")).text)
    assert (row["at_ms"], row["lasted_s"], row["cause"]) == (str(began_ms), "5.0", "high_input_voltage")
    (one,) = json.loads((await ada.browser.get(f"{path}.json")).text)["outages"]
    assert one["lasted_s"] == 5.0
    assert (await eve.browser.get(f"{path}.csv")).status == 404


async def test_the_audit_trail_is_for_heads_and_of_ones_own_company(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    device_id = await furnish(portal, ada)
    found = json.loads((await ada.browser.get("/api/v1/company/audit")).text)["lines"]
    kinds = {(line["kind"], line["device_id"]) for line in found}
    assert {("account_created", ""), ("login", ""), ("bound", str(device_id))} <= kinds
    assert {line["email"] for line in found} == {"ada@example.org"}
    assert [line["ts_ms"] for line in found] == sorted((line["ts_ms"] for line in found), reverse=True)
    rows = table((await ada.browser.get("/api/v1/company/audit.csv")).text)
    assert [int(row["ts_ms"]) for row in rows] == [line["ts_ms"] for line in found]
    past = json.loads((await ada.browser.get("/api/v1/company/audit?to_ms=1")).text)
    assert past == {"lines": []}
    other = (await eve.browser.get("/api/v1/company/audit.json")).text
    assert str(device_id) not in other
    assert "ada@example.org" not in other
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE membership SET role = %s", [Role.OPERATOR])
    assert (await ada.browser.get("/api/v1/company/audit")).status == 403


async def test_lists_have_the_bound_of_exports(portal: Portal, ada: Somebody) -> None:
    portal.app[exports.RUNNING][ada.actor.account_id] = exports.MAX_EXPORTS_OF_ACCOUNT
    for path in ("/api/v1/devices.csv", "/api/v1/company/audit.csv"):
        answer = await ada.browser.get(path)
        assert (answer.status, json.loads(answer.text)["code"]) == (429, "too_many"), path


async def test_metrics_of_ones_own_devices(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    await furnish(portal, ada, 'Cellar "7"')
    silent = await portal.own_device(ada.actor)
    await silent.show(at_ms=now_ms() - 86_400_000)
    foreign = await portal.own_device(eve.actor)
    answer = await ada.browser.get("/api/v1/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]
    charges = [one for one in samples if one.name == "smartconnect_ups_battery_charge_ratio"]
    assert [(one.labels["name"], one.labels["site"], one.value) for one in charges] == [
        ('Cellar "7"', "South", 0.77)
    ]
    up = {one.labels["product_id"]: one.value for one in samples if one.name == "smartconnect_ups_up"}
    assert sorted(up.values()) == [0.0, 1.0]
    assert up[silent.device.product_id.value] == 0.0
    assert foreign.device.product_id.value not in answer.text


async def test_only_so_many_scrapes_at_once(portal: Portal, ada: Somebody) -> None:
    portal.app[metrics.RUNNING][ada.actor.company_id] = metrics.MAX_OF_COMPANY
    answer = await ada.browser.get("/api/v1/metrics")
    assert (answer.status, json.loads(answer.text)["code"]) == (429, "too_many")
    portal.app[metrics.RUNNING].clear()
    assert (await ada.browser.get("/api/v1/metrics")).status == 200
    assert not portal.app[metrics.RUNNING]


async def test_the_page_of_the_audit_trail(
    portal: Portal, ada: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnish(portal, ada)
    assert 'href="/company/audit"' in (await ada.browser.get("/company")).text
    page = (await ada.browser.get("/company/audit")).text
    for words in ("Device claimed", "Logged in", "ada@example.org", 'href="/api/v1/company/audit.csv"'):
        assert words in page
    monkeypatch.setattr(audit_views, "SHOWN", 1)
    first = (await ada.browser.get("/company/audit")).text
    older = first.split("before_ms=", 1)[1].split('"', 1)[0]
    second = (await ada.browser.get(f"/company/audit?before_ms={older}")).text
    assert first.count('class="what"') == second.count('class="what"') == 1
    assert (await ada.browser.get("/company/audit?before_ms=x")).status == 400
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE membership SET role = %s", [Role.VIEWER])
    assert (await ada.browser.get("/company/audit")).status == 403
    assert 'href="/company/audit"' not in (await ada.browser.get("/company")).text
