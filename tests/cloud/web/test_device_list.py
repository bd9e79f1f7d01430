"""The page of devices: what its address says, what it shows, its file, rows, moving; the same by the API."""

import csv
import html
import io
import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from cloud.services import fleet, placing
from tests.cloud.web.conftest import Somebody
from tests.support.fleet import FIRST, fill
from tests.support.portal import ON_BATTERY, Portal, Visitor, now_ms

COUNT = 130
ROW = re.compile(r'id="device-(\d+)"')


def ids(text: str) -> list[int]:
    """The devices of a page, in its order."""
    return [int(one) for one in ROW.findall(text)]


async def listed(browser: Visitor, query: str = "", **parameters: str) -> str:
    """The page of a search."""
    more = "".join(f"&{name}={quote(value)}" for name, value in parameters.items())
    answer = await browser.get(f"/devices?q={quote(query)}{more}")
    assert answer.status == 200, answer.text
    return answer.text


async def sited(portal: Portal, ada: Somebody) -> dict[str, int]:
    """Berlin with a hall, Paris."""
    made = {"Berlin": await placing.add_site(portal.pool, ada.actor, "Berlin", now_ms())}
    made["Hall 2"] = await placing.add_site(portal.pool, ada.actor, "Hall 2", now_ms(), made["Berlin"])
    made["Paris"] = await placing.add_site(portal.pool, ada.actor, "Paris", now_ms())
    return made


async def test_many_devices_come_in_pages_the_worst_first(portal: Portal, ada: Somebody) -> None:
    fill(portal.settings.dsn, ada.actor, COUNT, now_ms())
    text = await listed(ada.browser)
    assert f"{COUNT} devices" in text
    first = ids(text)
    assert len(first) == fleet.PAGE
    assert first[:2] == [FIRST, FIRST + 100], "those with a fault"
    assert "data-screen" in text, "a long list asks for what is on the screen"
    seen = list(first)
    while found := re.search(r'rel="next" href="([^"]+)"', text):
        answer = await ada.browser.get(html.unescape(found[1]))
        text = answer.text
        seen += ids(text)
        assert "First page" in text
    assert sorted(seen) == [FIRST + number for number in range(COUNT)]
    assert "Save as CSV" in text
    back = ids(text)
    while found := re.search(r'rel="prev" href="([^"]+)"', text):
        text = (await ada.browser.get(html.unescape(found[1]))).text
        back = [*ids(text), *back]
    assert back == seen, "the same pages backwards"


async def test_so_few_before_a_place_are_the_first_page(portal: Portal, ada: Somebody) -> None:
    fill(portal.settings.dsn, ada.actor, COUNT, now_ms())
    listing = await fleet.look(portal.pool, ada.actor, fleet.Asked(limit=10), now_ms())
    third = await fleet.look(portal.pool, ada.actor, fleet.Asked(limit=3, after=listing.next), now_ms())
    text = await listed(ada.browser, before=third.previous)
    assert len(ids(text)) == fleet.PAGE
    assert ids(text)[:10] == [one.view.device_id for one in listing.devices]
    assert 'rel="prev"' not in text
    assert 'rel="next"' in text


async def test_counts_are_told_when_they_change(portal: Portal, ada: Somebody) -> None:
    fill(portal.settings.dsn, ada.actor, COUNT, now_ms())
    text = await listed(ada.browser, "is:trouble")
    found = re.search(r'data-counted="(\w{8})"', text)
    assert found is not None
    same = f"/devices/rows?q=is%3Atrouble&ids={FIRST + 10}&counts="
    assert 'id="tally"' not in (await ada.browser.get(same + found[1])).text
    assert 'id="tally"' in (await ada.browser.get(same + "00000000")).text
    async with portal.pool.connection() as connection:
        await connection.execute(
            "UPDATE latest SET ups_status = %s WHERE device_id = %s", (ON_BATTERY, FIRST + 10)
        )
    assert "On battery <b>3</b>" in (await ada.browser.get(same + found[1])).text
    assert 'id="tally"' not in (await ada.browser.get(same.removesuffix("&counts="))).text, "nobody has asked"


