"""``portal-speed``: the portal is quick with ten thousand devices, and on a phone.

Real PostgreSQL and portal processes; ten thousand devices of one company, written by SQL. Searches, orders,
states and pages of the list are asked for again and again: 200 ms at the 95th percentile. In Chromium, with
the processor four times slower, as Lighthouse takes a mid-range phone: the first page with all it loads is
at most 150 kB on the wire, and five seconds of scrolling the list, while every device on the screen changes
once a second, have no task of more than 50 ms. Then Lighthouse looks at the page of a device five times: the
median says performance 95 or more, accessibility 100.

What other programs of the machine take is not the page's. Where a task was long, another five seconds are
looked at, up to five times: what the page does itself is in each of them. A look at which Lighthouse found
the machine slower than its factor of four is made for (``benchmarkIndex``) is taken again, as long as there
are undisturbed ones to be had.
"""

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from playwright.async_api import Browser, BrowserContext, CDPSession, Page, async_playwright

import build_assets
from cloud.core.authz import Actor, Role
from cloud.postgres.pool import Pool, make_pool
from cloud.services import placing
from cloud.services.accounts import create_account
from cloud.services.passwords import Passwords
from tests.accept import CheckError, expect, passed, progress
from tests.accept.claim import quantile
from tests.support.browser import find_chromium
from tests.support.claiming import TestDevice
from tests.support.fleet import FIRST, fill
from tests.support.parts import CloudParts, running_parts
from tests.support.portal import PASSWORD, Owned, Visitor, claim, now_ms, visitor

NAME: Final = "portal-speed"
EMAIL: Final = "ada@example.org"
DEVICES: Final = 10_000
SITES: Final = 40
EVENTS: Final = 20
ROUNDS: Final = 12
GOAL_S: Final = 0.2
MAX_FIRST_BYTES: Final = 150_000
MAX_TASK_MS: Final = 50.0
SCROLL_S: Final = 5.0
SCROLLS: Final = 5
SLOWER: Final = 4  # Lighthouse's factor for a mid-range phone
RUNS: Final = 5
MOST_RUNS: Final = 15
UNDISTURBED: Final = 1500
"""Lighthouse's benchmark of the machines that its factor of four is made for (its docs/throttling.md)."""
MAX_LOAD_MS: Final = 15_000
MIN_PERFORMANCE: Final = 95
PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 412, "height": 823},
    "device_scale_factor": 1.75,
    "is_mobile": True,
    "has_touch": True,
}
"""The phone that Lighthouse emulates."""
LIGHTHOUSE: Final = Path(__file__).parent / "lighthouse"
QUESTIONS: Final = (
    "",
    "sort=name",
    "sort=site",
    "sort=-runtime",
    "sort=lastseen",
    "sort=watts",
    f"q={quote('is:trouble')}",
    f"q={quote('is:offline lastseen:>1d')}",
    f"q={quote('rack 004')}&sort=name",
    f"q={quote('-is:on_mains model:SRT runtime:<15')}",
    f"q={quote('site:%22Site 7%22 charge:<80', safe='%')}&sort=charge",
    f"q={quote('nothing has this')}",
)
"""Addresses of the list; of the first ones the next pages are asked for, too."""
PAGES_ON: Final = 3


async def people_and_devices(parts: CloudParts) -> tuple[Actor, Owned]:
    """Somebody with ten thousand devices, and one that is claimed and has a history."""
    async with make_pool(parts.dsn, name="speed", max_size=2) as pool:
        with Passwords() as passwords:
            identity = await create_account(
                pool,
                passwords,
                email=EMAIL,
                password=PASSWORD,
                first_name="Ada",
                last_name="North",
                now_ms=now_ms(),
            )
        actor = Actor(identity.account_id, identity.company_id, Role.OWNER)
        sites = [await placing.add_site(pool, actor, f"Site {n}", now_ms()) for n in range(SITES)]
        await asyncio.to_thread(fill, parts.dsn, actor, DEVICES - 1, now_ms(), sites, events=EVENTS)
        device = TestDevice()
        await device.announce(pool, now_ms())
        view = await claim(pool, actor, device)
        owned = Owned(pool, device, view.epoch or 0)
        await owned.show()
        await owned.add_samples([(now_ms() - age * 10_000, {}) for age in range(360, 0, -1)])
        await owned.add_event("mains_back", at_ms=now_ms() - 3_600_000, lasted_s=95.0)
    return actor, owned


async def ask_the_list(browser: Visitor) -> tuple[list[float], int]:
    """Seconds of every answer, and how many pages were looked at."""
    took_s: list[float] = []

    async def timed(path: str) -> str:
        began = time.perf_counter()
        answer = await browser.get(path)
        took_s.append(time.perf_counter() - began)
        expect(answer.status == 200, f"{path}: {answer.status}")
        return answer.text

    for question in QUESTIONS:  # so that nothing is asked for the first time
        await browser.get(f"/devices?{question}")
    for number in range(ROUNDS):
        for question in QUESTIONS:
            text = await timed(f"/devices?{question}")
            expect(f"{DEVICES} devices" in text, f"{question}: the count is not there")
            for _ in range(PAGES_ON if number % 4 == 0 else 0):
                _, found, rest = text.partition('rel="next" href="')
                if not found:
                    break
                text = await timed(rest.partition('"')[0].replace("&amp;", "&"))
    return took_s, len(took_s)


