"""The page of one device: its past in any window, its battery, its ways on."""

import json
import re
from typing import Any

import pytest

from cloud.core.chart import RANGES_S
from cloud.jobs.rollups import bring_up
from tests.cloud.web.conftest import Somebody
from tests.support.portal import ON_BATTERY, Owned, Portal, now_ms

MINUTE_MS = 60_000
HOUR_MS = 3_600_000


async def with_a_day(portal: Portal, ada: Somebody) -> Owned:
    """A device that has reported for a day, a minute apart, with an outage twelve hours ago; rolled up."""
    owned = await portal.own_device(ada.actor)
    end = now_ms()
    outage = {"ups_status": ON_BATTERY, "input_voltage": 0.0}
    await owned.add_samples(
        [
            (end - ago * MINUTE_MS, outage if 715 < ago <= 720 else {"input_voltage": 230.0 + ago % 3})
            for ago in range(1440, 0, -1)
        ]
    )
    await owned.add_event("on_battery", at_ms=end - 720 * MINUTE_MS)
    await owned.add_event("mains_back", at_ms=end - 715 * MINUTE_MS)
    await owned.show()
    await bring_up(portal.pool, owned.device_id, end)
    return owned


async def history(ada: Somebody, owned: Owned, **query: object) -> dict[str, Any]:
    """The answer of the API."""
    text = "&".join(f"{name}={value}" for name, value in query.items())
    answer = await ada.browser.get(f"/api/v1/devices/{owned.device_id}/history?{text}")
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


async def test_any_window_can_be_had(portal: Portal, ada: Somebody) -> None:
    owned = await with_a_day(portal, ada)
    end = now_ms()
    for range_s in (*RANGES_S, 0):
        found = await history(ada, owned, range_s=range_s)
        assert 1 <= len(found["t_s"]) <= 720
    part = await history(ada, owned, from_ms=end - 13 * HOUR_MS, to_ms=end - 11 * HOUR_MS, pieces=60)
    assert (part["from_s"], part["to_s"]) == ((end - 13 * HOUR_MS) / 1000, (end - 11 * HOUR_MS) / 1000)
    assert part["piece_s"] == 120
    points = part["points"]
    assert set(points) == {"input_voltage", "output_voltage", "output_real_power_pct", "state_of_charge"}
    assert min(value for value in points["input_voltage"] if value is not None) == 0.0
    runtime = await history(ada, owned, points="runtime_remaining,battery_temperature")
    assert set(runtime["points"]) == {"runtime_remaining", "battery_temperature"}


async def test_a_long_window_has_bands_marks_and_outages_to_the_second(portal: Portal, ada: Somebody) -> None:
    owned = await with_a_day(portal, ada)
    day = await history(ada, owned, range_s=86_400)
    low, high = day["low"], day["high"]
    assert (230.0, 232.0) in zip(low["input_voltage"], high["input_voltage"], strict=True)
    (period,) = day["on_battery"]
    assert period[1] - period[0] == 300
    marks = [(mark["kind"], mark["word"], mark["tone"]) for mark in day["marks"]]
    assert marks == [("on_battery", "On battery", "warn"), ("mains_back", "Mains back", "good")]


