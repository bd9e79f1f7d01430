"""Bodies, fields and paths that no handler expects: whatever is sent, it is never a fault of ours."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cloud.web.api.document import problems_of
from cloud.web.api.operation import Operation
from tests.cloud.web.conftest import Somebody
from tests.cloud.web.test_stranger import OPERATIONS, as_json
from tests.support.foreign import FIELDS, FORMS, HARMLESS, IDS, THEIRS
from tests.support.foreign_world import World, build
from tests.support.portal import Answer, Portal

ODD: tuple[Any, ...] = (None, True, -1, 1 << 70, 1.5, [], {}, "\0", "a\0b", "x" * 5000, "\u202e\u0301")
BODIES = (b"", b"null", b"[]", b"{", b'"text"', b"[" * 5000, b'{"x":' * 5000, b"\xff", b'{"list":"\\ud800"}')
TEXTS = ("\0", "x" * 3000, "\u202e\u0301", "9" * 30, "٣")
PATIENT = {"/login", "/account/confirm", "/account/password"}
"""Forms that make whoever guesses wait: one text each is enough."""
SERVER_FAULT = 500


def bodies(operation: Operation, ids: dict[str, Any]) -> Iterator[bytes]:
    """Bodies that are no JSON, no object, or have one field that is odd."""
    yield from BODIES
    valid = {name: ids.get(name, FIELDS.get(name)) for name in operation.body.__struct_fields__}
    for name in valid:
        for odd in ODD:
            yield json.dumps({**valid, name: odd}).encode()


async def ask(somebody: Somebody, method: str, path: str, body: bytes | dict[str, str]) -> Answer:
    """Ask as a program; log in again where the request before has ended the log-in."""
    for _ in range(2):
        headers = {"Accept": "application/json", "X-Form-Token": somebody.browser.form_token}
        answer = await somebody.browser.ask(method, path, headers=headers, data=body)
        if answer.status != 401 and "form_expired" not in answer.text:
            break
        await somebody.browser.log_in(somebody.email)
    return answer


async def own_ids(portal: Portal, ada: Somebody) -> World:
    """Ada's own things, so that requests come as far as they can."""
    return await build(portal, ada.actor, await portal.add_person("bob@example.org", first_name="Bob"))


@pytest.mark.timeout(300)
async def test_no_body_of_the_api_is_a_fault_of_ours(portal: Portal, ada: Somebody) -> None:
    world = await own_ids(portal, ada)
    ids = {name: as_json(world.ids[name]) for name in (*IDS, "kid")}
    count = 0
    for (method, route), operation in OPERATIONS.items():
        if operation.body is None:
            continue
        for body in bodies(operation, ids):
            answer = await ask(ada, method, route.format_map({**HARMLESS, **world.ids}), body)
            assert answer.status < SERVER_FAULT, (method, route, body[:200])
            if "problem" in answer.headers.get("Content-Type", ""):  # what is done answers with nothing
                assert json.loads(answer.text)["code"] in problems_of(operation), (method, route, answer.text)
            count += 1
    assert count > 500


@pytest.mark.timeout(300)
async def test_no_field_of_a_page_is_a_fault_of_ours(portal: Portal, ada: Somebody) -> None:
    world = await own_ids(portal, ada)
    for route, form in FORMS.items():
        given = {name: world.ids[name] if value == THEIRS else value for name, value in form.items()}
        for name in given:
            for odd in TEXTS[:1] if route in PATIENT else TEXTS:
                answer = await ask(ada, "POST", route, {**given, name: odd})
                assert answer.status < SERVER_FAULT, (route, name, odd)


async def test_no_parameter_is_a_fault_of_ours(portal: Portal, ada: Somebody) -> None:
    world = await own_ids(portal, ada)
    for route in portal.app.router.routes():
        if route.resource is None or route.method == "HEAD":
            continue
        path = route.resource.canonical
        for odd in ("%00", "a%00b", "%FF", "-1", "9" * 19, "9" * 30, "%D9%A3", "x" * 300, "%2e%2e%2f"):
            known = {**HARMLESS, **world.ids, "path": odd}
            for name in {name for name in known if f"{{{name}}}" in path}:
                answer = await ask(ada, route.method, path.format_map({**known, name: odd}), b"{}")
                assert answer.status < SERVER_FAULT, (route.method, path, name, odd)
        if route.method == "GET" and not path.endswith("/live"):
            for name in ("range_s", "after", "result", "nonce", "from_ms", "to_ms", "next", "saved"):
                answer = await ask(
                    ada,
                    "GET",
                    f"{path.format_map({**HARMLESS, **world.ids, 'path': 'x'})}?{name}=%00",
                    b"",
                )
                assert answer.status < SERVER_FAULT, (path, name)
