"""What every request passes: who it is, where it comes from, its headers, and nobody else's device."""

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from aiohttp import web

from cloud.web import middleware
from cloud.web.responses import local_path
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Answer, Portal, Visitor, now_ms

OPEN = {
    "/",
    "/login",
    "/logout",
    "/healthz",
    "/language",
    "/readyz",
    "/metrics",
    "/favicon.ico",
    "/api",
    "/api/try",
    "/api/operations/{operation}",
    "/api/v1/keys",
    "/api/v1/time",
    "/api/v1/openapi.json",
    "/api/v1/form-token",
    "/api/v1/session",  # POST only: logging in
    "/api/v1/session/passkey",
    "/api/v1/session/passkey/options",
    "/api/v1/systems/exchange",  # a server's message, with its own proof
    "/static/{path}",
    "/help",
    "/help/{page}",
    "/r",
    "/robot",
    "/privacy",
    "/signup",
    "/signup/company",
    "/signup/verify",
    "/signup/resend",
    "/login/verify",
    "/login/passkey",
    "/login/partner",
    "/login/partner/back",
    "/login/partner/out",
    "/reset",
    "/reset/new",
    "/reset/new/open",
    "/reset/done",
    "/account-deleted",
    "/join",
    "/join/accept",
    "/unsubscribe/{token}",
}
"""Routes that answer somebody who is not logged in. Everything else must not."""
ELSEWHERE = {
    "/unsubscribe/{token}",  # the link itself is the proof (RFC 8058)
    "/api/v1/systems/exchange",  # sealed with the server's secret; no browser sends it
    "/add/photo",  # a form in parts: test_scan.py::test_the_form_token_comes_first_and_is_right
}
"""Changes whose proof is looked for in another place than a form's field."""
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


def routes(app: web.Application) -> Iterator[tuple[str, str]]:
    """Method and path of everything the portal answers."""
    for route in app.router.routes():
        if route.resource is not None and route.method != "HEAD":
            yield route.method, route.resource.canonical


NUMBERS = {"at_ms": "1", "rule_id": "1", "token_id": "1", "number": "0" * 6, "system_id": "1" * 43}
"""Placeholders that take a number only, or a name of another length."""


def filled(path: str, **values: str) -> str:
    """A path with its placeholders filled."""
    known = {**NUMBERS, **values}
    return re.sub(r"{(\w+)}", lambda found: known.get(found[1], "0" * 36), path)


async def asked(browser: Visitor, method: str, path: str) -> Answer:
    """A request that a program would make, with a valid form token where it changes something."""
    headers = {"Accept": "application/json", "X-Form-Token": browser.form_token}
    body = json.dumps({"kid": "x" * 27, "product_id": "A" * 12, "product_key": "B" * 14, "name": ""})
    return await browser.ask(method, path, headers=headers, data=body if method in UNSAFE else None)


async def test_without_a_log_in_only_open_routes_answer(portal: Portal, stranger: Visitor) -> None:
    closed = [(method, path) for method, path in routes(portal.app) if path not in OPEN]
    assert len(closed) > 12
    for method, path in closed:
        target = filled(path, device_id="1", kind="csv", stream="1", seq="1")
        answer = await asked(stranger, method, target)
        assert answer.status == 401, (method, path)
        assert json.loads(answer.text)["code"] == "login_needed"


