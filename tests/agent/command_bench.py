"""Where commands are tried: a gateway that says what it is told, the agent's device, and a UPS on Modbus."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from agent import modbus
from agent.command_file import RECORD
from agent.config import ModbusAddress
from agent.core import commanding
from agent.disk import OsDisk
from agent.modbus import Lines
from agent.poller import Poller
from simulators.unit import Simulator, UnitSpec, build
from tests.agent.desk import Desk
from tests.agent.gateway_peer import GatewayPeer
from tests.golden.register_images import CAPTURES, IMAGES

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from agent.commander import Commander
    from protocol.messages import CommandResult
    from simulators.core.smart_ups import SmartUps
    from tests.agent.modbus_peer import ModbusPeer

EPOCH = 1_700_000_000_000
TEST_STATUS, IN_PROGRESS = 23, 0x42


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing as long as one has to for a real UPS."""
    monkeypatch.setattr(commanding, "READ_BACK_S", 0.3)
    monkeypatch.setattr(commanding, "READ_BACK_EVERY_S", 0.1)
    monkeypatch.setattr(modbus, "TCP_TIMEOUT_S", 0.3)
    monkeypatch.setattr(modbus, "REOPEN_EVERY_S", 0.0)


def serve(ups: ModbusPeer) -> None:
    """A UPS on mains with all that a poll reads."""
    for image in (*IMAGES, *CAPTURES):
        if image.start in {0, 128, 516, 2048}:
            ups.load(image.start, image.words)
    ups.load(128, [0] * 44)
    ups.load(0, [0, 2, 8, 0, 1, 0, 0, 1, *(0 for _ in range(19))])


class BrokenDisk(OsDisk):
    """Takes or does not take the next writes of the command record, as ``plan`` says; then all of them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.plan: deque[bool] = deque()

    def replace(self, name: str, data: bytes) -> None:
        if name == RECORD and self.plan and not self.plan.popleft():
            raise OSError(errno.ENOSPC, "this disk is full")
        super().replace(name, data)


class Bench:
    """A gateway, a desk and a simulated UPS, all connected."""

    def __init__(self, peer: GatewayPeer, desk: Desk, simulator: Simulator) -> None:
        self.peer = peer
        self.desk = desk
        self.simulator = simulator
        self.image = simulator.images[1]

    @property
    def ups(self) -> SmartUps:
        return self.image.ups

    @property
    def writes(self) -> Counter[str]:
        return self.image.writes

    @property
    def commander(self) -> Commander:
        return self.desk.device.commander

    async def ask(self, kind: str, **arguments: str | bool) -> CommandResult:
        """Its result."""
        command = self.peer.command(kind, arguments=arguments)
        self.peer.say_command(command)
        return await self.peer.result_of(command)


@contextlib.asynccontextmanager
async def bench_of(
    folder: Path, profile: str = "ups_serial", *, allow: bool = True, serial: bool = False
) -> AsyncIterator[Bench]:
    """All of them in this folder; ``serial``: the UPS on a line of 9600 baud instead of TCP."""
    simulator = Simulator({1: build(UnitSpec(profile=profile, points=(("load_pct", "40"),)))})
    _, port = await simulator.listen_tcp("127.0.0.1", 0)
    address = f"serial:{folder / 'line'}" if serial else f"tcp://127.0.0.1:{port}"
    if serial:
        simulator.open_line(folder / "line")
    stop, lines = asyncio.Event(), Lines()
    running = asyncio.create_task(simulator.run(stop))
    async with (
        GatewayPeer(folder / "cloud") as peer,
        at_desk(folder / "ups", lines, address, allow=allow) as desk,
    ):
        peer.hello = peer.owned(EPOCH)
        async with desk.online(peer.installation):
            await peer.until("owned", lambda: desk.device.publishes)
            yield Bench(peer, desk, simulator)
    await lines.close()
    stop.set()
    await running


@contextlib.asynccontextmanager
async def at_desk(
    folder: Path, lines: Lines, address: str, *, allow: bool = True, disk: OsDisk | None = None
) -> AsyncIterator[Desk]:
    """A device that reads and acts on what is at this address."""
    desk = Desk(folder, disk=disk)
    device = desk.device
    device.settings = replace(device.settings, allow_outlet_control=allow)
    link = lines.link(ModbusAddress.parse(address), 1, 9600)
    device.commander.link = link
    await Poller(link, desk.clock, device, name="ups", interval_s=1.0).poll()
    await device.switch(on=True)
    acting = asyncio.create_task(device.commander.run())
    try:
        yield desk
    finally:
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)
        desk.close()
