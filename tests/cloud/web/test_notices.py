"""Notifications through the pages: a person makes a policy, plans work, acknowledges, unsubscribes."""

import json
import re
from typing import Any

import pytest

from tests.cloud.web.conftest import Somebody
from tests.support.notice import HOUR, MINUTE, Building
from tests.support.portal import Portal, Visitor, now_ms, visitor


@pytest.fixture
async def building(portal: Portal, ada: Somebody) -> Building:
    """Ada's company with two devices."""
    found = Building(portal.kit, ada.actor)
    await found.add(2)
    return found


POLICY = {
    "name": "Nights",
    "scope": "company",
    "topic_on_battery": "on",
    "to_role_owner": "on",
    "enabled": "on",
}


async def test_a_policy_is_made_changed_and_removed(ada: Somebody, building: Building) -> None:
    await ada.browser.get("/sites")
    await ada.browser.post("/sites", {"name": "First of all"})
    board = (await ada.browser.get("/notifications")).text
    assert "What matters, to the owner" in board, "whatever a company begins with"
    site_id = await building.site("North")
    form = {**POLICY, "scope": f"site:{site_id}", "delay_s": "20", "quiet_from_min": "22:00"}
    answer = await ada.browser.post("/notifications/policies/new", form)
    assert answer.status == 422
    assert "Quiet hours need a beginning and another end." in answer.text
    assert 'value="Nights"' in answer.text
    form |= {"quiet_until_min": "07:00", "quiet_zone": "Europe/Berlin", "escalate_after_s": "15"}
    assert "somebody to tell then" in (await ada.browser.post("/notifications/policies/new", form)).text
    form["then_role_everyone"] = "on"
    assert (await ada.browser.post("/notifications/policies/new", form)).status == 303
    board = (await ada.browser.get("/notifications")).text
    assert "Site North" in board
    assert "Owners of the company; then Everybody in the company" in board
    (path,) = re.findall(r'href="(/notifications/policies/\d+)">Nights', board)
    shown = (await ada.browser.get(path)).text
    assert 'value="22:00"' in shown
    assert re.search(r'id="topic_on_battery"[^>]* checked', shown)
    assert (await ada.browser.post(path, {**form, "name": "Days"})).status == 303
    assert (await ada.browser.post(f"{path}/remove", {})).status == 303
    assert "Days" not in (await ada.browser.get("/notifications")).text


FAULTS: list[tuple[dict[str, str | None], str]] = [
    ({"name": ""}, "Please say something here."),
    ({"topic_on_battery": None}, "Choose at least one kind of event."),
    ({"to_role_owner": None}, "Choose at least one person, group or channel."),
    ({"scope": "site:999"}, "Choose one of the company’s sites."),
    ({"scope": "device:999"}, "Choose one of the company’s devices."),
    ({"scope": "device:x"}, "Choose what it is about."),
    ({"delay_s": "soon"}, "Type the delay in seconds as a number."),
    ({"delay_s": "99999"}, "The delay is 0 to 3600 seconds."),
    ({"quiet_from_min": "late", "quiet_until_min": "07:00"}, "Type a time of day as 22:00."),
]


async def test_every_error_says_what_to_do(ada: Somebody) -> None:
    await ada.browser.get("/notifications/policies/new")
    for change, words in FAULTS:
        form = {name: value for name, value in {**POLICY, **change}.items() if value is not None}
        answer = await ada.browser.post("/notifications/policies/new", form)
        assert answer.status == 422
        assert words in answer.text


