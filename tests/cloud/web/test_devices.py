"""The pages of devices, and what is live on them."""

import asyncio
import json
import re

import pytest

from cloud.web import live
from cloud.web.state import HUB, METRICS
from tests.cloud.web.conftest import Somebody
from tests.support.claiming import TestDevice
from tests.support.portal import ON_BATTERY, ON_MAINS, Portal, now_ms
from tests.support.streams import Stream, open_stream


async def condition(stream: Stream, wanted: str, timeout_s: float = 5.0) -> str:
    """The status fragment that shows this condition."""
    return (await stream.until(f'data-condition="{wanted}"', timeout_s=timeout_s)).data


async def upto(stream: Stream, event: str) -> list[str]:
    """What was told until the first message of this name."""
    told: list[str] = []
    while (message := await stream.next()) is not None and message.event != event:
        told.append(message.data)
    return told


async def test_an_empty_list_says_how_to_begin(ada: Somebody) -> None:
    page = (await ada.browser.get("/devices")).text
    assert "No devices yet" in page
    assert page.count('href="/add"') >= 2


async def test_the_list_shows_state_and_figures(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor, TestDevice(model="Smart-UPS X 3000"))
    await owned.show(ups_status=ON_BATTERY, state_of_charge=81.0, runtime_remaining=1260.0)
    page = (await ada.browser.get("/devices")).text
    for words in ("Smart-UPS X 3000", "On battery", "81 %", "21 min", "38 % · 380 W", "just now"):
        assert words in page
    fragment = await ada.browser.get("/devices", **{"HX-Request": "true"})
    assert "<html" not in fragment.text
    assert "On battery" in fragment.text


