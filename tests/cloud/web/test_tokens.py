"""API tokens over HTTP: made and revoked on pages and by the API, and what a program may do with one."""

import json
from typing import Any

import pytest

from cloud.core.api_token import DAY_MS, MAX_TOKENS, Scope
from cloud.services import companies
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Answer, Portal, Visitor, now_ms, visitor

EVERY = [scope.value for scope in Scope]
TOKENS = "/api/v1/tokens"


async def made(somebody: Somebody, scopes: list[str], **more: Any) -> dict[str, Any]:
    """A token of somebody, by the API."""
    answer = await by_form_token(
        somebody, "POST", TOKENS, {"name": "Report", "scopes": scopes, "expires_days": 7, **more}
    )
    assert answer.status == 201, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


async def by_form_token(somebody: Somebody, method: str, path: str, body: Any = None) -> Answer:
    """Ask with the log-in."""
    headers = {"X-Form-Token": somebody.browser.form_token}
    return await somebody.browser.ask(method, path, json=body, headers=headers)


async def by_token(program: Visitor, token: str, method: str, path: str, body: Any = None) -> Answer:
    """Ask with a token, as a program without cookies."""
    headers = {"Authorization": f"Bearer {token}"}
    answer = await program.ask(method, path, json=body, headers=headers)
    assert not answer.cookies
    return answer


def code(answer: Answer) -> tuple[int, str]:
    """Status and stable code."""
    return answer.status, json.loads(answer.text)["code"]


async def change(portal: Portal, statement: Any, *values: object) -> None:
    """Change the database behind the portal's back."""
    async with portal.pool.connection() as connection:
        await connection.execute(statement, values)


async def test_a_program_reads_and_changes_by_a_token(
    portal: Portal, ada: Somebody, stranger: Visitor
) -> None:
    owned = await portal.own_device(ada.actor)
    token = (await made(ada, ["devices:read", "devices:write"]))["token"]
    found = json.loads((await by_token(stranger, token, "GET", "/api/v1/devices")).text)
    assert [one["device_id"] for one in found["devices"]] == [str(owned.device_id)]
    profile = {"name": "By a program", "description": ""}
    path = f"/api/v1/devices/{owned.device_id}/profile"
    assert (await by_token(stranger, token, "PUT", path, profile)).status == 200
    told = json.loads((await by_token(stranger, token, "GET", "/api/v1/token")).text)
    assert (told["name"], told["scopes"], told["role"]) == (
        "Report",
        ["devices:read", "devices:write"],
        "owner",
    )
    listed = json.loads((await by_form_token(ada, "GET", TOKENS)).text)["tokens"]
    assert [(one["used_network"], now_ms() - one["used_ms"] < 60_000) for one in listed] == [
        ("127.0.0.1", True)
    ]
    assert token not in json.dumps(listed)


async def test_a_token_has_its_scopes_only(ada: Somebody, stranger: Visitor) -> None:
    token = (await made(ada, ["company:read"]))["token"]
    assert (await by_token(stranger, token, "GET", "/api/v1/company")).status == 200
    for method, path, scope in (
        ("GET", "/api/v1/devices", "devices:read"),
        ("PUT", "/api/v1/company", "company:write"),
        ("GET", "/api/v1/metrics", "metrics:read"),
        ("GET", "/api/v1/company/audit", "audit:read"),
        ("POST", "/api/v1/devices/1/commands", "control"),
    ):
        answer = await by_token(stranger, token, method, path, {})
        assert code(answer) == (403, "scope_needed"), path
        assert json.loads(answer.text)["scope"] == scope
        assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["WWW-Authenticate"]


async def test_what_needs_a_person_is_refused_to_every_token(
    portal: Portal, ada: Somebody, stranger: Visitor
) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.show(mog_outlet_status=1)
    token = (await made(ada, EVERY))["token"]
    device = f"/api/v1/devices/{owned.device_id}"
    outlet = {"kind": "outlet_off", "group": "mog", "group_name": "Main outlets"}
    for method, path, body in (
        ("POST", f"{device}/commands", outlet),
        ("POST", f"{device}/release", None),
        ("GET", "/api/v1/session", None),
        ("GET", TOKENS, None),
        ("POST", TOKENS, {"name": "x", "scopes": EVERY}),
        ("POST", "/api/v1/account/deletion", {"sure": True}),
        ("GET", "/api/v1/account/data", None),
    ):
        assert code(await by_token(stranger, token, method, path, body)) == (403, "person_needed"), path
    identify = await by_token(stranger, token, "POST", f"{device}/commands", {"kind": "identify"})
    assert identify.status == 202, identify.text