async def test_a_channel_shows_its_secret_once_and_takes_a_test(ada: Somebody, portal: Portal) -> None:
    await ada.browser.get("/notifications/channels/new")
    typed = {"name": "Ours", "kind": "webhook", "address": "https://10.1.2.3/hook?key=secretive"}
    answer = await ada.browser.post("/notifications/channels/new", typed)
    assert "not one of the public internet" in answer.text
    typed["address"] = "https://hooks.example.org/T0/secretive"
    answer = await ada.browser.post("/notifications/channels/new", typed)
    (secret,) = re.findall(r"whsec_[0-9a-f]{64}", answer.text)
    board = (await ada.browser.get("/notifications")).text
    assert "https://hooks.example.org/…" in board
    assert secret not in board + (await ada.browser.get("/notifications/log")).text
    async with portal.pool.connection() as connection:
        found = await connection.execute("SELECT channel_id, sealed, shown FROM notice_channel")
        ((channel_id, sealed, shown),) = await found.fetchall()
    (offered,) = re.findall(r'name="channel" value="(\d+)"', answer.text)
    assert offered == str(channel_id)
    assert b"secretive" not in bytes(sealed)
    assert "secretive" not in shown
    sent = await ada.browser.post("/notifications/test", {"channel": str(channel_id)})
    assert sent.headers["Location"] == "/notifications?tested=1"
    assert "Too many attempts" in (await ada.browser.post("/notifications/test", {})).text
    log = (await ada.browser.get("/notifications/log")).text
    assert "A test" in log
    assert "webhook to Ours" in log
    assert (await ada.browser.post(f"/notifications/channels/{channel_id}/remove", {})).status == 303


async def test_sites_have_devices_and_lose_them(ada: Somebody, building: Building) -> None:
    await ada.browser.get("/sites")
    made = await ada.browser.post("/sites", {"name": " North  building "})
    path = made.headers["Location"]
    assert "name already" in (await ada.browser.post("/sites", {"name": "North building"})).text
    one, two = building.devices
    assert (await ada.browser.post(path, {"name": "North"})).status == 303
    site_id = path.rpartition("/")[2]
    for device, count in ((one, "1 device<"), (two, "2 devices<")):
        form = {"device": str(device.device_id), "site": site_id}
        assert (await ada.browser.post("/devices/move", form)).status == 303
        assert count in (await ada.browser.get("/sites")).text
    await ada.browser.post("/devices/move", {"device": str(two.device_id), "site": ""})
    page = (await ada.browser.get("/sites")).text
    assert "1 device<" in page
    assert "1 device is at no site." in page
    assert (await ada.browser.post(f"{path}/remove", {})).status == 303
    assert "There is no site yet." in (await ada.browser.get("/sites")).text


async def test_an_alarm_is_acknowledged_with_a_reason_until_it_is_over(
    ada: Somebody, building: Building
) -> None:
    ups = building.devices[0]
    await building.event(ups, "overload")
    await building.work(MINUTE)
    page = (await ada.browser.get(f"/devices/{ups.device_id}")).text
    assert "Overload" in page
    (field,) = re.findall(r'name="(alarm [^"]+)"', page)
    assert "Please say something here." in (await ada.browser.post("/alarms", {field: "on"})).text
    assert "Choose at least one alarm." in (await ada.browser.post("/alarms", {"reason": "x"})).text
    form = {field: "on", "reason": "moved the <heater>", "back": str(ups.device_id)}
    answer = await ada.browser.post("/alarms", form)
    assert answer.headers["Location"] == f"/devices/{ups.device_id}"
    assert "acknowledged by Ada North: moved the &lt;heater&gt;" in (await ada.browser.get("/alarms")).text
    await building.event(ups, "overload_cleared")
    await building.work(MINUTE)
    assert "Nothing is wrong on any of your devices." in (await ada.browser.get("/alarms")).text


async def test_work_is_planned_with_an_end(ada: Somebody, building: Building) -> None:
    await ada.browser.get("/notifications")
    ups = building.devices[0]
    form = {
        "scope": f"device:{ups.device_id}",
        "from": "",
        "until": "2001-01-31T18:00",
        "reason": "batteries",
    }
    assert "The end lies ahead" in (await ada.browser.post("/notifications/windows", form)).text
    form["until"] = "whenever"
    assert "Type a date and a time" in (await ada.browser.post("/notifications/windows", form)).text
    form |= {"from": "2031-01-31T17:00", "until": "2031-01-31T18:00"}
    assert (await ada.browser.post("/notifications/windows", form)).status == 303
    board = (await ada.browser.get("/notifications")).text
    assert "batteries" in board
    (path,) = re.findall(r'action="(/notifications/windows/\d+/end)"', board)
    assert (await ada.browser.post(path, {})).status == 303
    assert "batteries" not in (await ada.browser.get("/notifications")).text


