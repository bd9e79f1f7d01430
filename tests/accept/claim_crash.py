"""Acceptance ``claim-crash``: killed at each fault point around claim, release, transfer and re-key.

One point after the other, on real processes: before and after each commit, and before the hello that tells
the device. After the restart the database holds a state that the rules allow, the next try succeeds, and the
device hears on its next connection what holds.
"""

import asyncio
import re
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from tests.accept import expect, passed, progress
from tests.accept._claim_run import WAIT_S, Check, connected, expect_answer, expect_won, threaded, until
from tests.accept._crash_run import PROOF, Run
from tests.support.device import WireDevice
from tests.support.parts import running_parts
from tests.support.person import Person, make_accounts

HELLO: Final = "gateway.hello"
CHANGE: Final = 2
"""The hello that tells a device of a change: the first one greets it."""
OPEN_RELEASE: Final = [("release", "open")]
DONE_RELEASE: Final = [("release", "done")]


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
    await run.told(device, point)
    expect(len(run.owners(device)) == 1, f"{point}: more than one ownership")


async def claim_told(run: Run, point: str) -> None:
    """The gateway dies before it tells the device of a claim the portal has committed."""
    device = await threaded(run.check.device)
    async with run.dying("gateway", point, CHANGE):
        await threaded(device.connect)
        await threaded(device.announce)
        await run.ada.claim(device.product_id, device.product_key)
    expect(not device.hello.owned, f"{point}: the device was told before the gateway died")
    expect(run.owner(device) == run.company(run.ada), f"{point}: owned by {run.owner(device)}")
    again = await run.ada.claim(device.product_id, device.product_key)
    expect_answer(again, 200, "won", f"{point}: the next try")
    await run.told(device, point)
    expect(len(run.owners(device)) == 1, f"{point}: more than one ownership")


async def announce(run: Run, point: str) -> None:
    """The gateway dies in the announcement that completes a claim, or before the hello that tells of it."""
    device = await threaded(run.check.device)
    answer = await run.ada.claim(device.product_id, device.product_key)
    expect_answer(answer, 202, "waiting_for_device", f"{point}: claim first")
    async with run.dying("gateway", point, CHANGE if point == HELLO else 1):
        await threaded(device.connect)
        await threaded(device.announce)
    expect(not device.hello.owned, f"{point}: the device was told before the gateway died")
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
    await run.told(device, point)
    await taken_over(run, device, point)


async def taken_over(run: Run, device: WireDevice, point: str) -> None:
    """Somebody else claims the device that Ada gave up; it hears of that."""
    async with connected(device):
        await threaded(device.announce)
        taken = await run.eve.claim(device.product_id, device.product_key)
        expect_answer(taken, 200, "won", f"{point}: another company after the release")
        hello = await threaded(device.wait_owned)
    expect(run.owner(device) == run.company(run.eve), f"{point}: not the new owner's")
    epochs = [row[1] for row in run.owners(device)]
    expect(len(epochs) == 2 and epochs[1] == hello.epoch, f"{point}: epochs {epochs}, hello {hello.epoch}")


async def release_draining(run: Run, point: str) -> None:
    """The portal dies in the request to release a connected device, which first has to drain."""
    device = await run.owned()
    async with connected(device):
        await until(lambda: run.is_connected(device), "the device is seen to be connected")
        async with run.dying("portal", point):
            await run.act(device, "release", sure="on")
        expect(run.owner(device) == run.company(run.ada), f"{point}: owned by {run.owner(device)}")
        allowed = [] if point.endswith("before") else OPEN_RELEASE
        expect(run.matters(device) == allowed, f"{point}: open is {run.matters(device)}")
        page = await run.act(device, "release", sure="on")
        expect(page.status == 200, f"{point}: the next try gives {page.status}")
        expect(run.matters(device) == OPEN_RELEASE, f"{point}: open is {run.matters(device)}")
        await drained(run, device, point)
    await run.told(device, point)
    await taken_over(run, device, point)


