"""Attacks on log-ins, forms and tokens: S8 and S9 of the design, and what tokens may not do."""

import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from cloud.config import Settings
from cloud.core.api_token import Scope
from cloud.web.app import make_app
from tests.accept import CheckError, expect
from tests.accept._portal_site import Site
from tests.support.portal import Answer, Visitor

CHOSEN: Final = "A" * 43
"""A session id that an attacker chose; it has the right form."""
SAFE: Final = {"GET", "HEAD"}
PROVED: Final = {"/unsubscribe/{token}", "/api/v1/systems/exchange"}
"""What is sent there proves itself who sends it: a mailed link (RFC 8058), a server's sealed message."""
IDS: Final = ("1", "0" * 36, CHOSEN, "AAAAAA")
"""Numbers and names of things that nobody has."""
GONE_S: Final = 1.0
PUBLIC_PAGES: Final = ("/login", "/signup", "/reset", "/privacy", "/api", "/join", "/r", "/nowhere")


async def in_account(browser: Visitor) -> bool:
    """Whether this browser is logged in."""
    return (await browser.get("/api/v1/session")).status == 200


async def sessions(site: Site) -> str:
    """Fixed and stolen ids, ids at rest, ids that were ended."""
    (email,) = await site.accounts(1, "fixed")
    async with site.browser() as first:
        before = next(iter((await first.get("/login")).cookies.items()))
        after = await first.log_in(email)
        name = before[0]
        expect(after != before[1], "the id from before the log-in goes on")
    for planted in (before[1], CHOSEN):
        async with site.browser(cookie=(name, planted)) as victim:
            got = await victim.log_in(email)
            expect(got != planted, "a planted id became a log-in")
            async with site.browser(cookie=(name, planted)) as attacker:
                expect(not await in_account(attacker), "whoever planted an id is logged in by it")
        async with site.browser(cookie=(name, got)) as victim:
            await victim.get("/add/codes")
            renewed = await victim.log_in(email)
            expect(renewed != got, "a log-in on top of another one kept its id")
        async with site.browser(cookie=(name, got)) as attacker:
            expect(not await in_account(attacker), "the log-in before goes on beside the new one")
    places = site.tables_with(after)
    expect(not places, f"a session's id stands in {places}")
    expect(after not in site.parts.log, "a session's id stands in a log")
    async with site.browser(cookie=(name, after)) as thief, site.browser() as owner:
        expect(await in_account(thief), "the session to be ended is live")
        await owner.log_in(email)
        listed = json.loads((await owner.get("/api/v1/account/log-ins")).text)["log_ins"]
        began = time.monotonic()
        headers = {"X-Form-Token": owner.form_token}
        for one in listed:
            if not one["here"]:
                await owner.ask("DELETE", f"/api/v1/account/log-ins/{one['name']}", headers=headers)
        expect(not await in_account(thief), "an ended log-in goes on")
        took_s = time.monotonic() - began
    expect(took_s < GONE_S, f"log-ins were ended in {took_s:.1f} s")
    return f"2 planted ids worthless, ids hashed at rest, {len(listed)} log-ins listed and ended at once;"


def changing_routes(folder: Path) -> list[tuple[str, str]]:
    """(method, path) of everything that may change something, with ids that nobody has."""
    return sorted(
        {
            (route.method, filled(route.resource))
            for route in make_app(Settings(state_dir=folder)).router.routes()
            if route.resource is not None
            and route.method not in SAFE
            and route.resource.canonical not in PROVED
        }
    )


def filled(resource: web.AbstractResource) -> str:
    """A path of this resource. CheckError where none of our ids fits it."""
    pattern, names = resource.get_info().get("pattern"), re.findall(r"{\w+}", resource.canonical)
    for some_ids in itertools.product(IDS, repeat=len(names)):
        path = resource.canonical
        for name, some_id in zip(names, some_ids, strict=True):
            path = path.replace(name, some_id)
        if pattern is None or pattern.fullmatch(path):
            return path
    raise CheckError(f"no id for {resource.canonical}")


