"""More claims than a portal can check, beside devices that stream telemetry: what becomes of both.

First the rate at which claims are answered when enough people ask at once. Then calm and stormy spells in
turn, three times that rate offered in the stormy ones, whatever the answers: claims answered, claims refused
with when to come again, how many are in the portal at a time, and the telemetry's p99 from due to PUBACK.
"""

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from statistics import median
from typing import Final

import aiohttp

from cloud.services.derivation import MAX_TYPED
from tests.accept import expect, progress, wait_until
from tests.accept._announcer import Announcer
from tests.accept._claim_run import Check, stopped
from tests.accept.claim import quantile
from tests.faults.processes import Part, Parts
from tests.support.device import random_codes
from tests.support.person import Answer, Person

ASKING_AT_ONCE: Final = 40
SATURATE_S: Final = 8.0
TIMES: Final = 3
SPELLS: Final = 4
SPELL_S: Final = 6.0
SETTLE_S: Final = 1.0
PERIOD_S: Final = 1.0
LOOK_EVERY_S: Final = 0.25
MAX_RATIO: Final = 2.0
MAX_CALM_MS: Final = 50.0
"""A machine on which the calm p99 is longer has other things to do: no ratio means anything there."""
SERVED: Final = frozenset({200, 202, 409})
_IN_PORTAL: Final = re.compile(rb"^smartconnect_portal_claims (\d+)", re.MULTILINE)


# --- the devices that stream --------------------------------------------------------------------------------


class Streams:
    """Owned devices that stream in a process of their own."""

    def __init__(self, check: Check, processes: Parts, devices: list[Announcer]) -> None:
        self._check = check
        self._count = len(devices)
        self._out = check.folder / "stream.out"
        config_path = check.folder / "stream.json"
        for device in devices:
            device.close()
        found = check.rows(
            "SELECT device_id, epoch FROM v_ownership WHERE until_ms IS NULL AND device_id = ANY(%s)",
            [device.device_id for device in devices],
        )
        epochs = {row[0]: row[1] for row in found}
        installation = check.parts.installation
        config = {
            "host": installation.gateway_host,
            "port": installation.gateway_port,
            "ca_pem": installation.ca_pem,
            "audience": installation.audience,
            "period_s": PERIOD_S,
            "devices": [
                {"key": device.secret.hex(), "device_id": one, "epoch": epochs[one]}
                for device in devices
                for one in [device.device_id]
            ],
        }
        config_path.write_text(json.dumps(config))
        command = [sys.executable, "-m", "tests.accept._stream", str(config_path), str(self._out)]
        self._part: Part = processes.add("stream", command)

    def start(self) -> None:
        """Run; from the main thread."""
        self._part.start()

    def wait(self) -> None:
        """Until each device has had a PUBACK or two; blocks."""
        wait_until("the devices stream", lambda: len(self.samples()) > 2 * self._count, 60.0)

    def stop(self) -> int:
        """Stop; how many samples were acknowledged, each of which is in the table. CheckError."""
        expect(self._part.alive, f"the streaming devices ended: {self._part.tail()}")
        status = self._part.stop()
        expect(status == 0, f"the streaming devices ended with {status}: {self._part.tail()}")
        acknowledged = len(self.samples())
        stored = self._check.rows("SELECT count(*) FROM v_telemetry")[0][0]
        in_flight = self._count
        expect(
            acknowledged <= int(str(stored)) <= acknowledged + in_flight,
            f"{acknowledged} samples acknowledged, {stored} in the table",
        )
        return acknowledged

    def samples(self) -> list[tuple[float, float]]:
        """(due by the monotonic clock in s, latency in ms) of each."""
        text = self._out.read_text("ascii") if self._out.exists() else ""
        words = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(float(due_s), float(latency_ms)) for due_s, latency_ms in words]


@dataclass
class Spells:
    """When it was calm and when it was not, by the monotonic clock."""

    calm: list[tuple[float, float]] = field(default_factory=list)
    stormy: list[tuple[float, float]] = field(default_factory=list)

    def compare(self, streams: Streams) -> tuple[float, str]:
        """The ratio of the p99 of all samples, and both in words with the medians of spells. CheckError."""
        samples = streams.samples()
        found = [
            [[late_ms for due_s, late_ms in samples if begin_s <= due_s < end_s] for begin_s, end_s in spells]
            for spells in (self.calm, self.stormy)
        ]
        calm_ms, stormy_ms = (quantile(list(chain(*spells)), 0.99) for spells in found)
        medians = [median(quantile(spell, 0.99) for spell in spells) for spells in found]
        count = sum(map(len, chain(*found)))
        expect(calm_ms <= MAX_CALM_MS, f"the machine is too busy to judge: calm p99 {calm_ms:.1f} ms")
        return stormy_ms / calm_ms, (
            f"telemetry p99 {calm_ms:.1f} ms calm, {stormy_ms:.1f} ms in the storm: ratio"
            f" {stormy_ms / calm_ms:.2f} ({count} samples; median of the spells"
            f" {medians[0]:.1f} and {medians[1]:.1f} ms)"
        )


