"""The pages and the API of threshold rules."""

import json
from typing import Any

from cloud.postgres import profiles
from cloud.services.ruling import MAX_RULES
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Answer, Portal, now_ms
from tests.support.ruling import judge_now

FORM = {
    "name": "High load",
    "subject": "output_real_power_pct",
    "side": "above",
    "threshold": "80",
    "hysteresis": "5",
    "hold": "0",
    "clear": "0",
    "gap": "3",
}


async def api(ada: Somebody, method: str, path: str, **body: Any) -> Answer:
    """Ask as a program."""
    me = json.loads((await ada.browser.get("/api/v1/session")).text)
    headers = {"Accept": "application/json", "X-Form-Token": me["form_token"]}
    more = {"json": body} if body else {}
    return await ada.browser.ask(method, f"/api/v1{path}", headers=headers, **more)


async def test_a_rule_is_made_from_a_template_and_shows_what_it_did(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    empty = await ada.browser.get("/rules")
    assert "There is none yet" in empty.text
    form = await ada.browser.get("/rules/new?template=runtime")
    assert 'value="15"' in form.text
    made = await ada.browser.post("/rules/new", FORM)
    assert made.status == 303, made.text
    path = made.headers["Location"]
    shown = await ada.browser.get(path)
    assert "Load above 80 %. Ends at 75 % or less." in shown.text
    assert "On no device." in shown.text
    await judge_now(portal.pool, owned, [{"output_real_power_pct": 91.0}])
    raised = await ada.browser.get(path)
    assert "High load · load 91 % (above 80 %)" in raised.text
    assert "raised on 1" in (await ada.browser.get("/rules")).text
    assert "load 91 % (above 80 %)" in (await ada.browser.get(f"/devices/{owned.device_id}")).text
    assert "High load" in (await ada.browser.get(f"/devices/{owned.device_id}/rules")).text


async def test_a_form_with_faults_is_shown_again_with_what_was_typed(ada: Somebody) -> None:
    await ada.browser.get("/rules/new")
    bad = {**FORM, "name": "", "threshold": "much", "hold": "x", "subject": "nothing"}
    answer = await ada.browser.post("/rules/new", bad)
    assert answer.status == 422
    for text in ("Please enter a name", "Please choose what the rule watches", "0 to 10080 minutes"):
        assert text in answer.text
    answer = await ada.browser.post("/rules/new", {**FORM, "threshold": "much"})
    assert "Please enter a number from 0 to 256" in answer.text
    assert 'value="much"' in answer.text
    assert "There is none yet" in (await ada.browser.get("/rules")).text


async def test_a_rule_is_changed_switched_off_and_deleted(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await ada.browser.get("/rules/new")
    path = (await ada.browser.post("/rules/new", FORM)).headers["Location"]
    await judge_now(portal.pool, owned, [{"output_real_power_pct": 91.0}])
    await ada.browser.get(path)
    bad = await ada.browser.post(path, {**FORM, "hysteresis": "-1"})
    assert (bad.status, "Please enter 0 or more" in bad.text) == (422, True)
    state = {**FORM, "subject": "on_battery", "threshold": "", "hold": "2,5"}
    assert (await ada.browser.post(path, state)).status == 303
    await judge_now(portal.pool, owned, [])
    shown = await ada.browser.get(path)
    assert "On battery for 2 min. Ends when it is over." in shown.text
    assert "the rule was changed" in shown.text
    assert (await ada.browser.post(f"{path}/switch", {"enabled": "no"})).status == 303
    assert "Switch on" in (await ada.browser.get(path)).text
    assert (await ada.browser.post(f"{path}/delete", {})).status == 303
    assert (await ada.browser.get(path)).status == 404


async def test_a_rule_of_one_device_and_its_battery(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    device, page = str(owned.device_id), f"/devices/{owned.device_id}/rules"
    assert "No rule is about this device" in (await ada.browser.get(page)).text
    await ada.browser.get(f"/rules/new?device={device}")
    made = await ada.browser.post("/rules/new", {**FORM, "device": device})
    assert made.status == 303
    assert "High load" in (await ada.browser.get(page)).text
    battery = f"/devices/{device}/battery"
    assert (await ada.browser.post(battery, {"installed": "2999-01-01"})).status == 422
    assert (await ada.browser.post(battery, {"installed": "2023-04-05"})).status == 303
    assert 'value="2023-04-05"' in (await ada.browser.get(page)).text
    assert (await eve.browser.get(f"/rules/new?device={device}")).status == 404
    await eve.browser.get("/rules/new")
    assert (await eve.browser.post("/rules/new", {**FORM, "device": device})).status == 404
    assert (await eve.browser.get(made.headers["Location"])).status == 404
    assert (await eve.browser.get("/rules/new?device=x")).status == 404


async def test_a_rule_of_a_site(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    async with portal.pool.connection() as connection:
        found = await connection.execute(
            "INSERT INTO site (company_id, name, created_ms) VALUES (%s, 'Example Hall', 1)"
            " RETURNING site_id",
            [ada.actor.company_id],
        )
        [(site,)] = await found.fetchall()
    assert "Example Hall" in (await ada.browser.get("/rules/new")).text
    made = await ada.browser.post("/rules/new", {**FORM, "site": str(site)})
    assert "For the devices of Example Hall" in (await ada.browser.get(made.headers["Location"])).text
    assert "Example Hall" not in (await eve.browser.get("/rules/new")).text
    assert (await eve.browser.post("/rules/new", {**FORM, "site": str(site)})).status == 404
    assert (await eve.browser.post("/rules/new", {**FORM, "site": "x"})).status == 404


async def test_a_company_that_closes_leaves_no_name_of_a_rule(portal: Portal, ada: Somebody) -> None:
    await ada.browser.get("/rules/new")
    await ada.browser.post("/rules/new", FORM)
    async with portal.pool.connection() as connection:
        await profiles.close_company(connection, ada.actor.company_id, now_ms())
        found = await connection.execute("SELECT name, ended_ms IS NULL FROM rule")
        assert await found.fetchall() == [("", False)]


async def test_the_api_does_the_same(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    subjects = json.loads((await api(ada, "GET", "/rules/subjects")).text)["subjects"]
    assert {"name": "runtime_remaining", "unit": "min"}.items() <= subjects[4].items()
    draft = {"name": "Short", "subject": "runtime_remaining", "side": "below", "threshold": 15}
    made = await api(ada, "POST", "/rules", **draft, device_id=str(owned.device_id))
    assert made.status == 201, made.text
    rule = json.loads(made.text)
    assert (rule["threshold"], rule["hold_s"], rule["device_id"]) == (15, 0, str(owned.device_id))
    path = f"/rules/{rule['rule_id']}"
    await judge_now(portal.pool, owned, [{"runtime_remaining": 899.0}])
    assert json.loads((await api(ada, "GET", path)).text)["raised_on"] == 1
    [deed] = json.loads((await api(ada, "GET", f"{path}/history")).text)["deeds"]
    assert (deed["kind"], deed["detail"]["value"]) == ("rule_raised", 899)
    for method in ("GET", "DELETE"):
        assert (await api(eve, method, path)).status == 404
    changed = await api(ada, "PUT", path, **{**draft, "hold_s": 60})
    assert json.loads(changed.text)["hold_s"] == 60
    wrong = await api(ada, "PUT", path, **{**draft, "threshold": -1})
    assert (wrong.status, json.loads(wrong.text)["code"]) == (422, "field_invalid")
    assert json.loads((await api(ada, "PUT", f"{path}/enabled", enabled=False)).text)["enabled"] is False
    battery = f"/devices/{owned.device_id}/battery"
    assert (await api(ada, "PUT", battery, installed="2023-04-05")).status == 204
    assert (await api(ada, "PUT", battery, installed="2023-04-31")).status == 422
    assert (await api(ada, "DELETE", path)).status == 204
    assert json.loads((await api(ada, "GET", "/rules")).text) == {"rules": []}


async def test_who_only_looks_makes_no_rule_and_nobody_makes_too_many(portal: Portal, ada: Somebody) -> None:
    draft = {"name": "Load", "subject": "output_real_power_pct", "threshold": 80}
    async with portal.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO rule (company_id, scope, scope_id, name, subject, side, threshold, hysteresis,"
            " hold_ms, clear_ms, gap_ms, from_ms, created_ms, changed_ms, account_id)"
            " SELECT %s, 'company', 0, 'x', 'load_w', 'above', 1, 0, 0, 0, 1, 0, 0, 0, 0"
            " FROM generate_series(1, %s)",
            [ada.actor.company_id, MAX_RULES],
        )
    assert (await api(ada, "POST", "/rules", **draft)).status == 429
    async with portal.pool.connection() as connection:
        await connection.execute("DELETE FROM rule")
        await connection.execute("UPDATE membership SET role = 'viewer'")
    assert (await api(ada, "POST", "/rules", **draft)).status == 403
    assert (await ada.browser.get("/rules/new")).status == 403
    assert "New rule" not in (await ada.browser.get("/rules")).text
