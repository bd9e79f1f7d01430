"""Acceptance ``claim-speed``: from the second half to "yours" within a second; what happens past the bound.

Both orders with every process restarted between the halves, and with days between (the stored times are moved
back, as the clock of a running machine cannot be). Then 1 000 devices stay connected and announce themselves
while 500 accounts at 200 addresses send 20 claims a second, half of them with wrong keys. Then more claims at
once than are taken in: the others are refused with 429 and when to come again. Last, a storm of claims beside
devices that stream telemetry (:mod:`tests.accept._claim_storm`).
"""

import asyncio
import random
import ssl
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import psycopg

from cloud.services.derivation import MAX_EACH, MAX_TYPED
from tests.accept import expect, passed, progress
from tests.accept._announcer import Announcer
from tests.accept._claim_run import Check, connected, expect_answer, expect_won, stopped, threaded
from tests.accept._claim_storm import MAX_RATIO, Storm, Streams, storm_beside_telemetry
from tests.accept.claim import quantile
from tests.accept.hostile_claims import addresses, codes_of
from tests.faults.processes import Parts
from tests.support.device import random_codes
from tests.support.parts import running_parts
from tests.support.person import Answer, Person, make_accounts

NAME: Final = "claim-speed"
DEVICES: Final = 1_000
ACCOUNTS: Final = 500
CLAIMS_HZ: Final = 20
LOAD_S: Final = 30
STORMED: Final = 100
"""Devices that the storm claims with right codes."""
STREAMING: Final = 100
"""Devices that stream telemetry beside the storm."""
GOAL_S: Final = 1.0
DAYS: Final = 5
DAY_MS: Final = 86_400_000
AT_ONCE: Final = 8
BURST: Final = MAX_TYPED * 2


# --- both orders, restarts and days in between --------------------------------------------------------------


async def restarts_and_days(check: Check, person: Person) -> list[float]:
    """A claim waits over a restart of everything and for days; an announcement holds over a restart, but one
    of days ago is none. The seconds from each second half to "yours".
    """
    first, fresh, stale = [await threaded(check.device) for _ in range(3)]
    waiting = await person.claim(first.product_id, first.product_key)
    expect_answer(waiting, 202, "waiting_for_device", "claim first")
    for device in (fresh, stale):
        async with connected(device):
            await threaded(device.announce)
    for name in ("portal", "gateway", "postgres"):
        check.parts.kill(name)
    for name in ("postgres", "gateway", "portal"):
        check.parts.start(name)
    with psycopg.connect(check.parts.dsn) as connection:
        moved = DAYS * DAY_MS
        connection.execute(
            "UPDATE claim SET created_ms = created_ms - %s, expires_ms = expires_ms - %s", [moved, moved]
        )
        connection.execute(
            "UPDATE device_key SET announced_ms = announced_ms - %s WHERE device_id = %s",
            [moved, stale.device_id],
        )
    took_s: list[float] = []
    began = time.perf_counter()
    won = await person.claim(fresh.product_id, fresh.product_key)
    took_s.append(time.perf_counter() - began)
    expect_answer(won, 200, "won", "announced before everything was restarted")
    late = await person.claim(stale.product_id, stale.product_key)
    expect_answer(late, 202, "waiting_for_device", f"announced {DAYS} days before the claim")
    for device, answer, what in (
        (first, waiting, f"claimed {DAYS} days before the announcement"),
        (stale, late, "announced again"),
    ):
        async with connected(device):
            began = time.perf_counter()
            announced = asyncio.ensure_future(threaded(device.announce))
            await expect_won(person, answer, what)
            took_s.append(time.perf_counter() - began)
            await announced
    slowest_s = max(took_s)
    expect(slowest_s <= GOAL_S, f"after a restart it took {slowest_s:.2f} s from the second half to yours")
    return took_s


# --- the load -----------------------------------------------------------------------------------------------


async def connect_devices(check: Check, stack: AsyncExitStack) -> list[Announcer]:
    """So many sessions; those that will be claimed have a label that somebody can read."""
    tls = ssl.create_default_context(cadata=check.parts.installation.ca_pem)
    gate = asyncio.Semaphore(AT_ONCE)
    installation, key_set = check.parts.installation, check.parts.key_set
    readable = CLAIMS_HZ * LOAD_S // 2 + STORMED

    async def one(number: int) -> Announcer:
        async with gate:
            product_id, product_key = random_codes()
            device = await threaded(Announcer, product_id, product_key if number < readable else None)
            await device.connect(installation, key_set, tls)
            stack.callback(device.close)
            return device

    return list(await asyncio.gather(*(one(number) for number in range(DEVICES))))


