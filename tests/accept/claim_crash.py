"""Acceptance ``claim-crash``: killed at each fault point around claim, release, transfer and re-key.

One point after the other, on real processes: before and after each commit, and before the hello that tells
the device. After the restart the database holds a state that the rules allow, and the next try succeeds.
"""

import asyncio
import contextlib
import re
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from protocol.identity import kid_of
from protocol.signing import public_bytes
from tests.accept import expect, passed, progress
from tests.accept._claim_run import WAIT_S, Check, connected, expect_answer, expect_won, threaded, until
from tests.support.device import DeviceError, WireDevice
from tests.support.parts import running_parts
from tests.support.person import PASSWORD, Page, Person, make_accounts

LOST: Final = (aiohttp.ClientError, asyncio.TimeoutError, DeviceError, OSError)
PROOF: Final = {"proof": PASSWORD}


class Run:
    """What the scenarios share: the check, two people, and which process is to die where."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.ada, self.eve = check.people[:2]
        self.killed = 0

    @asynccontextmanager
    async def dying(self, process: str, point: str) -> AsyncIterator[None]:
        """The process dies at this point within the block; afterwards it runs again."""
        parts = self.check.parts
        parts.restart(process, fault=f"{point}:1:kill")
        await self._reconnect()
        with contextlib.suppress(*LOST):
            yield
        await until(lambda: not parts.parts[process].alive, f"{process} dies at {point}")
        parts.start(process)
        await self._reconnect()
        self.killed += 1

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
        await until(lambda: not self._connected(device), "the device is seen to be gone")
        return device

    def _connected(self, device: WireDevice) -> bool:
        found = self.check.rows("SELECT connected FROM latest WHERE device_id = %s", device.device_id)
        return found == [(True,)]

    async def act(self, device: WireDevice, act: str, **fields: str) -> Page:
        """A form of the device's ownership page, sent by Ada."""
        return await self.ada.submit_form(f"/devices/{device.device_id}/owner/{act}", {**PROOF, **fields})


async def claim(run: Run, point: str) -> None:
    """The portal dies in a claim of a device that has announced itself."""
    device = await threaded(run.check.device)
    async with connected(device):
        await threaded(device.announce)
        async with run.dying("portal", point):
            await run.ada.claim(device.product_id, device.product_key)
        owner = run.owner(device)
        allowed = None if point.endswith("before") else run.company(run.ada)
        expect(owner == allowed, f"{point}: owned by {owner}")
        await threaded(device.announce)
        again = await run.ada.claim(device.product_id, device.product_key)
        expect_answer(again, 200, "won", f"{point}: the next try")
        await threaded(device.wait_owned)
    expect(len(run.owners(device)) == 1, f"{point}: more than one ownership")


async def announce(run: Run, point: str) -> None:
    """The gateway dies in the announcement that completes a claim, or before the hello that tells of it."""
    device = await threaded(run.check.device)
    answer = await run.ada.claim(device.product_id, device.product_key)
    expect_answer(answer, 202, "waiting_for_device", f"{point}: claim first")
    async with run.dying("gateway", point):
        await threaded(device.connect)
        await threaded(device.announce)
    with contextlib.suppress(*LOST):
        await threaded(device.close)
    if point != "gateway.hello":
        allowed = None if point.endswith("before") else run.company(run.ada)
        expect(run.owner(device) == allowed, f"{point}: owned by {run.owner(device)}")
    async with connected(device):
        await threaded(device.announce)
        await expect_won(run.ada, answer, f"{point}: the next try")
        await threaded(device.wait_owned)
    expect(len(run.owners(device)) == 1, f"{point}: more than one ownership")


async def release(run: Run, point: str) -> None:
    """The portal dies in a release; afterwards somebody else claims the device."""
    device = await run.owned()
    async with run.dying("portal", point):
        await run.act(device, "release", sure="on")
    allowed = run.company(run.ada) if point.endswith("before") else None
    expect(run.owner(device) == allowed, f"{point}: owned by {run.owner(device)}")
    page = await run.act(device, "release", sure="on")
    expect(page.status == 200 and page.url.endswith("/devices"), f"{point}: the next try gives {page.status}")
    expect(run.owner(device) is None, f"{point}: still owned after the next try")
    async with connected(device):
        await threaded(device.announce)
        taken = await run.eve.claim(device.product_id, device.product_key)
        expect_answer(taken, 200, "won", f"{point}: another company after the release")
    expect(run.owner(device) == run.company(run.eve), f"{point}: not the new owner's")


async def mailed_token(run: Run, device: WireDevice) -> str:
    """The code of the newest offer of this device, as its mail holds it."""
    pattern = re.compile(r"/transfers: (\S+)")

    def find() -> str | None:
        rows = run.check.rows(
            "SELECT text FROM mail WHERE kind = 'ownership_offered' AND position(%s in text) > 0"
            " ORDER BY mail_id DESC",
            device.product_id.value,
        )
        found = pattern.search(str(rows[0][0])) if rows else None
        return found[1] if found else None

    await until(lambda: find() is not None, "the offer is mailed")
    token = find()
    if token is None:
        raise AssertionError("it was there")
    return token


