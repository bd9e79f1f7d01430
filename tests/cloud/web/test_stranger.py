"""Every route of the portal, pages and API, asked by somebody with another account's ids.

The routes are taken from the application, so that one added later is asked, too; one that needs something
tests/support/foreign.py does not know fails until it is told there.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from cloud.web.api.document import problems_of
from cloud.web.api.operation import PREFIX, Operation
from cloud.web.api.routes import SECTIONS
from tests.cloud.web.conftest import Somebody
from tests.support.foreign import FIELDS, FORMS, HARMLESS, IDS, QUERY, REFUSED_FORMS, THEIRS
from tests.support.foreign_world import World, build, things_of
from tests.support.portal import Answer, Portal, Visitor

OPERATIONS: dict[tuple[str, str], Operation] = {
    (one.method, PREFIX + one.path): one for section in SECTIONS for one in section.operations
}
PLACEHOLDER = re.compile(r"{(\w+)}")
DENIED = {403, 404}
NOT_THE_SENDERS_FAULT = 500


@dataclass(frozen=True)
class Asked:
    """A request to be made. ``refused``: it names somebody's things."""

    method: str
    route: str
    target: str
    how: Mapping[str, Any]
    refused: bool


def requests(portal: Portal, world: World) -> Iterator[Asked]:
    """One for each method of each route. KeyError names what has to be told."""
    for route in portal.app.router.routes():
        if route.resource is None or route.method == "HEAD":
            continue
        path = route.resource.canonical
        names = [name for name in PLACEHOLDER.findall(path) if name not in HARMLESS]
        known = {**HARMLESS, **world.ids}
        target = path.format_map(known)
        refused, how = bool(names), {}
        operation = OPERATIONS.get((route.method, path))
        if operation is not None:
            unknown = {one.name for one in operation.parameters if one.place == "query"} - QUERY
            assert not unknown, (path, unknown)
            if operation.body is not None:
                fields = operation.body.__struct_fields__
                values = {
                    **FIELDS,
                    **{name: as_json(world.ids[name]) for name in IDS},
                    "kid": world.ids["kid"],
                }
                how = {"json": {name: values[name] for name in fields}}
                refused = refused or bool(IDS & set(fields))
        elif route.method == "POST" and not names:
            how = {
                "data": {
                    name: world.ids[name] if value == THEIRS else value for name, value in FORMS[path].items()
                }
            }
            refused = path in REFUSED_FORMS
        else:
            assert route.method in {"GET", "POST"}, f"{route.method} {path} is no operation of the API"
            how = {"data": {"kid": world.ids["kid"], "name": "x"}} if route.method == "POST" else {}
        yield Asked(route.method, path, target, how, refused)


def as_json(text: str) -> int | str:
    """Numbers of companies are numbers in JSON."""
    return int(text) if text.isdigit() else text


async def ask(eve: Somebody, asked: Asked) -> Answer:
    """Ask as a program, logged in."""
    me = await eve.browser.get(f"{PREFIX}/session")
    if me.status != 200:
        await eve.browser.log_in(eve.email)
        me = await eve.browser.get(f"{PREFIX}/session")
    headers = {"Accept": "application/json", "X-Form-Token": json.loads(me.text)["form_token"]}
    return await eve.browser.ask(asked.method, asked.target, headers=headers, **asked.how)


@pytest.mark.timeout(240)
async def test_no_route_gives_a_stranger_anything(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    bob = await portal.add_person("bob@example.org", first_name="Bob")
    world = await build(portal, ada.actor, bob)
    before = await things_of(portal, ada.actor)
    asked = list(requests(portal, world))
    for one in asked:
        answer = await ask(eve, one)
        what = (one.method, one.target, answer.status, answer.text[:300])
        assert answer.status < NOT_THE_SENDERS_FAULT, what
        if one.refused:
            assert answer.status in DENIED, what
        if (operation := OPERATIONS.get((one.method, one.route))) and answer.status in DENIED:
            assert json.loads(answer.text)["code"] in problems_of(operation), what
        sent = f"{one.target} {one.how}"
        told = [mark for mark in world.marks if mark in answer.text and mark not in sent]
        assert not told, (one.method, one.target, told)
    assert await things_of(portal, ada.actor) == before
    assert {(one.method, one.route) for one in asked} >= set(OPERATIONS)
    assert sum(one.refused for one in asked) > 60


async def test_a_foreign_thing_is_answered_like_one_that_is_not(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    bob = await portal.add_person("bob@example.org", first_name="Bob")
    world = await build(portal, ada.actor, bob)
    nobodys = {
        "device_id": "1",
        "claim_id": "0" * 8 + "-0000-4000-8000-" + "0" * 12,
        "job_id": "0" * 8 + "-0000-4000-8000-" + "0" * 12,
        "account_id": "999999",
        "member": "999999",
        "company_id": "999999",
        "company": "999999",
        "invitation_id": "999999",
        "passkey_id": "999999",
        "passkey": "999999",
        "invitation": "999999",
        "number": "ZZZZZZ",
        "system_id": "9" * 43,
        "intent_id": "0" * 8 + "-0000-4000-8000-" + "0" * 12,
        "offer_id": "0" * 8 + "-0000-4000-8000-" + "0" * 12,
        "link": "ZZZZZZ." + "0" * 8 + "-0000-4000-8000-" + "0" * 12 + ".x",
        **{
            name: "999999"
            for kind in ("site", "policy", "channel", "window")
            for name in (kind, f"{kind}_id")
        },
        "name": "A" * 43,
        "token_id": "999999",
        "token": "0" * 8 + "-0000-4000-8000-" + "0" * 12 + ".x",
    }
    missing = World({**world.ids, **nobodys}, ())
    for theirs, nothing in zip(requests(portal, world), requests(portal, missing), strict=True):
        if (
            not theirs.refused
            or "/offers/" in theirs.route
            or theirs.route.startswith(("/transfers", "/systems/offer"))
        ):
            continue  # whoever has an offer's whole code may learn that it was made to another address
        answers = [await ask(eve, one) for one in (theirs, nothing)]
        told = [json.loads(answer.text) for answer in answers]
        for body in told:
            del body["request_id"]
        assert told[0] == told[1], theirs
        assert answers[0].status == answers[1].status


async def test_without_a_log_in_only_open_routes_answer(
    portal: Portal, ada: Somebody, stranger: Visitor
) -> None:
    bob = await portal.add_person("bob@example.org", first_name="Bob")
    world = await build(portal, ada.actor, bob)
    token = json.loads((await stranger.get(f"{PREFIX}/form-token")).text)["form_token"]
    headers = {"Accept": "application/json", "X-Form-Token": token}
    for one in requests(portal, world):
        answer = await stranger.ask(one.method, one.target, headers=headers, **one.how)
        assert answer.status < NOT_THE_SENDERS_FAULT, one
        assert not [mark for mark in world.marks if mark in answer.text and mark not in str(one)], one
        if one.refused and one.route not in {"/join", "/join/accept", "/unsubscribe/{token}"}:
            assert answer.status == 401, (one, answer.status)
