"""A real agent that cannot be reached while its UPS changes hands, with a full spool of both tenures.

Simulated UPS, agent, gateway, portal and PostgreSQL, each a process. The gateway is stopped: the agent goes
on sampling and spooling under the epoch it knows. The owner gives the device away meanwhile, so the spool
holds samples of the old time and of the new one, which look alike. When the line is back, the new owner must
have every sample since the ownership began, and none from before.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent import trace
from agent.clock import SystemClock
from agent.disk import OsDisk
from agent.spool_file import SpoolFile
from protocol.codec import pack_sample
from tests.accept import expect, progress
from tests.accept._claim_run import expect_answer, expect_won, threaded
from tests.accept._privacy import Owner, now_ms
from tests.agent.house import House, built_house
from tests.faults.trace import read_trace
from tests.support.person import PASSWORD, make_accounts
from tests.support.portal import HEALTHY

WAIT_S: Final = 60.0
PROOF: Final = {"proof": PASSWORD}
EACH: Final = 15
"""Samples that the agent takes, offline, in each tenure, at least."""
SPOOL_MB: Final = 1
FILLING: Final = 9000
"""Samples that are more than the spool of one MiB holds."""
ON_BATTERY, ON_MAINS = "on_battery", "mains_back"


@dataclass
class Scene:
    """A house, its people, and the samples the agent has made durable, by their time."""

    house: House
    people: list[Owner] = field(default_factory=list)

    @property
    def device_id(self) -> int:
        """The UPS."""
        return self.house.label.device_id

    async def until(self, what: str, holds: Callable[[], object]) -> float:
        """Wait for it; the seconds that took. CheckError."""
        began = time.monotonic()
        while not await threaded(holds):
            expect(time.monotonic() - began < WAIT_S, f"not within {WAIT_S:g} s: {what}")
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    def taken(self) -> list[int]:
        """Unix ms of every sample the agent ever spooled, whatever became of it."""
        lines = (self.house.traces / "ups.trace").read_text("ascii").splitlines()
        return sorted(int(line.split()[3]) for line in lines if line.startswith("spooled "))

    def stored(self, epoch: int) -> list[int]:
        """Unix ms of every sample in the table under this epoch."""
        rows = self.house.rows(
            "SELECT epoch, (extract(epoch FROM ts) * 1000)::bigint FROM v_telemetry"
            " WHERE device_id = %s ORDER BY ts"
        )
        return [ts_ms for found, ts_ms in rows if found == epoch]

    def owners(self) -> list[tuple[int, int, int | None]]:
        """(epoch, from, until) of its ownerships."""
        rows = self.house.rows(
            "SELECT epoch, from_ms, until_ms FROM v_ownership WHERE device_id = %s ORDER BY epoch"
        )
        return [(int(epoch), int(from_ms), until_ms) for epoch, from_ms, until_ms in rows]

    async def more_samples(self) -> None:
        """Wait until the agent has taken some more."""
        since_ms = now_ms()
        await self.until(
            "the agent goes on sampling", lambda: sum(ts > since_ms for ts in self.taken()) >= EACH
        )

    async def give_up(self, owner: Owner) -> None:
        """Release the device once the cloud knows that it is away: before, it would wait for it."""
        await self.until("the cloud knows that it is away", lambda: not self.house.latest("connected"))
        page = await owner.person.submit_form(
            f"/devices/{self.device_id}/owner/release", {**PROOF, "sure": "on"}
        )
        expect(page.status == 200, f"the release gives {page.status}")
        await self.until("nobody owns it", lambda: self.owners()[-1][2] is not None)


# --- the ways to change hands, nobody hearing the device ----------------------------------------------------


async def claimed_at_once(scene: Scene, old: Owner, new: Owner) -> None:
    """Released, and claimed while the last announcement is young enough to bind."""
    await scene.give_up(old)
    label = scene.house.label
    scene.house.rows(  # it announced itself when it connected; how long ago depends on this machine
        "UPDATE device_key SET announced_ms = (extract(epoch FROM now()) * 1000)::bigint - 60000"
        " WHERE device_id = %s RETURNING 1"
    )
    answer = await new.person.claim(label.product_id, label.product_key)
    expect_answer(answer, 200, "won", "a claim within 90 s of the last announcement")


async def claimed_and_waiting(scene: Scene, old: Owner, new: Owner) -> None:
    """Released, and claimed when its last announcement is old: it is the new owner's when it is back."""
    await scene.give_up(old)
    scene.house.rows(
        "UPDATE device_key SET announced_ms = announced_ms - 600000 WHERE device_id = %s RETURNING 1"
    )
    label = scene.house.label
    answer = await new.person.claim(label.product_id, label.product_key)
    expect_answer(answer, 202, "waiting_for_device", "a claim of a device nobody hears")
    await scene.more_samples()
    scene.house.cloud.start("gateway")  # here as elsewhere from the main thread, or it would end with another
    await expect_won(new.person, answer, "the device is back")


