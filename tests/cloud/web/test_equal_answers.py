"""What an unknown, a wrong, an unseen and somebody else's device are answered: nothing tells them apart."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cloud.services.derivation import MAX_TYPED
from cloud.web.state import LABEL_KEYS, POOL
from protocol.identity import ProductId
from tests.cloud.web.conftest import Somebody
from tests.support.device import random_codes
from tests.support.portal import Answer, Portal, labelled_device, now_ms

VARYING = {"claim_id", "device_id", "product_id", "created_ms", "expires_ms"}
"""Names and dates: those of the claimant's own claim."""
OWN_HEADERS = {"date", "x-request-id", "content-length"}


def codes_of(product_id: ProductId | str, product_key: str) -> dict[str, str]:
    """A claim's body."""
    return {"product_id": str(getattr(product_id, "value", product_id)), "product_key": product_key}


async def ask(somebody: Somebody, codes: Mapping[str, str]) -> Answer:
    """A claim through the API."""
    headers = {"X-Form-Token": somebody.browser.form_token, "Accept": "application/json"}
    return await somebody.browser.ask("POST", "/api/v1/claims", json=codes, headers=headers)


def shape_of(answer: Answer) -> dict[str, Any]:
    """An answer without names and dates, but with their form."""
    body = json.loads(answer.text)
    varying = {name: (type(body[name]), len(str(body[name]))) for name in VARYING - {"device_id"}}
    return {
        "status": answer.status,
        "names": list(body),
        "same": {name: value for name, value in body.items() if name not in VARYING},
        "varying": varying,
        "length": len(answer.text) - len(body["device_id"]),
        "headers": [
            (name, value) for name, value in answer.headers.items() if name.lower() not in OWN_HEADERS
        ],
        "header names": [name for name, _ in answer.headers.items()],
    }


@pytest.fixture
async def kinds(portal: Portal, ada: Somebody) -> dict[str, Callable[[], dict[str, str]]]:
    """By kind, codes of a device that its claimant does not have."""
    seen, _ = labelled_device()
    await seen.announce(portal.pool, now_ms())
    mine = await portal.own_device(ada.actor, labelled_device()[0])
    unseen, its_key = labelled_device()
    assert (await ask(ada, codes_of(unseen.product_id, its_key))).status == 202

    def wrong_key(product_id: ProductId) -> dict[str, str]:
        return codes_of(product_id, random_codes()[1].value)

    return {
        "unknown": lambda: wrong_key(random_codes()[0]),
        "wrong": lambda: wrong_key(seen.product_id),
        "unseen": lambda: codes_of(unseen.product_id, its_key),
        "owned": lambda: wrong_key(mine.device.product_id),
    }


async def test_no_answer_tells_what_there_is(
    eve: Somebody, kinds: dict[str, Callable[[], dict[str, str]]]
) -> None:
    answers = {kind: await ask(eve, make()) for kind, make in kinds.items()}
    first = shape_of(answers["unknown"])
    assert first["status"] == 202
    assert first["same"]["state"] == "waiting_for_device"
    assert first["same"]["keys"] == []
    for kind, answer in answers.items():
        assert shape_of(answer) == first, kind
    looks = {
        kind: await eve.browser.get(f"/api/v1/claims/{json.loads(a.text)['claim_id']}")
        for kind, a in answers.items()
    }
    for kind, look in looks.items():
        assert shape_of(look) == shape_of(looks["unknown"]), kind


async def test_no_page_tells_what_there_is(
    eve: Somebody, kinds: dict[str, Callable[[], dict[str, str]]]
) -> None:
    pages = {}
    for kind, make in kinds.items():
        codes = make()
        answer = await eve.browser.post("/add/codes", codes)
        assert answer.status == 303
        page = await eve.browser.get(answer.headers["Location"])
        name = answer.headers["Location"].rpartition("/")[2]
        request_id = page.headers["X-Request-Id"]
        text = (
            page.timeless.replace(name, "NAME")
            .replace(codes["product_id"], "PRODUCT")
            .replace(request_id, "R")
        )
        pages[kind] = text
    assert "NAME" in pages["unknown"]
    for kind, text in pages.items():
        assert text == pages["unknown"], kind


async def test_a_full_portal_refuses_before_it_asks_who_this_is(
    portal: Portal, eve: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_keys = portal.app[LABEL_KEYS]
    monkeypatch.setattr(label_keys, "_admitted", MAX_TYPED)
    await portal.app[POOL].close()  # whoever asks the database fails
    codes = codes_of(random_codes()[0], random_codes()[1].value)
    answer = await ask(eve, codes)
    assert (answer.status, json.loads(answer.text)["code"]) == (429, "busy")
    assert int(answer.headers["Retry-After"]) >= 1
    page = await eve.browser.post("/add/codes", codes)
    assert page.status == 429
    assert int(page.headers["Retry-After"]) >= 1
    assert "Too much to do right now" in page.text
    assert label_keys.spent == 0
