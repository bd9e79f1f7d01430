"""The Control panel and the API of commands, as a person and as a program meet them."""

import datetime as dt
import json
import re
from typing import Any
from urllib.parse import unquote

import pytest

from cloud.core.command import MAX_IN_RATE, State, Step
from cloud.core.second_factor import FRESH_MS
from cloud.services import commanding
from cloud.web.command_words import KINDS, STATES, STEPS, outcome_text
from protocol.commands import CODE_TEXTS, CommandCode, CommandKind
from tests.cloud.web.conftest import Somebody
from tests.support.commanding import OFF, ON, turn_on_two_factor
from tests.support.portal import Answer, Owned, Portal, now_ms

WELL: dict[str, Any] = {"mog_outlet_status": ON, "sog0_outlet_status": ON, "sog1_outlet_status": OFF}
ASKED = "kind=outlet_reboot&group=sog0"
FORM = {"kind": "outlet_reboot", "group": "sog0", "name": "Outlet group 1"}


@pytest.fixture
async def ups(portal: Portal, ada: Somebody) -> Owned:
    """A healthy UPS of Ada's with three outlet groups; she has Two-Factor Authentication."""
    owned = await portal.own_device(ada.actor)
    await owned.show(**WELL)
    await turn_on_two_factor(portal.pool, ada.actor.account_id, now_ms())
    return owned


async def change(portal: Portal, statement: str, *values: object) -> None:
    async with portal.pool.connection() as connection:
        await connection.execute(statement.encode(), list(values))


async def written(portal: Portal) -> int:
    async with portal.pool.connection() as connection:
        found = await connection.execute("SELECT 1 FROM command")
        return len(await found.fetchall())


async def stale(portal: Portal) -> None:
    await change(portal, "UPDATE web_session SET factor_ms = factor_ms - %s", 2 * FRESH_MS)


