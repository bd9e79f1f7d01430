"""Adding a device by its product codes, and the page of a claim."""

import json
import re

import pytest

from cloud.services.claim_view import ViewState
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Answer, Portal, Visitor, claim, labelled_device, now_ms
from tests.support.streams import open_stream


async def register(browser: Visitor, product_id: str, product_key: str) -> Answer:
    """Fill in the form."""
    return await browser.post("/add/codes", {"product_id": product_id, "product_key": product_key})


async def test_the_seeds_words_lead_to_the_form(ada: Somebody) -> None:
    devices = (await ada.browser.get("/devices")).text
    assert "Add Device" in devices
    ways = (await ada.browser.get("/add")).text
    assert "Product Codes" in ways
    assert "/add/codes" in ways
    form = (await ada.browser.get("/add/codes")).text
    for words in ("Product ID", "Product Key", "Register UPS"):
        assert words in form


async def test_claim_first_waits_and_becomes_yours(portal: Portal, ada: Somebody) -> None:
    device, product_key = labelled_device()
    answer = await register(ada.browser, device.product_id.value.lower(), product_key)
    assert answer.status == 303
    path = answer.headers["Location"]
    assert "Waiting for the device" in (await ada.browser.get(path)).text
    async with open_stream(ada.browser, f"{path}/live") as stream:
        await stream.until("Waiting for the device")
        began = now_ms()
        await device.announce(portal.pool, now_ms())
        won = await stream.until("This UPS is yours")
        took_ms = now_ms() - began
        assert f'href="/devices/{device.device_id}"' in won.data
        await stream.until_event("decided")
        assert await stream.next() is None
    assert took_ms < 2000
    # Without JavaScript, loading the page again tells the same.
    assert "This UPS is yours" in (await ada.browser.get(path)).text


async def test_announce_first_is_yours_at_once(portal: Portal, ada: Somebody) -> None:
    device, product_key = labelled_device()
    await device.announce(portal.pool, now_ms())
    answer = await register(ada.browser, device.product_id.value, product_key)
    assert "This UPS is yours" in (await ada.browser.get(answer.headers["Location"])).text
    again = await register(ada.browser, device.product_id.value, product_key)
    assert (await ada.browser.get(again.headers["Location"])).status == 200


async def test_smartconnect_off_prompts_until_it_is_enabled(portal: Portal, ada: Somebody) -> None:
    device, product_key = labelled_device()
    await device.announce(portal.pool, now_ms(), smartconnect=False)
    answer = await register(ada.browser, device.product_id.value, product_key)
    path = answer.headers["Location"]
    assert "please enable it" in (await ada.browser.get(path)).text
    async with open_stream(ada.browser, f"{path}/live") as stream:
        await stream.until("please enable it")
        await device.announce(portal.pool, now_ms(), smartconnect=True)
        await stream.until("This UPS is yours")


async def test_of_several_devices_the_claimant_picks(portal: Portal, ada: Somebody) -> None:
    device, product_key = labelled_device()
    twin = device.twin()
    await device.announce(portal.pool, now_ms())
    await twin.announce(portal.pool, now_ms())
    path = (await register(ada.browser, device.product_id.value, product_key)).headers["Location"]
    page = (await ada.browser.get(path)).text
    assert set(re.findall(r'name="kid" value="([^"]+)"', page)) == {device.kid, twin.kid}
    wrong = await ada.browser.post(f"{path}/pick", {"kid": "x" * 27})
    assert wrong.status == 400
    await ada.browser.get(path)
    assert (await ada.browser.post(f"{path}/pick", {"kid": twin.kid})).status == 303
    assert "This UPS is yours" in (await ada.browser.get(path)).text
    body = json.loads((await ada.browser.get(f"/api/v1/devices/{device.device_id}")).text)
    assert body["model"] == "Smart-UPS twin"