async def test_a_device_is_muted_for_a_while_from_its_page(ada: Somebody, building: Building) -> None:
    ups, other = building.devices[:2]
    address = f"/devices/{ups.device_id}"
    page = (await ada.browser.get(address)).text
    assert re.findall(r'name="mute" value="(\w+)"', page) == ["1h", "8h", "1d", "7d"]
    form = {"scope": f"device:{ups.device_id}", "back": str(ups.device_id), "mute": "1h"}
    answer = await ada.browser.post("/notifications/windows", form)
    assert answer.headers["Location"] == f"{address}#mute"
    building.now_ms = now_ms()
    page = (await ada.browser.get(address)).text
    assert "Nobody is told about this device" in page
    assert 'name="mute"' not in page
    assert 'name="mute"' in (await ada.browser.get(f"/devices/{other.device_id}")).text
    await building.event(ups, "overload")
    await building.work(MINUTE)
    assert await building.mails() == []
    (path,) = re.findall(r'action="(/notifications/windows/\d+/end)"', page)
    answer = await ada.browser.post(path, {"back": str(ups.device_id)})
    assert answer.headers["Location"] == f"{address}#mute"
    assert 'name="mute"' in (await ada.browser.get(address)).text
    await building.work(MINUTE)
    assert [mail.to_address for mail in await building.mails()] == [ada.email]


async def test_one_click_ends_mails_without_cookie_or_form(
    portal: Portal, ada: Somebody, building: Building
) -> None:
    await building.event(building.devices[0], "on_battery")
    await building.work(MINUTE)
    (mail,) = await building.mails()
    (path,) = re.findall(r"(/unsubscribe/\S+)", mail.text)
    async with visitor() as http:
        stranger = Visitor(http, portal.url)
        assert "No more of these mails?" in (await stranger.get(path)).text
        assert "No mails to me" in (await ada.browser.get("/notifications")).text, "a look changes nothing"
        answer = await stranger.ask("POST", path, data={"List-Unsubscribe": "One-Click"})
        assert "No more of these mails" in answer.text
        wrong = path[:-3] + ("AAA" if not path.endswith("AAA") else "BBB")
        assert (await stranger.ask("POST", wrong, data={})).status != 200
    board = (await ada.browser.get("/notifications")).text
    assert "Mail me again" in board
    (action,) = re.findall(r'action="(/notifications/policies/\d+/mails)"', board)
    await ada.browser.post(action, {"wanted": "yes"})
    assert "Mail me again" not in (await ada.browser.get("/notifications")).text