async def test_a_token_never_has_more_rights_than_its_owner_has_now(
    portal: Portal, ada: Somebody, stranger: Visitor
) -> None:
    owned = await portal.own_device(ada.actor)
    token = (await made(ada, EVERY))["token"]
    await change(portal, "UPDATE membership SET role = 'viewer'")
    path = f"/api/v1/devices/{owned.device_id}"
    assert (await by_token(stranger, token, "GET", path)).status == 200
    told = await by_token(stranger, token, "PUT", f"{path}/profile", {"name": "x"})
    assert code(told) == (403, "forbidden")
    assert code(await by_token(stranger, token, "GET", "/api/v1/company/audit")) == (403, "forbidden")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE api_token SET expires_ms = 1",
        "UPDATE account SET disabled_ms = 1",
        "DELETE FROM membership",
    ],
)
async def test_a_token_ends_with_what_it_stands_on(
    portal: Portal, ada: Somebody, stranger: Visitor, statement: str
) -> None:
    token = (await made(ada, EVERY))["token"]
    assert (await by_token(stranger, token, "GET", "/api/v1/devices")).status == 200
    await change(portal, statement)
    answer = await by_token(stranger, token, "GET", "/api/v1/devices")
    assert code(answer) == (401, "token_invalid")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_a_removed_member_who_comes_back_has_no_token(
    portal: Portal, ada: Somebody, eve: Somebody, stranger: Visitor
) -> None:
    joined = (
        "INSERT INTO membership (company_id, account_id, role, created_ms) VALUES (%s, %s, 'operator', 0)"
    )
    await change(portal, joined, ada.actor.company_id, eve.actor.account_id)
    await change(
        portal,
        "UPDATE web_session SET company_id = %s WHERE account_id = %s",
        ada.actor.company_id,
        eve.actor.account_id,
    )
    await eve.browser.get("/add/codes")
    token = (await made(eve, EVERY))["token"]
    await companies.remove(portal.kit, ada.actor, eve.actor.account_id, now_ms())
    await change(portal, joined, ada.actor.company_id, eve.actor.account_id)
    assert code(await by_token(stranger, token, "GET", "/api/v1/devices")) == (401, "token_invalid")


async def test_a_deleted_account_leaves_no_token(portal: Portal, ada: Somebody, stranger: Visitor) -> None:
    token = (await made(ada, EVERY))["token"]
    answer = await by_form_token(ada, "POST", "/api/v1/account/deletion", {"sure": True})
    assert answer.status == 204, answer.text
    assert code(await by_token(stranger, token, "GET", "/api/v1/devices")) == (401, "token_invalid")
    async with portal.pool.connection() as connection:
        left = await (await connection.execute("SELECT count(*) FROM api_token")).fetchone()
    assert left == (0,)


async def test_texts_that_are_no_tokens(ada: Somebody, stranger: Visitor) -> None:
    token = (await made(ada, EVERY))["token"]
    other = "0" if token[-1] != "0" else "1"
    for text in ("", "x", token[:-1], token + "0", token[:-1] + other, token[5:], "\xe9"):
        assert code(await by_token(stranger, text, "GET", "/api/v1/devices")) == (401, "token_invalid"), text
    basic = await stranger.get("/api/v1/devices", Authorization="Basic x")
    assert code(basic) == (401, "login_needed")
    page = await stranger.get("/devices", Authorization=f"Bearer {token}", Accept="text/html")
    assert (page.status, page.headers["Location"]) == (303, "/login?next=/devices")
    both = await ada.browser.get("/api/v1/devices", Authorization="Bearer x")
    assert code(both) == (401, "token_invalid")  # the cookie does not help a wrong token


async def test_the_token_is_nowhere_but_with_its_owner(portal: Portal, ada: Somebody) -> None:
    headers = {"X-Form-Token": ada.browser.form_token, "Idempotency-Key": "again"}
    body = {"name": "Report", "scopes": EVERY}
    first = await ada.browser.ask("POST", TOKENS, json=body, headers=headers)
    token = json.loads(first.text)["token"]
    second = await ada.browser.ask("POST", TOKENS, json=body, headers=headers)
    assert json.loads(second.text)["token"] != token
    async with portal.pool.connection() as connection:
        for table in ("api_token", "idempotency", "account_audit", "mail"):
            found = await connection.execute(f"SELECT t::text FROM {table} t")
            rows = [row[0] async for row in found]
            assert not [row for row in rows if token in row or token.encode().hex() in row], table
        kinds = await connection.execute("SELECT kind FROM mail")
        assert ("token_made",) in await kinds.fetchall()


