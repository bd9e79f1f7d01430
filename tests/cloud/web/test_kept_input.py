"""What was entered is still there when a page says what is wrong with it."""

import re

from cloud.postgres import passkeys
from tests.cloud.web.conftest import Somebody
from tests.support.foreign_world import arrange
from tests.support.portal import Portal, now_ms
from tests.support.system_things import own_system


async def test_the_address_of_an_offer(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    path = f"/devices/{owned.device_id}/owner"
    answer = await ada.browser.post(f"{path}/offer", {"to_email": "nobody<"})
    assert (answer.status, 'value="nobody&lt;"' in answer.text) == (422, True)


async def test_the_code_of_an_offer_that_is_none(ada: Somebody) -> None:
    answer = await ada.browser.post("/transfers", {"link": "typed wrongly"})
    assert answer.status == 404
    assert 'role="alert"' in answer.text
    assert 'value="typed wrongly"' in answer.text


async def test_the_code_of_a_systems_offer_that_is_none(ada: Somebody) -> None:
    answer = await ada.browser.post("/systems/offer", {"link": "typed wrongly"})
    assert 400 <= answer.status < 500
    assert 'role="alert"' in answer.text
    assert 'value="typed wrongly"' in answer.text


async def test_slot_and_address_of_a_systems_offer(portal: Portal, ada: Somebody) -> None:
    number = (await own_system(portal, ada.actor))["number"]
    form = {"slot": "integrator", "email": "nobody"}
    answer = await ada.browser.post(f"/systems/{number}/offer", form)
    assert (answer.status, 'value="nobody"' in answer.text) == (422, True)
    assert '<option value="integrator" selected>' in answer.text


async def test_the_first_time_of_a_calibration(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    form = {"every_days": "180", "first": "2001-02-03T04:05"}
    answer = await ada.browser.post(f"/devices/{owned.device_id}/calibration-schedule", form)
    assert (answer.status, 'value="2001-02-03T04:05"' in answer.text) == (422, True)
    assert re.search(r'<option value="180" selected>', answer.text)


async def test_the_new_name_of_a_passkey(portal: Portal, ada: Somebody) -> None:
    new = passkeys.NewPasskey(
        account_id=ada.actor.account_id,
        credential_id=b"c" * 16,
        public_key=b"",
        sign_count=0,
        transports=[],
        name="A phone",
        rp_id="localhost",
        now_ms=now_ms(),
    )
    async with portal.pool.connection() as connection:
        number = await passkeys.insert(connection, new)
    form = {"passkey": str(number), "name": "x" * 80}
    answer = await ada.browser.post("/account/two-factor/passkeys/rename", form)
    assert (answer.status, f'value="{form["name"]}"' in answer.text) == (422, True)


async def test_the_site_to_which_nothing_was_moved(portal: Portal, ada: Somebody) -> None:
    await portal.own_device(ada.actor)
    site = (await arrange(portal, ada.actor))["site"]
    answer = await ada.browser.post("/devices/move", {"site": site})
    shown = await ada.browser.get(answer.headers["Location"])
    assert "choose at least one device first" in shown.text
    assert f'<option value="{site}" selected>' in shown.text


async def test_the_robot_box_that_was_ticked(ada: Somebody) -> None:
    answer = await ada.browser.post("/reset", {"email": "no address", "human": "yes"})
    assert re.search(r'name="human" value="yes" checked', answer.text)