async def test_a_search_finds_counts_and_says_so(portal: Portal, ada: Somebody) -> None:
    fill(portal.settings.dsn, ada.actor, COUNT, now_ms())
    text = await listed(ada.browser, "is:on_battery,low_battery")
    assert f"4 of {COUNT} devices" in text
    assert ids(text) == [FIRST + 102, FIRST + 2, FIRST + 1, FIRST + 101]
    assert 'value="is:on_battery,low_battery"' in text
    assert "Battery low <b>2</b>" in text
    assert quote("is:low_battery", safe="") in text
    text = await listed(ada.browser, "lastseen:>1d", sort="name")
    assert sorted(ids(text)) == [FIRST + 4, FIRST + 104]
    text = await listed(ada.browser, "nobody has this")
    assert "No device fits" in text
    assert ids(text) == []


async def test_a_search_that_cannot_be_read_is_shown_again_with_what_to_write(
    portal: Portal, ada: Somebody
) -> None:
    await (await portal.own_device(ada.actor)).show()
    for wrong, told in (
        ("mode:<b>", "Did you mean “model:”?"),
        ("site:Nirgends", "There is no site “Nirgends”. Your company has no sites yet."),
        ("runtime:15", "as in runtime:&lt;15"),
    ):
        answer = await ada.browser.get(f"/devices?q={quote(wrong)}")
        assert told in answer.text
        assert f'value="{html.escape(wrong)}"' in answer.text
        assert 'aria-invalid="true"' in answer.text
        file = await ada.browser.get(f"/devices.csv?q={quote(wrong)}")
        assert file.status == 422
        program = await ada.browser.get(f"/api/v1/devices?q={quote(wrong)}")
        assert json.loads(program.text)["faults"].keys() == {"q"}
    for wrong in ("sort=colour", "after=xyz", "sort=name&after=AAAA", "before=xyz"):
        assert (await ada.browser.get(f"/devices?{wrong}")).status == 400
        if "before" not in wrong:
            assert (await ada.browser.get(f"/api/v1/devices?{wrong}")).status == 422


