"""The ownership page: release, transfer between two people, theft, a claim of somebody else."""

import asyncio

import pytest

from cloud.core.second_factor import FRESH_MS
from cloud.services import owning
from tests.cloud.web.conftest import Somebody
from tests.support.portal import PASSWORD, Portal, claim, now_ms

WAIT_S = 20.0


async def stale(portal: Portal) -> None:
    """Everybody's last factor was long ago."""
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE web_session SET factor_ms = factor_ms - %s", [2 * FRESH_MS])


async def mail_of(portal: Portal, kind: str) -> tuple[str, str]:
    """Address and text of the newest mail of this kind, once the portal has written it. TimeoutError."""
    async with asyncio.timeout(WAIT_S):
        while True:
            async with portal.pool.connection() as connection:
                found = await connection.execute(
                    "SELECT to_address, text FROM mail WHERE kind = %s ORDER BY mail_id DESC", [kind]
                )
                row = await found.fetchone()
            if row is not None:
                return row[0], row[1]
            await asyncio.sleep(0.05)


async def test_release_needs_the_owner_and_a_proof(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    path = f"/devices/{owned.device_id}/owner"
    assert "Release this device" in (await ada.browser.get(path)).text
    assert (await eve.browser.get(path)).status == 404
    assert (await eve.browser.post(f"{path}/release", {})).status == 404
    await stale(portal)
    assert "Your password" in (await ada.browser.get(path)).text
    assert (await ada.browser.post(f"{path}/release", {})).status == 403
    assert (await ada.browser.post(f"{path}/release", {"proof": "wrong"})).status == 422
    gone = await ada.browser.post(f"{path}/release", {"proof": PASSWORD})
    assert (gone.status, gone.headers["Location"]) == (303, "/devices")
    assert (await ada.browser.get(f"/devices/{owned.device_id}")).status == 404
    assert (await eve.browser.get(path)).status == 404
    assert (await mail_of(portal, "ownership_released"))[0] == "ada@example.org"


async def test_a_release_that_is_over_before_the_browser_follows_leads_to_the_list(
    portal: Portal, ada: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    asked = await ada.browser.post(f"/devices/{owned.device_id}/owner/release", {})
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE latest SET connected = false")
    await owning.sweep(portal.pool, now_ms())  # or the portal's own was faster
    assert await ended(portal) == 1
    followed = await ada.browser.get(asked.headers["Location"])
    assert (followed.status, followed.headers["Location"]) == (303, "/devices")


async def ended(portal: Portal) -> int:
    """How many ownerships have ended."""
    async with portal.pool.connection() as connection:
        found = await connection.execute("SELECT 1 FROM ownership WHERE until_ms IS NOT NULL")
        return len(await found.fetchall())


async def test_a_connected_device_is_kept_in_time(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    path = f"/devices/{owned.device_id}/owner"
    asked = await ada.browser.post(f"{path}/release", {})
    assert asked.headers["Location"] == path
    assert "is being released" in (await ada.browser.get(f"/devices/{owned.device_id}")).text
    assert (await ada.browser.post(f"{path}/keep", {})).status == 303
    assert "is being released" not in (await ada.browser.get(path)).text


async def test_an_offer_is_mailed_read_and_accepted(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    path = f"/devices/{owned.device_id}/owner"
    assert (await ada.browser.post(f"{path}/offer", {"to_email": "nobody"})).status == 422
    assert (await ada.browser.post(f"{path}/offer", {"to_email": "eve@example.org"})).status == 303
    to, text = await mail_of(portal, "ownership_offered")
    assert to == "eve@example.org"
    token = text.split("/transfers: ")[1].strip()
    assert (await ada.browser.post("/transfers", {"token": "x"})).status == 404
    assert (await eve.browser.get("/transfers")).status == 200
    shown = await eve.browser.post("/transfers", {"token": token})
    assert owned.device.product_id.value in shown.text
    assert token.partition(".")[2] not in str(shown.headers)
    taken = await eve.browser.post("/transfers/accept", {"token": token})
    assert taken.headers["Location"] == f"/devices/{owned.device_id}"
    assert (await eve.browser.get(path)).status == 200
    assert (await ada.browser.get(path)).status == 404


async def test_an_offer_can_be_declined(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    path = f"/devices/{owned.device_id}/owner"
    await ada.browser.post(f"{path}/offer", {"to_email": "eve@example.org"})
    token = (await mail_of(portal, "ownership_offered"))[1].split("/transfers: ")[1].strip()
    assert (await eve.browser.post("/transfers/decline", {"token": token})).status == 303
    assert (await eve.browser.post("/transfers/accept", {"token": token})).status == 404
    assert (await ada.browser.get(path)).status == 200


async def test_a_new_key_is_approved_by_its_fingerprint(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    board = owned.device.twin()
    await board.announce(portal.pool)
    path = f"/devices/{owned.device_id}/owner"
    assert "Unknown device key" in (await ada.browser.get(path)).text
    assert (await ada.browser.post(f"{path}/approve-key", {"kid": "x"})).status == 409
    assert (await ada.browser.post(f"{path}/approve-key", {"kid": board.kid})).status == 303
    assert "Unknown device key" not in (await ada.browser.get(path)).text


async def test_a_claim_of_somebody_else_and_a_theft(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await claim(portal.pool, eve.actor, owned.device)
    path = f"/devices/{owned.device_id}/owner"
    page = await ada.browser.get(f"/devices/{owned.device_id}")
    assert "entered the codes" in page.text
    dismissed = await ada.browser.post(f"{path}/dismiss-dispute", {"company_id": str(eve.actor.company_id)})
    assert dismissed.status == 303
    assert "entered the codes" not in (await ada.browser.get(path)).text
    assert (await ada.browser.post(f"{path}/stolen", {})).status == 303
    assert (await ada.browser.post(f"{path}/release", {})).status == 409
    assert (await ada.browser.post(f"{path}/found", {})).status == 303


async def test_a_claimant_asks_for_the_device_of_an_owner_who_is_gone(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    view = await claim(portal.pool, eve.actor, owned.device)
    path = f"/claims/{view.claim_id}/dispute"
    assert "Reset the device" in (await eve.browser.get(path)).text
    assert (await ada.browser.get(path)).status == 404
    board = owned.device.twin()
    await board.announce(portal.pool, now_ms())
    page = await eve.browser.get(path)
    assert "Ask for this device" in page.text
    assert "Example Clinic" not in page.text
    assert (await eve.browser.post(f"{path}/second-hand", {"kid": board.kid})).status == 303
    assert "You asked for this device" in (await eve.browser.get(path)).text
    owner = f"/devices/{owned.device_id}/owner"
    assert "you are gone" in (await ada.browser.get(owner)).text
    assert (await mail_of(portal, "ownership_second_hand_asked"))[0] == "ada@example.org"
    assert (await ada.browser.post(f"{owner}/object", {})).status == 303
    assert (await eve.browser.post(f"{path}/second-hand", {"kid": board.kid})).status == 409
    assert (await eve.browser.post(f"{path}/withdraw", {})).status == 303
    assert (await eve.browser.get(path)).status == 404


@pytest.mark.parametrize(
    ("act", "fields", "status"),
    [
        ("nonsense", {}, 404),
        ("keep", {}, 409),
        ("withdraw-offer", {}, 409),
        ("object", {}, 409),
        ("clear-clone", {}, 409),
        ("dismiss-key", {"kid": "x"}, 409),
        ("dismiss-dispute", {"company_id": "x"}, 409),
    ],
)
async def test_acts_without_an_object(
    portal: Portal, ada: Somebody, act: str, fields: dict[str, str], status: int
) -> None:
    owned = await portal.own_device(ada.actor)
    answer = await ada.browser.post(f"/devices/{owned.device_id}/owner/{act}", fields)
    assert answer.status == status