async def release_swept(run: Run, point: str) -> None:
    """The portal dies in the commit that ends the release of a device that has drained."""
    device = await run.owned()
    async with connected(device):
        await until(lambda: run.is_connected(device), "the device is seen to be connected")
        await run.act(device, "release", sure="on")
        expect(run.matters(device) == OPEN_RELEASE, f"{point}: open is {run.matters(device)}")
        run.check.parts.stop(
            "portal"
        )  # each of its sweeps passes the point, this one's first ends the release
        await run.sample(device)
        expect(run.owner(device) == run.company(run.ada), f"{point}: released by nobody")
        run.check.parts.parts["portal"].start(fault=f"{point}:1:kill")
        await run.dead("portal", point)
        before = point.endswith("before")
        expect(
            run.owner(device) == (run.company(run.ada) if before else None), f"{point}: {run.owner(device)}"
        )
        allowed = OPEN_RELEASE if before else DONE_RELEASE
        expect(run.matters(device) == allowed, f"{point}: open is {run.matters(device)}")
        await run.revived("portal")
        page = await run.act(device, "release", sure="on")
        expect(page.status == 200 and page.url.endswith("/devices"), f"{point}: the next try gives {page}")
        await until(lambda: not device.hello.owned, f"{point}: the device hears that it is released")
    expect(run.matters(device) == DONE_RELEASE, f"{point}: open is {run.matters(device)}")
    await run.told(device, point)
    await taken_over(run, device, point)


async def release_told(run: Run, point: str) -> None:
    """The gateway dies before it tells a device that has drained that it is released."""
    device = await run.owned()
    async with run.dying("gateway", point, CHANGE):
        await run.connect(device)
        await run.act(device, "release", sure="on")
        expect(run.matters(device) == OPEN_RELEASE, f"{point}: open is {run.matters(device)}")
        await run.sample(device)
    expect(device.hello.owned, f"{point}: the device was told before the gateway died")
    expect(run.owner(device) is None, f"{point}: owned by {run.owner(device)}")
    expect(run.matters(device) == DONE_RELEASE, f"{point}: open is {run.matters(device)}")
    page = await run.act(device, "release", sure="on")
    expect(page.status == 200 and page.url.endswith("/devices"), f"{point}: the next try gives {page.status}")
    await run.told(device, point)
    await taken_over(run, device, point)


async def drained(run: Run, device: WireDevice, point: str) -> None:
    """The device hands over what it holds; that ends its release, of which it hears."""
    await run.sample(device)
    await until(lambda: not device.hello.owned, f"{point}: the device hears that it is released")
    expect(run.owner(device) is None, f"{point}: still owned after it has drained")
    expect(run.matters(device) == DONE_RELEASE, f"{point}: open is {run.matters(device)}")


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
    await run.told(device, point)


async def accept(run: Run, point: str) -> None:
    """The portal dies while the offer of a connected device is accepted."""
    device = await run.owned()
    await run.act(device, "offer", to_email=run.eve.email)
    token = await mailed_token(run, device)
    async with connected(device):
        await until(lambda: run.is_connected(device), "the device is seen to be connected")
        first = device.hello.epoch
        async with run.dying("portal", point):
            await run.eve.submit_form("/transfers/accept", {"token": token, **PROOF})
        allowed = run.company(run.ada if point.endswith("before") else run.eve)
        expect(run.owner(device) == allowed, f"{point}: owned by {run.owner(device)}")
        await accepted_again(run, device, token, point)
        await until(lambda: device.hello.epoch != first, f"{point}: the device hears of its new owner")
    await run.told(device, point)


async def accept_told(run: Run, point: str) -> None:
    """The gateway dies before it tells the device of its new owner."""
    device = await run.owned()
    await run.act(device, "offer", to_email=run.eve.email)
    token = await mailed_token(run, device)
    async with run.dying("gateway", point, CHANGE):
        await run.connect(device)
        await run.eve.submit_form("/transfers/accept", {"token": token, **PROOF})
    expect(device.hello.epoch == run.owners(device)[0][1], f"{point}: told before the gateway died")
    expect(run.owner(device) == run.company(run.eve), f"{point}: owned by {run.owner(device)}")
    await accepted_again(run, device, token, point)
    await run.told(device, point)


