"""Acceptance ``hostile-claims``: guessers, impostors and squatters cost themselves and nobody else.

One Product ID: 10 000 claims with wrong keys and 200 impostor devices, while the real device stays connected
and its owner claims it. Then 1 000 squatters announce and claim fakes of real Product IDs, and while all of
these stay connected, the true devices come and are claimed. Then what unknown, wrong, unseen and
owned-by-other codes are answered: same bodies, headers and times.

*Unknown* codes belong to nothing; *wrong* ones have the Product ID of a device that announces itself, *owned*
ones that of a device somebody has; *unseen* ones are right, and somebody else waits for that device, which
never announced itself. A rank-sum test calls one in a hundred equal pairs different: times that differ are
taken anew.
"""

import asyncio
import random
import re
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from itertools import combinations
from pathlib import Path
from typing import Final

import aiohttp

from protocol.identity import ProductId, ProductKey
from tests.accept import CheckError, expect, passed, progress
from tests.accept._announcer import Announcer
from tests.accept._claim_run import Check, expect_answer, stopped, threaded
from tests.accept._rank_sum import rank_sum_p
from tests.support.device import WireDevice, random_codes
from tests.support.parts import running_parts
from tests.support.person import Answer, Person, make_accounts

NAME: Final = "hostile-claims"
GUESSERS: Final = 40
DILIGENT: Final = 4
"""Guessers who solve every proof of work and wait as they are told."""
GUESSES: Final = 10_000
IMPOSTORS: Final = 200
SQUATTED: Final = 1_000
AT_ONCE: Final = 8
GOAL_S: Final = 5.0
"""For the true claim amid the guesses, and for the slowest of all claims of squatted Product IDs."""
SAMPLES: Final = 200
SIGNIFICANT: Final = 0.01
KINDS: Final = ("unknown", "wrong", "unseen", "owned")
PEOPLE: Final = 100
"""Half of them in a round, each with four samples of each kind, within its free places."""
ROUNDS: Final = 2
WAITERS: Final = 20
"""Those who wait for the unseen devices, within their free places."""
ANNOUNCE_S: Final = 30.0
ADDRESSES: Final = 200
OWNERS: Final = """
    SELECT o.device_id, a.email_norm FROM v_ownership o JOIN account a USING (account_id)
     WHERE o.until_ms IS NULL AND o.device_id = ANY(%s)
"""
_DERIVATIONS: Final = re.compile(r"^smartconnect_portal_derivations_total (\S+)", re.MULTILINE)


def addresses() -> Iterator[str]:
    """Loopback addresses, over and over."""
    while True:
        for number in range(ADDRESSES):
            yield f"127.0.{1 + number // 100}.{1 + number % 100}"


# --- guessers and impostors on one Product ID ---------------------------------------------------------------


async def one_product_id(check: Check, guessers: list[Person], owner: Person) -> str:
    """The true claim amid 10 000 wrong ones and 200 fake devices of the same Product ID."""
    real = await threaded(check.device)
    with ExitStack() as open_devices:
        await threaded(open_devices.enter_context, real)
        await threaded(real.announce)
        session = real.hello.login_ms
        gate = asyncio.Semaphore(AT_ONCE)

        async def impostor() -> WireDevice:
            async with gate:
                codes = (real.product_id, random_codes()[1])
                fake = await threaded(WireDevice, check.parts.installation, check.parts.key_set, codes)
                await threaded(open_devices.enter_context, fake)
                expect(await threaded(fake.announce) < 0x80, "an impostor's own announcement is refused")
                return fake

        await asyncio.gather(*(impostor() for _ in range(IMPOSTORS)))
        progress(f"{IMPOSTORS} impostors of one Product ID announce")
        told: Counter[str] = Counter()
        derived_before = await derivations(check)
        began = time.monotonic()
        left = GUESSES
        stop = asyncio.Event()

        async def guess(person: Person, *, diligent: bool) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                if diligent and not stop.is_set():
                    work = asyncio.ensure_future(person.claim(real.product_id, random_codes()[1]))
                    over = asyncio.ensure_future(stop.wait())
                    await asyncio.wait((work, over), return_when=asyncio.FIRST_COMPLETED)
                    over.cancel()
                    if not work.done():
                        work.cancel()
                        continue
                    answer = await work
                else:
                    answer = await person.ask(
                        "POST", "/api/v1/claims", codes_of(real.product_id, random_codes()[1])
                    )
                told[str(answer.body.get("code") or answer.body.get("state"))] += 1
                expect(answer.status in {202, 429}, f"a guess is answered {answer.status}")
                if left <= GUESSERS:
                    stop.set()

        async def keep_announcing() -> None:
            while True:
                await asyncio.sleep(ANNOUNCE_S)
                expect(await threaded(real.announce) < 0x80, "the real announcement was refused")

        beat = asyncio.ensure_future(keep_announcing())
        guessing = [
            asyncio.ensure_future(guess(person, diligent=number < DILIGENT))
            for number, person in enumerate(guessers)
        ]
        try:
            while left > GUESSES // 2:
                expect(not any(task.done() for task in guessing), "the guessers gave up")
                await asyncio.sleep(0.05)
            started = time.monotonic()
            answer = await owner.claim(real.product_id, real.product_key)
            took_s = time.monotonic() - started
            expect_answer(answer, 200, "won", "the true claim")
            expect(took_s <= GOAL_S, f"the true claim took {took_s:.1f} s")
            await asyncio.gather(*guessing)
        finally:
            await stopped(beat)
        hello = await threaded(real.wait_owned)
        expect(hello.login_ms == session, "the real session was dropped")
        expect(await threaded(real.announce) < 0x80, "the real session is gone")
        spent_s = time.monotonic() - began
    expect(check.owners(real) == 1, "not exactly one owner")
    derived = await derivations(check) - derived_before - 1
    expect(derived >= told["waiting_for_device"], "more was checked than was derived")
    expect(derived <= GUESSERS * 20 + 500, f"{derived} derivations were spent on guesses")
    refused = check.rows("SELECT count(*) FROM claim WHERE state = 'pending'")[0][0]
    progress(f"{GUESSES} guesses in {spent_s:.0f} s, {derived} derivations spent, true claim {took_s:.2f} s")
    return f"""{GUESSES} wrong claims and {IMPOSTORS} impostors in {spent_s:.0f} s: {derived} derivations
        spent ({dict(told)}, {refused} claims wait), true claim {took_s:.2f} s, session kept;"""