async def test_lists_hold_only_what_is_ones_own(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    mine, hers = await portal.own_device(ada.actor), await portal.own_device(eve.actor)
    found = json.loads((await ada.browser.get("/api/v1/devices")).text)["devices"]
    assert [device["device_id"] for device in found] == [str(mine.device_id)]
    page = (await eve.browser.get("/devices")).text
    assert f"/devices/{hers.device_id}" in page
    assert str(mine.device_id) not in page


async def test_a_device_that_changed_hands_shows_nothing_of_before(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show(state_of_charge=77.0)
    await owned.add_samples([(now_ms() - 60_000, {})])
    await owned.add_event("on_battery", cause="high line")
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE ownership SET until_ms = %s", [now_ms()])
        await connection.execute("UPDATE device_key SET state = 'candidate'")
    second = await portal.own_device(eve.actor, owned.device)
    assert second.epoch > owned.epoch
    path = f"/api/v1/devices/{second.device_id}"
    assert (await ada.browser.get(path)).status == 404
    body = json.loads((await eve.browser.get(path)).text)
    assert body["values"]["state_of_charge"] is None
    assert body["condition"] == "starting"
    assert json.loads((await eve.browser.get(path + "/history")).text)["t_s"] == []
    assert json.loads((await eve.browser.get(path + "/events")).text)["events"] == []


@pytest.mark.parametrize("number", ["9223372036854775808", "9999999999999999999"])
async def test_an_impossible_number_is_a_missing_device(ada: Somebody, number: str) -> None:
    assert (await ada.browser.get(f"/devices/{number}")).status == 404


# --- changes come from our own pages ------------------------------------------------------------------------


async def test_every_change_needs_the_form_token(portal: Portal, ada: Somebody) -> None:
    changes = [
        (method, path) for method, path in routes(portal.app) if method in UNSAFE and path not in ELSEWHERE
    ]
    assert len(changes) >= 7
    for method, path in changes:
        target = filled(path, claim_id="0" * 36, device_id="1")
        for token in ("", "x" * 43, "é"):
            answer = await ada.browser.ask(
                method, target, data={"form_token": token}, headers={"Accept": "application/json"}
            )
            assert (answer.status, json.loads(answer.text)["code"]) == (403, "form_expired"), (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.org"},
        {"Origin": "http://["},
        {"Origin": "http://[x]y"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_another_site_changes_nothing(ada: Somebody, headers: dict[str, str]) -> None:
    answer = await ada.browser.post("/logout", {}, **headers)
    assert answer.status == 403
    assert "another site" in answer.text
    assert (await ada.browser.get("/devices")).status == 200


async def test_our_own_pages_may(portal: Portal, ada: Somebody) -> None:
    headers = {"Origin": portal.url, "Sec-Fetch-Site": "same-origin"}
    assert (await ada.browser.post("/logout", {}, **headers)).status == 303


@pytest.mark.parametrize("target", ["//[x", "//[", "/\\[", "http://[", "//\u2100"])
async def test_a_target_that_is_no_address_leads_nowhere(stranger: Visitor, target: str) -> None:
    for path in ("/login?next=", "/signup?next=", "/privacy?back="):
        answer = await stranger.get(path + quote(target))
        assert (answer.status, target in answer.text) == (200, False), path
    assert local_path(target, "/home") == "/home"


ODD_KINDS = (
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded; charset=nonsense",
    "text/\xe9",
)


async def test_no_kind_of_body_is_a_fault_of_ours(portal: Portal, ada: Somebody) -> None:
    junk = b"--x\r\nContent-Disposition: y\r\n\xff\xfe"
    changing = [route for route in routes(portal.app) if route[0] in UNSAFE]
    for number, (method, path) in enumerate(changing):
        if path == "/logout" or "log-ins" in path:
            continue
        target = filled(path, claim_id="0" * 36, device_id="1")
        for shift, token in enumerate(({}, {"X-Form-Token": ada.browser.form_token})):
            kind = ODD_KINDS[(number + shift) % len(ODD_KINDS)]
            headers = {"Accept": "application/json", "Content-Type": kind, **token}
            answer = await ada.browser.ask(method, target, data=junk, headers=headers)
            assert answer.status < 500, (method, path, kind, answer.text)


async def test_no_change_by_get(portal: Portal) -> None:
    unsafe = {path for method, path in routes(portal.app) if method in UNSAFE}
    words = ("logout", "cancel", "pick")
    for method, path in routes(portal.app):
        if method == "GET":
            assert not path.endswith(words)
    assert {"/logout", "/claims/{claim_id}/cancel", "/claims/{claim_id}/pick"} <= unsafe


# --- headers and errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/login", "/nowhere", "/static/portal.css", "/healthz", "/api/v1/devices"])
async def test_security_headers_are_on_every_answer(stranger: Visitor, path: str) -> None:
    answer = await stranger.get(path)
    for name, value in middleware.SECURITY_HEADERS.items():
        assert answer.headers[name] == value
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "Server" not in answer.headers
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-Id"])


async def test_pages_hold_no_inline_script_or_style(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show()
    for path in ("/devices", "/add", "/add/codes", f"/devices/{owned.device_id}"):
        text = (await ada.browser.get(path)).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text), path


async def test_pages_are_never_stored_and_files_with_a_checksum_are(ada: Somebody) -> None:
    page = await ada.browser.get("/devices")
    assert page.headers["Cache-Control"] == "no-store"
    found = re.search(r'href="(/static/style\.css\?v=[0-9a-f]+)"', page.text)
    assert found is not None
    assert "immutable" in (await ada.browser.get(found[1])).headers["Cache-Control"]
    for unknown in ("/static/style.css", "/static/portal.css", "/static/style.css?v=000000000000"):
        assert (await ada.browser.get(unknown)).headers["Cache-Control"] == "no-cache", unknown


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fconfig.py",
        "/static/dist/.stamp",
        "/static/",
        "/static/dist",
    ],
)
async def test_only_static_files_are_served(portal: Portal, stranger: Visitor, path: str) -> None:
    async with stranger.http.get(f"{portal.url}{path}", allow_redirects=False) as response:
        assert response.status == 404


async def test_people_get_pages_and_programs_problem_json(ada: Somebody) -> None:
    page = await ada.browser.get("/nowhere", Accept="text/html")
    assert (page.status, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing here" in page.text
    problem = await ada.browser.get("/api/v1/nowhere")
    assert problem.headers["Content-Type"].startswith("application/problem+json")
    assert json.loads(problem.text)["code"] == "not_found"
    wrong = await ada.browser.ask(
        "DELETE", "/api/v1/devices", headers={"X-Form-Token": ada.browser.form_token}
    )
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET,HEAD")


async def test_a_large_body_is_refused(ada: Somebody) -> None:
    answer = await ada.browser.post("/add/codes", {"product_id": "x" * 100_000})
    assert answer.status == 413
