"""One UPS and all the agent keeps for it: readings become samples and events, orders become effects."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from agent.command_file import CommandFile
from agent.commander import Commander
from agent.config import Enable
from agent.core import enrollment
from agent.core.enrollment import (
    Announce,
    Enrollment,
    Greeted,
    Phase,
    Remember,
    SendNow,
    Settle,
    Switched,
    Wipe,
)
from agent.core.sampling import Edge, Inventory
from agent.core.timeline import CLOCK_OFF_MS
from agent.edges import Edges
from agent.errors import LinkError, StateError
from agent.identity import Identity, Label
from agent.keys import save_label
from agent.logs import Repeats
from agent.reporter import Reporter
from agent.settings_file import SettingsFile
from agent.settings_keeper import SettingsKeeper
from protocol.codec import pack_batch, pack_sample
from protocol.errors import DecodeError, ErrorCode, IdentityError, SignatureError
from protocol.identity import ProductId, ProductKey
from protocol.messages import EventKind
from protocol.signing import label_key

if TYPE_CHECKING:
    from agent.background import Background
    from agent.config import UpsSettings
    from agent.core.enrollment import Effect, Input
    from agent.core.ports import Clock, Disk
    from agent.core.sampling import Reading
    from agent.poller import Poller
    from agent.spool_file import SpoolFile
    from agent.state import StateFile
    from protocol.extension import Extension
    from protocol.messages import Hello, KeySet, Watch


class Device:
    """State of one UPS. Its poller feeds it, its talker empties it; both run in the same loop."""

    def __init__(
        self,
        settings: UpsSettings,
        identity: Identity,
        *,
        clock: Clock,
        disk: Disk,
        state: StateFile,
        spool: SpoolFile,
        background: Background,
    ) -> None:
        self.settings = settings
        self.identity = identity
        self.clock = clock
        self.spool = spool
        self.background = background
        self.state = state
        self.poller: Poller | None = None
        self.inventory = Inventory()
        self.reading: Reading | None = None
        self.uplink_state = ""
        self.link_state = "not read yet"
        self.has_samples = asyncio.Event()  # something to publish, or a reason to look again
        self.has_events = asyncio.Event()
        self.has_announcement = asyncio.Event()
        self.has_now = asyncio.Event()
        self.has_results = asyncio.Event()
        self.has_report = asyncio.Event()
        self.labelled = asyncio.Event()
        self.key_set: KeySet | None = None
        self.want_announcement = False
        self.want_now = False
        self._log = structlog.get_logger(__name__).bind(ups=settings.name)
        self._disk = disk
        self._disk_trouble = Repeats(self._log)
        self._obeying = asyncio.Lock()
        self._edges = Edges(state.value, spool)
        self._since_mono_ms = 0  # readings from before this ownership are nobody's to see
        self._extension: Extension | None = None
        self._auto_enabled = False
        self._has_extension: bool | None = None
        self.reporter = Reporter(spool, background, clock, self._disk_trouble, name=settings.name)
        self.enrollment = Enrollment(
            kid=identity.kid,
            smartconnect=state.value.smartconnect,
            owned=state.value.owned,
            epoch=spool.epoch,
            release=state.value.release,
        )
        if identity.label is not None:
            self.labelled.set()
        self.commander = Commander(self, CommandFile(disk))
        self.keeper = SettingsKeeper(self, SettingsFile(disk))

    @property
    def publishes(self) -> bool:
        """Whether telemetry and `now` may go out; not while a hello is being carried out."""
        return self.enrollment.publishes and not self._obeying.locked()

    @property
    def publishes_events(self) -> bool:
        """Whether events may go out; not while a hello is being carried out."""
        return self.enrollment.publishes_events and not self._obeying.locked()

    def wake(self) -> None:
        """Let whoever publishes look again."""
        self.has_samples.set()
        self.has_events.set()
        self.has_announcement.set()
        self.has_now.set()
        self.has_results.set()
        self.has_report.set()

    def show(self) -> None:
        """Send a snapshot."""
        self.want_now = True
        self.has_now.set()

    # --- what the poller tells -----------------------------------------------------------------------------

    async def on_inventory(self, inventory: Inventory) -> None:
        """Note what the UPS is; a changed firmware is an event."""
        if inventory != self.inventory:
            self.inventory = inventory
            self.announce()
        edges = self._edges.runs(inventory.firmware, self.clock.mono_ms())
        for edge in edges:
            self._note(edge)
        if edges:
            await self.report()
        await self._remember_edges()

    async def on_extension(self, found: Extension | None) -> None:
        """Follow label, switch and front-panel button of a UPS that has our block."""
        first = self._has_extension is None
        self._has_extension = found is not None
        if found is None:
            if first and self.settings.enable is Enable.AUTO and not self.enrollment.smartconnect:
                await self.switch(on=True)
            return
        self._extension = found
        await self._learn_label(found.product_id, found.product_key)
        pressed = self.state.value.presence is not None and found.presence != self.state.value.presence
        if found.presence != self.state.value.presence:
            await self._try_to_remember(presence=found.presence)
        wanted = pressed or (self.settings.enable is Enable.AUTO and not self._auto_enabled)
        self._auto_enabled = True
        if found.enabled or not wanted:
            await self.switch(on=found.enabled)
            return
        self._log.info("switching SmartConnect on", by="front panel" if pressed else "setting enable = auto")
        await self.enable()

    async def on_reading(self, reading: Reading, inventory: Inventory) -> None:
        """A sample, and perhaps edges."""
        self.reading = reading
        self.link_state = "answers"
        edges = self._edges.read(reading, inventory.groups)
        for edge in edges:
            self._note(edge)
        if self.enrollment.spools:
            self.reporter.add(reading)
        edge_seen = bool(edges)
        if edge_seen or self.want_now or self.clock.mono_ms() < self.enrollment.watch_until_ms:
            self.show()
        if self.reporter.is_due(self.keeper.report_interval_s, on_battery=reading.on_battery, edge=edge_seen):
            await self.report()
        await self._remember_edges()

    async def on_missed(self, mono_ms: int, reason: str) -> None:
        """The UPS did not answer: stale, which is not an outage."""
        self.link_state = reason
        for edge in self._edges.missed(mono_ms, reason):
            self._note(edge)
        if self.reporter.has_events:
            await self.report()
        await self._remember_edges()

    @property
    def answers(self) -> bool:
        """Whether the UPS was read and answers."""
        return self.link_state == "answers"

    async def tell(self, edge: Edge) -> None:
        """An event that was decided elsewhere."""
        self._note(edge)
        await self.report()

    # --- to the spool --------------------------------------------------------------------------------------

    def _note(self, edge: Edge) -> None:
        self.reporter.note(edge, keep=self.enrollment.spools)

    async def _remember_edges(self) -> None:
        """What is known by events, after these are safe: else a kill in between would lose one."""
        facts, state = self._edges.facts, self.state.value
        if not self.reporter.has_events and facts != {"active": state.active, "firmware": state.firmware}:
            await self._try_to_remember(**facts, last_event=self.spool.event_file.last_number)

    async def report(self) -> None:
        """Make what was collected durable, and let it be published. A broken disk keeps it in memory."""
        await self.reporter.report(self.enrollment.epoch)
        self.has_samples.set()
        self.has_events.set()

    def now_payload(self) -> bytes | None:
        """The latest reading as an unsequenced snapshot; None if it is stale, or another owner's."""
        if self.reading is None or self._edges.stale or self.reading.mono_ms < self._since_mono_ms:
            return None
        ts_ms = max(0, self.reading.mono_ms + self.spool.offset_ms())
        try:
            return pack_batch([pack_sample({**self.reading.sample, "ts": ts_ms})])
        except DecodeError as error:
            self._log.warning("a reading does not fit a sample", reason=str(error))
            return None

    # --- what the cloud and people say ---------------------------------------------------------------------

    async def step(self, event: Input) -> None:
        """Change the enrollment and carry out what follows, as one piece."""
        async with self._obeying:
            draw = random.random()  # noqa: S311  jitter, no secret
            after, effects = enrollment.step(self.enrollment, event, self.clock.mono_ms(), draw)
            if isinstance(event, Greeted):
                await self._learn_time(event.hello, event.received_ms)
            for effect in effects:
                await self._carry_out(effect, after)
            self.enrollment = after
        if not after.spools:
            self.reporter.clear_samples()
        self.wake()

    def announce(self) -> None:
        """Announce as soon as the connection allows."""
        self.want_announcement = True
        self.has_announcement.set()

    def seconds_to_tick(self) -> float | None:
        """How long nothing happens by time alone; None: for ever."""
        if self.enrollment.phase is not Phase.UNOWNED:
            return None
        return max(0.0, (self.enrollment.announce_at_ms - self.clock.mono_ms()) / 1000)

    def tick(self) -> None:
        """What time alone brings."""
        draw = random.random()  # noqa: S311  jitter, no secret
        self.enrollment, effects = enrollment.tick(self.enrollment, self.clock.mono_ms(), draw)
        if effects:
            self.announce()

    def watched(self, watch: Watch) -> None:
        """Somebody looks at the page of this UPS."""
        self.enrollment = enrollment.watched(self.enrollment, watch, self.clock.mono_ms())
        self.show()

    async def _carry_out(self, effect: Effect, after: Enrollment) -> None:
        match effect:
            case Announce():
                self.want_announcement = True
            case SendNow():
                self.want_now = True
            case Wipe(epoch, since_ms):
                await self._begin(epoch, since_ms)
            case Settle(position):
                await self.background.run(lambda: self.spool.settle(position))
            case Remember():
                facts = {"owned": after.owned, "smartconnect": after.smartconnect, "release": after.release}
                await self._remember(**facts)

    async def _begin(self, epoch: int, since_ms: int) -> None:
        """Keep what was taken since this ownership began, and nothing else. OSError."""
        before, now_ms = self.enrollment.epoch, self.clock.mono_ms()
        if before:
            self._log.warning("another ownership: what was before it is wiped", before=before, after=epoch)
        if since_ms and epoch > before:
            self._since_mono_ms = min(now_ms, since_ms - self.spool.offset_ms())
        elif before:
            self._since_mono_ms = now_ms
        self.reporter.begin(self._since_mono_ms)
        await self.background.run(lambda: self.spool.begin(epoch, since_ms))

    async def _learn_time(self, hello: Hello, received_ms: int) -> None:
        """Settle this boot's time by the cloud's clock, once."""
        offset_ms = hello.server_time_ms - received_ms
        wall_off_ms = self.clock.wall_ms() - self.clock.mono_ms() - offset_ms
        settled = await self.background.run(lambda: self.spool.settle_time(offset_ms))
        if settled and abs(wall_off_ms) > CLOCK_OFF_MS:
            self._log.warning("the machine's clock is wrong; the cloud's is used", off_ms=wall_off_ms)
            self._note(Edge(received_ms, EventKind.CLOCK_CORRECTED, {"off_s": round(wall_off_ms / 1000, 1)}))

    async def learn_key_set(self, key_set: KeySet, payload: bytes) -> None:
        """Take the cloud's keys; SignatureError for a version older than the one known."""
        if self.key_set is not None and key_set.version < self.key_set.version:
            raise SignatureError(ErrorCode.KEY_SET_INVALID, "The key set is older than the known one.")
        await self._remember(key_set=payload)
        self.key_set = key_set

    def trusted_ms(self) -> int | None:
        """Unix ms by the cloud's clock; None before this boot's first hello."""
        return self.corrected_ms() if self.spool.knows_time else None

    async def enable(self) -> None:
        """Switch SmartConnect on, in the UPS if it has our block; LinkError if it did not take it."""
        if self._has_extension is None:
            raise LinkError(f"{self.settings.name} has not answered yet: {self.link_state}")
        if self._has_extension and self.poller is not None and not await self.poller.enable():
            raise LinkError("SmartConnect was switched on, but reads back as off")
        await self.switch(on=True)

    async def switch(self, *, on: bool) -> None:
        """SmartConnect is on or off now."""
        if on == self.enrollment.smartconnect:
            return
        self._log.info("SmartConnect is on" if on else "SmartConnect is off")
        kind = EventKind.SMARTCONNECT_ON if on else EventKind.SMARTCONNECT_OFF
        edge = Edge(self.clock.mono_ms(), kind, {})
        if not on:
            self._note(edge)
            await self.report()
        await self.step(Switched(on))
        if on:
            self._note(edge)
            await self.report()

    async def _learn_label(self, product_id_text: str, product_key_text: str) -> None:
        try:
            product_id = ProductId.parse(product_id_text)
            product_key = ProductKey.parse(product_key_text)
        except IdentityError as error:
            self._log.warning("the UPS holds no sound product codes", reason=str(error))
            return
        label = self.identity.label
        if label is not None and label.product_id == product_id:
            return
        await self.set_label(product_id, product_key)

    async def set_label(self, product_id: ProductId, product_key: ProductKey) -> None:
        """Derive and keep the label key; the Product Key is forgotten."""
        key = await self.background.run(lambda: label_key(product_id, product_key))
        if self.identity.label is not None:
            self._log.warning("another label", product_id=product_id.value)
        self.identity.label = Label(product_id, key)
        self.labelled.set()
        self.announce()
        try:
            await self.background.run(lambda: save_label(self._disk, product_id, key))
        except OSError as error:  # whoever told the codes tells them again after the next start
            self._disk_trouble.failed("the disk cannot be written", reason=str(error))

    async def _remember(self, **changes: object) -> None:
        if all(getattr(self.state.value, name) == value for name, value in changes.items()):
            return
        try:
            await self.background.run(lambda: self.state.update(**changes))
        except OSError as error:
            raise StateError(f"{self.settings.name}: state cannot be written: {error}") from error

    async def _try_to_remember(self, **changes: object) -> None:
        """Make facts durable that the UPS will tell again; a broken disk must not stop the polling."""
        try:
            await self._remember(**changes)
        except StateError as error:
            self._disk_trouble.failed("the disk cannot be written", reason=str(error))

    async def accepted(self, login_ms: int) -> None:
        """The cloud took a log-in with this ``iat``."""
        await self._remember(last_login_ms=login_ms)

    def corrected_ms(self) -> int:
        """Unix ms, by the cloud's clock as soon as it is known."""
        return self.clock.mono_ms() + self.spool.offset_ms()
