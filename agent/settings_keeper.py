"""Keeps the settings of one UPS: reads them, notices the front panel, carries out what the cloud wants.

A loop of its own looks at the registers of settings and names in turn, and at all of them before it writes.
What it knows is durable before it is reported, and what it writes is noted before.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import structlog

from agent.core import settings as core
from agent.core.sampling import Edge
from agent.core.settings import Moment
from agent.errors import LinkError, LinkRefusedError, StateError
from agent.logs import Repeats
from protocol.faults import reach
from protocol.messages import EventKind
from protocol.registers import BLOCKS, BY_NAME, decode_block
from protocol.settings import SettingCode, address_of, facts_of_registers, of_registers, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.core.ports import Link
    from agent.core.settings import Change, Ledger, Todo
    from agent.device import Device
    from agent.settings_file import SettingsFile
    from protocol.messages import Desired, Hello, Reported, Scalar
    from protocol.registers import Block

LOOK_EVERY_S: Final = 1.5  # one block a look: what is done at a front panel is known within twice this
NOT_THERE: Final = frozenset({1, 2, 3})  # exceptions that say so; others say "not now"
REPORT_INTERVAL: Final = "report_interval_s"
_BLOCKS: Final = (BLOCKS["settings"], BLOCKS["names"])


class SettingsKeeper:
    """The settings of one UPS. Only ``run`` changes what is known; its session calls all other methods."""

    def __init__(self, device: Device, file: SettingsFile) -> None:
        self.link: Link | None = None  # to the UPS; given by whoever has one
        self._device = device
        self._file = file
        self._wake = asyncio.Event()
        self._given: Desired | None = None  # not durable yet: if it is lost, the next session brings it
        self._turn = 0
        self._facts: dict[str, Scalar] = {}  # of the battery: told with the settings, and not kept
        self._absent: set[str] = set()  # blocks that this UPS refuses to show
        self._told = -1  # the newest revision that the cloud has
        self._log = structlog.get_logger(__name__).bind(ups=device.settings.name)
        self._trouble = Repeats(self._log)

    @property
    def report_interval_s(self) -> float:
        """Seconds between reports on mains: as somebody has set it, else as the agent is configured."""
        value = self._file.value.own.get(REPORT_INTERVAL)
        return float(value) if isinstance(value, int | float) else self._device.settings.report_interval_s

    # --- from the cloud ------------------------------------------------------------------------------------

    def greeted(self, hello: Hello) -> None:
        """A hello that was obeyed: what the cloud has."""
        self._told = hello.settings_revision
        self._wake.set()
        self._device.has_report.set()

    def receive(self, desired: Desired) -> None:
        """What the cloud wants; its signature holds."""
        enrollment = self._device.enrollment
        ours = enrollment.owned and (desired.kid, desired.epoch) == (enrollment.kid, enrollment.epoch)
        if not ours:
            self._log.warning("settings for another device or ownership were refused", epoch=desired.epoch)
            return
        if self._given is None or desired.version > self._given.version:
            self._given = desired
        self._wake.set()

    # --- to the cloud --------------------------------------------------------------------------------------

    def next_report(self) -> Reported | None:
        """What the cloud does not have yet."""
        ledger = self._file.value
        if ledger.epoch != self._device.enrollment.epoch or ledger.revision == self._told:
            return None
        return core.report_of(ledger, self._defaults(), self._now())

    def reported(self, revision: int) -> None:
        """The cloud has this revision, or will never take it."""
        self._told = revision

    # --- the loop ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look and carry out until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._once()
            except (LinkError, StateError) as error:
                self._trouble.failed("settings cannot be read or kept", reason=str(error))
            else:
                self._trouble.worked("settings are read and kept again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()

    async def _once(self) -> None:
        if not await self._follow():
            return
        todo = core.plan(self._file.value, self._now())
        if self._device.answers and self.link is not None:
            await self._look(self.link, everything=todo is not None)
            todo = core.plan(self._file.value, self._now())  # the front panel may have been touched
        elif todo is None or todo.needs_ups:
            return
        if todo is not None:
            await self._carry_out(todo)

    async def _follow(self) -> bool:
        """Whether somebody owns the UPS and SmartConnect is on; then the ledger is this ownership's."""
        enrollment = self._device.enrollment
        if not enrollment.spools:
            return False
        await self._keep(core.begin(self._file.value, enrollment.epoch, self._now()))
        await self._keep(core.overtake(self._file.value, self._told, self._now()))
        given = self._given
        if given is not None:
            await self._keep(core.take(self._file.value, given))
            self._given = None if self._given is given else self._given
        return True

    async def _look(self, link: Link, *, everything: bool) -> None:
        blocks = [block for block in _BLOCKS if block.name not in self._absent]
        if not everything and blocks:
            self._turn += 1
            blocks = [blocks[self._turn % len(blocks)]]
        found: dict[str, Scalar] = {}
        for block in blocks:
            found |= await self._read(link, block)
        await self._saw(found)
        await self._learn()

    async def _read(self, link: Link, block: Block) -> dict[str, Scalar]:
        inventory = self._device.inventory
        try:
            words = await link.read(block.start, block.count)
        except LinkRefusedError as error:
            if error.code not in NOT_THERE:
                raise
            self._absent.add(block.name)
            self._log.info("the UPS does not show its settings", block=block.name, reason=str(error))
            return {}
        return of_registers(decode_block(block.start, words, family=inventory.family), inventory.groups)

    async def _learn(self) -> None:
        """Tell the cloud anew where the battery is another one, or its day has moved."""
        reading = self._device.reading
        facts = dict(self._device.inventory.battery_facts)
        if reading is not None:
            facts |= facts_of_registers(reading.values)
        if facts == self._facts:
            return
        self._facts = facts
        await self._keep(core.tell_again(self._file.value, self._now()))

    async def _saw(self, found: Mapping[str, Scalar]) -> None:
        after, changes = core.look(self._file.value, found, self._now())
        await self._keep(after)
        await self._tell(changes)

    async def _carry_out(self, todo: Todo) -> None:
        """All of one version. LinkError: the rest is done once the UPS answers again."""
        before = {**self._defaults(), **self._file.value.own, **self._file.value.seen}
        outcome = {name: await self._write(name, value) for name, value in todo.writes.items()}
        after, changes = core.finish(self._file.value, todo, outcome, before, self._now())
        await self._keep(after)
        self._log.info(
            "settings of the cloud considered",
            version=after.base_version,
            changed=[one.name for one in changes],
            kept=sorted(todo.kept),
            refused=after.refused,
        )
        await self._tell(changes)

    async def _write(self, name: str, value: Scalar) -> str:
        """Write one setting and read it back; why the UPS does not take it, "" if it does."""
        ledger, link = self._file.value, self.link
        if name not in ledger.seen:
            return SettingCode.NOT_OFFERED
        if ledger.seen[name] == value:
            return ""
        assert link is not None  # noqa: S101  what is seen was read by it
        await self._keep(core.intend(ledger, name, value))
        try:
            await link.write(address_of(name), words_of(name, value))
        except LinkRefusedError:
            return SettingCode.REFUSED_BY_UPS
        reach("agent.settings.written")
        words = await link.read(address_of(name), BY_NAME[name].count)
        found = of_registers(decode_block(address_of(name), words), self._device.inventory.groups)
        await self._saw(found)
        return "" if found.get(name) == value else SettingCode.NOT_TAKEN

    # --- what it knows -------------------------------------------------------------------------------------

    def _defaults(self) -> dict[str, Scalar]:
        configured = self._device.settings.report_interval_s
        interval = int(configured) if configured == int(configured) else configured
        return {REPORT_INTERVAL: interval, **self._facts}

    def _now(self) -> Moment:
        clock = self._device.clock
        return Moment(clock.boot_id, clock.mono_ms(), self._device.spool.offset_ms())

    async def _keep(self, ledger: Ledger) -> None:
        if ledger == self._file.value:
            return
        is_news = ledger.revision != self._file.value.revision
        try:
            await self._device.background.run(lambda: self._file.store(ledger))
        except OSError as error:
            raise StateError(f"{self._device.settings.name}: settings cannot be kept: {error}") from error
        if is_news:
            self._device.has_report.set()

    async def _tell(self, changes: tuple[Change, ...]) -> None:
        for one in changes:
            values = {"setting": one.name, "before": one.before, "after": one.after, "by": one.by}
            await self._device.tell(Edge(self._device.clock.mono_ms(), EventKind.SETTING_CHANGED, values))