def command_id(page: Answer) -> str:
    found = re.search(r'name="command_id" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


# --- pages --------------------------------------------------------------------------------------------------


async def test_the_panel_shows_groups_with_what_can_be_done(
    portal: Portal, ada: Somebody, ups: Owned
) -> None:
    page = (await ada.browser.get(f"/devices/{ups.device_id}")).text
    assert "Outlet group 2" in page
    assert f"/devices/{ups.device_id}/control?kind=outlet_on&amp;group=sog1" in page
    assert f"/devices/{ups.device_id}/control?kind=outlet_reboot&amp;group=mog" in page
    assert "kind=outlet_on&amp;group=sog0" not in page
    assert "Nothing was ordered yet" in page
    await change(portal, "UPDATE membership SET role = 'viewer'")
    page = (await ada.browser.get(f"/devices/{ups.device_id}")).text
    assert "control?kind" not in page
    assert "Your role lets you look" in page


async def test_a_reboot_from_the_question_to_the_history(portal: Portal, ada: Somebody, ups: Owned) -> None:
    path = f"/devices/{ups.device_id}/control"
    page = await ada.browser.get(f"{path}?{ASKED}")
    assert "loses power at once and gets it back" in page.text
    assert "carries 380 W now" in page.text
    form = {**FORM, "command_id": command_id(page)}
    wrong = await ada.browser.post(path, {**form, "name": "Outlet group 2"})
    assert wrong.status == 422
    assert "not that of the outlet group" in wrong.text
    assert await written(portal) == 0
    for _ in range(2):  # pressed twice
        sent = await ada.browser.post(path, form)
        assert (sent.status, sent.headers["Location"]) == (303, f"/devices/{ups.device_id}#control")
    assert await written(portal) == 1
    for shown in (f"/devices/{ups.device_id}", f"/devices/{ups.device_id}/commands"):
        text = (await ada.browser.get(shown)).text
        assert "Reboot: Outlet group 1 – Requested" in text
        assert "By Ada North." in text
    await change(portal, "UPDATE command SET delivered_ms = issued_ms + 200, ended_ms = issued_ms + 1400")
    text = (await ada.browser.get(f"/devices/{ups.device_id}/commands")).text
    assert "Requested → delivered after 0.2 s → " in text
    await change(portal, "UPDATE command SET due_ms = 1")
    assert "Outlet group 1 – Expired" in (await ada.browser.get(f"/devices/{ups.device_id}")).text


async def test_the_main_group_names_those_it_feeds(ada: Somebody, ups: Owned) -> None:
    page = await ada.browser.get(f"/devices/{ups.device_id}/control?kind=outlet_off&group=mog")
    assert "until somebody switches it on again" in page.text
    assert "“Outlet group 1” and “Outlet group 2” may lose power" in page.text


async def test_a_stale_factor_is_asked_for_and_leads_back(portal: Portal, ada: Somebody, ups: Owned) -> None:
    path = f"/devices/{ups.device_id}/control"
    await stale(portal)
    for answer in (await ada.browser.get(f"{path}?{ASKED}"), await ada.browser.post(path, FORM)):
        assert answer.status == 303
        way, _, back = answer.headers["Location"].partition("?next=")
        assert (way, unquote(back)) == ("/account/confirm", f"{path}?{ASKED}")
        assert "A code of your authenticator" in (
            await ada.browser.get(answer.headers["Location"])
        ).text.replace("Enter a code", "A code")
    assert await written(portal) == 0


MISSING = (
    ("UPDATE membership SET role = 'viewer'", "Your role does not allow commands", 403),
    ("UPDATE totp SET confirmed_ms = NULL", "Two-Factor Authentication is not turned on", 403),
    ("UPDATE latest SET connected = false", "The device is not connected", 409),
    ("UPDATE latest SET smartconnect = false", "SmartConnect is switched off", 409),
    ("UPDATE latest SET ts_ms = ts_ms - 200000", "gets no readings from its UPS", 409),
    ("UPDATE latest SET sog0_outlet_status = 0", "has no such outlet group", 422),
)


async def test_a_missing_step_is_said_before_and_stops_it_after(
    portal: Portal, ada: Somebody, ups: Owned
) -> None:
    path = f"/devices/{ups.device_id}/control"
    for statement, told, status in MISSING:
        await ups.show(**WELL, smartconnect=True)
        await change(portal, "UPDATE membership SET role = 'owner'")
        await change(portal, "UPDATE totp SET confirmed_ms = 1")
        await change(portal, statement)
        asked = await ada.browser.get(f"{path}?{ASKED}")
        assert asked.status == 200
        assert told in asked.text
        assert '<button type="submit" class="danger"' not in asked.text
        sent = await ada.browser.post(path, FORM)
        assert (sent.status, told in sent.text, "Nothing was sent" in sent.text) == (status, True, True)
    assert await written(portal) == 0


async def test_on_battery_it_must_be_wanted_anyway(portal: Portal, ada: Somebody, ups: Owned) -> None:
    path = f"/devices/{ups.device_id}/control"
    await ups.show(**{**WELL, "ups_status": 1 << 2})
    assert "I want it anyway" in (await ada.browser.get(f"{path}?{ASKED}")).text
    refused = await ada.browser.post(path, FORM)
    assert refused.status == 409
    assert "runs on battery" in refused.text
    assert await written(portal) == 0
    assert (await ada.browser.post(path, {**FORM, "force": "yes"})).status == 303
    test = await ada.browser.post(path, {"kind": "self_test", "force": "yes"})
    assert test.status == 409
    assert await written(portal) == 1


async def test_other_commands_need_no_factor_and_no_name(portal: Portal, ada: Somebody, ups: Owned) -> None:
    path = f"/devices/{ups.device_id}/control"
    await change(portal, "DELETE FROM totp")
    await stale(portal)
    assert "runs its load from the battery" in (await ada.browser.get(f"{path}?kind=self_test")).text
    for kind in ("self_test", "calibration_abort", "mute", "identify"):
        assert (await ada.browser.post(path, {"kind": kind})).status == 303
    assert await written(portal) == 4


async def test_what_is_no_command_does_not_exist(ada: Somebody, ups: Owned) -> None:
    for asked in ("", "kind=format_disk", "kind=outlet_off", "kind=outlet_off&group=sog9"):
        assert (await ada.browser.get(f"/devices/{ups.device_id}/control?{asked}")).status == 404


async def test_names_that_the_ups_tells_are_those_that_are_typed(
    portal: Portal, ada: Somebody, ups: Owned
) -> None:
    await change(
        portal,
        "INSERT INTO device_setting (device_id, epoch, reported) SELECT device_id, epoch, %s::jsonb"
        " FROM latest"
        " ON CONFLICT (device_id) DO UPDATE SET reported = excluded.reported, epoch = excluded.epoch",
        json.dumps({"sog0_name": "<Printers>"}),
    )
    path = f"/devices/{ups.device_id}/control"
    page = await ada.browser.get(f"{path}?{ASKED}")
    assert "Reboot &lt;Printers&gt;" in page.text
    assert (await ada.browser.post(path, FORM)).status == 422
    assert (await ada.browser.post(path, {**FORM, "name": "<printers>"})).status == 303


# --- the API ------------------------------------------------------------------------------------------------


async def ask(somebody: Somebody, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """As a program."""
    me = json.loads((await somebody.browser.get("/api/v1/session")).text)
    how = {} if body is None else {"json": body}
    return await somebody.browser.ask(
        method, f"/api/v1{path}", headers={"X-Form-Token": me["form_token"], **headers}, **how
    )


async def test_a_program_sends_looks_and_may_repeat_itself(portal: Portal, ada: Somebody, ups: Owned) -> None:
    path = f"/devices/{ups.device_id}"
    groups = json.loads((await ask(ada, "GET", f"{path}/outlet-groups")).text)["groups"]
    assert groups[1:] == [
        {"group": "sog0", "name": "Outlet group 1", "state": "on"},
        {"group": "sog1", "name": "Outlet group 2", "state": "off"},
    ]
    body = {"kind": "outlet_off", "group": "sog0", "group_name": "Outlet group 1"}
    answers = [
        await ask(ada, "POST", f"{path}/commands", body, **{"Idempotency-Key": "k1"}) for _ in range(2)
    ]
    assert [one.status for one in answers] == [202, 202]
    assert answers[0].text == answers[1].text
    assert await written(portal) == 1
    made = json.loads(answers[0].text)
    assert (made["state"], made["requested_by"], made["code"]) == ("requested", "Ada North", "")
    assert made["expires_ms"] - made["issued_ms"] == 60_000
    assert json.loads((await ask(ada, "GET", f"{path}/commands/{made['command_id']}")).text) == made
    assert json.loads((await ask(ada, "GET", f"{path}/commands")).text) == {"commands": [made]}
    for nothing in ("x", "0" * 8 + "-0000-4000-8000-" + "0" * 12):
        assert (await ask(ada, "GET", f"{path}/commands/{nothing}")).status == 404


async def test_every_missing_step_is_told_at_once(portal: Portal, ada: Somebody, ups: Owned) -> None:
    path = f"/devices/{ups.device_id}/commands"
    await change(portal, "DELETE FROM totp")
    await stale(portal)
    await ups.show(**{**WELL, "ups_status": 1 << 2 | 1 << 5})
    answer = await ask(ada, "POST", path, {"kind": "outlet_off", "group": "mog"})
    told = json.loads(answer.text)
    missing = ["two_factor_needed", "factor_needed", "on_battery", "ups_fault", "group_name_wrong"]
    assert (answer.status, told["code"], told["missing"]) == (403, "two_factor_needed", missing)
    assert "Nothing was sent." in told["detail"]
    for body in ({"kind": "outlet_off"}, {"kind": "x"}, {"kind": "outlet_off", "group": "mog", "force": 1}):
        assert (await ask(ada, "POST", path, body)).status in {400, 403}
    assert await written(portal) == 0


async def test_too_many_are_told_when_to_come_again(ada: Somebody, ups: Owned) -> None:
    path = f"/devices/{ups.device_id}/commands"
    for _ in range(MAX_IN_RATE):
        assert (await ask(ada, "POST", path, {"kind": "mute"})).status == 202
    answer = await ask(ada, "POST", path, {"kind": "mute"})
    assert (answer.status, answer.headers["Retry-After"]) == (429, "60")


# --- words --------------------------------------------------------------------------------------------------


async def test_everything_has_its_words(portal: Portal, ada: Somebody, ups: Owned) -> None:
    assert (set(KINDS), set(STATES), set(STEPS)) == (set(CommandKind), set(State), set(Step))
    await ada.browser.post(f"/devices/{ups.device_id}/control", {"kind": "mute"})
    (row,) = await commanding.history(portal.pool, ada.actor, ups.device_id)
    for code in CommandCode:
        await change(portal, "UPDATE command SET state = 'refused', code = %s, due_ms = NULL", code.value)
        (row,) = await commanding.history(portal.pool, ada.actor, ups.device_id)
        assert outcome_text(row, State.REFUSED) == CODE_TEXTS[code]


# --- calibrations on a schedule -----------------------------------------------------------------------------


async def test_a_calibration_comes_by_itself_until_it_is_given_up(
    portal: Portal, ada: Somebody, ups: Owned
) -> None:
    asked = f"/devices/{ups.device_id}/control?kind=calibration_start"
    path = f"/devices/{ups.device_id}/calibration-schedule"
    assert "It can come in a rhythm" in (await ada.browser.get(asked)).text
    unusable: tuple[dict[str, str], ...] = (
        {},
        {"every_days": "90", "first": "2001-01-01T03:00"},
        {"every_days": "x", "first": "2030-01-01T03:00"},
    )
    for form in unusable:
        wrong = await ada.browser.post(path, form)
        assert wrong.status == 422
        assert "Choose how often" in wrong.text
    first = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    made = await ada.browser.post(path, {"every_days": "90", "first": first.strftime("%Y-%m-%dT%H:%M")})
    assert made.headers["Location"] == asked
    assert "Every three months; next on" in (await ada.browser.get(asked)).text
    await change(portal, "UPDATE calibration_schedule SET missing = 'on_battery'")
    assert "could not begin: The UPS runs on battery." in (await ada.browser.get(asked)).text
    told = json.loads((await ask(ada, "GET", path)).text)
    assert (told["every_days"], told["missing"]) == (90, "on_battery")
    assert (await ada.browser.post(path, {"stop": "yes"})).status == 303
    body = {"every_days": 30, "first_ms": now_ms() - 1}
    assert json.loads((await ask(ada, "PUT", path, body)).text)["code"] == "field_invalid"
    assert (await ask(ada, "PUT", path, {**body, "first_ms": now_ms() + 60_000})).status == 200
    assert (await ask(ada, "DELETE", path)).status == 204
    empty = {"every_days": None, "due_ms": None, "missing": None}
    assert json.loads((await ask(ada, "GET", path)).text) == empty
    await change(portal, "UPDATE membership SET role = 'viewer'")
    assert (await ada.browser.post(path, {"stop": "yes"})).status == 403
    assert "How often" not in (await ada.browser.get(asked)).text
