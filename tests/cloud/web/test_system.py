"""What programs ask a portal, and how it behaves without its database."""

import asyncio
import json
import secrets
from pathlib import Path

import pytest

from cloud.config import ConfigError, Settings
from cloud.embedded import EmbeddedPostgres
from cloud.postgres import pool
from cloud.provision import load_installation, load_key_set
from cloud.web.app import run
from protocol.identity import b64url
from protocol.signing import open_key_set, open_time
from tests.cloud.web.conftest import Somebody
from tests.support.claiming import TestDevice
from tests.support.portal import Portal, Visitor, claim, now_ms, running_portal, visitor
from tests.support.prepared import prepare
from tests.support.streams import open_stream


async def test_health_and_readiness(stranger: Visitor) -> None:
    assert (await stranger.get("/healthz")).status == 200
    assert json.loads((await stranger.get("/readyz")).text) == {"status": "ready"}


async def test_metrics_count_requests_and_streams(stranger: Visitor) -> None:
    await stranger.get("/login")
    text = (await stranger.get("/metrics")).text
    assert 'smartconnect_portal_requests_total{method="GET",route="/login",status="200"} 1.0' in text
    assert "smartconnect_portal_streams 0.0" in text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
async def test_metrics_are_not_for_the_world(stranger: Visitor, header: str) -> None:
    assert (await stranger.get("/metrics", **{header: "192.0.2.1"})).status == 404


async def test_log_ins_are_counted_by_outcome(ada: Somebody) -> None:
    await ada.browser.post("/login", {"email": "x@example.org", "password": "y"})
    text = (await ada.browser.get("/metrics")).text
    assert 'smartconnect_portal_logins_total{outcome="done"} 1.0' in text
    assert 'smartconnect_portal_logins_total{outcome="failed"} 1.0' in text


async def test_the_front_door_leads_where_one_belongs(ada: Somebody, stranger: Visitor) -> None:
    assert (await ada.browser.get("/")).headers["Location"] == "/devices"
    assert (await stranger.get("/")).headers["Location"] == "/login"


async def test_devices_get_the_key_set_and_the_time_signed(portal: Portal, stranger: Visitor) -> None:
    root_pub = load_installation(portal.settings.state_dir).root_pub
    answer = await stranger.get("/api/v1/keys")
    key_set = open_key_set(answer.text.encode(), root_pub)
    assert key_set == load_key_set(portal.settings.state_dir)
    nonce = secrets.token_bytes(16)
    signed = await stranger.get(f"/api/v1/time?nonce={b64url(nonce)}")
    assert abs(open_time(signed.text.encode(), key_set, nonce).time_ms - now_ms()) < 5000
    for wrong in ("", "AAAA", "!", b64url(bytes(65))):
        assert (await stranger.get(f"/api/v1/time?nonce={wrong}")).status == 400


async def test_plain_http_is_for_loopback_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="plain HTTP on loopback only"):
        await run(Settings(state_dir=tmp_path, portal_host="0.0.0.0"))


async def test_without_a_database_it_says_so_and_recovers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CHECKOUT_TIMEOUT_S", 1.0)  # so long each refused request takes
    prepare(tmp_path / "database")
    with EmbeddedPostgres(tmp_path / "database") as server:
        dsn = server.dsn()
        async with running_portal(dsn, tmp_path / "state") as portal, visitor() as http:
            browser = Visitor(http, portal.url)
            actor = await portal.add_person("ada@example.org")
            await browser.log_in("ada@example.org")
            view = await claim(portal.pool, actor, TestDevice())
            path = f"/claims/{view.claim_id}/live"
            async with open_stream(browser, path) as stream:
                await stream.until("Waiting for the device")
                await asyncio.to_thread(server.stop)
                assert (await browser.get("/healthz")).status == 200
                assert (await browser.get("/readyz")).status == 503
                page = await browser.get("/devices")
                assert (page.status, page.headers["Retry-After"]) == (503, "5")
                assert "nothing is lost" in page.text
                await asyncio.to_thread(server.start)
                async with asyncio.timeout(30):
                    while (await browser.get("/readyz")).status != 200:
                        await asyncio.sleep(0.1)
                assert (await browser.get("/devices")).status == 200
            async with open_stream(browser, path) as stream:
                await stream.until("Waiting for the device")
    assert "a request failed" not in capsys.readouterr().out


async def test_open_pages_do_not_hold_the_stop_back(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    async with open_stream(ada.browser, f"/devices/{owned.device_id}/live") as stream:
        await stream.until("data-condition")
        began = now_ms()
        await portal.app.shutdown()
        while await stream.next() is not None:
            pass
        assert now_ms() - began < 2000


async def test_a_head_request_opens_no_stream(portal: Portal, ada: Somebody) -> None:
    owned = await portal.own_device(ada.actor)
    assert (await ada.browser.ask("HEAD", f"/devices/{owned.device_id}/live")).status == 405
    assert (await ada.browser.ask("HEAD", f"/devices/{owned.device_id}")).status == 200


async def test_static_files_are_squeezed_for_whoever_can_take_it(stranger: Visitor) -> None:
    plain = await stranger.get("/static/portal.css", **{"Accept-Encoding": "identity"})
    small = await stranger.get("/static/portal.css", **{"Accept-Encoding": "gzip"})
    assert ("Content-Encoding" in plain.headers, small.headers["Content-Encoding"]) == (False, "gzip")
    assert small.text == plain.text
    assert small.headers["Vary"] == "Accept-Encoding"
    part = await stranger.get("/static/portal.css", **{"Accept-Encoding": "gzip", "Range": "bytes=0-9"})
    assert (part.status, part.text) == (206, plain.text[:10])
    sheet = await stranger.get("/static/style.css", **{"Accept-Encoding": "gzip"})
    assert sheet.text == (await stranger.get("/static/style.css", **{"Accept-Encoding": "identity"})).text
    assert plain.text in sheet.text
    assert "@media print" in sheet.text


async def test_pages_are_squeezed_for_the_person_who_asks(ada: Somebody, stranger: Visitor) -> None:
    asked = {"Accept-Encoding": "gzip", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
    small = await ada.browser.get("/devices", **asked)
    assert small.headers["Content-Encoding"] == "gzip"
    assert "</html>" in small.text
    others: list[dict[str, str]] = [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Mode": "cors"},
        {"Accept-Encoding": "identity"},
    ]
    for other in others:
        answer = await ada.browser.get("/devices", **{**asked, **other})
        assert "Content-Encoding" not in answer.headers, other
    page = await stranger.get("/login", **asked)
    assert "Content-Encoding" not in page.headers, "a page holds a token"
