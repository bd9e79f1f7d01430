"""The settings of a device: page, steps after a claim, API. Reports are stored as a writer does it."""

import json
from collections.abc import Mapping

import psycopg

from cloud.postgres.reported import ReportRow, store_reports
from cloud.provision import load_key_set
from protocol.messages import Desired, KeyUse, Reported, Scalar
from protocol.signing import open_control
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Owned, Portal, now_ms
from tests.support.streams import open_stream

IN_UPS: Mapping[str, Scalar] = {
    "report_interval_s": 60,
    "ups_name": "APCUPS",
    "sensitivity": "normal",
    "transfer_low": 207,
    "transfer_high": 253,
    "mog_name": "UPS Outlets",
}


def report(portal: Portal, owned: Owned, base_version: int = 0, **changes: object) -> None:
    """Let the device report, as a gateway's writer stores it."""
    said = {"settings": dict(IN_UPS), **changes}
    row = ReportRow(
        owned.device_id,
        Reported(epoch=owned.epoch, base_version=base_version, revision=now_ms(), **said),  # type: ignore[arg-type]  # fields of a report
    )
    with psycopg.connect(portal.settings.dsn) as connection, connection.cursor() as cursor:
        store_reports(cursor, [row], now_ms())


async def settings_of(ada: Somebody, owned: Owned) -> dict[str, dict[str, object]]:
    """What the API says of each setting."""
    answer = await ada.browser.get(f"/api/v1/devices/{owned.device_id}/settings")
    assert answer.status == 200, answer.text
    return {one["name"]: one for one in json.loads(answer.text)["settings"]}


async def change(ada: Somebody, owned: Owned, **values: object) -> tuple[int, dict[str, object]]:
    """PATCH over the API; status and body."""
    answer = await ada.browser.ask(
        "PATCH",
        f"/api/v1/devices/{owned.device_id}/settings",
        json={"settings": values},
        headers={"X-Form-Token": ada.browser.form_token},
    )
    return answer.status, json.loads(answer.text)