async def transferred(scene: Scene, old: Owner, new: Owner) -> None:
    """Offered and accepted."""
    form = {**PROOF, "to_email": new.email}
    page = await old.person.submit_form(f"/devices/{scene.device_id}/owner/offer", form)
    expect(page.status == 200, f"the offer gives {page.status}")
    find = "SELECT text FROM mail WHERE kind = 'ownership_offered' AND %s > 0 ORDER BY mail_id DESC"
    await scene.until("the offer is mailed", lambda: scene.house.rows(find))
    token = str(scene.house.rows(find)[0][0]).split("/transfers: ")[1].split()[0]
    page = await new.person.submit_form("/transfers/accept", {"token": token, **PROOF})
    expect(page.status == 200, f"accepting gives {page.status}")


Way = Callable[[Scene, Owner, Owner], Awaitable[None]]
WAYS: Final[tuple[Way, ...]] = (transferred, claimed_at_once, claimed_and_waiting)


def fill(house: House) -> int:
    """Bring the agent's spool, while it is stopped, to its bound and over it; samples it had to drop."""
    (folder,) = (path.parent for path in house.folder.glob("state/*/ledger"))
    line = trace.opened({trace.VARIABLE: str(house.traces)}, "ups")
    clock = SystemClock()
    spool = SpoolFile(OsDisk(folder), clock, max_bytes=SPOOL_MB << 20, trace=line)
    dropped = 0
    for _ in range(FILLING // 300):
        # All at the same millisecond: the samples that follow are later than every one of them.
        values = {**HEALTHY, "input_voltage": float(random.randint(200, 210)), "ts": clock.mono_ms()}
        dropped += spool.append([pack_sample(values)] * 300)
    return dropped


async def play(scene: Scene, way: Way, old: Owner, new: Owner, *, full: bool) -> str:
    """One change of hands behind a cut line; the figures."""
    house, name = scene.house, way.__name__.replace("_", " ")
    epoch = scene.owners()[-1][0]
    await scene.until("the backlog is stored", house.is_drained)
    await threaded(house.cloud.stop, "gateway")
    house.order("mains", "off")
    dropped = 0
    if full:
        await threaded(house.agent.stop)
        dropped = fill(house)
        expect(dropped, "the spool was not full")
        house.agent.start()
    await scene.more_samples()
    left = len(read_trace(house.traces / "ups.trace").open())
    await way(scene, old, new)
    new_epoch, from_ms, _ = scene.owners()[-1]
    expect(new_epoch > epoch, f"{name}: nothing changed hands")
    if way is claimed_and_waiting:
        await scene.until("it knows its owner", lambda: scene.stored(new_epoch))
    house.order("mains", "on")
    await scene.more_samples()
    if way is not claimed_and_waiting:
        house.cloud.start("gateway")
    took_s = await scene.until("the device is back, and nothing waits", house.is_drained)
    await scene.until("it reports on", lambda: len(scene.stored(new_epoch)) >= EACH)
    return await compare(scene, name, (epoch, new_epoch), from_ms, (old, new)) + (
        f"; {left} samples waited, {dropped} had not fitted, drained in {took_s:.1f} s" if full else ""
    )


async def compare(
    scene: Scene, name: str, epochs: tuple[int, int], from_ms: int, people: tuple[Owner, Owner]
) -> str:
    """What the table and both accounts hold of the two tenures, against what the agent took."""
    old, new = people
    await scene.until("everything is stored", scene.house.is_drained)
    until_ms = now_ms() - 1
    await scene.until("and a little later, too", lambda: (scene.stored(epochs[1]) or [0])[-1] > until_ms)
    taken = [ts_ms for ts_ms in scene.taken() if from_ms <= ts_ms <= until_ms]
    stored = scene.stored(epochs[1])
    early = [ts_ms for ts_ms in stored if ts_ms < from_ms]
    expect(not early, f"{name}: {len(early)} samples of the old time are the new owner's")
    lost = set(taken) - set(stored)
    expect(not lost, f"{name}: {len(lost)} of {len(taken)} samples of the new owner's time are lost")
    expect(len(set(stored)) == len(stored), f"{name}: samples are stored twice")
    hers = [int(row["ts_ms"]) for row in await new.exported(scene.device_id, "samples")]
    expect(hers and min(hers) >= from_ms, f"{name}: the new owner's export begins before the ownership")
    expect(set(taken) <= set(hers), f"{name}: the new owner's export lacks samples")
    theirs = [int(row["ts_ms"]) for row in await old.exported(scene.device_id, "samples")]
    kept = {ts_ms for ts_ms in scene.stored(epochs[0]) if ts_ms < from_ms}
    expect(kept and kept <= set(theirs) and max(theirs) < from_ms, f"{name}: the old owner's export is wrong")
    gone = await old.browser.get(f"/api/v1/devices/{scene.device_id}")
    expect(gone.status == 404, f"{name}: the old owner gets {gone.status}")
    view = await new.api(f"/api/v1/devices/{scene.device_id}")
    expect((view["ts_ms"] or from_ms) >= from_ms, f"{name}: the shown values are of the old time")
    events = await new.exported(scene.device_id, "events")
    expect(all(int(row["ts_ms"]) >= from_ms for row in events), f"{name}: an event of the old time")
    kinds = [row["kind"] for row in events]
    expect(ON_BATTERY not in kinds, f"{name}: the new owner sees the old owner's outage: {kinds}")
    expect(ON_MAINS in kinds, f"{name}: an event of the new owner's time is lost: {kinds}")
    progress(f"{name}: all {len(taken)} samples of the new time, none of the old")
    return f"{name}: {len(taken)} of {len(taken)} samples of the new time, 0 of the old"


async def run_all(house: House) -> str:
    """Each way in turn, with the same device: who had it last gives it away."""
    figures = []
    async with AsyncExitStack() as stack:
        emails = await make_accounts(house.cloud.dsn, len(WAYS) + 1, now_ms())
        people = [await stack.enter_async_context(Owner(house.cloud.portal_url, email)) for email in emails]
        scene = Scene(house, people)
        first = await people[0].person.claim(house.label.product_id, house.label.product_key)
        house.agent.start()
        await expect_won(people[0].person, first, "the first claim")
        await scene.until("samples are stored", lambda: len(scene.stored(scene.owners()[-1][0])) >= EACH)
        for number, way in enumerate(WAYS):
            figures.append(
                await play(scene, way, people[number], people[number + 1], full=way is transferred)
            )
    return ", ".join(figures)


def offline(folder: Path) -> str:
    """Run it; the figures for the last line."""
    folder.mkdir()
    with built_house(folder, poll_interval_s=0.2) as house:
        house.config.write_text(f"spool_max_mb = {SPOOL_MB}\n{house.config.read_text()}")
        house.start_cloud()
        house.cloud.start("portal")
        return asyncio.run(run_all(house))