def forgeries(own: str, foreign: str, url: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Headers of requests that no page of ours sends."""
    yield "without a token", {}
    yield "with somebody else's token", {"X-Form-Token": foreign}
    yield "with a token that is cut", {"X-Form-Token": own[:-1]}
    yield "from another site", {"X-Form-Token": own, "Origin": "https://evil.example.org"}
    yield "from a page of this host's other port", {"X-Form-Token": own, "Origin": f"{url}0"}
    yield "from another site, says the browser", {"X-Form-Token": own, "Sec-Fetch-Site": "cross-site"}


async def forged_forms(site: Site, folder: Path) -> str:
    """Every route that changes something, asked in every way that is not ours."""
    routes = changing_routes(folder)
    expect(len(routes) > 80, f"only {len(routes)} routes change something")
    ada, eve = await site.accounts(2, "forged")
    before = site.rows("SELECT count(*) FROM account_audit")
    count = 0
    async with site.browser() as victim, site.browser() as other:
        await victim.log_in(ada)
        await other.log_in(eve)
        before = site.rows("SELECT count(*), max(audit_id) FROM account_audit")
        for method, path in routes:
            for what, headers in forgeries(victim.form_token, other.form_token, site.url):
                form = aiohttp.FormData(
                    {"x": "y"}, default_to_multipart=True
                )  # any page's form, or a photo's
                answer = await victim.ask(
                    method, path, headers={"Accept": "application/json", **headers}, data=form
                )
                said = code_of(answer)
                refused = answer.status == 403 and said in {"form_expired", "cross_site"}
                expect(refused, f"{method} {path} {what}: {answer.status} {said}")
                count += 1
        expect(await in_account(victim), "a forged request ended the log-in")
    expect(site.rows("SELECT count(*), max(audit_id) FROM account_audit") == before, "something was done")
    async with site.browser() as anybody:
        for path in PUBLIC_PAGES:
            answer = await anybody.get(path, Accept="text/html")
            policy = answer.headers["Content-Security-Policy"]
            expect("default-src 'none'" in policy and "unsafe" not in policy, f"{path}: {policy}")
            expect(answer.headers["Referrer-Policy"] == "no-referrer", f"{path} tells its address")
            inline = re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", answer.text)
            expect(inline is None, f"{path} holds inline code")
    return f"{count} forged requests to {len(routes)} routes refused;"


def code_of(answer: Answer) -> str:
    """The stable code of a problem; empty for anything else."""
    try:
        found = json.loads(answer.text)
    except ValueError:
        return ""
    return str(found.get("code", "")) if isinstance(found, dict) else ""


async def tokens(site: Site) -> str:
    """A token has its scopes and its owner's role, proves nobody's presence, and ends when it is revoked."""
    (email,) = await site.accounts(1, "token")
    async with site.browser() as owner, site.browser() as program:
        await owner.log_in(email)
        made = {}
        for scopes in (["devices:read"], ["control"], [scope.value for scope in Scope]):
            answer = await owner.ask(
                "POST",
                "/api/v1/tokens",
                json={"name": "Program", "scopes": scopes, "expires_days": 7},
                headers={"X-Form-Token": owner.form_token},
            )
            expect(answer.status == 201, f"no token was made: {answer.text}")
            made[len(scopes), scopes[0]] = json.loads(answer.text)
        reading, controlling = made[1, "devices:read"], made[1, "control"]
        everything = made[len(Scope), "devices:read"]
        owned = await site.device_of(email)
        commands = f"/api/v1/devices/{owned.device_id}/commands"

        async def ask(token: str, method: str, path: str, **how: Any) -> tuple[int, str]:
            answer = await program.ask(
                method, path, headers={"Authorization": f"Bearer {token}", "Cookie": ""}, **how
            )
            expect(not answer.cookies, f"{path} gave a token a cookie")
            return answer.status, code_of(answer)

        outlet = {"kind": "outlet_off", "group": "mog", "group_name": "Main outlets"}
        wrong = reading["token"][:-1] + ("0" if reading["token"][-1] != "0" else "1")
        tries = {
            "reads": (await ask(reading["token"], "GET", "/api/v1/devices"), (200, "")),
            "changes": (
                await ask(reading["token"], "POST", "/api/v1/sites", json={"site_name": "x"}),
                (403, "scope_needed"),
            ),
            "commands": (
                await ask(reading["token"], "POST", commands, json=outlet),
                (403, "scope_needed"),
            ),
            "outlets": (
                await ask(controlling["token"], "POST", commands, json=outlet),
                (403, "person_needed"),
            ),
            "another scope": (
                await ask(controlling["token"], "GET", "/api/v1/company"),
                (403, "scope_needed"),
            ),
            "tokens by a token": (
                await ask(everything["token"], "POST", "/api/v1/tokens", json={"name": "x", "scopes": []}),
                (403, "person_needed"),
            ),
            "the account": (
                await ask(everything["token"], "POST", "/api/v1/account/deletion", json={"sure": True}),
                (403, "person_needed"),
            ),
            "a page": (await ask(everything["token"], "GET", "/account/tokens"), (303, "")),
            "a digit changed": (await ask(wrong, "GET", "/api/v1/devices"), (401, "token_invalid")),
            "in the address": (
                await ask("", "GET", f"/api/v1/devices?token={reading['token']}"),
                (401, "token_invalid"),
            ),
        }
        for what, (got, wanted) in tries.items():
            expect(got == wanted, f"a token, {what}: {got}")
        places = site.tables_with(everything["token"])
        expect(not places, f"a token stands in {places}")
        expect(everything["token"] not in site.parts.log, "a token stands in a log")
        await owner.ask(
            "DELETE",
            f"/api/v1/tokens/{everything['token_id']}",
            headers={"X-Form-Token": owner.form_token},
        )
        ended = await ask(everything["token"], "GET", "/api/v1/devices")
        expect(ended == (401, "token_invalid"), f"a revoked token is answered {ended}")
        changed = site.change(
            "UPDATE membership SET role = 'viewer' FROM account"
            " WHERE account.account_id = membership.account_id AND email = %s",
            [email],
        )
        expect(changed == 1, "the owner has one role")
        told = await ask(controlling["token"], "POST", commands, json={"kind": "identify"})
        expect(told == (403, "forbidden"), f"a viewer's token sends commands: {told}")
        expect(not site.rows("SELECT 1 FROM command"), "a command was made")
    return f"{len(tries)} abuses of tokens refused, revoked at once;"