async def test_the_page_tells_the_state_the_figures_and_what_it_is(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    await owned.add_event("mains_back", at_ms=now_ms() - 240_000, lasted_s=95.0, input_voltage=230.4)
    await owned.add_samples([(now_ms() - 60_000, {}), (now_ms() - 120_000, {})])
    page = (await ada.browser.get(f"/devices/{owned.device_id}")).text
    for words in (
        "On mains",
        "All is well. The battery is 100 % charged and would last 41 min.",
        "231.4 V",
        "380 W of 1000 W",
        "184.3 kWh",
        "Mains back",
        "lasted 1 min · mains 230 V",
        "4 min ago",
        "SMT1500IC",
        "AS1234567890",
        owned.device.product_id.value,
        "<caption",
    ):
        assert words in page, words


async def test_what_is_not_known_is_a_dash_and_never_a_zero(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show(battery_temperature=float("nan"), efficiency=float("nan"))
    page = (await ada.browser.get(f"/devices/{owned.device_id}")).text
    assert re.search(r'data-point="efficiency">–', page)
    body = json.loads((await ada.browser.get(f"/api/v1/devices/{owned.device_id}")).text)
    assert body["values"]["efficiency"] is None


async def test_names_from_devices_are_escaped(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor, TestDevice(model="<img src=x onerror=alert(1)>"))
    await owned.add_event("<b>bold</b>", note="<i>x</i>")
    page = (await ada.browser.get(f"/devices/{owned.device_id}")).text
    for raw in ("<img", "<b>bold", "<i>x"):
        assert raw not in page
    assert "&lt;img" in page


async def test_a_pulled_plug_is_on_the_open_page_within_two_seconds(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/live") as stream:
        await condition(stream, "on_mains")
        began = now_ms()
        await owned.show(ups_status=ON_BATTERY, input_voltage=0.0)
        assert "On battery" in await condition(stream, "on_battery")
        assert now_ms() - began < 2000
        await owned.show(ups_status=ON_MAINS)
        await condition(stream, "on_mains")


async def test_without_a_hint_a_change_shows_too(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/live") as stream:
        await condition(stream, "on_mains")
        began = now_ms()
        await owned.show(hint=False, ups_status=ON_BATTERY)
        await condition(stream, "on_battery")
        assert now_ms() - began < 2500


async def test_events_and_samples_come_live(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/live") as stream:
        await condition(stream, "on_mains")
        at_ms = now_ms()
        await owned.show(at_ms=at_ms, state_of_charge=99.0)
        sample = json.loads((await stream.until("99.0", event="sample")).data)
        assert sample["t_s"] == at_ms / 1000
        assert sample["values"]["state_of_charge"] == 99.0
        assert sample["on_battery"] is False
        await owned.add_event("self_test", result="passed")
        assert "result passed" in (await stream.until("Self-test")).data
        await stream.until_event("history")


async def test_what_a_page_came_with_is_not_sent_again(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    await owned.add_event("self_test", result="passed")
    text = (await ada.browser.get(f"/devices/{owned.device_id}")).text
    found = re.search(r'hx-sse:connect="([^"]+)"', text)
    assert found is not None
    async with open_stream(ada.browser, found[1]) as stream:
        told = await upto(stream, "sample")
        assert any("#status" in one for one in told)
        assert not any(part in one for one in told for part in ("#events", "#outages", "#commands"))
        await owned.add_event("mains_back", lasted_s=3.0)
        assert "Mains back" in (await stream.until("#events")).data
        await stream.until_event("history")
    async with open_stream(ada.browser, found[1]) as stream:  # the page connects again
        assert "Mains back" in (await stream.until("#events")).data
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/live?shown=wrong") as stream:
        assert "Mains back" in (await stream.until("#events")).data


async def test_an_open_page_says_every_two_seconds_that_it_is_alive(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/live") as stream:
        await condition(stream, "on_mains")
        await stream.until_event("alive", timeout_s=2.5)
        await stream.until_event("alive", timeout_s=2.5)


async def test_an_open_page_keeps_the_watch_lease_and_a_closed_one_lets_it_end(
    portal: Portal, ada: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    assert await owned.watched_until_ms() == 0
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/live") as stream:
        await condition(stream, "on_mains")
        await stream.until_event("alive")
        left_ms = await owned.watched_until_ms() - now_ms()
        assert live.LEASE_MS - 5_000 < left_ms <= live.LEASE_MS
        # As if most of the lease were over: it is renewed by the next poll.
        async with portal.pool.connection() as connection:
            await connection.execute("UPDATE latest SET watch_until_ms = %s", [now_ms() + 5_000])
        async with asyncio.timeout(5):
            while await owned.watched_until_ms() - now_ms() < live.LEASE_MS - 5_000:
                await stream.next()
    async with asyncio.timeout(5):
        while portal.app[HUB].watched:
            await asyncio.sleep(0.02)
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE latest SET watch_until_ms = 0")
    polls = portal.app[METRICS].polls
    before = polls._value.get()
    async with asyncio.timeout(0.1):
        await portal.app[HUB].poll()
    assert polls._value.get() == before + 1
    assert await owned.watched_until_ms() == 0


async def test_a_stream_ends_when_the_device_is_given_away(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/live") as stream:
        await condition(stream, "on_mains")
        async with portal.pool.connection() as connection:
            await connection.execute("UPDATE ownership SET until_ms = %s", [now_ms()])
        await stream.until_event("gone")
        assert await stream.next() is None


async def test_streams_are_bounded(
    portal: Portal, ada: Somebody, eve: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.web.live.MAX_STREAMS_OF_ACCOUNT", 1)
    mine, hers = await portal.own_device(ada.actor), await portal.own_device(eve.actor)
    async with open_stream(ada.browser, f"/devices/{mine.device_id}/live"):
        refused = await ada.browser.get(f"/devices/{mine.device_id}/live")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "30")
        async with open_stream(eve.browser, f"/devices/{hers.device_id}/live") as stream:
            await condition(stream, "starting")


async def test_the_chart_has_averages_and_gaps(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    end = now_ms() // 10_000 * 10_000
    await owned.add_samples(
        [
            (end - 1_800_000, {"state_of_charge": 90.0}),
            (end - 1_799_000, {"state_of_charge": 92.0}),
            (end - 600_000, {"state_of_charge": 80.0, "ups_status": ON_BATTERY}),
            (end - 590_000, {"state_of_charge": 79.0, "ups_status": ON_BATTERY}),
            (end - 5_400_000, {"state_of_charge": 1.0}),
        ]
    )
    path = f"/api/v1/devices/{owned.device_id}/history"
    history = json.loads((await ada.browser.get(path)).text)
    assert history["points"]["state_of_charge"] == [91.0, None, 80.0, 79.0]
    assert (history["low"]["state_of_charge"][0], history["high"]["state_of_charge"][0]) == (90.0, 92.0)
    assert history["on_battery"] == [[(end - 600_000) / 1000, (end - 580_000) / 1000]]
    day = json.loads((await ada.browser.get(path + "?range_s=86400")).text)
    assert 1.0 in day["points"]["state_of_charge"]
    for wrong in ("1", "3601", "x", "-1", "99999999999"):
        assert (await ada.browser.get(f"{path}?range_s={wrong}")).status == 400
    table = await ada.browser.get(f"/devices/{owned.device_id}/table")
    assert "no readings" in table.text
    assert "on battery" in table.text


async def test_the_profile_names_a_device_for_its_company(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    path = f"/devices/{owned.device_id}/profile"
    form = {"name": "  Server  <room> ", "description": "Second floor"}
    assert (await eve.browser.post(path, form)).status == 404
    saved = await ada.browser.post(path, form)
    assert (saved.status, saved.headers["Location"]) == (303, f"/devices/{owned.device_id}")
    page = (await ada.browser.get(f"/devices/{owned.device_id}")).text
    assert "<h1>Server &lt;room&gt;</h1>" in page
    assert "Second floor" in page
    assert "Server &lt;room&gt;" in (await ada.browser.get("/devices")).text
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT account_id FROM device_audit WHERE kind = 'profile'")
        assert await cursor.fetchall() == [(ada.actor.account_id,)]
    await ada.browser.post(path, {"name": "", "description": ""})
    assert "<h1>Smart-UPS 1500</h1>" in (await ada.browser.get(f"/devices/{owned.device_id}")).text


@pytest.mark.parametrize("name", ["x" * 61, "bell \x07", "null \x00"])
async def test_a_name_that_cannot_be_shown_is_refused(portal: Portal, ada: Somebody, name: str) -> None:
    owned = await portal.own_device(ada.actor)
    answer = await ada.browser.post(f"/devices/{owned.device_id}/profile", {"name": name})
    assert answer.status == 422
    assert 'id="name-fault"' in answer.text
    assert "<h1>Smart-UPS 1500</h1>" in answer.text


async def test_a_viewer_may_not_name(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE membership SET role = 'viewer'")
    assert (await ada.browser.post(f"/devices/{owned.device_id}/profile", {"name": "x"})).status == 403
    assert "UPS Profile" not in (await ada.browser.get(f"/devices/{owned.device_id}")).text
