"""The log of events: searched by its address, a page at a time, each event by its own; nobody else's."""

import json
import re
from zoneinfo import ZoneInfo

from tests.cloud.web.conftest import Somebody
from tests.support.claiming import TestDevice
from tests.support.portal import Owned, Portal, now_ms

MINUTE = 60_000
SHOWN = re.compile(r'data-kind="(\w+)"')


async def scene(portal: Portal, ada: Somebody) -> tuple[Owned, Owned]:
    """Two devices: an outage and an overload at one, a self-test at the other."""
    rack = await portal.own_device(ada.actor, TestDevice(model="Smart-UPS X 3000"))
    desk = await portal.own_device(ada.actor, TestDevice(model="Smart-UPS 750"))
    start_ms = now_ms() - 30 * MINUTE
    await rack.add_event("on_battery", at_ms=start_ms, cause="rapid_input_change")
    await rack.add_event("overload", at_ms=start_ms + MINUTE, output_real_power_pct=104.0)
    await rack.add_event("mains_back", at_ms=start_ms + 2 * MINUTE, lasted_s=120.0)
    await desk.add_event("self_test", at_ms=start_ms + 3 * MINUTE, result="passed")
    return rack, desk


async def shown(somebody: Somebody, address: str) -> list[str]:
    """Kinds of the events that a page shows, in its order."""
    answer = await somebody.browser.get(address)
    assert answer.status == 200, answer.text
    return SHOWN.findall(answer.text)


async def test_events_are_searched_by_severity_and_words(portal: Portal, ada: Somebody) -> None:
    rack, desk = await scene(portal, ada)
    newest_first = ["self_test", "mains_back", "overload", "on_battery"]
    assert await shown(ada, "/events") == newest_first
    assert await shown(ada, "/events?severity=critical") == ["overload"]
    assert await shown(ada, "/events?severity=warning") == ["on_battery"]
    assert await shown(ada, "/events?severity=info") == ["self_test", "mains_back"]
    for words in ("SELF-test", "smart-ups 750", "passed", desk.device.product_id.value):
        assert await shown(ada, f"/events?q={words}") == ["self_test"], words
    assert await shown(ada, "/events?q=rapid input") == ["on_battery"]
    assert await shown(ada, "/events?q=smart-ups&severity=critical") == ["overload"]
    assert await shown(ada, f"/devices/{rack.device_id}/events") == newest_first[1:]
    assert await shown(ada, f"/devices/{desk.device_id}/events?severity=info") == ["self_test"]
    page = (await ada.browser.get("/events?q=%25&severity=info")).text
    assert "No event fits" in page
    assert "Smart-UPS X 3000" in (await ada.browser.get("/events")).text
    for address in (
        "/events?severity=loud",
        "/events?before=x",
        "/events/newer",
        "/events?before=1.1.1." + "9" * 19,
    ):
        assert (await ada.browser.get(address)).status == 400, address


async def test_older_events_are_a_page_away_and_newer_ones_are_counted(portal: Portal, ada: Somebody) -> None:
    rack, desk = await scene(portal, ada)
    at_ms = now_ms() - 40 * 86_400_000
    for number in range(60):
        await desk.add_event("clock_corrected", at_ms=at_ms - number // 7, off_s=2.0)
    await rack.add_event("bypass", at_ms=now_ms() - 3 * 3_600_000)
    assert await shown(ada, "/events?q=bypass") == ["bypass"]
    page = (await ada.browser.get("/events")).text
    assert SHOWN.findall(page)[3:6] == ["on_battery", "bypass", "clock_corrected"]
    assert len(SHOWN.findall(page)) == 50
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older is not None
    assert await shown(ada, older[1]) == ["clock_corrected"] * 15
    newer = re.search(r'hx-get="([^"]+)"', page)
    assert newer is not None
    address = newer[1].replace("&amp;", "&")
    assert "new event" not in (await ada.browser.get(address)).text
    for name in ("overload_cleared", "fault"):
        await rack.add_event(name)
    assert "2 new events: show them" in (await ada.browser.get(address)).text
    assert "1 new event: show it" in (await ada.browser.get(f"{address}&severity=critical")).text
    of_desk = address.replace("/events", f"/devices/{desk.device_id}/events", 1)
    assert "new event" not in (await ada.browser.get(of_desk)).text


async def test_each_event_has_an_address_of_its_own(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    rack, desk = await scene(portal, ada)
    page = (await ada.browser.get(f"/devices/{rack.device_id}")).text
    found = re.findall(rf'class="what" href="(/devices/{rack.device_id}/events/[0-9]+-[0-9]+)"', page)
    assert len(set(found)) == 3
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE ownership SET time_zone = 'Asia/Kolkata'")
        found_ts = await connection.execute("SELECT ts FROM event WHERE kind = 'overload'")
        ((overload,),) = await found_ts.fetchall()
    event = (await ada.browser.get(f"/devices/{rack.device_id}/events/2-2")).text
    there = f"{overload.astimezone(ZoneInfo('Asia/Kolkata')):%Y-%m-%d %H:%M:%S}"
    assert re.search(rf"{there}<br><span[^>]*>Asia/Kolkata<", event)
    for words in ("Overload", "Critical", "104", "Around it", "Mains back", "lasted 2 min"):
        assert words in event, words
    assert "Self-test" not in event
    for address in (found[0], f"/devices/{rack.device_id}/events", "/devices/1/events"):
        assert (await eve.browser.get(address)).status == 404
    for address in (
        f"/devices/{desk.device_id}/events/2-2",
        f"/devices/{rack.device_id}/events/2-{'9' * 19}",
    ):
        assert (await ada.browser.get(address)).status == 404
    assert await shown(eve, "/events") == []


async def test_programs_search_the_log_and_files_hold_what_was_found(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    rack, desk = await scene(portal, ada)
    answer = await ada.browser.get("/api/v1/events?severity=critical")
    (event,) = json.loads(answer.text)["events"]
    assert (event["kind"], event["severity"], event["title"]) == ("overload", "critical", "Smart-UPS X 3000")
    assert event["sentence"] == "Overload: load 104 %"
    lines = (await ada.browser.get("/api/v1/events.csv?q=passed")).text.splitlines()
    assert len(lines) == 2
    assert desk.device.product_id.value in lines[1]
    assert "Self-test" in lines[1]
    path = f"/api/v1/devices/{rack.device_id}/events/search"
    kinds = [one["kind"] for one in json.loads((await ada.browser.get(f"{path}.json")).text)["events"]]
    assert kinds == ["mains_back", "overload", "on_battery"]
    page = (await ada.browser.get(f"/devices/{rack.device_id}/events?severity=critical")).text
    assert f'href="{path}.csv?severity=critical"' in page
    assert (await eve.browser.get(f"{path}.csv")).status == 404
    assert json.loads((await eve.browser.get("/api/v1/events")).text)["events"] == []