async def load(people: list[Person], devices: list[Announcer]) -> tuple[list[float], float]:
    """20 claims a second; seconds from the second half to "yours", and the p99 of answers to wrong keys."""
    count = CLAIMS_HZ * LOAD_S // 2
    readable, rest = devices[:count], devices[count:]
    took_s: list[float] = []
    wrong_s: list[float] = []
    chatter = asyncio.ensure_future(keep_announcing(rest))

    async def right(person: Person, device: Announcer, *, claim_first: bool) -> None:
        key = device.product_key
        expect(key is not None, "a device without a readable label cannot be claimed")
        codes = codes_of(device.product_id, key)  # type: ignore[arg-type]  # it is one of the readable ones
        if claim_first:
            answer = await person.ask("POST", "/api/v1/claims", codes)
            expect_answer(answer, 202, "waiting_for_device", "claim first under load")
            opened = asyncio.Event()
            page = asyncio.ensure_future(person.watch(answer.body["claim_id"], opened))
            await opened.wait()
            began = time.perf_counter()
            announced = asyncio.ensure_future(device.announce())
            expect(await page == "won", "the page does not show that the claim was won")
            took_s.append(time.perf_counter() - began)
            await announced
        else:
            await device.announce()
            began = time.perf_counter()
            expect_answer(await person.ask("POST", "/api/v1/claims", codes), 200, "won", "under load")
            took_s.append(time.perf_counter() - began)

    async def wrong(person: Person) -> None:
        began = time.perf_counter()
        codes = codes_of(random.choice(devices).product_id, random_codes()[1])
        answer = await person.ask("POST", "/api/v1/claims", codes)
        expect_answer(answer, 202, "waiting_for_device", "a wrong key under load")
        wrong_s.append(time.perf_counter() - began)

    try:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(CLAIMS_HZ * LOAD_S):
                await asyncio.sleep(max(0.0, began + number / CLAIMS_HZ - time.monotonic()))
                person = people[number % len(people)]
                if number % 2:
                    group.create_task(wrong(person))
                else:
                    group.create_task(right(person, readable[number // 2], claim_first=number % 4 == 0))
    finally:
        await stopped(chatter)
    return took_s, quantile(wrong_s, 0.99)


async def keep_announcing(devices: list[Announcer]) -> None:
    """All of them once a minute, evenly."""
    while True:
        for device in devices:
            began = time.monotonic()
            await device.announce()
            await asyncio.sleep(max(0.0, began + 60 / DEVICES - time.monotonic()))


# --- past the bound -----------------------------------------------------------------------------------------


async def burst(people: list[Person]) -> Counter[tuple[int, str]]:
    """More wrong claims at once than may wait: each is answered, or refused with when to come again."""

    async def one(person: Person) -> Answer:
        product_id, product_key = random_codes()
        return await person.ask("POST", "/api/v1/claims", codes_of(product_id, product_key))

    chosen = people[: BURST // MAX_EACH * 2]
    answers = await asyncio.gather(*(one(chosen[number % len(chosen)]) for number in range(BURST)))
    told = Counter(
        (answer.status, str(answer.body.get("code") or answer.body.get("state"))) for answer in answers
    )
    expect(set(told) <= {(202, "waiting_for_device"), (429, "busy")}, f"a burst is answered {dict(told)}")
    for answer in answers:
        expect(answer.status != 429 or answer.retry_after_s >= 1, "a 429 without Retry-After")
    return told


# --- all of it ----------------------------------------------------------------------------------------------


async def run(check: Check) -> str:
    """Every part in turn; the figures for the last line."""
    emails = await make_accounts(check.parts.dsn, ACCOUNTS, time.time_ns() // 1_000_000)
    places = addresses()
    async with AsyncExitStack() as stack:
        gate = asyncio.Semaphore(AT_ONCE)

        async def log_in(email: str) -> Person:
            async with gate:
                return await stack.enter_async_context(Person(check.parts.portal_url, email, next(places)))

        people = list(await asyncio.gather(*(log_in(email) for email in emails)))
        progress(f"{len(people)} accounts are logged in")
        after_s = await restarts_and_days(check, people[0])
        progress("both orders over restarts and days")
        devices = await connect_devices(check, stack)
        progress(f"{len(devices)} devices are connected")
        took_s, wrong_s = await load(people, devices)
        p99_s = quantile(took_s, 0.99)
        count = CLAIMS_HZ * LOAD_S // 2
        progress(f"{len(took_s)} claims won under load, p99 {p99_s * 1000:.0f} ms")
        told = await burst(people)
        claimed, stormed, rest = devices[:STREAMING], devices[count : count + STORMED], devices[count:]
        with Parts(check.folder / "stream-logs") as processes:
            streams = Streams(check, processes, claimed)
            streams.start()
            await threaded(streams.wait)
            chatter = asyncio.ensure_future(keep_announcing(rest))
            try:
                ratio, storm = await storm_beside_telemetry(check, streams, Storm(people, stormed, codes_of))
            finally:
                await stopped(chatter)
            samples = await threaded(streams.stop)
    figures = f"""both orders over restarts and {DAYS} days, slowest {max(after_s) * 1000:.0f} ms;
        {DEVICES} devices, {CLAIMS_HZ} claims/s of {ACCOUNTS} accounts for {LOAD_S} s: {len(took_s)} won,
        p50 {quantile(took_s, 0.5) * 1000:.0f} ms p99 {p99_s * 1000:.0f} ms, wrong keys answered
        p99 {wrong_s * 1000:.0f} ms; {BURST} at once: {dict(told)}; {samples} samples beside; {storm}"""
    expect(ratio <= MAX_RATIO, f"telemetry suffers: {figures}")
    expect(p99_s <= GOAL_S, f"the p99 is more than {GOAL_S:g} s: {figures}")
    return figures


def main() -> int:
    """Run the check."""
    with tempfile.TemporaryDirectory(prefix="sc-speed-") as name:
        folder = Path(name)
        with running_parts(folder / "cloud") as parts:
            return passed(NAME, asyncio.run(run(Check(parts, folder))))
