"""``Idempotency-Key``: a POST that was sent twice is done once and answered alike."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from cloud.core.second_factor import FRESH_MS
from cloud.postgres import leftovers
from tests.cloud.web.conftest import Somebody
from tests.support.portal import PASSWORD, Answer, Owned, Portal, labelled_device, now_ms

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'
BUYER = {"to_email": "buyer@example.org"}


@dataclass
class Program:
    """Asks the API for somebody."""

    somebody: Somebody

    async def post(self, path: str, body: Mapping[str, Any] | None = None, key: str | None = KEY) -> Answer:
        """A POST with a key."""
        session = await self.somebody.browser.get("/api/v1/session")
        headers = {"X-Form-Token": json.loads(session.text)["form_token"]}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.somebody.browser.ask("POST", f"/api/v1{path}", json=body, headers=headers)


def code_of(answer: Answer) -> str:
    """The problem's code."""
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    return str(json.loads(answer.text)["code"])


async def rows(portal: Portal, statement: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    async with portal.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


async def change(portal: Portal, statement: str) -> None:
    """Change the database behind the portal's back."""
    async with portal.pool.connection() as connection:
        await connection.execute(statement.encode())


async def offers(portal: Portal) -> int:
    """How many offers were ever made."""
    return len(await rows(portal, "SELECT 1 FROM matter WHERE kind = 'offer'"))


@pytest.fixture
async def owned(portal: Portal, ada: Somebody) -> Owned:
    """A device of Ada's."""
    return await portal.own_device(ada.actor)


def offer_of(owned: Owned) -> str:
    """Where it is offered."""
    return f"/devices/{owned.device_id}/offer"


async def test_the_same_request_is_done_once_and_answered_alike(
    portal: Portal, ada: Somebody, owned: Owned
) -> None:
    program = Program(ada)
    first = await program.post(offer_of(owned), BUYER)
    assert first.status == 201
    assert "Idempotency-Replayed" not in first.headers
    again = await program.post(offer_of(owned), BUYER)
    assert (again.status, again.text) == (first.status, first.text)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    unquoted = await program.post(offer_of(owned), BUYER, key=KEY.strip('"'))
    assert unquoted.text == first.text
    assert await offers(portal) == 1


async def test_a_key_is_for_one_request(portal: Portal, ada: Somebody, eve: Somebody, owned: Owned) -> None:
    program = Program(ada)
    assert (await program.post(offer_of(owned), BUYER)).status == 201
    for path, body in (
        (offer_of(owned), {"to_email": "other@example.org"}),
        (f"/devices/{owned.device_id}/release", None),
        ("/company/invitations", {"email": "grace@example.org"}),
    ):
        answer = await program.post(path, body)
        assert (answer.status, code_of(answer)) == (422, "idempotency_key_reused")
    hers = await portal.own_device(eve.actor)
    assert (await Program(eve).post(offer_of(hers), BUYER)).status == 201


async def test_while_the_first_one_runs_the_second_one_is_told(
    portal: Portal, ada: Somebody, owned: Owned
) -> None:
    program = Program(ada)
    async with portal.pool.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM device FOR UPDATE")
        first = asyncio.create_task(program.post(offer_of(owned), BUYER))
        async with asyncio.timeout(10):
            while not await rows(portal, "SELECT 1 FROM idempotency"):
                await asyncio.sleep(0.01)
        second = await program.post(offer_of(owned), BUYER)
        assert (second.status, code_of(second)) == (409, "idempotency_key_in_use")
        assert second.headers["Retry-After"] == "1"
    done = await first
    assert done.status == 201
    assert (await program.post(offer_of(owned), BUYER)).text == done.text


async def test_whoever_lost_the_key_changes_nothing(portal: Portal, ada: Somebody, owned: Owned) -> None:
    async with portal.pool.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM device FOR UPDATE")
        slow = asyncio.create_task(Program(ada).post(offer_of(owned), BUYER))
        async with asyncio.timeout(10):
            while not await rows(portal, "SELECT 1 FROM idempotency"):
                await asyncio.sleep(0.01)
        await change(portal, "UPDATE idempotency SET run_id = '00000000-0000-0000-0000-000000000000'")
    assert code_of(await slow) == "idempotency_key_in_use"
    assert await offers(portal) == 0


async def test_what_may_turn_out_otherwise_is_not_kept(portal: Portal, ada: Somebody, owned: Owned) -> None:
    program = Program(ada)
    await change(portal, f"UPDATE web_session SET factor_ms = factor_ms - {2 * FRESH_MS}")
    refused = await program.post(offer_of(owned), BUYER)
    assert (refused.status, code_of(refused)) == (403, "factor_needed")
    assert (await program.post("/session/proof", {"password": PASSWORD}, key=None)).status == 200
    assert (await program.post(offer_of(owned), BUYER)).status == 201


async def test_what_was_decided_is_kept_although_it_was_refused(
    portal: Portal, ada: Somebody, owned: Owned
) -> None:
    program = Program(ada)
    assert (await program.post(f"/devices/{owned.device_id}/stolen", key=None)).status == 200
    refused = await program.post(offer_of(owned), BUYER)
    assert (refused.status, code_of(refused)) == (409, "stolen")
    await change(portal, "UPDATE matter SET status = 'done', closed_ms = 1")
    again = await program.post(offer_of(owned), BUYER)
    assert (again.text, again.headers["Idempotency-Replayed"]) == (refused.text, "true")
    assert code_of(again) == "stolen"


async def test_claims_and_lists_are_kept_without_their_codes(portal: Portal, ada: Somebody) -> None:
    program = Program(ada)
    device, product_key = labelled_device()
    codes = {"product_id": device.product_id.value, "product_key": product_key}
    waiting = await program.post("/claims", codes, key=f'"{product_key}"')
    assert waiting.status == 202
    await device.announce(portal.pool, now_ms())
    again = await program.post("/claims", codes, key=f'"{product_key}"')
    assert (again.status, again.text) == (202, waiting.text)
    line = {"list": f"{device.product_id.value},{product_key}"}
    begun = await program.post("/bulk-claims", line)
    assert begun.status == 202
    assert (await program.post("/bulk-claims", line)).text == begun.text
    assert len(await rows(portal, "SELECT 1 FROM bulk_job")) == 1
    kept = await rows(portal, "SELECT row_to_json(i)::text, convert_from(answer, 'UTF8') FROM idempotency i")
    assert len(kept) == 2
    for hidden in (product_key, product_key.encode().hex()):
        assert hidden not in str(kept)


async def test_no_kept_answer_holds_a_secret(portal: Portal, ada: Somebody, owned: Owned) -> None:
    program = Program(ada)
    for path, body in (
        ("/session/proof", {"password": PASSWORD}),
        ("/session/company", {"company_id": ada.actor.company_id}),
        (offer_of(owned), BUYER),
        ("/company/invitations", {"email": "grace@example.org"}),
        ("/account/email", {"email": "new@example.org"}),
    ):
        assert (await program.post(path, body, key=path)).status < 300, path
    kept = str(await rows(portal, "SELECT convert_from(answer, 'UTF8') FROM idempotency"))
    assert kept.count("{") == 5
    session = json.loads((await ada.browser.get("/api/v1/session")).text)
    letters = await rows(portal, "SELECT text FROM mail")
    links = [link for (text,) in letters for link in re.findall(r"#(\S+)", text)]
    codes = [code for (text,) in letters for code in re.findall(r"\b\d{6}\b", text)]
    offered = await rows(
        portal, "SELECT split_part(detail->>'link', '.', 2) FROM ownership_notice WHERE detail ? 'link'"
    )
    hidden = [PASSWORD, session["form_token"], *links, *codes, *(link for (link,) in offered)]
    assert len(hidden) >= 4
    assert not [secret for secret in hidden if secret in kept]


async def test_an_invitation_is_mailed_once(portal: Portal, ada: Somebody) -> None:
    program = Program(ada)
    first = await program.post("/company/invitations", {"email": "grace@example.org"})
    assert first.status == 201
    assert (await program.post("/company/invitations", {"email": "grace@example.org"})).text == first.text
    assert len(await rows(portal, "SELECT 1 FROM mail WHERE kind = 'invitation'")) == 1


async def test_kept_for_a_day(portal: Portal, ada: Somebody, owned: Owned) -> None:
    program = Program(ada)
    assert (await program.post(offer_of(owned), BUYER)).status == 201
    ((left_ms,),) = await rows(portal, f"SELECT expires_ms - {now_ms()} FROM idempotency")
    assert 86_300_000 < left_ms <= 86_400_000
    await leftovers.forget(portal.pool, now_ms(), 30)
    assert await rows(portal, "SELECT 1 FROM idempotency")
    await leftovers.forget(portal.pool, now_ms() + left_ms, 30)
    assert not await rows(portal, "SELECT 1 FROM idempotency")


@pytest.mark.parametrize("key", ["", '""', '"open', "x" * 256, "two words", '"é"'])
async def test_a_key_that_is_none_is_refused(ada: Somebody, owned: Owned, key: str) -> None:
    answer = await Program(ada).post(offer_of(owned), BUYER, key=key)
    assert (answer.status, code_of(answer)) == (400, "bad_request")