# --- the claims ---------------------------------------------------------------------------------------------


class Storm:
    """People who claim: half of them with a wrong key, half of them one of ``devices``, whoever has it."""

    def __init__(
        self, people: list[Person], devices: list[Announcer], codes_of: Callable[..., dict[str, str]]
    ) -> None:
        self._people = people
        self._devices = devices
        self._codes_of = codes_of
        self._wrong = False

    async def claim(self) -> Answer:
        """One claim of somebody."""
        device = random.choice(self._devices)
        self._wrong = not self._wrong
        key = random_codes()[1] if self._wrong else device.product_key
        person = random.choice(self._people)
        return await person.ask("POST", "/api/v1/claims", self._codes_of(device.product_id, key))

    async def saturate(self) -> float:
        """Claims answered a second while always so many ask."""
        ends_s = time.monotonic() + SATURATE_S
        told: Counter[int] = Counter()

        async def ask() -> None:
            while time.monotonic() < ends_s:
                told[(await self.claim()).status] += 1

        began = time.monotonic()
        await asyncio.gather(*(ask() for _ in range(ASKING_AT_ONCE)))
        expect(set(told) <= SERVED, f"{ASKING_AT_ONCE} at once are answered {dict(told)}")
        return told.total() / (time.monotonic() - began)

    async def offer(self, rate_hz: float, seconds: float) -> list[tuple[Answer, float]]:
        """So many claims a second, whatever becomes of them: each answer, and the seconds it took."""
        answers: list[tuple[Answer, float]] = []

        async def one() -> None:
            began = time.perf_counter()
            answer = await self.claim()
            answers.append((answer, time.perf_counter() - began))

        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate_hz * seconds)):
                await asyncio.sleep(began + number / rate_hz - time.monotonic())
                group.create_task(one())
        return answers


async def most_in_portal(url: str, seen: list[int]) -> None:
    """Look how many claims the portal has taken in, until cancelled."""
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{url}/metrics") as response:
                found = _IN_PORTAL.search(await response.read())
            expect(found is not None, "the portal has no figure of its claims")
            seen.append(int(found[1]) if found else -1)
            await asyncio.sleep(LOOK_EVERY_S)


async def storm_beside_telemetry(check: Check, streams: Streams, storm: Storm) -> tuple[float, str]:
    """The ratio of telemetry's p99, in the storm and before it; all figures in words."""
    rate_hz = await storm.saturate()
    progress(f"{rate_hz:.0f} claims a second are answered when {ASKING_AT_ONCE} ask at once")
    spells, seen = Spells(), list[int]()
    told: Counter[tuple[int, str]] = Counter()
    took_s: list[float] = []
    offered = 0
    for _ in range(SPELLS):
        await asyncio.sleep(SETTLE_S)
        began = time.monotonic()
        await asyncio.sleep(SPELL_S)
        spells.calm.append((began, time.monotonic()))
        began = time.monotonic() + SETTLE_S
        looking = asyncio.ensure_future(most_in_portal(check.parts.portal_url, seen))
        try:
            answers = await storm.offer(TIMES * rate_hz, SETTLE_S + SPELL_S)
        finally:
            await stopped(looking)
        spells.stormy.append((began, began + SPELL_S))
        offered += len(answers)
        for answer, seconds in answers:
            told[answer.status, str(answer.body.get("code") or answer.body.get("state"))] += 1
            if answer.status in SERVED:
                took_s.append(seconds)
            else:
                expect((answer.status, answer.retry_after_s >= 1) == (429, True), f"answered {answer}")
        progress(f"{dict(told)}, at most {max(seen)} in the portal; {spells.compare(streams)[1]}")
    expect(told[429, "busy"] > 0, "nothing was refused at three times the rate of saturation")
    expect(max(seen) <= MAX_TYPED, f"{max(seen)} claims were in the portal")
    ratio, figures = spells.compare(streams)
    return ratio, (
        f"{rate_hz:.0f} claims/s at saturation; {TIMES} x that offered, {offered} claims: {dict(told)}, at"
        f" most {max(seen)} of {MAX_TYPED} in the portal, p99 {quantile(took_s, 0.99):.1f} s; {figures}"
    )
