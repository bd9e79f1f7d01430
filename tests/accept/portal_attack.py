"""Acceptance ``portal-attack``: S8 to S12 of the design, tried on a real portal process.

Log-ins, forms, tokens, codes, links and answers are attacked over HTTP; every route is asked with somebody
else's ids (tests/cloud/web/test_stranger.py); and schemathesis makes requests from the portal's own OpenAPI
document, as nobody, as somebody who is logged in, and with a token that has every scope. In all of this the
portal counts no answer of 500 or above.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from cloud.core.api_token import Scope
from cloud.web.api.operation import PREFIX
from tests.accept import CheckError, expect, passed, progress
from tests.accept._portal_codes import enumeration, guessed_codes, replayed_factors, reused_links
from tests.accept._portal_sessions import forged_forms, sessions, tokens
from tests.accept._portal_site import Site
from tests.support.parts import running_parts
from tests.support.portal import PASSWORD, Visitor, running_portal

NAME: Final = "portal-attack"
ROOT: Final = Path(__file__).resolve().parents[2]
FUZZ_S: Final = 45
PATIENCE_S: Final = 120
SERVER_FAULT: Final = 500
EXAMPLES: Final = 40
ENDING: Final = rf"^{PREFIX}/(session|account/(deletion|password|log-ins.*)|company/members.*)$"
"""Operations that end the log-in they are asked with: asked as nobody and with a token, which they refuse."""
_PASSED: Final = re.compile(r"(\d+) passed")
PARTS: Final = ("postgres", "portal")


def generated(*files: str) -> int:
    """Tests that make their requests or statements from what there is; how many passed. CheckError."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = _PASSED.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise CheckError(f"{' '.join(files)}: {done.stdout[-600:]}")
    return int(found[1])


def walls() -> str:
    """S12: every route with another account's ids; and what the database refuses to each process' role."""
    routes = generated("tests/cloud/web/test_stranger.py")
    roles = generated("tests/cloud/postgres/test_roles.py", "tests/cloud/postgres/test_acting.py")
    return (
        f"every route with foreign ids ({routes} generated tests passed);"
        f" database roles and row-level security ({roles} passed);"
    )


def fuzz(site: Site, folder: Path, what: str, headers: Sequence[str], *, without: str = "") -> int:
    """Requests made from the document for each of its operations; how many. CheckError with what failed."""
    report = folder / "report.json"
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{site.url}{PREFIX}/openapi.json"),
        *("--checks", "not_a_server_error", "--phases", "coverage,fuzzing"),
        *("--max-time", str(FUZZ_S), "--max-examples", str(EXAMPLES), "--request-timeout", "20"),
        *("--generation-with-security-parameters", "false", "--generation-database", "none"),
        *("--suppress-health-check", "all", "--warnings", "off", "--no-color", "--continue-on-failure"),
        *("--report", "json", "--report-json-path", str(report)),
        *(["--exclude-path-regex", without] if without else []),
        *(part for header in headers for part in ("-H", header)),
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=FUZZ_S + PATIENCE_S
    )
    expect(report.exists(), f"schemathesis, {what}: {done.stdout[-800:]} {done.stderr[-800:]}")
    found = json.loads(report.read_text())
    expect(not found["failures"], f"schemathesis, {what}: {found['failures']}")
    expect(done.returncode == 0, f"schemathesis, {what}: {found['errors']} {done.stdout[-800:]}")
    operations, cases = found["operations"], found["test_cases"]
    expect(operations["tested"] == operations["selected"], f"schemathesis, {what}: {operations}")
    progress(f"schemathesis, {what}: {cases['generated']} requests to {operations['tested']} operations")
    return int(cases["generated"])


async def fuzzed(site: Site, folder: Path) -> str:
    """As nobody, as somebody, as a program; the log-in and the token must be good to the end."""
    (email,) = await site.accounts(1, "fuzz")
    await site.device_of(email)
    async with site.browser() as browser:
        cookie = await browser.log_in(email)
        (name,) = (morsel.key for morsel in browser.http.cookie_jar if morsel.value == cookie)
        person = [f"Cookie: {name}={cookie}", f"X-Form-Token: {browser.form_token}"]
        counts = {
            "as nobody": await asyncio.to_thread(fuzz, site, folder, "as nobody", []),
            "logged in": await asyncio.to_thread(fuzz, site, folder, "logged in", person, without=ENDING),
        }
        live = await browser.get(f"{PREFIX}/session")
        expect(live.status == 200, "the log-in has ended on the way")
        async with site.browser() as again:  # only now: somebody who tries everything revokes tokens, too
            await again.log_in(email)
            made = await again.ask(
                "POST",
                f"{PREFIX}/tokens",
                json={"name": "Fuzz", "scopes": [scope.value for scope in Scope], "expires_days": 1},
                headers={"X-Form-Token": again.form_token},
            )
        expect(made.status == 201, f"no token was made: {made.text}")
        bearer = f"Bearer {json.loads(made.text)['token']}"
        counts["with a token"] = await asyncio.to_thread(
            fuzz, site, folder, "with a token", [f"Authorization: {bearer}"]
        )
        last = await browser.ask("GET", f"{PREFIX}/token", headers={"Authorization": bearer})
        expect(last.status == 200, "the token has ended on the way")
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    return f"schemathesis {told}: no answer of 500 or above;"


async def kept_cookie(site: Site, folder: Path) -> str:
    """Over HTTPS the cookie of a log-in is bound to this host and out of reach of scripts."""
    (email,) = await site.accounts(1, "cookie")
    connector = aiohttp.TCPConnector(ssl=False)  # what is looked at is the header, not the certificate
    async with (
        running_portal(site.parts.dsn, folder / "tls", portal_tls=True) as portal,
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
    ):
        browser = Visitor(http, portal.url)
        await browser.get("/login")
        answer = await browser.post("/login", {"email": email, "password": PASSWORD})
    expect(answer.status == 303, f"no log-in over HTTPS: {answer.status}")
    header = answer.headers["Set-Cookie"]
    for part in ("__Host-session=", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"):
        expect(part in header, f"the cookie lacks {part}")
    expect("Domain" not in header, "the cookie is for other hosts, too")
    expect("Strict-Transport-Security" in answer.headers, "nothing says to come back by HTTPS")
    return "__Host- cookie over HTTPS;"


async def attack(site: Site, folder: Path) -> str:
    """Every attack in turn; the figures for the last line."""
    told = []
    for what in (sessions, tokens, guessed_codes, replayed_factors, reused_links, enumeration):
        told.append(await what(site))
        progress(told[-1])
    for of_folder in (kept_cookie, forged_forms, fuzzed):
        told.append(await of_folder(site, folder))
        progress(told[-1])
    bad = {key: number for key, number in (await site.statuses()).items() if key[1] >= SERVER_FAULT}
    expect(not bad, f"the portal counted {bad}")
    answered = sum((await site.statuses()).values())
    return f"{' '.join(told)} {answered} answers counted, none of 500 or above"


def main() -> int:
    """Run the check."""
    foreign = walls()
    progress(foreign)
    with tempfile.TemporaryDirectory(prefix="sc-attack-") as name:
        folder = Path(name)
        with running_parts(folder / "cloud", PARTS) as parts:
            with contextlib.redirect_stdout(sys.stderr):  # where a portal of this process logs
                figures = asyncio.run(attack(Site(parts), folder))
            expect("a request failed" not in parts.log, "the portal logged a fault")
    return passed(NAME, f"{foreign} {figures}")
