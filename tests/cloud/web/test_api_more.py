"""What forms of pages do and the API does, too: photos of labels, opinions, own mails, the partner."""

import io
import json
from typing import Any

from cloud.core.api_token import Scope
from cloud.postgres import help_opinions
from cloud.services import api_tokens
from cloud.services.label_photos import MAX_BYTES, MAX_EACH
from cloud.web.scan_views import PHOTOS
from protocol.identity import qr_link
from tests.cloud.web.conftest import Somebody
from tests.support.device import random_codes
from tests.support.foreign_world import arrange, log_in_of
from tests.support.photos import huge_png, jpeg, photo
from tests.support.portal import Answer, Portal, now_ms

PHOTO = "/api/v1/label-photos"


async def send(one: Somebody, method: str, path: str, **how: Any) -> Answer:
    """A request with the form's token."""
    headers = {"X-Form-Token": one.browser.form_token, "Accept": "application/json", **how.pop("headers", {})}
    return await one.browser.ask(method, path, headers=headers, **how)


async def test_several_labels_of_one_photo_are_read(portal: Portal, ada: Somebody) -> None:
    codes = [random_codes() for _ in range(3)]
    texts = [*(qr_link("https://portal.example.org", *one) for one in codes), "https://example.org/manual"]
    picture = jpeg(photo(texts, tilt=4, scale=5))
    answer = await send(ada, "POST", PHOTO, data=picture)
    told = json.loads(answer.text)
    assert answer.status == 200
    found = {(one["product_id"], one["product_key"]) for one in told["labels"]}
    assert found == {(product_id.value, product_key.value) for product_id, product_key in codes}
    assert told["others"] == ["https://example.org/manual"]
    cookie = await portal.log_in(ada.email)
    made = await api_tokens.make(
        portal.kit, await log_in_of(portal, cookie), "Photos", [Scope.CLAIMS], 7, now_ms()
    )
    bearer = {"Authorization": f"Bearer {made.text}"}
    async with ada.browser.http.post(portal.url + PHOTO, data=picture, headers=bearer) as by_token:
        assert by_token.status == 200
        assert len((await by_token.json())["labels"]) == 3


async def test_photos_have_the_bounds_of_the_page(portal: Portal, ada: Somebody) -> None:
    for data, status, code, reason in (
        (b"", 422, "photo_refused", "no_picture"),
        (b"no picture", 422, "photo_refused", "no_picture"),
        (huge_png(60_000), 422, "photo_refused", "too_many_pixels"),
        (b"\0" * (MAX_BYTES + 1), 413, "too_large", None),
    ):
        answer = await send(ada, "POST", PHOTO, data=io.BytesIO(data))
        told = json.loads(answer.text)
        assert (answer.status, told["code"], told.get("reason")) == (status, code, reason)
    photos = portal.app[PHOTOS]
    with photos.admit(ada.actor.account_id), photos.admit(ada.actor.account_id):
        assert MAX_EACH == 2
        busy = await send(ada, "POST", PHOTO, data=b"x")
    assert (busy.status, json.loads(busy.text)["code"]) == (429, "busy")
    answer = await ada.browser.ask("POST", PHOTO, data=b"x", headers={"Accept": "application/json"})
    assert answer.status == 403  # without the form's token nothing is read


async def test_an_opinion_of_a_help_page(portal: Portal, ada: Somebody) -> None:
    path = "/api/v1/help/camera/opinion"
    assert (await ada.browser.get(path)).status == 404
    said = {"rating": 4, "comment": "It helped."}
    assert (await send(ada, "PUT", path, json=said)).status == 204
    assert json.loads((await ada.browser.get(path)).text) == said
    assert (await send(ada, "PUT", path, json={"rating": 6})).status == 400
    assert (await send(ada, "PUT", "/api/v1/help/nothing/opinion", json=said)).status == 404
    assert (await ada.browser.get("/api/v1/help-opinions")).status == 404
    async with portal.pool.connection() as connection:
        await help_opinions.name_operator(connection, ada.actor.account_id, now_ms(), on=True)
    told = json.loads((await ada.browser.get("/api/v1/help-opinions")).text)
    assert [one["comment"] for one in told["comments"]] == ["It helped."]
    assert told["ratings"][0]["page"] == "camera"


async def test_ones_own_mails_of_a_policy(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    number = (await arrange(portal, ada.actor))["policy"]
    path = f"/api/v1/notifications/policies/{number}/mails"
    for wanted, button in ((False, "yes"), (True, "no")):
        assert (await send(ada, "PUT", path, json={"wanted": wanted})).status == 204
        board = (await ada.browser.get("/notifications")).text
        assert f'name="wanted" value="{button}"' in board
    assert (await send(eve, "PUT", path, json={"wanted": False})).status == 404


async def test_without_a_partner_there_is_no_connection(ada: Somebody) -> None:
    for method in ("GET", "DELETE"):
        assert (await send(ada, method, "/api/v1/account/partner")).status == 404