async def test_others_cannot_end_a_token(ada: Somebody, eve: Somebody, stranger: Visitor) -> None:
    mine = await made(ada, EVERY)
    path = f"{TOKENS}/{mine['token_id']}"
    assert code(await by_form_token(eve, "DELETE", path)) == (404, "not_found")
    page = await eve.browser.post(f"/account/tokens/{mine['token_id']}/revoke", {})
    assert page.status == 404
    assert (await by_token(stranger, mine["token"], "GET", "/api/v1/devices")).status == 200
    assert (await by_form_token(ada, "DELETE", path)).status == 204
    assert code(await by_token(stranger, mine["token"], "GET", "/api/v1/devices")) == (401, "token_invalid")


async def test_a_fresh_proof_is_needed_to_make_one(portal: Portal, ada: Somebody) -> None:
    await change(portal, "UPDATE web_session SET factor_ms = factor_ms - 400000")
    body = {"name": "Report", "scopes": EVERY}
    assert code(await by_form_token(ada, "POST", TOKENS, body)) == (403, "factor_needed")
    page = await ada.browser.get("/account/tokens/new")
    assert page.headers["Location"] == "/account/confirm?next=/account/tokens/new"
    page = await ada.browser.post("/account/tokens/new", {"name": "x", "scopes": "control", "days": "7"})
    assert page.headers["Location"] == "/account/confirm?next=/account/tokens/new"


async def test_only_so_many(portal: Portal, ada: Somebody) -> None:
    await change(
        portal,
        "INSERT INTO api_token (token_hash, company_id, account_id, name, scopes, created_ms, expires_ms)"
        " SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), %s, %s, 'x', '{control}', 0, %s"
        " FROM generate_series(1, %s) n",
        ada.actor.company_id,
        ada.actor.account_id,
        now_ms() + DAY_MS,
        MAX_TOKENS,
    )
    answer = await by_form_token(ada, "POST", TOKENS, {"name": "Report", "scopes": EVERY})
    assert code(answer) == (429, "too_many")


async def test_the_page(portal: Portal, ada: Somebody) -> None:
    browser = ada.browser
    assert 'href="/account/tokens"' in (await browser.get("/account")).text
    assert "You have no tokens." in (await browser.get("/account/tokens")).text
    await browser.get("/account/tokens/new")
    nothing = await browser.post("/account/tokens/new", {"name": "", "days": "90"})
    assert (nothing.status, "Please enter a name" in nothing.text) == (422, True)
    nothing = await browser.post("/account/tokens/new", {"name": "Report", "days": "90"})
    assert (nothing.status, "Please choose what the token may be used for." in nothing.text) == (422, True)
    endless = {"name": "Report", "scopes": "devices:read", "days": "99999999"}
    told = await browser.post("/account/tokens/new", endless)
    assert (told.status, 'href="#days"' in told.text) == (422, True)
    form = {"name": "Report <1>", "scopes": "devices:read", "days": "30"}
    shown = await browser.post("/account/tokens/new", form)
    token = shown.text.split('id="token">', 1)[1].split("<", 1)[0]
    async with visitor() as http:
        program = Visitor(http, portal.url)
        assert (await by_token(program, token, "GET", "/api/v1/devices")).status == 200
        page = (await browser.get("/account/tokens")).text
        assert "Report &lt;1&gt;" in page
        assert "from 127.0.0.1" in page
        assert token not in page
        number = page.split('action="/account/tokens/', 1)[1].split("/", 1)[0]
        gone = await browser.post(f"/account/tokens/{number}/revoke", {})
        assert gone.headers["Location"] == "/account/tokens?revoked=1"
        assert code(await by_token(program, token, "GET", "/api/v1/devices")) == (401, "token_invalid")


async def test_an_export_by_a_token_and_my_data_names_it(
    portal: Portal, ada: Somebody, stranger: Visitor
) -> None:
    owned = await portal.own_device(ada.actor)
    await owned.add_samples([(now_ms() - 1000, {})])
    token = (await made(ada, ["devices:read"]))["token"]
    answer = await by_token(stranger, token, "GET", f"/api/v1/devices/{owned.device_id}/samples.csv")
    assert (answer.status, len(answer.text.splitlines())) == (200, 2)
    found = json.loads((await ada.browser.get("/api/v1/account/data")).text)["api_tokens"]
    assert [(one["name"], one["scopes"]) for one in found] == [("Report", ["devices:read"])]
