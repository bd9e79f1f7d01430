"""A device that changes hands takes nothing of its last owner's time to the next one."""

import json
from typing import Any

from cloud.services import offering, owning
from tests.cloud.web.conftest import Somebody
from tests.support.portal import ON_BATTERY, Owned, Portal, now_ms
from tests.support.streams import open_stream


async def hand_over(portal: Portal, old: Somebody, new: Somebody, owned: Owned) -> Owned:
    """A transfer from one to the other."""
    made = await offering.offer(
        portal.pool, old.actor, owned.device_id, now_ms(), fresh=True, to_company_id=new.actor.company_id
    )
    await offering.accept_offer(portal.pool, new.actor, made.offer_id, now_ms(), fresh=True)
    return await portal.find_owned(owned.device)


async def shown(who: Somebody, owned: Owned) -> dict[str, Any]:
    """The device as the API gives it."""
    answer = await who.browser.get(f"/api/v1/devices/{owned.device_id}")
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


async def test_the_next_owner_sees_neither_values_nor_when_it_was_heard(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show(ups_status=ON_BATTERY, connected=False)
    await owned.add_event("on_battery")
    assert (await shown(ada, owned))["seen_ms"]
    hers = await hand_over(portal, ada, eve, owned)
    found = await shown(eve, hers)
    assert (found["ts_ms"], found["seen_ms"]) == (None, None)
    assert set(found["values"].values()) == {None}
    assert found["owned_since_ms"] >= owned.epoch
    page = (await eve.browser.get("/devices")).text
    assert "On battery" not in page
    await hers.show()
    assert (await shown(eve, hers))["seen_ms"]


async def test_a_device_that_comes_back_has_its_two_times_apart(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    """Ada, Eve, Ada again: the live owner's pages show the present time, the export both of hers."""
    owned = await portal.own_device(ada.actor)
    await owned.add_samples([(now_ms() - 3000, {"input_voltage": 201.0})])
    hers = await hand_over(portal, ada, eve, owned)
    hers.seq = owned.seq
    await hers.add_samples([(now_ms(), {"input_voltage": 243.0})])
    again = await hand_over(portal, eve, ada, hers)
    again.seq = hers.seq
    await again.add_samples([(now_ms(), {"input_voltage": 202.0})])
    history = json.loads(
        (await ada.browser.get(f"/api/v1/devices/{owned.device_id}/history?range_s=86400")).text
    )
    assert [v for v in history["points"]["input_voltage"] if v is not None] == [202.0]
    text = (await ada.browser.get(f"/api/v1/devices/{owned.device_id}/samples.csv")).text
    assert ("201.0" in text, "202.0" in text, "243.0" in text) == (True, True, False)
    text = (await eve.browser.get(f"/api/v1/devices/{owned.device_id}/samples.csv")).text
    assert ("201.0" in text, "202.0" in text, "243.0" in text) == (False, False, True)


async def test_a_live_page_ends_when_the_device_is_released(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show(connected=False)
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/live") as stream:
        await stream.until_event("sample")
        await owning.release(portal.pool, ada.actor, owned.device_id, now_ms(), fresh=True)
        await stream.until_event("gone", timeout_s=2.0)
        assert await stream.next(2.0) is None