async def derivations(check: Check) -> int:
    """How many the portal has begun."""
    async with aiohttp.ClientSession() as http, http.get(f"{check.parts.portal_url}/metrics") as response:
        found = _DERIVATIONS.search(await response.text())
    if found is None:
        raise CheckError("the portal does not say how many derivations it has begun")
    return int(float(found[1]))


def codes_of(product_id: ProductId, product_key: ProductKey) -> dict[str, str]:
    """The body of a claim."""
    return {"product_id": product_id.value, "product_key": product_key.value}


# --- squatters ----------------------------------------------------------------------------------------------


async def squatters(check: Check, people: list[Person], others: list[Person]) -> str:
    """Fakes of real Product IDs are announced, claimed and stay connected; every true claim succeeds."""
    tls = ssl.create_default_context(cadata=check.parts.installation.ca_pem)
    gate = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as stack:

        async def one(number: int, product_id: ProductId, claimants: list[Person]) -> tuple[Announcer, float]:
            """A device that connects, announces itself and stays; the seconds of its claim."""
            async with gate:
                product_key = random_codes()[1]
                device = await threaded(Announcer, product_id, product_key)
                await device.connect(check.parts.installation, check.parts.key_set, tls)
                stack.callback(device.close)
                await device.announce()
                began = time.monotonic()
                won = await claimants[number % len(claimants)].claim(product_id, product_key)
                took_s = time.monotonic() - began
                expect_answer(won, 200, "won", "a claim of one of two devices of a Product ID")
                return device, took_s

        product_ids = [random_codes()[0] for _ in range(SQUATTED)]
        began = time.monotonic()
        false = await asyncio.gather(*(one(*place, others) for place in enumerate(product_ids)))
        squatted_s = time.monotonic() - began
        progress(f"{len(false)} fakes are connected and claimed after {squatted_s:.0f} s")
        began = time.monotonic()
        true = await asyncio.gather(*(one(*place, people) for place in enumerate(product_ids)))
        taken_s = time.monotonic() - began
        gone = sum(not device.connected for device, _ in [*false, *true])
        expect(not gone, f"{gone} devices, true or fake, have lost their connection")
    slowest_s = max(seconds for _, seconds in true)
    progress(f"every true claim won in {taken_s:.0f} s, slowest {slowest_s:.2f} s")
    expect(slowest_s <= GOAL_S, f"a true claim of a squatted Product ID took {slowest_s:.1f} s")
    for devices, owners in ((false, others), (true, people)):
        told = {
            (device.device_id, owners[number % len(owners)].email)
            for number, (device, _) in enumerate(devices)
        }
        found = check.rows(OWNERS, [device.device_id for device, _ in devices])
        expect(set(found) == told and len(found) == SQUATTED, "a device is not its claimant's alone")
    return f"""{SQUATTED} squatters' fakes claimed in {squatted_s:.0f} s and connected all the time: all
        {SQUATTED} true claims won in {taken_s:.0f} s, slowest {slowest_s:.2f} s;"""


# --- answers that tell nothing ------------------------------------------------------------------------------


