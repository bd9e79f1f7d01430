"""Attacks on codes, links and what answers tell: S10 and S11 of the design."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import pyotp

from cloud.core import proof_of_work
from tests.accept import CheckError, expect, progress
from tests.accept._portal_site import Site
from tests.accept._rank_sum import rank_sum_p
from tests.support.portal import PASSWORD, Answer, Visitor
from tests.support.rooms import PAGE_ONE, PAGE_TWO

GUESSES: Final = 40
AT_ONCE: Final = 8
SAMPLES: Final = 24
ROUNDS: Final = 3
SIGNIFICANT: Final = 0.01
NEW_PASSWORD: Final = "Different horse 9 cell"
_VARYING: Final = re.compile(r'value="[^"]*"|[\w.-]+@example\.org|[0-9a-f]{16}|\d\d:\d\d:\d\d UTC')
"""What differs between two answers to different people: form tokens, addresses, the request's number."""


async def solved(browser: Visitor) -> str:
    """A solved challenge."""
    work = json.loads((await browser.get("/robot")).text)
    return await asyncio.to_thread(proof_of_work.solve, work["challenge"], work["bits"], work["puzzles"])


async def first_page(browser: Visitor, email: str) -> Answer:
    """Page one of a sign-up."""
    await browser.get("/signup")
    return await browser.post("/signup", {**PAGE_ONE, "email": email})


async def at_once(asks: list[Callable[[], Awaitable[Answer]]]) -> list[Answer]:
    """All of these at the same time."""
    return list(await asyncio.gather(*(ask() for ask in asks)))


async def guessed_codes(site: Site) -> str:
    """Many guesses at once at a mailed code count like many one after the other."""
    email = "guessed@example.org"
    async with site.browser() as browser:
        await first_page(browser, email)
        await browser.get("/signup/company")
        robot = await solved(browser)
        again = await at_once(
            [lambda: browser.post("/signup/company", {**PAGE_TWO, "robot": robot}) for _ in range(AT_ONCE)]
        )
        ways = sorted(answer.status for answer in again)
        expect(
            ways.count(303) == 1, f"one solved challenge was good for {ways.count(303)} of {AT_ONCE}: {ways}"
        )
        await browser.get("/signup/verify")
        code = site.mailed(email, "sign_up_code", r"\b(\d{6})\b")
        wrong = [f"{(int(code) + number) % 10**6:06d}" for number in range(1, GUESSES + 1)]

        def guess(text: str) -> Callable[[], Awaitable[Answer]]:
            return lambda: browser.post("/signup/verify", {"code": text})

        told = await at_once([guess(text) for text in wrong])
        expect(all(answer.status in {422, 429} for answer in told), "a wrong code was taken")
        judged = sum("not the code from the newest email" in answer.text for answer in told)
        expect(judged <= 5, f"{judged} of {GUESSES} guesses were compared")
        right = await browser.post("/signup/verify", {"code": code})
        expect(right.status in {422, 429}, "the right code was taken after its tries were spent")
        (tries,) = site.rows("SELECT max(tries) FROM mailed_code")[0]
        expect(tries <= 5, f"{tries} tries were counted")
    return f"{GUESSES} guesses at once: {judged} compared, the right code refused after them;"


async def replayed_factors(site: Site) -> str:
    """A code of the authenticator is good for one log-in, however many ask at the same moment."""
    (email,) = await site.accounts(1, "factor")
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(site.browser())
        await owner.log_in(email)
        await owner.get("/account/two-factor")
        page = await owner.post("/account/two-factor/start", {})
        found = re.search(r"secret=([A-Z2-7]+)", page.text)
        if found is None:
            raise CheckError("the page for the authenticator holds no secret")
        app = pyotp.TOTP(found[1])
        step_s = 30 - time.time() % 30
        if step_s < 8:
            await asyncio.sleep(step_s + 0.2)
        await owner.post("/account/two-factor/confirm", {"code": app.now()})
        thieves = [await stack.enter_async_context(site.browser()) for _ in range(AT_ONCE)]
        for thief in thieves:
            await thief.get("/login")
            answer = await thief.post("/login", {"email": email, "password": PASSWORD})
            expect(answer.headers.get("Location") == "/login/verify", "no second factor was asked for")
            await thief.get("/login/verify")
            expect((await thief.get("/api/v1/session")).status == 401, "half a log-in is a log-in")
        spent = await thieves[0].post("/login/verify", {"code": app.now()})
        expect(spent.status in {401, 422}, f"the code that turned it on was taken again: {spent.status}")
        fresh = app.at(int(time.time()) + 30)  # the step after this one is within the window

        def use(thief: Visitor) -> Callable[[], Awaitable[Answer]]:
            return lambda: thief.post("/login/verify", {"code": fresh})

        told = [answer.status for answer in await at_once([use(thief) for thief in thieves])]
        expect(told.count(303) == 1, f"one code was good for {told.count(303)} of {AT_ONCE} log-ins: {told}")
    return f"an authenticator's code is good for 1 of {AT_ONCE} log-ins at once;"


