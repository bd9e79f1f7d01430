"""Log-in, log-out and what a session is."""

import hashlib
from pathlib import Path

import pytest

from cloud.web import sessions
from protocol.identity import unb64url
from tests.cloud.web.conftest import Somebody
from tests.support.portal import PASSWORD, Portal, Visitor, now_ms, running_portal, visitor


async def test_pages_lead_to_the_log_in_and_back(portal: Portal, stranger: Visitor) -> None:
    await portal.add_person("ada@example.org")
    answer = await stranger.get("/devices")
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=/devices")
    page = await stranger.get("/login?next=/add/codes")
    assert 'name="next" value="/add/codes"' in page.text
    form = {"email": "ada@example.org", "password": PASSWORD, "next": "/add/codes"}
    done = await stranger.post("/login", form)
    assert (done.status, done.headers["Location"]) == (303, "/add/codes")
    assert (await stranger.get("/login")).status == 303


@pytest.mark.parametrize("target", ["//example.org", "https://example.org/x", "/\\example.org", "", "x"])
async def test_a_log_in_never_leads_to_another_site(portal: Portal, stranger: Visitor, target: str) -> None:
    await portal.add_person("ada@example.org")
    await stranger.get("/login")
    form = {"email": "ada@example.org", "password": PASSWORD, "next": target}
    assert (await stranger.post("/login", form)).headers["Location"] == "/devices"


async def test_unknown_and_wrong_get_the_same_page(portal: Portal, stranger: Visitor) -> None:
    await portal.add_person("ada@example.org")
    pages = []
    for email, password in (("ada@example.org", "Wrong horse 7"), ("nobody@example.org", PASSWORD)):
        await stranger.get("/login")
        answer = await stranger.post("/login", {"email": email, "password": password})
        assert answer.status == 401
        pages.append(answer.timeless.replace(email, "").replace(stranger.form_token, ""))
    assert pages[0] == pages[1]
    assert "not right" in pages[0]


async def test_the_typed_address_comes_back_escaped(stranger: Visitor) -> None:
    await stranger.get("/login")
    answer = await stranger.post("/login", {"email": '"><script>alert(1)</script>', "password": "x"})
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


async def test_the_cookie_is_new_at_each_log_in_and_stored_as_a_hash(
    portal: Portal, stranger: Visitor
) -> None:
    await portal.add_person("ada@example.org")
    before = (await stranger.get("/login")).cookies
    first = await stranger.log_in("ada@example.org")
    assert first not in before.values()
    form_token = stranger.form_token
    answer = await stranger.post("/logout", {})
    assert answer.status == 303
    second = await stranger.log_in("ada@example.org")
    assert second != first
    assert stranger.form_token != form_token
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT session_hash FROM web_session")
        stored = [bytes(row[0]) for row in await cursor.fetchall()]
    assert stored == [hashlib.sha256(unb64url(second)).digest()]


async def test_a_new_log_in_ends_the_one_it_replaces(portal: Portal, ada: Somebody) -> None:
    name = sessions.cookie_name(portal.settings)
    old = next(iter(ada.browser.http.cookie_jar)).value
    # The log-in page sends people who are logged in on; a second tab may still hold its form.
    form = {"email": ada.email, "password": PASSWORD}
    assert (await ada.browser.post("/login", form)).status == 303
    async with visitor() as http:
        answer = await Visitor(http, portal.url).get("/devices", Cookie=f"{name}={old}")
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/login")


async def test_log_out_ends_the_session_on_the_server(portal: Portal, ada: Somebody) -> None:
    name = sessions.cookie_name(portal.settings)
    cookie = next(iter(ada.browser.http.cookie_jar)).value
    assert (await ada.browser.get("/devices")).status == 200
    await ada.browser.post("/logout", {})
    async with visitor() as http:
        answer = await Visitor(http, portal.url).get("/api/v1/devices", Cookie=f"{name}={cookie}")
    assert answer.status == 401


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE web_session SET expires_ms = 1",
        "UPDATE web_session SET seen_ms = 1",
        "UPDATE account SET disabled_ms = 1",
        "DELETE FROM membership",
    ],
)
async def test_a_session_ends_with_its_time_its_account_and_its_membership(
    portal: Portal, ada: Somebody, change: str
) -> None:
    assert (await ada.browser.get("/api/v1/session")).status == 200
    async with portal.pool.connection() as connection:
        await connection.execute(change)
    assert (await ada.browser.get("/api/v1/session")).status == 401


async def test_use_is_written_down(portal: Portal, ada: Somebody) -> None:
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE web_session SET seen_ms = seen_ms - 120000")
    began = now_ms()
    await ada.browser.get("/devices")
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT seen_ms FROM web_session")
        row = await cursor.fetchone()
    assert row is not None
    assert row[0] >= began - 1


async def test_plain_http_has_a_cookie_that_every_browser_takes(portal: Portal, stranger: Visitor) -> None:
    header = (await stranger.get("/login")).headers["Set-Cookie"]
    assert header.startswith(f"smartconnect_session_{portal.settings.portal_port}=")
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    assert "Secure" not in header


async def test_behind_https_the_cookie_is_bound_to_this_host(database: str, tmp_path: Path) -> None:
    async with (
        running_portal(database, tmp_path / "https", public_url="https://ups.example.org") as portal,
        visitor() as http,
    ):
        answer = await Visitor(http, portal.url).get("/login")
    header = answer.headers["Set-Cookie"]
    assert header.startswith("__Host-session=")
    assert "Secure" in header
    assert "Path=/" in header
    assert "Domain" not in header
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


async def test_log_ins_are_audited(portal: Portal, ada: Somebody) -> None:
    await ada.browser.post("/logout", {})
    async with portal.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT kind, account_id FROM account_audit WHERE kind LIKE 'log%' ORDER BY audit_id"
        )
        rows = await cursor.fetchall()
    assert rows == [("login", ada.actor.account_id), ("logout", ada.actor.account_id)]
