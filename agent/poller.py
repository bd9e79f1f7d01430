"""Reads one UPS at its pace, and tells what it saw."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from agent.core.sampling import EXTENSION_EVERY_MS, INVENTORY_EVERY_MS, Inventory, inventory_of, reading_of
from agent.errors import LinkError, LinkRefusedError
from agent.logs import Repeats
from protocol import extension
from protocol.registers import BLOCKS

if TYPE_CHECKING:
    from agent.core.ports import Clock, Link
    from agent.core.sampling import Reading
    from protocol.extension import Extension

SILENT_POLL_S: Final = 10.0  # a UPS that does not answer is asked less often: it may share its line
SILENT_AFTER: Final = 6

_STATUS, _DYNAMIC, _INVENTORY = BLOCKS["status"], BLOCKS["dynamic"], BLOCKS["inventory"]


class Sink(Protocol):
    """Who wants to know what the poller saw."""

    async def on_inventory(self, inventory: Inventory) -> None:
        """What the UPS is: once after each connection, and now and then."""

    async def on_extension(self, found: Extension | None) -> None:
        """Our extension block; None if the UPS has none."""

    async def on_reading(self, reading: Reading, inventory: Inventory) -> None:
        """One look at the UPS."""

    async def on_missed(self, mono_ms: int, reason: str) -> None:
        """The UPS did not answer, or not soundly."""


class Poller:
    """Asks one UPS every ``interval_s``, or as fast as the line allows."""

    def __init__(self, link: Link, clock: Clock, sink: Sink, *, name: str, interval_s: float) -> None:
        self._link = link
        self._clock = clock
        self._sink = sink
        self._interval_s = interval_s
        self._log = structlog.get_logger(__name__).bind(ups=name)
        self._repeats = Repeats(self._log)
        self._inventory: Inventory | None = None
        self._inventory_at_ms = 0
        self._extension_at_ms = 0
        self._has_extension: bool | None = None
        self._failures = 0

    async def run(self) -> None:
        """Poll until cancelled. A slow answer delays the next question; it does not pile up questions."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            await self.poll()
            interval_s = self._interval_s
            if self._failures >= SILENT_AFTER:
                interval_s = max(interval_s, SILENT_POLL_S)
            due_s = max(due_s + interval_s, loop.time())
            await asyncio.sleep(due_s - loop.time())

    async def poll(self) -> None:
        """One round; failures of the line are told to the sink, not raised."""
        try:
            await self._ask()
        except LinkError as error:
            self._failures += 1
            self._inventory = self._inventory if self._failures < SILENT_AFTER else None
            self._repeats.failed("the UPS does not answer soundly", reason=str(error))
            await self._sink.on_missed(self._clock.mono_ms(), str(error))
        else:
            self._failures = 0
            self._repeats.worked("the UPS answers again")

    async def _ask(self) -> None:
        now_ms = self._clock.mono_ms()
        if self._inventory is None or now_ms - self._inventory_at_ms >= INVENTORY_EVERY_MS:
            words = await self._link.read(_INVENTORY.start, _INVENTORY.count)
            self._inventory = inventory_of(words)
            self._inventory_at_ms = now_ms
            self._has_extension = None
            await self._sink.on_inventory(self._inventory)
        if self._has_extension is not False and (
            self._has_extension is None or now_ms - self._extension_at_ms >= EXTENSION_EVERY_MS
        ):
            found = await self.read_extension()
            if self._has_extension and found is None:
                raise LinkError("the extension block is not sound")
            self._has_extension = found is not None
            self._extension_at_ms = now_ms
            await self._sink.on_extension(found)
        status = await self._link.read(_STATUS.start, _STATUS.count)
        dynamic = await self._link.read(_DYNAMIC.start, _DYNAMIC.count)
        reading = reading_of(self._clock.mono_ms(), status, dynamic, self._inventory)
        await self._sink.on_reading(reading, self._inventory)

    async def read_extension(self) -> Extension | None:
        """Our extension block; None if the unit has none."""
        try:
            words = await self._link.read(extension.START, extension.COUNT)
        except LinkRefusedError:
            return None
        return extension.decode_extension(words)

    async def enable(self) -> bool:
        """Switch SmartConnect on in the UPS; whether it reads back as on. LinkError if nobody can tell."""
        await self._link.write(extension.ENABLE_ADDRESS, (1,))
        found = await self.read_extension()
        return found is not None and found.enabled
