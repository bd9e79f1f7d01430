"""Acceptance ``claim-race``: many accounts race for the same devices, while processes die; one owner each.

A round: for every device all accounts send its codes at the same time, ``AT_ONCE`` devices at a time. In the
first round nobody owns them, and every fourth device announces itself only when the first claims wait.
Between rounds a fifth of the winners release their devices: these are raced for anew, the former owner
asking last; all others are raced for as owned. A tenth of the claims is cut after sending, and asked about
again, half of these with the same Idempotency-Key. Beside each device impostors announce its Product ID with
other label keys. Owned devices stream all the time. ``--quick`` runs a small race.
"""

import asyncio
import random
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from tests.accept import CheckError, expect, passed, progress
from tests.accept._claim_run import Check, threaded
from tests.accept._race_device import RaceDevice, Site
from tests.accept._race_people import Racer, Tally
from tests.accept._race_verdict import Verdict, Yours, judge, judge_streams
from tests.accept.claim import quantile
from tests.accept.hostile_claims import addresses
from tests.support.device import random_codes
from tests.support.parts import running_parts
from tests.support.person import Answer, make_accounts

NAME: Final = "claim-race"
AT_ONCE: Final = 2
"""Devices raced for at a time: with 64 accounts 128 claims, as many as a portal takes in. Cut ones come on
top, so that some are told to come again.
"""
LOG_INS: Final = 8
IMPOSTORS: Final = 3
LATE_EVERY: Final = 4
RELEASED: Final = 0.2
CUT: Final = 0.1
WAIT_S: Final = 90.0
ROUND_S: Final = 900.0
KILLS: Final = ((1, 0.3, "portal"), (1, 0.65, "postgres"), (2, 0.5, "portal"))
"""Round, share of its claims that are answered, and what is killed then."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many of each."""

    accounts: int
    devices: int
    rounds: int


FULL: Final = Size(64, 40, 3)
QUICK: Final = Size(8, 6, 2)