async def offer(run: Run, point: str) -> None:
    """The portal dies in an offer; the next one is mailed and accepted."""
    device = await run.owned()
    async with run.dying("portal", point):
        await run.act(device, "offer", to_email=run.eve.email)
    rows = run.check.rows("SELECT status FROM v_matter WHERE device_id = %s", device.device_id)
    expect(rows == ([] if point.endswith("before") else [("open",)]), f"{point}: offers are {rows}")
    expect(run.owner(device) == run.company(run.ada), f"{point}: an offer changed the owner")
    if rows:
        token = await mailed_token(run, device)
    else:
        page = await run.act(device, "offer", to_email=run.eve.email)
        expect(page.status == 200, f"{point}: the next try gives {page.status}")
        token = await mailed_token(run, device)
    page = await run.eve.submit_form("/transfers/accept", {"token": token, **PROOF})
    expect(page.status == 200, f"{point}: accepting gives {page.status}")
    expect(run.owner(device) == run.company(run.eve), f"{point}: not the new owner's")


async def accept(run: Run, point: str) -> None:
    """The portal dies while the offer is accepted."""
    device = await run.owned()
    await run.act(device, "offer", to_email=run.eve.email)
    token = await mailed_token(run, device)
    async with run.dying("portal", point):
        await run.eve.submit_form("/transfers/accept", {"token": token, **PROOF})
    allowed = run.company(run.ada if point.endswith("before") else run.eve)
    expect(run.owner(device) == allowed, f"{point}: owned by {run.owner(device)}")
    page = await run.eve.submit_form("/transfers/accept", {"token": token, **PROOF})
    expect(page.status == 200, f"{point}: the next try gives {page.status}")
    expect(page.url.endswith(f"/devices/{device.device_id}"), f"{point}: the next try leads to {page.url}")
    expect(run.owner(device) == run.company(run.eve), f"{point}: not the new owner's")
    expect(len(run.owners(device)) == 2, f"{point}: not exactly one transfer")


async def rekey(run: Run, point: str) -> None:
    """The portal dies while a new key is approved."""
    device = await run.owned()
    board = WireDevice(
        run.check.parts.installation, run.check.parts.key_set, (device.product_id, device.product_key)
    )
    kid = kid_of(public_bytes(board.key))
    async with connected(board):
        await threaded(board.announce)
        async with run.dying("portal", point):
            await run.act(device, "approve-key", kid=kid)
        bound = run.check.rows(
            "SELECT kid FROM device_key WHERE device_id = %s AND state = 'bound'", device.device_id
        )
        allowed = device.kid if point.endswith("before") else kid
        expect(bound == [(allowed,)], f"{point}: bound is {bound}")
        page = await run.act(device, "approve-key", kid=kid)
        expect(page.status == 200, f"{point}: the next try gives {page.status}")
        hello = await threaded(board.wait_owned)
    epochs = [row[1] for row in run.owners(device)]
    expect(epochs == [hello.epoch], f"{point}: epochs {epochs}, hello {hello.epoch}")


Scenario = Callable[[Run, str], Awaitable[None]]
SCENARIOS: Final[tuple[tuple[Scenario, str], ...]] = (
    (claim, "claim.submit"),
    (announce, "gateway.announce"),
    (release, "owning.release"),
    (offer, "owning.transfer"),
    (accept, "owning.transfer"),
    (rekey, "owning.rekey"),
)


async def run_all(check: Check) -> str:
    """Each scenario at each of its points; the figures for the last line."""
    emails = await make_accounts(check.parts.dsn, 2, time.time_ns() // 1_000_000)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        for email in emails:
            check.people.append(await stack.enter_async_context(Person(check.parts.portal_url, email)))
        run = Run(check)
        for scenario, name in SCENARIOS:
            points = [f"{name}.before", f"{name}.after"]
            if scenario is announce:
                points.append("gateway.hello")
            for point in points:
                async with asyncio.timeout(6 * WAIT_S):
                    await scenario(run, point)
                progress(f"{scenario.__name__} killed at {point}: allowed, and the next try succeeds")
    live = check.rows("SELECT count(*) FROM v_ownership WHERE until_ms IS NULL")[0][0]
    return f"""{run.killed} kills at named points of claim, announcement, release, offer, acceptance and
        re-key in {time.monotonic() - began:.0f} s: every state allowed, every next try succeeded,
        {live} devices owned"""


def main() -> int:
    """Run the check."""
    with tempfile.TemporaryDirectory(prefix="sc-claim-crash-") as name:
        folder = Path(name)
        with running_parts(folder / "cloud") as parts:
            return passed("claim-crash", asyncio.run(run_all(Check(parts, folder))))
