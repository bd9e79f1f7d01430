"""A device on a desk: the agent's real device, spool, files and connection, with readings handed to it."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from agent.background import Background
from agent.clock import SystemClock
from agent.config import Enable, ModbusAddress, UpsSettings
from agent.core.sampling import Inventory, reading_of
from agent.device import Device
from agent.disk import OsDisk
from agent.identity import Identity, Label
from agent.keys import device_key, load_label
from agent.spool_file import SpoolFile
from agent.state import StateFile
from agent.talker import Talker
from agent.time_service import TimeService
from agent.trace import ignore
from agent.uplink import tls_context
from protocol.signing import label_key
from simulators.label import mint
from tests.golden.register_images import CAPTURES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.core.ports import Clock, Disk
    from protocol.messages import Installation

STATUS, DYNAMIC = CAPTURES[0].words, (*CAPTURES[1].words, *(0xFFFF for _ in range(12)))
ON_BATTERY = (0, 0x0204, *STATUS[2:])  # on battery, high efficiency, as the reference numbers the bits
MAINS_FAILED = 0x0004


class Desk:
    """One device. Open it again in the same folder to restart the agent."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        disk: Disk | None = None,
        labelled: bool = True,
        enable: Enable = Enable.ASK,
        report_interval_s: float = 1.0,
        trace: Callable[[str], None] = ignore,
    ) -> None:
        self.clock = clock or SystemClock()
        self.disk = disk or OsDisk(folder)
        self._executor = ThreadPoolExecutor(1)
        state = StateFile(self.disk)
        key = device_key(self.disk, may_make=not state.exists)
        kept = load_label(self.disk)
        label = None if kept is None else Label(*kept)
        if label is None and labelled:
            product_id, product_key = mint()
            label = Label(product_id, label_key(product_id, product_key))
        self.device = Device(
            UpsSettings(
                name="desk",
                modbus=ModbusAddress.parse("tcp://127.0.0.1:502"),
                enable=enable,
                report_interval_s=report_interval_s,
            ),
            Identity(key, label),
            clock=self.clock,
            disk=self.disk,
            state=state,
            spool=SpoolFile(self.disk, self.clock, max_bytes=1 << 20, trace=trace),
            background=Background(self._executor),
        )
        self.inventory = Inventory(model="Smart-UPS 1500", sku="SMT1500RM2UC")

    async def read(self, count: int = 1, *, status: tuple[int, ...] = STATUS) -> None:
        """So many readings, each at a millisecond of its own."""
        for _ in range(count):
            reading = reading_of(self.clock.mono_ms(), status, DYNAMIC, self.inventory)
            await self.device.on_reading(reading, self.inventory)
            await asyncio.sleep(0.002)

    @contextlib.asynccontextmanager
    async def online(self, installation: Installation) -> AsyncIterator[None]:
        """Keep it connected until the block ends."""
        tls, gate = tls_context(installation.ca_pem), asyncio.Semaphore(4)
        talker = Talker(self.device, installation, tls, gate, TimeService(installation, self.clock))
        running = asyncio.create_task(talker.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def close(self) -> None:
        """Give threads and files back."""
        self._executor.shutdown()
