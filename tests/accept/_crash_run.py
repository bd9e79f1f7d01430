"""What the scenarios of the acceptance check ``claim-crash`` share: who dies where, and what then holds."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from protocol import topics
from protocol.codec import pack_batch, pack_sample
from tests.accept import CheckError, expect
from tests.accept._claim_run import Check, connected, expect_answer, threaded, until
from tests.support.device import DeviceError, LoginRefusedError, WireDevice
from tests.support.person import PASSWORD, Page, Person

LOST: Final = (aiohttp.ClientError, asyncio.TimeoutError, DeviceError, OSError)
PROOF: Final = {"proof": PASSWORD}


class Run:
    """What the scenarios share: the check, two people, and which process is to die where."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.ada, self.eve = check.people[:2]
        self.killed = 0

    @asynccontextmanager
    async def dying(self, process: str, point: str, passing: int = 1) -> AsyncIterator[None]:
        """The process dies the so-manieth time it passes this point, within the block; then it runs again."""
        self.check.parts.restart(process, fault=f"{point}:{passing}:kill")
        await self._reconnect()
        lost: BaseException | None = None
        try:
            yield
        except LOST as error:
            lost = error
        await self.dead(process, point, lost)
        await self.revived(process)

    async def dead(self, process: str, point: str, lost: BaseException | None = None) -> None:
        """The fault fired: the process was killed, and did not end in any other way."""
        part = self.check.parts.parts[process]
        await until(lambda: not part.alive, f"{process} dies at {point} (seen until then: {lost!r})")
        expect(part.status == -signal.SIGKILL, f"{point}: {process} ended with {part.status}, not by SIGKILL")
        self.killed += 1

    async def revived(self, process: str) -> None:
        """The process runs again, without a fault."""
        self.check.parts.start(process)
        await self._reconnect()

    async def _reconnect(self) -> None:
        """Have everybody's browser notice that the portal was restarted under its connection."""
        for person in (self.ada, self.eve):
            seen = await person.ask("GET", "/api/v1/devices")
            expect(seen.status == 200, f"{person.email} is logged out: {seen.status}")

    def owners(self, device: WireDevice) -> list[tuple[object, ...]]:
        """Its ownerships: company, epoch, from, until; the rules of all of them hold."""
        found = self.check.rows(
            "SELECT company_id, epoch, from_ms, until_ms FROM v_ownership WHERE device_id = %s"
            " ORDER BY epoch",
            device.device_id,
        )
        expect(sum(row[3] is None for row in found) <= 1, f"several live owners: {found}")
        overlaps = self.check.rows(
            "SELECT 1 FROM v_ownership a JOIN v_ownership b USING (device_id) WHERE a.epoch < b.epoch"
            " AND (a.until_ms IS NULL OR a.until_ms > b.from_ms) AND device_id = %s",
            device.device_id,
        )
        expect(not overlaps, f"ownerships overlap: {found}")
        keys = self.check.rows(
            "SELECT k.kid, o.kid FROM device_key k FULL JOIN (SELECT * FROM ownership WHERE until_ms IS NULL)"
            " o ON o.device_id = k.device_id AND o.kid = k.kid WHERE (k.state = 'bound') IS DISTINCT FROM"
            " (o.kid IS NOT NULL) AND coalesce(k.device_id, o.device_id) = %s",
            device.device_id,
        )
        expect(not keys, f"bound key and owner differ: {keys}")
        return found

    def owner(self, device: WireDevice) -> object:
        """The company that owns it now, or None."""
        return next((row[0] for row in self.owners(device) if row[3] is None), None)

    def company(self, person: Person) -> object:
        """The company of a person."""
        return self.check.rows(
            "SELECT company_id FROM membership JOIN account USING (account_id) WHERE email_norm = %s",
            person.email,
        )[0][0]

    async def owned(self) -> WireDevice:
        """A device that Ada owns, no longer connected."""
        device = await threaded(self.check.device)
        async with connected(device):
            await threaded(device.announce)
            answer = await self.ada.claim(device.product_id, device.product_key)
            expect_answer(answer, 200, "won", "a claim without faults")
        await until(lambda: not self.is_connected(device), "the device is seen to be gone")
        return device

    def is_connected(self, device: WireDevice) -> bool:
        """Whether the cloud holds it for connected."""
        found = self.check.rows("SELECT connected FROM latest WHERE device_id = %s", device.device_id)
        return found == [(True,)]

    async def act(self, device: WireDevice, act: str, **fields: str) -> Page:
        """A form of the device's ownership page, sent by Ada."""
        return await self.ada.submit_form(f"/devices/{device.device_id}/owner/{act}", {**PROOF, **fields})

    async def connect(self, device: WireDevice) -> None:
        """Connect an owned device, until the cloud holds it for connected."""
        await threaded(device.connect)
        await until(lambda: self.is_connected(device), "the device is seen to be connected")

    async def told(self, device: WireDevice, point: str) -> None:
        """On a new connection it hears of its last ownership, whether that still lasts or not."""
        async with connected(device):
            hello = device.hello
        last = self.owners(device)[-1]
        expect(
            (hello.owned, hello.epoch) == (last[3] is None, last[1]), f"{point}: {hello} tells not of {last}"
        )

    async def refused(self, device: WireDevice, point: str) -> None:
        """Its key logs in no more."""
        try:
            await threaded(device.connect)
        except LoginRefusedError:
            return
        await threaded(device.close)
        raise CheckError(f"{point}: the old key still logs in")

    async def sample(self, device: WireDevice) -> None:
        """A sample of now, stored."""
        now_ms = time.time_ns() // 1_000_000
        packed = pack_batch([pack_sample({"ts": now_ms, "seq": 1, "input_voltage": 230.0})])
        topic = topics.telemetry(device.kid, device.hello.epoch, now_ms)
        expect(await threaded(device.publish, packed, topic) == 0, "a sample of the owner's is refused")

    def matters(self, device: WireDevice) -> list[tuple[object, ...]]:
        """How each thing stands that was ever open on it, the oldest first."""
        return self.check.rows(
            "SELECT kind, status FROM v_matter WHERE device_id = %s ORDER BY matter_id", device.device_id
        )