async def test_a_device_of_somebody_else_is_refused_in_the_seeds_words(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    device, product_key = labelled_device()
    await portal.own_device(ada.actor, device)
    path = (await register(eve.browser, device.product_id.value, product_key)).headers["Location"]
    page = (await eve.browser.get(path)).text
    assert "already associated with another account" in page
    assert "cannot be associated with another Schneider Electric account" in page
    assert "ada" not in page.lower()
    assert (await eve.browser.get(f"/devices/{device.device_id}")).status == 404


async def test_a_wrong_key_and_an_unknown_device_look_the_same(portal: Portal, ada: Somebody) -> None:
    device, _ = labelled_device()
    unknown, _ = labelled_device()
    await device.announce(portal.pool, now_ms())
    pages = []
    for one in (device, unknown):
        path = (await register(ada.browser, one.product_id.value, "A1" * 7)).headers["Location"]
        text = (await ada.browser.get(path)).timeless
        for noise in (one.product_id.value, path.rsplit("/", 1)[1], ada.browser.form_token):
            text = text.replace(noise, "")
        pages.append(text)
    assert pages[0] == pages[1]
    assert "Waiting for the device" in pages[0]


async def test_waiting_can_be_stopped(portal: Portal, ada: Somebody) -> None:
    device, product_key = labelled_device()
    path = (await register(ada.browser, device.product_id.value, product_key)).headers["Location"]
    await ada.browser.get(path)
    assert (await ada.browser.post(f"{path}/cancel", {})).headers["Location"] == path
    assert "You stopped waiting" in (await ada.browser.get(path)).text
    await device.announce(portal.pool, now_ms())
    assert (await ada.browser.get(f"/devices/{device.device_id}")).status == 404


async def test_an_expired_claim_says_so(portal: Portal, ada: Somebody) -> None:
    device, product_key = labelled_device()
    path = (await register(ada.browser, device.product_id.value, product_key)).headers["Location"]
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE claim SET expires_ms = 1")
    assert "Nothing was heard from the device in time" in (await ada.browser.get(path)).text


@pytest.mark.parametrize(
    ("product_id", "product_key", "fields"),
    [
        ("", "", {"product_id", "product_key"}),
        ("ABC", "A1" * 7, {"product_id"}),
        ("A1" * 6, "short", {"product_key"}),
        ("A1" * 6, "Ä" * 14, {"product_key"}),
        ("<script>", "A1" * 7, {"product_id"}),
    ],
)
async def test_faults_are_told_at_their_fields_and_the_key_is_never_echoed(
    portal: Portal, ada: Somebody, product_id: str, product_key: str, fields: set[str]
) -> None:
    answer = await register(ada.browser, product_id, product_key)
    assert answer.status == 422
    assert set(re.findall(r'id="(\w+)-fault"', answer.text)) == fields
    assert not product_key or product_key not in answer.text
    assert "<script>" not in answer.text.replace("<script type", "")
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM claim")
        assert await cursor.fetchone() == (0,)


async def test_blanks_and_dashes_do_not_matter(ada: Somebody) -> None:
    device, product_key = labelled_device()
    spaced = f" {device.product_id.value[:4]}-{device.product_id.value[4:]} "
    assert (await register(ada.browser, spaced, product_key.lower())).status == 303


async def test_a_viewer_may_not_claim(portal: Portal, ada: Somebody) -> None:
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE membership SET role = 'viewer'")
    device, product_key = labelled_device()
    answer = await register(ada.browser, device.product_id.value, product_key)
    assert answer.status == 403
    assert "role" in answer.text


async def test_programs_claim_with_json(portal: Portal, ada: Somebody) -> None:
    device, product_key = labelled_device()
    headers = {"X-Form-Token": json.loads((await ada.browser.get("/api/v1/session")).text)["form_token"]}
    codes = {"product_id": device.product_id.value, "product_key": product_key}
    waiting = await ada.browser.ask("POST", "/api/v1/claims", json=codes, headers=headers)
    assert (waiting.status, json.loads(waiting.text)["state"]) == (202, ViewState.WAITING_FOR_DEVICE)
    await device.announce(portal.pool, now_ms())
    won = await ada.browser.ask("POST", "/api/v1/claims", json=codes, headers=headers)
    assert won.status == 200
    assert product_key not in won.text
    for body in ("", "[]", "{}", '{"product_id": 1, "product_key": 2}', "[" * 3000):
        refused = await ada.browser.ask("POST", "/api/v1/claims", data=body, headers=headers)
        assert refused.status == 400, body[:20]


async def test_the_product_key_is_nowhere(
    portal: Portal, ada: Somebody, capsys: pytest.CaptureFixture[str]
) -> None:
    device, product_key = labelled_device()
    await register(ada.browser, device.product_id.value, product_key)
    assert (await claim(portal.pool, ada.actor, device)).state is ViewState.WAITING_FOR_DEVICE
    said = capsys.readouterr()
    assert product_key not in said.out + said.err
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [row[0] for row in await cursor.fetchall()]
        for table in tables:
            found = await connection.execute(
                f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s', [f"%{product_key}%"]
            )
            assert await found.fetchone() == (0,), table


async def test_every_situation_leads_to_its_explanation(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    """Waiting, off, several keys, owned elsewhere, already yours, expired: each has its own anchor."""
    help_page = (await ada.browser.get("/help/adding-your-device")).text
    anchors = set(re.findall(r'<h2 id="(\w+)"', help_page))
    waiting, off, several, taken, gone = (labelled_device() for _ in range(5))
    await off[0].announce(portal.pool, now_ms(), smartconnect=False)
    await several[0].announce(portal.pool, now_ms())
    await several[0].twin().announce(portal.pool, now_ms())
    await portal.own_device(eve.actor, taken[0])
    await claim(portal.pool, ada.actor, gone[0])
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE claim SET expires_ms = 1 WHERE device_id = %s", [gone[0].device_id])
    for (device, product_key), wanted in (
        (waiting, "waiting"),
        (off, "smartconnect"),
        (several, "several"),
        (taken, "elsewhere"),
    ):
        path = (await register(ada.browser, device.product_id.value, product_key)).headers["Location"]
        found = re.findall(r"/help/adding-your-device#(\w+)", (await ada.browser.get(path)).text)
        assert found == [wanted]
    async with portal.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT claim_id::text FROM claim WHERE device_id = %s", [gone[0].device_id]
        )
        row = await cursor.fetchone()
    assert row is not None
    ended = (await ada.browser.get(f"/claims/{row[0]}")).text
    assert "/help/adding-your-device#ended" in ended
    assert {"waiting", "smartconnect", "several", "elsewhere", "yours", "ended"} <= anchors
