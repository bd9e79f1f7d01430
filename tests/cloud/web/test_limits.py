"""What pages and API say to somebody with many open claims, and whose address counts."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import structlog

from cloud.core.proof_of_work import BITS, PUZZLES, solve
from cloud.core.slow_lane import MIN_AGE_MS
from cloud.services import slow_lane
from cloud.web.addresses import client_address
from tests.support.device import random_codes
from tests.support.portal import Answer, Portal, Visitor, labelled_device, now_ms, running_portal, visitor

FREE = 2


@pytest.fixture
async def strict(database: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A portal that gives two free claims, with a proxy on loopback."""
    async with running_portal(
        database, tmp_path / "state", free_claims_account=FREE, trusted_proxies=("127.0.0.0/8",)
    ) as portal:
        yield portal


async def ask(browser: Visitor, codes: Mapping[str, str], **more: str) -> Answer:
    """A claim through the API."""
    headers = {"X-Form-Token": browser.form_token, "Accept": "application/json"}
    return await browser.ask("POST", "/api/v1/claims", json={**codes, **more}, headers=headers)


def wrong() -> dict[str, str]:
    """Codes of no device."""
    product_id, product_key = random_codes()
    return {"product_id": product_id.value, "product_key": product_key.value}


async def test_a_guesser_is_asked_for_time_and_work(strict: Portal) -> None:
    await strict.add_person("eve@example.org")
    async with visitor() as http:
        eve = Visitor(http, strict.url)
        await eve.log_in("eve@example.org")
        for _ in range(FREE):
            assert (await ask(eve, wrong())).status == 202
        refused = await ask(eve, wrong())
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
        assert '"code": "too_many"' in refused.text
        async with strict.pool.connection() as connection:  # a minute later
            await connection.execute("UPDATE attempt SET last_ms = last_ms - 60000")
        form = await eve.post("/add/codes", wrong())
        assert form.status == 429
        assert f'data-bits="{BITS}"' in form.text
        assert "I am not a robot" in form.text
        ticked = {**wrong(), "robot": "", "human": "yes", "bits": "13"}
        wait = await eve.post("/add/codes", {**ticked, "slow": slow_lane.ticket(strict.kit, now_ms())})
        assert (wait.status, "Your turn is kept for you" in wait.text) == (429, True)
        assert f'value="{ticked["product_id"]}"' in wait.text
        assert 'data-bits="13"' in wait.text
        ripe = slow_lane.ticket(strict.kit, now_ms() - MIN_AGE_MS)
        assert (await eve.post("/add/codes", {**ticked, "slow": ripe})).status == 303
        async with strict.pool.connection() as connection:
            await connection.execute("UPDATE attempt SET last_ms = last_ms - 120000")
        device, product_key = labelled_device()
        await device.announce(strict.pool, now_ms())
        codes = {"product_id": device.product_id.value, "product_key": product_key}
        asked = await ask(eve, codes)
        assert asked.status == 429
        challenge = asked.text.split('"challenge": "', 1)[1].split('"', 1)[0]
        assert (await ask(eve, codes, robot=f"{challenge}:1")).status == 422
        assert (await ask(eve, codes, robot=solve(challenge, BITS, PUZZLES))).status == 200
        spent = await ask(eve, wrong(), robot=solve(challenge, BITS, PUZZLES))
        assert '"code": "too_many"' in spent.text


async def test_a_harder_challenge_is_given_to_who_asks(strict: Portal) -> None:
    async with visitor() as http:
        browser = Visitor(http, strict.url)
        for asked, given in (("13", 13), ("99", 20), ("1", BITS), ("x", BITS), ("٣", BITS), ("1" * 9, BITS)):
            assert f'"bits":{given},' in (await browser.get(f"/robot?bits={asked}")).text


async def test_the_proxys_word_counts_for_the_address(strict: Portal) -> None:
    await strict.add_person("ada@example.org")
    async with visitor() as http:
        ada = Visitor(http, strict.url)
        await ada.log_in("ada@example.org")
        headers = {"X-Form-Token": ada.form_token, "X-Forwarded-For": "198.51.100.1, 203.0.113.9"}
        await ada.ask("POST", "/api/v1/claims", json=wrong(), headers=headers)
        async with strict.pool.connection() as connection:
            cursor = await connection.execute("SELECT network FROM claim_place")
            assert await cursor.fetchall() == [("203.0.113.9",)]


async def test_a_proxy_that_is_not_configured_is_named_once(database: str, tmp_path: Path) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9"}
    counts = []
    for proxies in ((), ("10.0.0.0/8",), ("127.0.0.0/8",)):
        async with (
            running_portal(database, tmp_path / "state", trusted_proxies=proxies) as portal,
            visitor() as http,
        ):
            browser = Visitor(http, portal.url)
            with structlog.testing.capture_logs() as lines:
                await browser.get("/healthz")
                for _ in range(3):
                    await browser.ask("GET", "/healthz", headers=headers)
        named = [line for line in lines if "trusted_proxies" in line["event"]]
        counts.append([(line["log_level"], line["peer"]) for line in named])
    assert counts == [[("warning", "127.0.0.1")], [("warning", "127.0.0.1")], []]


@pytest.mark.parametrize(
    ("peer", "lines", "address"),
    [
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["2001:DB8::1"], "2001:db8::1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, "], "10.0.0.1"),
        ("", ["203.0.113.9"], ""),
    ],
)
def test_only_configured_proxies_are_believed(peer: str, lines: list[str], address: str) -> None:
    assert client_address(peer, lines, ("10.0.0.0/8",)) == address