async def accepted_again(run: Run, device: WireDevice, token: str, point: str) -> None:
    """Eve's next try leads to the device, which is hers by one transfer."""
    page = await run.eve.submit_form("/transfers/accept", {"token": token, **PROOF})
    expect(page.status == 200, f"{point}: the next try gives {page.status}")
    expect(page.url.endswith(f"/devices/{device.device_id}"), f"{point}: the next try leads to {page.url}")
    expect(run.owner(device) == run.company(run.eve), f"{point}: not the new owner's")
    expect(len(run.owners(device)) == 2, f"{point}: not exactly one transfer")


def board_of(run: Run, device: WireDevice) -> WireDevice:
    """Another key behind the same label."""
    codes = (device.product_id, device.product_key)
    return WireDevice(run.check.parts.installation, run.check.parts.key_set, codes)


def bound(run: Run, device: WireDevice) -> list[tuple[object, ...]]:
    """The key that is the device's."""
    return run.check.rows(
        "SELECT kid FROM device_key WHERE device_id = %s AND state = 'bound'", device.device_id
    )


async def rekey(run: Run, point: str) -> None:
    """The portal dies while a new key is approved, both keys connected."""
    device = await run.owned()
    board = board_of(run, device)
    async with connected(device), connected(board):
        await threaded(board.announce)
        async with run.dying("portal", point):
            await run.act(device, "approve-key", kid=board.kid)
        allowed = device.kid if point.endswith("before") else board.kid
        expect(bound(run, device) == [(allowed,)], f"{point}: bound is {bound(run, device)}")
        page = await run.act(device, "approve-key", kid=board.kid)
        expect(page.status == 200, f"{point}: the next try gives {page.status}")
        await threaded(board.wait_owned)
        await threaded(device.wait_closed)
    await run.told(board, point)
    await run.refused(device, point)
    expect(len(run.owners(device)) == 1, f"{point}: a new key is no new ownership")


async def rekey_told(run: Run, point: str) -> None:
    """The gateway dies before it tells the new key that it is the device's."""
    device = await run.owned()
    board = board_of(run, device)
    async with run.dying("gateway", point, CHANGE + 1):  # two greetings
        await run.connect(device)
        await threaded(board.connect)
        await threaded(board.announce)
        await run.act(device, "approve-key", kid=board.kid)
    expect(not board.hello.owned, f"{point}: the new key was told before the gateway died")
    expect(bound(run, device) == [(board.kid,)], f"{point}: bound is {bound(run, device)}")
    page = await run.act(device, "approve-key", kid=board.kid)
    expect(page.status == 200, f"{point}: the next try gives {page.status}")
    await run.told(board, point)
    await run.refused(device, point)
    expect(len(run.owners(device)) == 1, f"{point}: a new key is no new ownership")


Scenario = Callable[[Run, str], Awaitable[None]]
SCENARIOS: Final[tuple[tuple[Scenario, str], ...]] = (
    (claim, "claim.submit"),
    (claim_told, HELLO),
    (announce, "gateway.announce"),
    (announce, HELLO),
    (release, "owning.release"),
    (release_draining, "owning.release"),
    (release_swept, "owning.release"),
    (release_told, HELLO),
    (offer, "owning.transfer"),
    (accept, "owning.transfer"),
    (accept_told, HELLO),
    (rekey, "owning.rekey"),
    (rekey_told, HELLO),
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
            for point in [name] if name == HELLO else [f"{name}.before", f"{name}.after"]:
                async with asyncio.timeout(6 * WAIT_S):
                    await scenario(run, point)
                progress(f"{scenario.__name__} killed at {point}: allowed, and the next try succeeds")
    live = check.rows("SELECT count(*) FROM v_ownership WHERE until_ms IS NULL")[0][0]
    return f"""{run.killed} kills at named points of claim, announcement, release (at once, asked for,
        drained), offer, acceptance and re-key and of the hello that tells of each, every one by SIGKILL, in
        {time.monotonic() - began:.0f} s: every state allowed, every next try succeeded, every device told on
        its next connection, {live} devices owned"""


def main() -> int:
    """Run the check."""
    with tempfile.TemporaryDirectory(prefix="sc-claim-crash-") as name:
        folder = Path(name)
        with running_parts(folder / "cloud") as parts:
            return passed("claim-crash", asyncio.run(run_all(Check(parts, folder))))
