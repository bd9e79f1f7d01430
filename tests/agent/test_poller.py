"""The poller on the simulated UPS: what is asked when, and what a silent UPS costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.clock import SystemClock
from agent.config import ModbusAddress
from agent.core.sampling import EXTENSION_EVERY_MS, Inventory
from agent.modbus import Lines
from agent.poller import SILENT_AFTER, Poller
from protocol.identity import ProductId, ProductKey
from simulators.unit import Simulator, UnitSpec, build
from tests.agent.modbus_peer import ModbusPeer
from tests.fakes.clock import FakeClock
from tests.golden.register_images import CAPTURES, EXTENSION_WORDS, IMAGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.core.ports import Clock
    from agent.core.sampling import Reading
    from protocol.extension import Extension

CODES = (ProductId.parse("AB12CD34EF56"), ProductKey.parse("K0123456789XYZ"))
BLOCKS = [image for image in IMAGES if image.name == "verification block" or image in CAPTURES]


class Notes:
    """A sink that writes down what it hears."""

    def __init__(self) -> None:
        self.inventories: list[Inventory] = []
        self.extensions: list[Extension | None] = []
        self.readings: list[Reading] = []
        self.missed: list[str] = []

    async def on_inventory(self, inventory: Inventory) -> None:
        self.inventories.append(inventory)

    async def on_extension(self, found: Extension | None) -> None:
        self.extensions.append(found)

    async def on_reading(self, reading: Reading, inventory: Inventory) -> None:
        assert inventory == self.inventories[-1]
        self.readings.append(reading)

    async def on_missed(self, mono_ms: int, reason: str) -> None:
        assert mono_ms > 0
        self.missed.append(reason)


@pytest.fixture
async def lines() -> AsyncIterator[Lines]:
    opened = Lines()
    yield opened
    await opened.close()


def poller(lines: Lines, address: str, notes: Notes, clock: Clock | None = None) -> Poller:
    link = lines.link(ModbusAddress.parse(address), 1, 9600)
    return Poller(link, clock or SystemClock(), notes, name="ups", interval_s=0.01)


async def test_the_simulated_ups_is_read_and_enabled(lines: Lines) -> None:
    image = build(UnitSpec(codes=CODES))
    simulator = Simulator({1: image})
    host, port = await simulator.listen_tcp("127.0.0.1", 0)
    stop = asyncio.Event()
    running = asyncio.create_task(simulator.run(stop))
    try:
        notes = Notes()
        reads = poller(lines, f"tcp://{host}:{port}", notes)
        await reads.poll()
        assert notes.missed == []
        (found,) = notes.extensions
        assert found is not None
        assert (found.product_id, found.product_key, found.enabled) == (CODES[0].value, CODES[1].value, False)
        assert await reads.enable()
        assert image.ups.smartconnect
        image.ups.plug(into_mains=False)
        await reads.poll()
        assert notes.readings[-1].on_battery
        assert notes.inventories[0].serial == image.ups.plate.serial_number
    finally:
        stop.set()
        await running


async def test_fast_blocks_every_time_the_others_seldom(lines: Lines) -> None:
    async with ModbusPeer() as peer:
        for image in BLOCKS:
            peer.load(image.start, image.words)
        peer.load(8192, EXTENSION_WORDS)
        clock, notes = FakeClock(), Notes()
        reads = poller(lines, peer.address, notes, clock)
        for _ in range(6):
            clock.advance(1000)
            await reads.poll()
        asked = list(peer.reads())
        assert asked.count((0, 27)) == asked.count((128, 44)) == 6
        assert asked.count((516, 80)) == asked.count((2048, 14)) == 1
        assert asked.count((8192, 18)) == 6000 // EXTENSION_EVERY_MS
        clock.advance(3_600_000)
        await reads.poll()
        assert list(peer.reads()).count((516, 80)) == 2


async def test_a_ups_without_our_block_is_asked_for_it_once(lines: Lines) -> None:
    async with ModbusPeer() as peer:
        for image in BLOCKS:
            peer.load(image.start, image.words)
        clock, notes = FakeClock(), Notes()
        reads = poller(lines, peer.address, notes, clock)
        for _ in range(5):
            clock.advance(5000)
            await reads.poll()
        assert notes.extensions == [None]
        assert list(peer.reads()).count((8192, 18)) == 1


async def test_after_a_long_silence_everything_is_read_again(lines: Lines) -> None:
    notes = Notes()
    reads = poller(lines, "tcp://127.0.0.1:1", notes)
    for _ in range(SILENT_AFTER):
        await reads.poll()
    assert len(notes.missed) == SILENT_AFTER
    async with ModbusPeer() as peer:
        for image in BLOCKS:
            peer.load(image.start, image.words)
        again = poller(lines, peer.address, notes)
        await again.poll()
        for image in BLOCKS:
            for address in range(image.start, image.start + len(image.words)):
                peer.words.pop(address, None)
        for _ in range(SILENT_AFTER):
            await again.poll()
        for image in BLOCKS:
            peer.load(image.start, image.words)
        before = len(notes.inventories)
        await again.poll()
        assert len(notes.inventories) == before + 1


async def test_it_polls_until_cancelled(lines: Lines) -> None:
    async with ModbusPeer() as peer:
        for image in BLOCKS:
            peer.load(image.start, image.words)
        notes = Notes()
        running = asyncio.create_task(poller(lines, peer.address, notes).run())
        async with asyncio.timeout(10):
            while len(notes.readings) < 5:
                await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