async def test_the_steps_after_a_claim_end_at_the_device(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    path = f"/devices/{owned.device_id}"
    with psycopg.connect(portal.settings.dsn) as connection:
        connection.execute("UPDATE account SET time_zone = 'Asia/Tokyo'")
    page = await ada.browser.get(f"{path}/setup")
    assert "<option selected>Asia/Tokyo</option>" in page.text
    for words in ("UPS Profile", "UPS Name", "UPS Description", "Timezone", "Notifications", "Save Profile"):
        assert words in page.text, words
    form = {
        "was_name": "",
        "name": "Cellar",
        "was_description": "",
        "description": "Rack 4",
        "was_time_zone": "UTC",
        "time_zone": "Europe/Paris",
        "was_notifications": "on",
    }
    taken = await ada.browser.post(f"{path}/setup", form)
    assert (taken.status, taken.headers["Location"]) == (303, f"{path}/setup/sensitivity")
    page = await ada.browser.get(taken.headers["Location"])
    for words in ("Device Sensitivity", "At once", "After 10 seconds", "After 60 seconds", ">Next<"):
        assert words in page.text, words
    sensitivity = {"was_device_sensitivity_s": "0", "device_sensitivity_s": "own", "own_s": "45"}
    taken = await ada.browser.post(f"{path}/setup/sensitivity", sensitivity)
    page = await ada.browser.get(taken.headers["Location"])
    for words in ("Cellar is set up", "Europe/Paris", "After 45 s on battery", ">Off<", ">Finish<"):
        assert words in page.text, words
    found = await settings_of(ada, owned)
    assert [
        found[name]["value"] for name in ("name", "time_zone", "notifications", "device_sensitivity_s")
    ] == [
        "Cellar",
        "Europe/Paris",
        False,
        45,
    ]


async def test_a_wish_waits_signed_for_the_device_until_it_reports(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    report(portal, owned)
    form = {"was_transfer_low": "207", "transfer_low": "196", "was_ups_name": "APCUPS", "ups_name": "APCUPS"}
    answer = await ada.browser.post(f"/devices/{owned.device_id}/settings", form)
    assert answer.status == 303
    found = await settings_of(ada, owned)
    assert (found["transfer_low"]["state"], found["transfer_low"]["wanted"]) == ("pending", 196)
    assert (found["ups_name"]["state"], found["ups_name"]["wanted"]) == ("in_force", None)
    page = (await ada.browser.get(f"/devices/{owned.device_id}/settings")).text
    for words in ("1 setting waits for the device", "Waits for the device", "207 V", "196 V", "by Ada North"):
        assert words in page, words
    with psycopg.connect(portal.settings.dsn) as connection:
        row = connection.execute("SELECT version, sealed, kid FROM device_setting").fetchone()
    assert row is not None
    key_set = load_key_set(portal.settings.state_dir)
    desired = open_control(bytes(row[1]), key_set, now_ms())
    assert isinstance(desired, Desired)
    assert (desired.version, desired.epoch, desired.kid) == (row[0], owned.epoch, row[2])
    assert desired.settings == {"transfer_low": 196}
    assert any(key.use is KeyUse.COMMAND for key in key_set.keys)
    report(portal, owned, desired.version, settings={**IN_UPS, "transfer_low": 196})
    found = await settings_of(ada, owned)
    assert (found["transfer_low"]["state"], found["transfer_low"]["value"]) == ("in_force", 196)
    assert "Both sides agree" in (await ada.browser.get(f"/devices/{owned.device_id}/settings")).text


async def test_the_page_says_who_won(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    report(portal, owned)
    _, body = await change(ada, owned, transfer_low=196, sensitivity="low")
    version = int(str(body["version"]))
    values = {**IN_UPS, "transfer_low": 190}
    report(
        portal,
        owned,
        version,
        settings=values,
        changed={"transfer_low": now_ms()},
        refused={"sensitivity": "refused_by_ups"},
    )
    page = (await ada.browser.get(f"/devices/{owned.device_id}/settings")).text
    for words in (
        "Changed at the device",
        "It was changed there later than 196 V, wanted by Ada North.",
        "Low, wanted by Ada North, was refused: the UPS does not take this value",
        "overtaken: a later change at the device stands",
    ):
        assert words in page, words
    found = await settings_of(ada, owned)
    assert (found["transfer_low"]["state"], found["transfer_low"]["value"]) == ("changed_at_device", 190)
    assert (found["sensitivity"]["state"], found["sensitivity"]["code"]) == ("refused", "refused_by_ups")


async def test_what_is_wrong_stands_beside_its_field_and_nothing_is_changed(
    portal: Portal, ada: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    report(portal, owned)
    form = {
        "was_transfer_low": "207",
        "transfer_low": "5",
        "was_report_interval_s": "60",
        "report_interval_s": "soon",
        "was_time_zone": "UTC",
        "time_zone": "Mars/Base",
    }
    answer = await ada.browser.post(f"/devices/{owned.device_id}/settings", form)
    assert answer.status == 422
    assert "Report every is a whole number." in answer.text
    form["report_interval_s"] = "60"
    answer = await ada.browser.post(f"/devices/{owned.device_id}/settings", form)
    for words in ("Transfer below is 70 to 300 V.", "Please choose a time zone.", 'value="5"'):
        assert words in answer.text, words
    found = await settings_of(ada, owned)
    assert {one["state"] for one in found.values()} == {"in_force"}
    status, body = await change(ada, owned, transfer_low=5, bypass=1, notifications="yes")
    assert status == 422
    assert body["code"] == "field_invalid"
    assert set(body["faults"]) == {"transfer_low", "bypass", "notifications"}  # type: ignore[call-overload]  # a dict


async def test_an_old_page_does_not_undo_what_happened_meanwhile(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    report(portal, owned)
    report(portal, owned, settings={**IN_UPS, "transfer_low": 190}, changed={"transfer_low": now_ms()})
    form = {"was_transfer_low": "207", "transfer_low": "207", "was_ups_name": "APCUPS", "ups_name": "Rack 4"}
    await ada.browser.post(f"/devices/{owned.device_id}/settings", form)
    found = await settings_of(ada, owned)
    assert found["transfer_low"]["wanted"] is None
    assert found["ups_name"]["wanted"] == "Rack 4"


async def test_a_viewer_sees_and_may_not_change(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    with psycopg.connect(portal.settings.dsn) as connection:
        connection.execute("UPDATE membership SET role = 'viewer'")
    page = await ada.browser.get(f"/devices/{owned.device_id}/settings")
    assert page.status == 200
    assert "Save settings" not in page.text
    status, body = await change(ada, owned, device_sensitivity_s=5)
    assert (status, body["code"]) == (403, "forbidden")


async def test_the_page_is_live(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    report(portal, owned)
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/settings/live") as stream:
        await stream.until("Both sides agree")
        await change(ada, owned, transfer_low=196)
        await stream.until("Waits for the device")
