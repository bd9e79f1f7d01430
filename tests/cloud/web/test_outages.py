"""Outages on pages and in the API: length, lowest charge, curve; nothing of others, nothing of silence."""

import json
from collections.abc import Sequence
from typing import Any

import psycopg

from tests.cloud.web.conftest import Somebody
from tests.support.claiming import TestDevice
from tests.support.portal import ON_BATTERY, Owned, Portal, now_ms
from tests.support.streams import open_stream

MINUTE = 60_000


async def had_outage(owned: Owned, start_ms: int, minutes: int, *, lowest: float) -> None:
    """An outage with a reading every ten seconds, the last of which shows the lowest charge."""
    await owned.add_event("on_battery", at_ms=start_ms, cause="rapid_input_change", state_of_charge=99.0)
    steps = minutes * 6
    samples = [
        (
            start_ms + step * 10_000,
            {
                "ups_status": ON_BATTERY,
                "state_of_charge": 99.0 - (99.0 - lowest) * step / steps,
                "runtime_remaining": 2400.0 - 1800.0 * step / steps,
                "input_voltage": 0.0,
            },
        )
        for step in range(steps + 1)
    ]
    await owned.add_samples(samples)
    end_ms = start_ms + minutes * MINUTE
    await owned.add_event("mains_back", at_ms=end_ms, state_of_charge=lowest + 2)


async def listed(somebody: Somebody, device_id: int, query: str = "") -> dict[str, Any]:
    """The API's list."""
    answer = await somebody.browser.get(f"/api/v1/devices/{device_id}/outages{query}")
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


def starts(found: dict[str, Any]) -> Sequence[int]:
    return [one["start_ms"] for one in found["outages"]]


async def test_an_outage_with_its_length_lowest_charge_and_curve(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    start_ms = (now_ms() - 40 * MINUTE) // 30_000 * 30_000
    await had_outage(owned, start_ms, 12, lowest=61.0)
    (outage,) = (await listed(ada, owned.device_id))["outages"]
    assert outage == {
        "at_ms": start_ms,
        "start_ms": start_ms,
        "end_ms": start_ms + 12 * MINUTE,
        "ending": "ended",
        "lasted_s": 720.0,
        "cause": "rapid_input_change",
        "lowest_charge_pct": 61.0,
        "battery_low": False,
        "unseen_s": 0.0,
        "time_uncertain": False,
    }
    answer = await ada.browser.get(f"/api/v1/devices/{owned.device_id}/outages/{start_ms}/curve")
    curve = json.loads(answer.text)
    runtimes = [value for value in curve["points"]["runtime_remaining"] if value is not None]
    assert len(runtimes) == 73
    assert runtimes == sorted(runtimes, reverse=True)
    assert (runtimes[0], runtimes[-1]) == (2400.0, 600.0)
    assert curve["from_s"] == start_ms / 1000 - 60
    assert curve["on_battery"][0][0] == start_ms / 1000
    for path in ("", "/outages"):
        page = (await ada.browser.get(f"/devices/{owned.device_id}{path}")).text
        for words in ("12 min on battery", "the mains failed · battery down to 61 %"):
            assert words in page, (path, words)
        assert f'href="/devices/{owned.device_id}/outages/{start_ms}"' in page
    page = (await ada.browser.get(f"/devices/{owned.device_id}/outages/{start_ms}")).text
    for words in ("12 min on battery", "61 %", "/curve", "39 min</td>", "on battery</td>"):
        assert words in page, words


async def test_one_that_goes_on_comes_live_and_its_end_is_not_made_of_silence(
    portal: Portal, ada: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    path = f"/devices/{owned.device_id}"
    async with open_stream(ada.browser, f"{path}/live") as stream:
        await stream.until("No outage so far")
        await owned.show(ups_status=ON_BATTERY)
        await owned.add_event("on_battery", at_ms=now_ms() - 3 * MINUTE, cause="low_input_voltage")
        await stream.until("On battery for 3 min now")
    (outage,) = (await listed(ada, owned.device_id))["outages"]
    assert (outage["ending"], outage["end_ms"], outage["lasted_s"]) == ("open", None, None)
    await owned.show(ups_status=ON_BATTERY, connected=False)
    page = (await ada.browser.get(f"{path}/outages")).text
    assert "On battery when it was last heard; the end is not known yet" in page
    assert "the mains voltage was too low" in page


async def test_the_cloud_losing_a_device_is_no_outage(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show(connected=False)
    for kind in ("communication_lost", "communication_restored", "device_offline", "device_online"):
        await owned.add_event(kind)
    assert (await listed(ada, owned.device_id))["outages"] == []
    body = json.loads((await ada.browser.get(f"/api/v1/devices/{owned.device_id}")).text)
    assert (body["condition"], body["stale"]) == ("offline", True)
    for path in (f"/devices/{owned.device_id}", "/devices"):
        page = (await ada.browser.get(path)).text
        assert 'data-condition="offline"' in page
        assert "this is no outage" in page


async def test_older_outages_are_a_page_away(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    first_ms = now_ms() - 600 * MINUTE
    wanted = [first_ms + number * 10 * MINUTE for number in range(53)]
    for start_ms in wanted:
        await owned.add_event("on_battery", at_ms=start_ms)
        await owned.add_event("mains_back", at_ms=start_ms + MINUTE)
    newest = await listed(ada, owned.device_id)
    assert starts(newest) == wanted[:2:-1]
    older = await listed(ada, owned.device_id, f"?before_ms={newest['older_before_ms']}")
    assert starts(older) == wanted[2::-1]
    assert older["older_before_ms"] is None
    page = (await ada.browser.get(f"/devices/{owned.device_id}/outages")).text
    assert f"before_ms={newest['older_before_ms']}" in page
    page = (await ada.browser.get(f"/devices/{owned.device_id}/outages?before_ms={wanted[3]}")).text
    assert page.count("1 min on battery") == 3
    assert "Newest outages" in page
    assert (await ada.browser.get(f"/devices/{owned.device_id}/outages?before_ms=x")).status == 400
    for at_ms, status in ((wanted[0], 200), (wanted[0] + 1, 404)):
        answer = await ada.browser.get(f"/devices/{owned.device_id}/outages/{at_ms}")
        assert answer.status == status


async def test_an_outage_of_an_earlier_owner_is_not_there(
    portal: Portal, ada: Somebody, database: str
) -> None:
    owned = await portal.own_device(ada.actor, TestDevice())
    start_ms = now_ms() - 20 * MINUTE
    await had_outage(owned, start_ms, 5, lowest=70.0)
    with psycopg.connect(database) as connection:  # as if it had been somebody else's until now
        connection.execute("UPDATE event SET epoch = epoch - 1")
        connection.execute("UPDATE telemetry SET epoch = epoch - 1")
    assert (await listed(ada, owned.device_id))["outages"] == []
    assert "No outage so far" in (await ada.browser.get(f"/devices/{owned.device_id}/outages")).text
    for path in ("/devices/{}/outages/{}", "/api/v1/devices/{}/outages/{}/curve"):
        assert (await ada.browser.get(path.format(owned.device_id, start_ms))).status == 404