async def test_a_silence_is_a_gap_in_a_long_window_too(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    end = now_ms()
    times = [*range(1200, 900, -1), *range(600, 0, -1)]
    await owned.add_samples([(end - ago * MINUTE_MS, {}) for ago in times])
    await bring_up(portal.pool, owned.device_id, end)
    day = await history(ada, owned, range_s=86_400)
    points = day["points"]
    assert points["state_of_charge"].count(None) == 1


@pytest.mark.parametrize(
    "query",
    [
        "range_s=5",
        "range_s=x",
        "range_s=-1",
        "from_ms=5",
        "from_ms=99999999999999",
        "from_ms=1.5",
        "to_ms=7",
        "from_ms=9000000000000000",
        "pieces=5",
        "pieces=100000",
        "points=nothing",
        "points=Input%20Voltage",
    ],
)
async def test_a_window_that_cannot_be_is_named(portal: Portal, ada: Somebody, query: str) -> None:
    owned = await portal.own_device(ada.actor)
    now = now_ms()
    if query == "from_ms=5":
        query = f"from_ms={now - 5}&to_ms={now}"
    answer = await ada.browser.get(f"/api/v1/devices/{owned.device_id}/history?{query}")
    assert (answer.status, json.loads(answer.text)["code"]) == (400, "bad_request")
    if "pieces" not in query and "points" not in query:
        for path in ("", "/table"):
            page = await ada.browser.get(f"/devices/{owned.device_id}{path}?{query}")
            assert page.status == 400, path


async def test_the_page_leads_everywhere_without_javascript(portal: Portal, ada: Somebody) -> None:
    owned = await with_a_day(portal, ada)
    path = f"/devices/{owned.device_id}"
    page = (await ada.browser.get(f"{path}?range_s=21600&show=runtime&show=charge")).text
    assert 'data-range="21600" aria-current="true"' in page
    links = {
        go: href.replace("&amp;", "&")
        for href, go in re.findall(r'href="(\?[^"#]*)#history" data-go="(\w+)"', page)
    }
    assert set(links) == {"earlier", "closer", "wider"}
    assert all("show=charge&show=runtime" in href for href in links.values())
    before = (await ada.browser.get(path + links["earlier"])).text
    assert "Back to live" in before
    assert 'data-go="later"' in before
    assert re.search(r'data-chart="runtime">', before), "what was picked stays picked"
    assert re.search(r'data-chart="voltage" hidden>', before)
    span = re.search(r"samples\.csv\?from_ms=(\d+)&amp;to_ms=(\d+)", before)
    assert span is not None
    assert int(span[2]) - int(span[1]) == 6 * HOUR_MS
    rows = (
        await ada.browser.get(
            f"/api/v1/devices/{owned.device_id}/samples.csv?from_ms={span[1]}&to_ms={span[2]}"
        )
    ).text
    assert 355 <= len(rows.splitlines()) - 1 <= 361


async def test_each_chart_has_a_table_of_the_same_time(portal: Portal, ada: Somebody) -> None:
    owned = await with_a_day(portal, ada)
    end = now_ms()
    query = f"from_ms={end - 13 * HOUR_MS}&to_ms={end - 11 * HOUR_MS}"
    table = (await ada.browser.get(f"/devices/{owned.device_id}/table?{query}&show=voltage")).text
    assert "Mains V" in table
    assert "Charge %" not in table
    assert "on battery" in table
    assert re.search(r"<td>231\.\d \(230\.0–232\.0\)</td>", table)
    usual = (await ada.browser.get(f"/devices/{owned.device_id}/table?{query}&show=nonsense")).text
    assert "Charge %" in usual
    page = (await ada.browser.get(f"/devices/{owned.device_id}?{query}")).text
    assert page.count("<table") == 3
    assert "What happened in this time (2)" in page


async def test_the_battery_tells_its_age_and_tests(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    path = f"/devices/{owned.device_id}"
    assert "Not known yet" in (await ada.browser.get(path)).text
    await owned.show(battery_temperature=41.0)
    await owned.add_event("self_test", at_ms=now_ms() - 2 * MINUTE_MS, result="passed")
    await owned.add_event("self_test", at_ms=now_ms() - MINUTE_MS, result="failed", why="battery_low")
    await owned.add_event("calibration", result="refused")
    async with portal.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO device_setting (device_id, epoch, reported) VALUES (%s, %s, %s)",
            [
                owned.device_id,
                owned.epoch,
                json.dumps(
                    {
                        "battery_install_date": "2020-01-01",
                        "battery_replace_by": "2024-01-01",
                        "sensitivity": "reduced",
                    }
                ),
            ],
        )
    page = (await ada.browser.get(path)).text
    assert 'data-health="replace"' in page
    assert re.search(r"2020-01-01</time><br><span class=.small muted.>\d+ years", page)
    assert re.search(r"2024-01-01</time><br><span class=.small muted.>\d+ years .*ago", page)
    assert "very warm" in page
    assert re.search(r'data-test="self_test"><span class="badge bad">Failed</span>', page)
    assert "battery low" in page
    assert "Refused by the UPS" in page
    assert "<dt>Mains sensitivity</dt><dd>Reduced</dd>" in page


async def test_nothing_of_the_time_before_is_in_a_rollup_of_the_new_owner(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    end = now_ms()
    await owned.add_samples([(end - ago * MINUTE_MS, {"input_voltage": 201.0}) for ago in range(300, 60, -1)])
    await owned.add_event("overload", at_ms=end - 90 * MINUTE_MS)
    async with portal.pool.connection() as connection:
        found = await connection.execute(
            "SELECT move_ownership(%s, %s, %s, %s, 'transfer', %s)",
            [owned.device_id, owned.epoch, eve.actor.company_id, eve.actor.account_id, end],
        )
        row = await found.fetchone()
    assert row is not None
    owned.epoch = row[0]
    await owned.add_samples([(end - ago * MINUTE_MS, {"input_voltage": 243.0}) for ago in range(60, 0, -1)])
    await bring_up(portal.pool, owned.device_id, end)
    for query in ("range_s=86400", "range_s=2592000", f"from_ms=1&to_ms={end}"):
        seen = (await eve.browser.get(f"/api/v1/devices/{owned.device_id}/history?{query}")).text
        points = json.loads(seen)["points"]["input_voltage"]
        assert {value for value in points if value is not None} == {243.0}
        assert json.loads(seen)["marks"] == []
        page = (await eve.browser.get(f"/devices/{owned.device_id}?{query}")).text
        assert "201.0" not in page
        assert "Overload" not in page
    for path in (f"/api/v1/devices/{owned.device_id}/history", f"/devices/{owned.device_id}/table"):
        assert (await ada.browser.get(path)).status == 404


async def test_the_owner_says_that_a_new_battery_was_put_in(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    address = f"/devices/{owned.device_id}"
    page = (await ada.browser.get(address)).text
    assert "The UPS has not told</span></dd>" in page
    answer = await ada.browser.post(f"{address}/battery", {"installed": "2022-05-06", "back": "device"})
    assert answer.headers["Location"] == f"{address}#battery"
    page = (await ada.browser.get(address)).text
    assert "The UPS has not told</span></dd>" not in page
    for words in (
        *("2022-05-06", "as you have said", "2026-05-06", "estimated from its age", "Replace soon"),
        "By its age, it is time to order a new one.",
    ):
        assert words in page, words
    wrong = await ada.browser.post(f"{address}/battery", {"installed": "2999-01-01", "back": "device"})
    assert "Please enter a date from 1970 to today." in wrong.text