# --- in a browser -------------------------------------------------------------------------------------------


async def log_in(page: Page, url: str) -> None:
    """Through the form."""
    await page.goto(f"{url}/login")
    await page.fill("#email", EMAIL)
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/devices")


async def first_bytes(context: BrowserContext, url: str) -> int:
    """What the list and all that it loads take on the wire, nothing cached."""
    page = await context.new_page()
    cdp = await context.new_cdp_session(page)
    total = 0

    def add(event: dict[str, Any]) -> None:
        nonlocal total
        total += int(event["encodedDataLength"])

    await cdp.send("Network.enable")
    await cdp.send("Network.setCacheDisabled", {"cacheDisabled": True})
    cdp.on("Network.loadingFinished", add)
    await page.goto(f"{url}/devices", wait_until="load")
    await page.wait_for_selector("li.device")
    await page.close()
    return total


async def longest_task_ms(browser: Browser, context: BrowserContext, url: str) -> tuple[float, float, int]:
    """The longest task of the page's main thread while it is scrolled, by the clock and in time of the
    processor, and how many tasks there were.
    """
    page = await context.new_page()
    cdp = await context.new_cdp_session(page)
    await page.goto(f"{url}/devices", wait_until="load")
    await page.wait_for_selector("li.device")
    await page.evaluate("document.fonts.ready")
    await cdp.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    await asyncio.sleep(2.0)  # what loading has started is not scrolling
    await browser.start_tracing(
        page=page, categories=["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
    )
    await scroll(cdp)
    trace = json.loads(await browser.stop_tracing())
    await page.close()
    return _longest(trace["traceEvents"])


@contextlib.asynccontextmanager
async def restless(dsn: str) -> AsyncIterator[None]:
    """Every second all devices on the list's first page have other values, while the block runs."""

    async def change(pool: Pool) -> None:
        while True:
            async with pool.connection() as connection:
                await connection.execute(
                    "UPDATE latest SET output_real_power_pct = 20 + random() * 60, seen_ms = %(now)s,"
                    " ts_ms = %(now)s WHERE (device_id - %(first)s) %% 100 = 0",
                    {"now": now_ms(), "first": FIRST},
                )
            await asyncio.sleep(1.0)

    async with make_pool(dsn, name="restless", max_size=1) as pool:
        task = asyncio.create_task(change(pool), name="restless devices")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def scroll(cdp: CDPSession) -> None:
    """Down and up with a finger, for five seconds at least."""
    ends = time.monotonic() + SCROLL_S
    way = -1
    while time.monotonic() < ends:
        await cdp.send(
            "Input.synthesizeScrollGesture",
            {"x": 200, "y": 400, "yDistance": way * 2500, "speed": 2000, "gestureSourceType": "touch"},
        )
        way = -way


def _longest(events: list[dict[str, Any]]) -> tuple[float, float, int]:
    main = {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name" and event["args"].get("name") == "CrRendererMain"
    }
    tasks = [
        (event["dur"] / 1000, event.get("tdur", 0) / 1000)
        for event in events
        if event.get("ph") == "X"
        and event.get("name") in {"RunTask", "ThreadControllerImpl::RunTask"}
        and (event["pid"], event["tid"]) in main
    ]
    expect(len(tasks) > 100, f"the trace has only {len(tasks)} tasks of a page")
    return max(wall for wall, _ in tasks), max(busy for _, busy in tasks), len(tasks)


# --- Lighthouse ---------------------------------------------------------------------------------------------


async def install_lighthouse() -> list[str]:
    """Its command."""
    if not (LIGHTHOUSE / "node_modules" / "lighthouse").is_dir():
        progress("installing Lighthouse")
        command, environment = build_assets.npm()
        options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = await asyncio.create_subprocess_exec(
            *command, *options, cwd=LIGHTHOUSE, env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        expect(await done.wait() == 0, "Lighthouse cannot be installed")
    command, environment = build_assets.npm()
    node = shutil.which("node", path=environment.get("PATH")) or command[0]
    return [node, str(LIGHTHOUSE / "node_modules" / "lighthouse" / "cli" / "index.js")]


async def lighthouse(
    command: list[str], url: str, cookie: str, chromium: Path, folder: Path
) -> dict[str, float] | None:
    """Scores of one look, in percent, and the figures behind them; None where it could not look."""
    headers = folder / "headers.json"
    headers.write_text(json.dumps({"Cookie": cookie}))
    report = folder / "report.json"
    process = await asyncio.create_subprocess_exec(
        *command,
        url,
        "--quiet",
        "--form-factor=mobile",
        f"--max-wait-for-load={MAX_LOAD_MS}",  # its stream of live values never ends
        "--only-categories=performance,accessibility",
        f"--extra-headers={headers}",
        "--output=json",
        f"--output-path={report}",
        "--chrome-flags=--headless=new --no-sandbox",
        env={**os.environ, "CHROME_PATH": str(chromium)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(180):
        _, said = await process.communicate()
    if process.returncode != 0:
        progress(f"Lighthouse could not look: {said.decode()[-200:]}")
        return None
    found = json.loads(report.read_text())
    expect(found["finalDisplayedUrl"].rstrip("/") == url, f"Lighthouse saw {found['finalDisplayedUrl']}")
    scores = {name: 100 * (one["score"] or 0) for name, one in found["categories"].items()}
    for name, audit in found["audits"].items():
        if audit.get("score") == 0 and audit.get("scoreDisplayMode") == "binary":
            progress(f"  {name}: {audit['title']}")
    figures = {
        "lcp_ms": found["audits"]["largest-contentful-paint"]["numericValue"],
        "blocked_ms": found["audits"]["total-blocking-time"]["numericValue"],
        "benchmark": found["environment"]["benchmarkIndex"],
    }
    return {name: round(value) for name, value in {**scores, **figures}.items()}


async def looks_at(url: str, cookie: str, chromium: Path, folder: Path) -> tuple[list[dict[str, float]], int]:
    """Looks to judge by, undisturbed ones if there are enough of them, and how many were taken."""
    command = await install_lighthouse()
    looks: list[dict[str, float]] = []
    calm: list[dict[str, float]] = []
    for number in range(MOST_RUNS):
        look = await lighthouse(command, url, cookie, chromium, folder)
        if look is None:
            continue
        progress(f"look {number + 1}: {look}")
        looks.append(look)
        calm = [one for one in looks if one["benchmark"] >= UNDISTURBED]
        if len(calm) == RUNS:
            return calm, len(looks)
    expect(len(looks) >= RUNS, "Lighthouse could not look often enough")
    return looks, len(looks)


# --- all of it ----------------------------------------------------------------------------------------------


async def run(parts: CloudParts, folder: Path) -> str:
    """All measures; the figures. CheckError."""
    chromium = find_chromium()
    if chromium is None:
        raise CheckError("no Chromium or Chrome here (set CHROMIUM to its path)")
    _, owned = await people_and_devices(parts)
    progress(f"{DEVICES} devices are there")
    async with visitor() as http:
        browser = Visitor(http, parts.portal_url)
        cookie = await browser.log_in(EMAIL)
        took_s, count = await ask_the_list(browser)
        names = [one.key for one in http.cookie_jar if one.value == cookie]
    p50_s, p95_s = quantile(took_s, 0.5), quantile(took_s, 0.95)
    listed = f"{count} answers of the list of {DEVICES}: p50 {p50_s * 1000:.0f} ms, p95 {p95_s * 1000:.0f} ms"
    progress(listed)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        context = await launched.new_context(**PHONE)
        page = await context.new_page()
        await log_in(page, parts.portal_url)
        await page.close()
        loaded = await first_bytes(context, parts.portal_url)
        async with restless(parts.dsn):
            scrolls = [await longest_task_ms(launched, context, parts.portal_url)]
            while scrolls[-1][0] > MAX_TASK_MS and len(scrolls) < SCROLLS:
                progress(
                    f"a task of {scrolls[-1][0]:.0f} ms, {scrolls[-1][1]:.0f} ms of the processor: again"
                )
                scrolls.append(await longest_task_ms(launched, context, parts.portal_url))
        await launched.close()
    task_ms, busy_ms, tasks = min(scrolls)
    drawn = f"""first page {loaded / 1000:.0f} kB; longest of {tasks} tasks in {SCROLL_S:g} s of
        scrolling {task_ms:.0f} ms, of the processor {busy_ms:.0f} ms ({len(scrolls)} times looked)"""
    progress(drawn)
    url = f"{parts.portal_url}/devices/{owned.device_id}"
    looks, taken = await looks_at(url, f"{names[0]}={cookie}", chromium, folder)
    performance = statistics.median(one["performance"] for one in looks)
    accessibility = min(one["accessibility"] for one in looks)
    seen = f"""Lighthouse on a device's page, {len(looks)} of {taken} looks: performance {performance:.0f},
        accessibility {accessibility:.0f}"""
    figures = f"{listed}; {drawn}; {seen}"
    expect(p95_s <= GOAL_S, f"the list is slow: {figures}")
    expect(loaded <= MAX_FIRST_BYTES, f"the first page is large: {figures}")
    expect(task_ms <= MAX_TASK_MS, f"scrolling stutters: {figures}")
    expect(performance >= MIN_PERFORMANCE, f"the device page is slow: {figures}")
    expect(accessibility == 100, f"the device page is not for everybody: {figures}")
    return figures


def main() -> int:
    """Run the check."""
    build_assets.build(dev=True)
    with tempfile.TemporaryDirectory(prefix="sc-portal-speed-") as name:
        folder = Path(name)
        with running_parts(folder / "cloud", ("postgres", "portal")) as parts:
            return passed(NAME, asyncio.run(run(parts, folder)))