async def reused_links(site: Site) -> str:
    """A reset link works once, ends every log-in, and is void for whoever had asked for another one's."""
    (email,) = await site.accounts(1, "reset")
    async with site.browser() as owner, site.browser() as browser:
        await owner.log_in(email)
        await browser.get("/reset")
        await browser.post("/reset", {"email": email, "robot": await solved(browser)})
        token = site.mailed(email, "password_reset", r"#(\S+)")
        places = site.tables_with(token, besides=["mail"])
        expect(not places, f"a reset link stands in {places}")
        await browser.get("/reset/new")
        expect((await owner.get("/api/v1/session")).status == 200, "asking for a link ended a log-in")

        def use(number: int) -> Callable[[], Awaitable[Answer]]:
            form = {"token": token, "password": f"{NEW_PASSWORD} {number}"}
            return lambda: browser.post("/reset/new", form)

        told = [answer.status for answer in await at_once([use(number) for number in range(AT_ONCE)])]
        expect(told.count(303) == 1, f"one link was good for {told.count(303)} of {AT_ONCE}: {told}")
        later = await browser.post("/reset/new", {"token": token, "password": NEW_PASSWORD})
        expect(later.status == 422, "a reset link works twice")
        expect((await owner.get("/api/v1/session")).status == 401, "a log-in outlived the new password")
        expect(token not in site.parts.log, "a reset link stands in a log")
    return f"a reset link is good for 1 of {AT_ONCE} at once, and ends the log-ins;"


# --- answers that tell nothing ------------------------------------------------------------------------------

Ask = Callable[[Visitor, str, str], Awaitable[Answer]]


async def _log_in(browser: Visitor, email: str, _robot: str) -> Answer:
    return await browser.post("/login", {"email": email, "password": "Wrong horse 7 battery"})


async def _reset(browser: Visitor, email: str, robot: str) -> Answer:
    return await browser.post("/reset", {"email": email, "robot": robot})


async def _sign_up(browser: Visitor, email: str, _robot: str) -> Answer:
    return await browser.post("/signup", {**PAGE_ONE, "email": email})


ASKS: Final[dict[str, tuple[str, Ask, bool]]] = {
    "log-in": ("/login", _log_in, False),
    "sign-up": ("/signup", _sign_up, False),
    "reset": ("/reset", _reset, True),
}
"""What → (page with the form, what is timed, whether it needs a solved challenge)."""


async def enumeration(site: Site) -> str:
    """Bodies, statuses and times for known and unknown addresses."""
    parts = []
    for what, (page, ask, works) in ASKS.items():
        for number in range(ROUNDS):
            word = f"{what.replace('-', '')}{number}x"
            known = await site.accounts(SAMPLES, f"known{word}")
            times, shapes = await _sampled(site, known, word, page, ask, works=works)
            expect(len(shapes) == 1, f"{what}: known and unknown addresses have {len(shapes)} answers")
            p_value = rank_sum_p(times["known"], times["unknown"])
            progress(f"{what}, round {number + 1}: p {p_value:.3f}")
            if p_value > SIGNIFICANT:
                break
        else:
            raise CheckError(f"{what}: the times differ in {ROUNDS} rounds, p {p_value:.4f}")
        median_ms = sorted(times["known"])[SAMPLES // 2] * 1000
        parts.append(f"{what} {median_ms:.0f} ms p {p_value:.2f}")
    return f"known and unknown addresses alike ({', '.join(parts)});"


async def _sampled(
    site: Site, known: list[str], word: str, page: str, ask: Ask, *, works: bool
) -> tuple[dict[str, list[float]], set[str]]:
    """Seconds by kind, one address after the other in turn; the different shapes of their answers."""
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    shapes: set[str] = set()
    for number, email in enumerate(known):
        async with site.browser() as browser:
            pair = [("known", email), ("unknown", f"nobody{word}{number}@example.org")]
            for kind, address in pair if number % 2 else reversed(pair):
                await browser.get(page)
                robot = await solved(browser) if works else ""
                began = time.perf_counter()
                answer = await ask(browser, address, robot)
                times[kind].append(time.perf_counter() - began)
                shapes.add(f"{answer.status} {_VARYING.sub('', answer.text)}")
    return times, shapes