class Codes:
    """Codes of each kind, none of which their claimant has the device of."""

    def __init__(
        self, seen: WireDevice, owned: WireDevice, unseen: list[tuple[ProductId, ProductKey]]
    ) -> None:
        self._product_ids = {"wrong": seen.product_id, "owned": owned.product_id}
        self._unseen = iter(unseen)

    def next(self, kind: str) -> tuple[ProductId, ProductKey]:
        """Fresh ones."""
        if kind == "unseen":
            return next(self._unseen)
        product_id, product_key = random_codes()
        return self._product_ids.get(kind, product_id), product_key


async def equal_answers(check: Check, people: list[Person], owner: Person, waiters: list[Person]) -> str:
    """Bodies, headers, status and time of four kinds of codes, none of which its claimant can have."""
    seen, owned = await threaded(check.device), await threaded(check.device)
    unseen = [random_codes() for _ in range(SAMPLES * ROUNDS)]
    for number, (product_id, product_key) in enumerate(unseen):
        answer = await waiters[number % len(waiters)].claim(product_id, product_key)
        expect_answer(answer, 202, "waiting_for_device", "the first claim of a device nobody has seen")
    codes = Codes(seen, owned, unseen)
    share = len(people) // ROUNDS
    with ExitStack() as open_devices:
        for device in (seen, owned):
            await threaded(open_devices.enter_context, device)
            await threaded(device.announce)
        expect_answer(await owner.claim(owned.product_id, owned.product_key), 200, "won", "the owner's claim")
        for number in range(ROUNDS):
            of_round = people[number * share : (number + 1) * share]
            times = await ask_in_turn(of_round, codes)
            p_values = {
                f"{one}/{other}": rank_sum_p(times[one], times[other])
                for one, other in combinations(KINDS, 2)
            }
            medians = ", ".join(f"{kind} {sorted(times[kind])[SAMPLES // 2] * 1000:.1f}" for kind in KINDS)
            figures = f"medians {medians} ms, least p {min(p_values.values()):.3f} in round {number + 1}"
            progress(f"{figures}: {', '.join(f'{pair} {p:.3f}' for pair, p in p_values.items())}")
            if min(p_values.values()) > SIGNIFICANT:
                return f"{SAMPLES} answers of each kind equal, {figures} of at most {ROUNDS}"
    raise CheckError(f"the times differ in {ROUNDS} rounds: {figures}")


async def ask_in_turn(people: list[Person], codes: Codes) -> dict[str, list[float]]:
    """So many samples of each kind, in an order of chance: the seconds of each. CheckError unless equal."""
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    shapes: set[str] = set()
    order = [kind for kind in KINDS for _ in range(SAMPLES // len(people))]
    for person in people:
        await person.look("0" * 36)  # opens the connection
        for kind in random.sample(order, len(order)):
            product_id, product_key = codes.next(kind)
            began = time.perf_counter()
            answer = await person.ask("POST", "/api/v1/claims", codes_of(product_id, product_key))
            times[kind].append(time.perf_counter() - began)
            shapes.add(shape_of(answer, product_id))
    expect(len(shapes) == 1, f"there are {len(shapes)} different answers: {shapes}")
    return times


def shape_of(answer: Answer, product_id: ProductId) -> str:
    """An answer without names and dates, but with their form."""
    hidden = {"claim_id", "device_id", "created_ms", "expires_ms"}
    expect(answer.body["product_id"] == product_id.value, "the answer has another Product ID")
    body = {
        name: type(value).__name__ if name in hidden | {"product_id"} else value
        for name, value in answer.body.items()
    }
    length = int(answer.headers["Content-Length"]) - len(str(answer.body["device_id"]))
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name.lower() not in {"date", "x-request-id", "content-length"}
    }
    return f"{answer.status} {length} {body} {headers}"


# --- all of it ----------------------------------------------------------------------------------------------


async def run(check: Check) -> str:
    """Every part in turn; the figures for the last line."""
    count = 1 + PEOPLE + WAITERS + GUESSERS
    emails = await make_accounts(check.parts.dsn, count, time.time_ns() // 1_000_000)
    places = addresses()
    async with AsyncExitStack() as stack:
        for email in emails:
            person = Person(check.parts.portal_url, email, next(places))
            check.people.append(await stack.enter_async_context(person))
        progress(f"{count} accounts are logged in, each from an address of its own")
        owner, people = check.people[0], check.people[1 : 1 + PEOPLE]
        waiters, guessers = check.people[1 + PEOPLE : -GUESSERS], check.people[-GUESSERS:]
        equal = await equal_answers(check, people, owner, waiters)
        progress(equal)
        attacked = await one_product_id(check, guessers, owner)
        squatted = await squatters(check, [owner, *people[:9]], people[10:])
        return f"{attacked} {squatted} {equal}"


def main() -> int:
    """Run the check."""
    with tempfile.TemporaryDirectory(prefix="sc-hostile-") as name:
        folder = Path(name)
        with running_parts(folder / "cloud") as parts:
            return passed(NAME, asyncio.run(run(Check(parts, folder))))
