"""Live state for open pages: one poller a process, whatever the number of pages.

Every 0.8 s, and at once when a hint (NOTIFY) names a watched device, all watched devices are read with one
query each for state and events; every open page gets the newest snapshot of its device and only that one.
While pages are open, the watch leases of their devices are renewed, so that agents send a snapshot a second.
Each poll first looks whether the log-ins behind the pages still have the rights they began with: whoever was
removed, logged out or given another role gets nothing more (≤ 1 s; at once by the hint of an account).
Hints are only hints: without them a change shows at the next poll.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import structlog

from cloud import background
from cloud.core.device_state import DeviceView
from cloud.postgres import accounts, commands, companies, devices
from cloud.postgres.accounts import Session
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.pool import Pool
from cloud.postgres.safety import UNAVAILABLE
from cloud.web.metrics import Metrics
from cloud.web.problems import Problem, ProblemCode
from cloud.web.sessions import IDLE_MS
from cloud.web.state import now_ms

POLL_S: Final = 0.8  # with its own time less than the second after which rights that ended show nothing more
HINT_PAUSE_S: Final = 0.05  # many hints at once (a fleet's events) are one poll
AFTER_HINT_S: Final = 0.25  # the hint of an event comes a moment before the sample that shows its state
LEASE_MS: Final = 30_000
RENEW_MS: Final = 10_000  # after this much of a lease
RECONNECT_S: Final = 2.0
MAX_STREAMS: Final = 2000
MAX_STREAMS_OF_ACCOUNT: Final = 50

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A device as it was at the last poll; ``view`` is None while nobody owns it."""

    number: int
    view: DeviceView | None
    event_mark: str
    command_mark: str
    at_ms: int


class Subscription:
    """One page's view of one device: the newest snapshot, never a queue.

    ``closed`` once nothing more comes; ``revoked`` where that is because the log-in has lost its rights.
    """

    def __init__(self, device_id: int, session: Session) -> None:
        self.device_id = device_id
        self.session = session
        self.revoked = False
        self._newest: Snapshot | None = None
        self._fresh = asyncio.Event()
        self.closed = False

    def offer(self, snapshot: Snapshot) -> None:
        """A newer snapshot replaces one that was not taken."""
        self._newest = snapshot
        self._fresh.set()

    def close(self) -> None:
        """The portal stops."""
        self.closed = True
        self._fresh.set()

    def revoke(self) -> None:
        """The log-in ended, or its rights are others now."""
        self.revoked = True
        self.close()

    async def next(self, timeout_s: float) -> Snapshot | None:
        """The newest snapshot that was not seen yet; None after ``timeout_s``, or at the end."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._fresh.wait()
        except TimeoutError:
            return None
        self._fresh.clear()
        return None if self.closed else self._newest


class Hub:
    """Poller and its subscribers. ``run`` holds it alive."""

    def __init__(self, pool: Pool, dsn: str, metrics: Metrics) -> None:
        self._pool = pool
        self._dsn = dsn
        self._metrics = metrics
        self._subscriptions: defaultdict[int, set[Subscription]] = defaultdict(set)
        self._accounts: defaultdict[int, int] = defaultdict(int)
        self._wake = asyncio.Event()
        self._number = 0
        self._failing = False

    @contextlib.contextmanager
    def watch(self, device_id: int, session: Session) -> Iterator[Subscription]:
        """Snapshots of a device while the block runs. Problem (too_many) past the bounds."""
        account_id = session.account_id
        total = sum(self._accounts.values())
        if total >= MAX_STREAMS or self._accounts[account_id] >= MAX_STREAMS_OF_ACCOUNT:
            raise Problem(ProblemCode.TOO_MANY, retry_after_s=30)
        subscription = Subscription(device_id, session)
        self._subscriptions[device_id].add(subscription)
        self._accounts[account_id] += 1
        self._metrics.streams.set(total + 1)
        self._wake.set()
        try:
            yield subscription
        finally:
            self._subscriptions[device_id].discard(subscription)
            if not self._subscriptions[device_id]:
                del self._subscriptions[device_id]
            self._accounts[account_id] -= 1
            if not self._accounts[account_id]:
                del self._accounts[account_id]
            self._metrics.streams.set(sum(self._accounts.values()))

    @property
    def watched(self) -> frozenset[int]:
        """The devices that open pages show."""
        return frozenset(self._subscriptions)

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Poll and listen while the block runs."""
        parts = {"live poll": self._poll_for_ever(), "live hints": self._listen_for_ever()}
        async with background.running(parts):
            try:
                yield
            finally:
                self.close()

    def close(self) -> None:
        """End every stream, so that the portal can stop."""
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.close()

    async def _poll_for_ever(self) -> None:
        pause_s = POLL_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            pause_s = AFTER_HINT_S if self._wake.is_set() else POLL_S
            self._wake.clear()
            if not self._subscriptions:
                continue
            try:
                await self.poll()
            except UNAVAILABLE as error:
                level = log.debug if self._failing else log.warning
                level("live pages wait for the database", error=str(error))
                self._failing = True
                await asyncio.sleep(POLL_S)
            else:
                if self._failing:
                    log.info("live pages go on")
                self._failing = False
            await asyncio.sleep(HINT_PAUSE_S)

    @crossing(Reason.UPKEEP)
    async def poll(self) -> None:
        """Read all watched devices once and hand the snapshots out."""
        await self._revoke()
        watched = sorted(self._subscriptions)
        views = await devices.watched_views(self._pool, watched)
        await self._renew(views.values())
        marks = await devices.event_marks(self._pool, watched)
        orders = await commands.marks(self._pool, watched)
        self._number += 1
        self._metrics.polls.inc()
        at_ms = now_ms()
        for device_id in watched:
            mark, order = marks.get(device_id, ""), orders.get(device_id, "")
            snapshot = Snapshot(self._number, views.get(device_id), mark, order, at_ms)
            for subscription in self._subscriptions.get(device_id, ()):
                subscription.offer(snapshot)

    async def _revoke(self) -> None:
        """End the pages whose log-in is no longer what it was when they were opened."""
        open_pages = [page for pages in self._subscriptions.values() for page in pages]
        hashes = {page.session.session_hash for page in open_pages}
        rights = await accounts.session_rights(self._pool, sorted(hashes), now_ms=now_ms(), idle_ms=IDLE_MS)
        for page in open_pages:
            session = page.session
            if rights.get(session.session_hash) != (session.company_id, session.role):
                page.revoke()

    async def _renew(self, views: Iterable[DeviceView]) -> None:
        at_ms = now_ms()
        due = [view.device_id for view in views if view.watch_until_ms - at_ms < LEASE_MS - RENEW_MS]
        if due:
            await devices.renew_watch(self._pool, due, until_ms=at_ms + LEASE_MS, now_ms=at_ms)

    async def _listen_for_ever(self) -> None:
        while True:
            try:
                async with devices.listen(self._dsn) as hints:
                    async for hint in hints:
                        mine = self._accounts if hint.channel == companies.CHANNEL else self._subscriptions
                        if hint.number in mine:
                            self._wake.set()
            except UNAVAILABLE as error:
                log.debug("no hints for the moment", error=str(error))
            await asyncio.sleep(RECONNECT_S)