async def test_programs_arrange_the_same(ada: Somebody, building: Building) -> None:
    token = json.loads((await ada.browser.get("/api/v1/session")).text)["form_token"]

    async def call(method: str, path: str, status: int, body: object = None) -> Any:
        headers = {"X-Form-Token": token, "Accept": "application/json"}
        answer = await ada.browser.ask(method, f"/api/v1{path}", json=body, headers=headers)
        assert answer.status == status, answer.text
        return json.loads(answer.text) if answer.text else None

    site = await call("POST", "/sites", 201, {"site_name": "North"})
    ups = building.devices[0]
    numbers = {"device_ids": [str(ups.device_id)]}
    assert await call("PUT", f"/sites/{site['site_id']}/devices", 200, numbers) == numbers
    wanted = {
        "name": "Faults",
        "topics": ["fault"],
        "recipients": [{"kind": "role", "target": "owner", "step": 0}],
        "site_id": site["site_id"],
    }
    made = await call("POST", "/notifications/policies", 201, wanted)
    assert made["site_id"] == site["site_id"]
    path = f"/notifications/policies/{made['policy_id']}"
    changed = await call("PUT", path, 200, {**wanted, "delay_s": 5})
    assert (changed["delay_s"], changed["policy_id"]) == (5, made["policy_id"])
    assert (await call("PUT", path, 422, {**wanted, "topics": []}))["faults"].keys() == {"topics"}
    await building.event(ups, "fault")
    await building.work(MINUTE)
    (alarm,) = (await call("GET", "/alarms", 200))["alarms"]
    assert (alarm["topic"], alarm["site"], alarm["acked_ms"]) == ("fault", "North", None)
    name = {key: alarm[key] for key in ("device_id", "topic", "subject")}
    answer = await call("POST", "/alarms/acknowledge", 200, {"alarms": [name], "reason": "I look after it"})
    assert answer == {"count": 1}
    (line,) = (await call("GET", "/notifications/deliveries", 200))["deliveries"]
    assert (line["way"], line["to"], line["policy"]) == ("email", "ada@example.org", "Faults")
    window = await call(
        "POST", "/notifications/windows", 201, {"reason": "work", "until_ms": now_ms() + HOUR}
    )
    assert await call("GET", "/notifications/windows", 200) == {"windows": [window]}
    await call("DELETE", f"/notifications/windows/{window['window_id']}", 204)
    channel = {"kind": "webhook", "name": "Ours", "address": "https://hooks.example.org/x"}
    assert (await call("POST", "/notifications/channels", 201, channel))["secret"].startswith("whsec_")
    (shown,) = (await call("GET", "/notifications/channels", 200))["channels"]
    assert "secret" not in shown
    sent = await call("POST", "/notifications/tests", 201, {"channel_id": shown["channel_id"]})
    lines = (await call("GET", "/notifications/deliveries", 200))["deliveries"]
    assert lines[0]["delivery_id"] == sent["delivery_id"]
    await call("DELETE", f"/notifications/channels/{shown['channel_id']}", 204)
    await call("DELETE", path, 204)
    await call("DELETE", f"/sites/{site['site_id']}", 204)
    mine = json.loads((await ada.browser.get("/api/v1/account/data")).text)
    assert [one["sent_to"] for one in mine["notifications"]] == ["ada@example.org"]
    assert [one["ack_reason"] for one in mine["acknowledged"]] == ["I look after it"]


async def test_strangers_find_and_change_nothing(portal: Portal, ada: Somebody, building: Building) -> None:
    await ada.browser.get("/notifications")
    site_id = await building.site("North")
    await building.event(building.devices[0], "overload")
    await building.work(MINUTE)
    ((policy_id,),) = await building.run("SELECT policy_id FROM notice_policy")
    await portal.add_person("eve@example.org", first_name="Eve")
    async with visitor() as http:
        eve = Visitor(http, portal.url)
        await eve.log_in("eve@example.org")
        assert (await eve.get(f"/notifications/policies/{policy_id}")).status == 404
        assert (await eve.get(f"/sites/{site_id}")).status == 404
        for path in (
            f"/notifications/policies/{policy_id}",
            f"/notifications/policies/{policy_id}/remove",
            f"/notifications/policies/{policy_id}/mails",
            f"/sites/{site_id}/remove",
            f"/sites/{site_id}",
        ):
            assert (await eve.post(path, {**POLICY})).status == 404, path
        assert (
            await eve.post("/notifications/policies/new", {**POLICY, "scope": f"site:{site_id}"})
        ).status == 422
        assert "Rack" not in (await eve.get("/alarms")).text + (await eve.get("/notifications/log")).text
        ups = building.devices[0]
        await eve.post("/alarms", {f"alarm {ups.device_id} overload ": "on", "reason": "mine"})
    assert await building.run("SELECT acked_ms FROM alarm") == [(None,)]