async def test_rows_are_given_for_what_is_on_the_screen(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    mine, hers = await portal.own_device(ada.actor), await portal.own_device(eve.actor)
    await mine.show(ups_status=ON_BATTERY)
    await hers.show()
    path = f"/devices/rows?ids={mine.device_id}.{hers.device_id}"
    answer = await ada.browser.get(path, **{"HX-Request": "true"})
    assert f'hx-target="#device-{mine.device_id}"' in answer.text
    assert "On battery" in answer.text
    assert hers.device.product_id.value not in answer.text
    assert "no longer your company’s" in answer.text
    mark = re.search(r'data-mark="(\w{8})"', answer.text)
    assert mark is not None
    same = f"/devices/rows?ids={mine.device_id}-{mark[1]}"
    assert (await ada.browser.get(same)).status == 204, "what looks the same is not sent again"
    await mine.show()
    assert "On mains" in (await ada.browser.get(same)).text
    for wrong in ("", "?ids=", "?ids=x", "?ids=1,2", "?ids=1-2", "?ids=" + ".".join(["1"] * 61)):
        assert (await ada.browser.get(f"/devices/rows{wrong}")).status == 400


async def test_the_file_has_what_the_search_finds_and_no_formula(portal: Portal, ada: Somebody) -> None:
    sites = await sited(portal, ada)
    fill(portal.settings.dsn, ada.actor, COUNT, now_ms(), [sites["Hall 2"]])
    async with portal.pool.connection() as connection:
        await connection.execute(
            "UPDATE ownership SET name = %s WHERE device_id = %s", ("=HYPERLINK(1)", FIRST + 1)
        )
        await connection.execute("UPDATE device SET model = '@SUM(1)' WHERE device_id = %s", (FIRST + 2,))
    answer = await ada.browser.get("/devices.csv?sort=-name")
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == COUNT
    assert [row["name"].lower() for row in rows if row["name"].startswith("Rack")] == sorted(
        (row["name"].lower() for row in rows if row["name"].startswith("Rack")), reverse=True
    )
    by_id = {int(row["page"].rpartition("/")[2]): row for row in rows}
    assert by_id[FIRST + 1]["name"] == "'=HYPERLINK(1)"
    assert by_id[FIRST + 2]["model"] == "'@SUM(1)"
    assert (by_id[FIRST]["condition"], by_id[FIRST]["state"], by_id[FIRST]["site"]) == (
        "fault",
        "Fault",
        "Berlin / Hall 2",
    )
    assert by_id[FIRST + 9]["runtime_s"] == "", "what is not known is empty"
    assert by_id[FIRST + 4]["load_w"] == "", "without a rating there are no watts"
    some = await ada.browser.get(f"/devices.csv?q={quote('is:fault site:Berlin')}")
    assert len(some.text.splitlines()) == 1 + 2


async def test_a_long_file_comes_in_parts(
    portal: Portal, ada: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.services.fleet.EXPORT_ROWS", 40)
    fill(portal.settings.dsn, ada.actor, COUNT, now_ms())
    answer = await ada.browser.get("/devices.csv?sort=runtime")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len({row["page"] for row in rows}) == len(rows) == COUNT
    times = [float(row["runtime_s"]) for row in rows if row["runtime_s"]]
    assert times == sorted(times)


async def test_sites_lie_in_each_other_and_count_what_is_below(portal: Portal, ada: Somebody) -> None:
    sites = await sited(portal, ada)
    fill(portal.settings.dsn, ada.actor, COUNT, now_ms(), [sites["Berlin"], sites["Hall 2"]])
    text = await listed(ada.browser)
    assert re.search(r"<span>Berlin</span> <span class=\"muted\">87", text), "a third here, a third below"
    inside = await listed(ada.browser, "site:berlin is:fault")
    assert set(ids(inside)) <= {FIRST, FIRST + 100}
    assert "Hall 2" in inside
    assert "All sites" in inside
    hall = await listed(ada.browser, 'site:"Berlin/Hall 2"')
    assert f"43 of {COUNT}" in hall
    nowhere = await listed(ada.browser, "site:none")
    assert f"43 of {COUNT}" in nowhere
    by_site = await listed(ada.browser, "", sort="site")
    assert ids(by_site)[0] % 3 == FIRST % 3
    page = (await ada.browser.get("/sites")).text
    assert page.index("Berlin") < page.index("Hall 2") < page.index("Paris")
    assert "43 devices are at no site." in page
    assert "Fault" in page, "the worst of Berlin"
    one = (await ada.browser.get(f"/sites/{sites['Berlin']}")).text
    assert "87 devices here" in one
    assert "43 of them in sites below" in one


async def test_sites_are_moved_but_never_into_themselves(portal: Portal, ada: Somebody) -> None:
    sites = await sited(portal, ada)
    path = f"/sites/{sites['Berlin']}"
    await ada.browser.get(path)
    for parent in ("Berlin", "Hall 2"):
        answer = await ada.browser.post(path, {"name": "Berlin", "parent": str(sites[parent])})
        assert answer.status == 422
        assert "cannot be in itself" in answer.text
    assert (await ada.browser.post(path, {"name": "Berlin", "parent": "99999"})).status == 422
    assert (await ada.browser.post(path, {"name": "B", "parent": str(sites["Paris"])})).status == 303
    page = (await ada.browser.get(f"/sites/{sites['Hall 2']}")).text
    assert re.search(r"Paris.*B.*<h1>Hall 2", page, re.DOTALL)
    same = await ada.browser.post("/sites", {"name": "Hall 2", "parent": ""})
    assert same.status == 303, "elsewhere the name is free"
    twin = int(same.headers["Location"].rpartition("/")[2])
    answer = await ada.browser.post(f"/sites/{twin}", {"name": "Hall 2", "parent": str(sites["Berlin"])})
    assert "a site of this name already" in answer.text
    removed = await ada.browser.post(f"{path}/remove", {})
    assert removed.status == 303
    page = (await ada.browser.get(f"/sites/{sites['Hall 2']}")).text
    assert f'href="/sites/{sites["Paris"]}"' in page, "one level up"


async def test_devices_are_moved_from_the_list(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    sites = await sited(portal, ada)
    hers = await portal.own_device(eve.actor)
    fill(portal.settings.dsn, ada.actor, COUNT, now_ms())
    page = await listed(ada.browser, "model:SRT", choose="1")
    assert 'name="device"' in page
    assert "hx-get" not in page, "a form is not redrawn under somebody's hands"
    form = {"q": "", "sort": "", "site": str(sites["Paris"]), "device": str(FIRST + 5)}
    answer = await ada.browser.post("/devices/move", form)
    assert (answer.status, answer.headers["Location"]) == (303, "/devices?moved=1")
    assert "1 device is there now." in (await ada.browser.get("/devices?moved=1")).text
    assert ids(await listed(ada.browser, "site:Paris")) == [FIRST + 5]
    answer = await ada.browser.post("/devices/move", {**form, "q": "model:SRT", "all": "1"})
    assert answer.headers["Location"] == "/devices?q=model%3ASRT&moved=43"
    assert f"43 of {COUNT}" in await listed(ada.browser, "site:Paris")
    assert (await ada.browser.post("/devices/move", {**form, "site": ""})).status == 303
    assert f"42 of {COUNT}" in await listed(ada.browser, "site:Paris")
    for wrong in ({"device": str(hers.device_id)}, {"device": "x"}, {"site": "999"}, {"site": "x"}):
        assert (await ada.browser.post("/devices/move", {**form, **wrong})).status == 404
    nothing = await ada.browser.post("/devices/move", {"q": "", "sort": "", "site": ""})
    assert nothing.headers["Location"] == "/devices?choose=1&to=top"
    assert (await eve.browser.post("/devices/move", form)).status == 404
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE membership SET role = 'viewer'")
    assert (await ada.browser.post("/devices/move", form)).status == 403
    assert "Move devices" not in await listed(ada.browser)


async def test_programs_search_and_place_in_the_same_language(portal: Portal, ada: Somebody) -> None:
    fill(portal.settings.dsn, ada.actor, COUNT, now_ms())
    token = json.loads((await ada.browser.get("/api/v1/session")).text)["form_token"]

    async def call(method: str, path: str, status: int, body: object = None) -> Any:
        headers = {"X-Form-Token": token, "Accept": "application/json"}
        answer = await ada.browser.ask(method, f"/api/v1{path}", json=body, headers=headers)
        assert answer.status == status, answer.text
        return json.loads(answer.text) if answer.text else None

    found: list[str] = []
    path = f"/devices?limit=20&sort=-charge&q={quote('model:SRT')}"
    page = await call("GET", path, 200)
    assert (page["found"], page["of"]) == (43, COUNT)
    while True:
        found += [one["device_id"] for one in page["devices"]]
        if page["next"] is None:
            break
        page = await call("GET", f"{path}&after={page['next']}", 200)
    assert len(found) == len(set(found)) == 43
    file = await ada.browser.get(f"/api/v1/devices.csv?q={quote('model:SRT')}&sort=-charge")
    assert [row["device_id"] for row in csv.DictReader(io.StringIO(file.text))] == found
    north = await call("POST", "/sites", 201, {"site_name": "North"})
    room = await call("POST", "/sites", 201, {"site_name": "Room", "parent_id": north["site_id"]})
    assert (room["path"], room["parent_id"], room["worst"]) == (["North", "Room"], north["site_id"], None)
    assert await call("POST", "/devices/move", 200, {"device_ids": found, "site_id": room["site_id"]}) == {
        "count": 43
    }
    sites = (await call("GET", "/sites", 200))["sites"]
    assert [(one["name"], one["devices"], one["here"], one["worst"]) for one in sites] == [
        ("North", 43, 0, "low_battery"),
        ("Room", 43, 43, "low_battery"),
    ]
    moved = await call("PATCH", f"/sites/{room['site_id']}", 200, {"parent_id": None})
    assert (moved["name"], moved["parent_id"]) == ("Room", None)
    assert (await call("PATCH", f"/sites/{room['site_id']}", 200, {"site_name": "Hall"}))["name"] == "Hall"
    body = {"parent_id": room["site_id"]}
    assert (await call("PATCH", f"/sites/{room['site_id']}", 422, body))["faults"].keys() == {"parent"}
    await call("POST", "/devices/move", 404, {"device_ids": ["1"], "site_id": None})
    await call("POST", "/devices/move", 422, {"device_ids": [], "site_id": None})
    await call("GET", "/devices?limit=501", 400)