@dataclass
class Run:
    """One race."""

    check: Check
    size: Size
    chance: random.Random
    tally: Tally = field(default_factory=Tally)
    racers: list[Racer] = field(default_factory=list)
    devices: list[RaceDevice] = field(default_factory=list)
    impostors: list[RaceDevice] = field(default_factory=list)
    owners: dict[int, Racer] = field(default_factory=dict)
    """By place of the device."""
    former: dict[int, Racer] = field(default_factory=dict)
    told: list[Yours] = field(default_factory=list)
    answered: int = 0
    """Claims of this round."""
    losers: int = 0
    won_when_cut: int = 0
    released: int = 0
    ended_ms: int = 0
    """When the devices were stopped (unix ms)."""
    kills: list[tuple[str, float]] = field(default_factory=list)
    """What, and when (monotonic s)."""

    # --- one device in one round ----------------------------------------------------------------------------

    async def race_for(self, place: int) -> None:
        """All accounts at the same time; what each is told fits what all others are told."""
        device = self.devices[place]
        owner, former = self.owners.get(place), self.former.pop(place, None)
        racers = [racer for racer in self.racers if racer is not former]
        self.chance.shuffle(racers)
        cut = {id(racer) for racer in racers if self.chance.random() < CUT}

        async def ask(racer: Racer) -> Answer:
            answer = await racer.race(device, cut=id(racer) in cut)
            self.answered += 1
            return answer

        claims = [asyncio.ensure_future(ask(racer)) for racer in racers]
        if not device.speaks:
            await asyncio.wait_for(device.awaited.wait(), WAIT_S)
            device.speaks = True
        ends = dict(zip((racer.email for racer in racers), await asyncio.gather(*claims), strict=True))
        if former is not None:
            ends[former.email] = await ask(former)
        winners = [racer for racer in self.racers if ends[racer.email].status == 200]
        expect(len(winners) == 1, f"{len(winners)} of {len(ends)} were told that a device is theirs")
        (winner,) = winners
        won = ends[winner.email]
        expect(won.body["state"] == "won", f"the winner is told {won}")
        if owner is not None:
            same = winner is owner and won.body["reason"] == "already_yours"
            expect(same, f"an owned device is {winner.email}'s, not {owner.email}'s: {won}")
        elif id(winner) in cut and won.body["reason"] == "already_yours":
            self.won_when_cut += 1
        for email, end in ends.items():
            if email != winner.email:
                lost = (end.status, end.body["state"], end.body["reason"])
                expect(lost == (409, "refused", "owned_elsewhere"), f"a loser is told {end}")
                self.losers += 1
        expect(winner is not former, "who released a device has it again")
        self.owners[place] = winner
        self.told.append((device.device_id, winner.company_id, won.body["epoch"]))
        expect(await winner.sees(device), "the winner does not see the device")
        loser = self.chance.choice([racer for racer in self.racers if racer is not winner])
        expect(not await loser.sees(device), "a loser sees the device")

    # --- rounds ---------------------------------------------------------------------------------------------

    async def round(self, number: int) -> None:
        """Race for every device, in an order in which free ones are amid owned ones; processes die."""
        free = [place for place in range(len(self.devices)) if place not in self.owners]
        owned = [place for place in range(len(self.devices)) if place in self.owners]
        self.chance.shuffle(owned)
        order = [*owned[: len(owned) // 2], *free, *owned[len(owned) // 2 :]]
        gate = asyncio.Semaphore(AT_ONCE)
        self.answered = 0

        async def one(place: int) -> None:
            async with gate:
                await self.race_for(place)

        killing = asyncio.ensure_future(self.kill_amid(number))
        await asyncio.gather(*(one(place) for place in order))
        await killing
        progress(
            f"round {number}: {self.answered} claims answered, {len(free)} devices won,"
            f" {len(owned)} owned already; {dict(self.tally.seen)}"
        )

    async def kill_amid(self, number: int) -> None:
        """Kill what this round has to lose, each when so many claims are answered, and start it again."""
        for of_round, share, name in KILLS:
            if of_round == number:
                await self.have_answered(share)
                self.kills.append((name, time.monotonic()))
                parts = self.check.parts
                parts.kill(name)
                if name == "postgres":
                    (parts.state_dir / "pg.dsn").unlink(missing_ok=True)
                part = parts.parts[name].start()  # by the main thread; it would end with any other one
                await threaded(part.wait_ready)
                progress(f"{name} was killed amid round {number}, and is back")

    async def have_answered(self, share: float) -> None:
        """Until this share of the round's claims is answered."""
        wanted = share * self.size.accounts * self.size.devices
        await until(lambda: self.answered >= wanted, f"{wanted:.0f} claims are answered", ROUND_S)

    async def release_some(self) -> None:
        """A fifth of the devices is released; their connected devices are told, and announce themselves."""
        chosen = self.chance.sample(sorted(self.owners), max(1, round(RELEASED * len(self.devices))))

        async def one(place: int) -> None:
            owner, device = self.owners.pop(place), self.devices[place]
            await until(lambda: device.owned, "a device knows its owner")
            await owner.release(device)
            await until(lambda: device.live, "a released device announces itself")
            expect(not await owner.sees(device), "who released a device still sees it")
            self.former[place] = owner
            self.released += 1

        await asyncio.gather(*(one(place) for place in chosen))

    async def rounds(self) -> float:
        """All of them; the seconds they took."""
        began = time.monotonic()
        for number in range(1, self.size.rounds + 1):
            if number > 1:
                await self.release_some()
            await self.round(number)
        return time.monotonic() - began

    # --- devices --------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """All devices and impostors are connected; all but the late ones have announced themselves."""
        parts = self.check.parts
        tls = ssl.create_default_context(cadata=parts.installation.ca_pem)
        site = Site(parts.installation, parts.key_set, tls, asyncio.Semaphore(LOG_INS))
        for place in range(self.size.devices):
            device = await threaded(RaceDevice, site, random_codes())
            device.speaks = place % LATE_EVERY != 0
            self.devices.append(device)
            for _ in range(IMPOSTORS):
                codes = (device.product_id, random_codes()[1])
                self.impostors.append(await threaded(RaceDevice, site, codes))
        for device in chain(self.devices, self.impostors):
            device.start()
        await until(
            lambda: all(one.live or not one.speaks for one in chain(self.devices, self.impostors)),
            "all devices announce themselves",
        )

    async def settle(self) -> None:
        """Every device knows its owner and streams; then all connections end. What broke one is raised."""
        await until(
            lambda: all(one.streaming for one in self.devices), "every device knows its owner and streams"
        )
        self.ended_ms = time.time_ns() // 1_000_000
        await asyncio.gather(*(one.stop() for one in chain(self.devices, self.impostors)))

    def undisturbed(self) -> None:
        """CheckError where a device lost its connection, whoever was killed, or an impostor got anywhere."""
        for device in self.devices:
            if device.heard.losses:
                progress(self.history(device))
                raise CheckError(f"a true device lost its connection: {device.heard.losses[0][1]}")
            expect(not device.heard.wrong, f"samples were refused: {dict(device.heard.wrong)}")
        for impostor in self.impostors:
            expect(not impostor.heard.epochs, "an impostor was told that it is owned")
            expect(impostor.heard.announced > 0, "an impostor was never heard")

    def history(self, device: RaceDevice) -> str:
        """What a device has lost, what was killed, and what the gateway says of its key."""
        now_s = time.monotonic()
        lost = [f"{at_s - now_s:.1f} s {why}" for at_s, why in device.heard.losses]
        killed = [f"{at_s - now_s:.1f} s {name}" for name, at_s in self.kills]
        log = (self.check.parts.logs / "gateway.log").read_text(errors="replace").splitlines()
        lines = [line for line in log if device.kid in line or str(device.device_id) in line]
        return "\n".join([f"lost {lost}, killed {killed}, epochs {device.heard.epochs}", *lines])


async def until(holds: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Look ten times a second without blocking the loop. CheckError."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        expect(time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(0.1)


# --- all of it ----------------------------------------------------------------------------------------------


async def race(check: Check, size: Size, seed: int) -> str:
    """People, devices, rounds, verdict; the figures for the last line."""
    run = Run(check, size, random.Random(seed))
    emails = await make_accounts(check.parts.dsn, size.accounts, time.time_ns() // 1_000_000)
    members = check.rows("SELECT email_norm, company_id FROM membership JOIN account USING (account_id)")
    companies = {str(email): int(str(company_id)) for email, company_id in members}
    places = addresses()
    async with AsyncExitStack() as stack:
        for email in emails:
            racer = Racer(check.parts.portal_url, email, next(places), tally=run.tally)
            racer.chance = random.Random(run.chance.random())
            racer.company_id = companies[email]
            run.racers.append(await stack.enter_async_context(racer))
        progress(f"{len(run.racers)} accounts are logged in, each from an address of its own")
        await run.connect()
        progress(f"{len(run.devices)} devices and {len(run.impostors)} impostors announce themselves")
        took_s = await run.rounds()
        await run.settle()
    run.undisturbed()
    verdict = await threaded(judge, check.parts.dsn, run.devices, run.impostors, run.told)
    share = await threaded(judge_streams, check.parts.dsn, run.devices, run.ended_ms)
    return figures(run, verdict, took_s, share)


def figures(run: Run, verdict: Verdict, took_s: float, share: float) -> str:
    """What was seen, in words."""
    seen, size, times_s = run.tally.seen, run.size, run.tally.latencies_s
    dropped = sum(device.heard.dropped for device in run.devices)
    expect(run.size.rounds < 2 or dropped > 0, "no sample of an old epoch was ever sent")
    more = ", ".join(f"{name} {count}" for name, count in sorted(seen.items()) if name not in {"sent", "cut"})
    killed = ", ".join(name for name, _ in run.kills)
    return f"""{size.accounts} accounts x {size.devices} devices x {size.rounds} rounds with
        {len(run.impostors)} impostors in {took_s:.0f} s: {seen["sent"]} claims sent
        ({seen["sent"] / took_s:.0f}/s), {len(run.told)} answered yours, {run.losers} losers 409,
        {seen["cut"]} cut ({run.won_when_cut} of them had won), {len(run.kills)} kills ({killed}),
        {run.released} released and claimed again by others, {verdict.intervals} intervals checked,
        {verdict.audited} audit rows, {verdict.samples} samples ({verdict.acknowledged} acknowledged,
        {dropped} of old epochs dropped; every device at least {100 * share:.0f} % of its pace),
        no connection of a device lost;
        answered p50 {1000 * quantile(times_s, 0.5):.0f} ms p99 {1000 * quantile(times_s, 0.99):.0f} ms
        with {AT_ONCE * size.accounts} asking at once; {more}"""


def run_race(folder: Path, size: Size, seed: int) -> str:
    """A race of this size in a cloud of its own; the figures. CheckError."""
    with running_parts(folder / "cloud") as parts:
        return asyncio.run(race(Check(parts, folder), size, seed))


def main(size: Size = FULL) -> int:
    """Run the check."""
    seed = random.SystemRandom().randrange(2**32)
    progress(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="sc-race-") as name:
        return passed(NAME, f"{run_race(Path(name), size, seed)}; seed {seed}")


if __name__ == "__main__":
    sys.exit(main(QUICK if "--quick" in sys.argv[1:] else FULL))
