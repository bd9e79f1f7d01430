"""A running simulator: units, both transports, the clock that drives them, start and stop."""

import asyncio
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from protocol.identity import ProductId, ProductKey
from protocol.registers import QUIRKS
from simulators.core.point import is_nameplate, nameplate_of, set_point
from simulators.core.register_image import RegisterImage
from simulators.core.smart_ups import SmartUps
from simulators.core.truth import facts
from simulators.modbus_server import TcpServer
from simulators.serial_port import SerialPort
from simulators.truth_log import TruthLog

TICK_S = 0.1
EXTENSION_PROFILE = "smartconnect"


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """One UPS as the command line asks for it."""

    profile: str = EXTENSION_PROFILE
    points: tuple[tuple[str, str], ...] = ()
    codes: tuple[ProductId, ProductKey] | None = None
    smartconnect: bool = False


def build(spec: UnitSpec) -> RegisterImage:
    """The unit, ready to run; ValueError for a point that cannot be set."""
    ups = SmartUps(nameplate_of(spec.points))
    for name, text in spec.points:
        if not is_nameplate(name):
            set_point(ups, name, text)
    ups.cause = "system_initialization"
    ups.smartconnect = spec.smartconnect
    has_block = spec.profile == EXTENSION_PROFILE
    if has_block and spec.codes is None:
        raise ValueError("a unit with SmartConnect needs product codes")
    return RegisterImage(ups, QUIRKS[spec.profile], spec.codes if has_block else None)


class Simulator:
    """Some units by unit id, on TCP, on one serial line or one each, or on both at once."""

    def __init__(
        self, images: Mapping[int, RegisterImage], *, speed: float = 1.0, truth: TruthLog | None = None
    ) -> None:
        self.images = images
        self._speed = speed
        self._truth = truth
        self._tcp: TcpServer | None = None
        self._port: SerialPort | None = None
        self._cables: dict[int, SerialPort] = {}
        self.modbus_on = True

    async def listen_tcp(self, host: str, port: int) -> tuple[str, int]:
        """Serve Modbus/TCP from now on; the address it really has."""
        self._tcp = TcpServer(self.images)
        return await self._tcp.start(host, port)

    def open_line(self, link: Path) -> str:
        """Make the pseudo-terminal; the name of its slave side."""
        self._port = SerialPort(link, self.images)
        return self._port.terminal

    def open_cables(self, folder: Path) -> None:
        """A serial line for each unit: FOLDER/unitN."""
        folder.mkdir(exist_ok=True)
        for unit, image in self.images.items():
            self._cables[unit] = SerialPort(folder / f"unit{unit}", {unit: image})

    def switch_modbus(self, *, on: bool) -> None:
        """The front panel's advanced menu: Modbus off means that nothing is answered."""
        self.modbus_on = on
        for transport in (self._tcp, self._port):
            if transport is not None:
                transport.silent = not on

    def switch_cable(self, unit: int, *, on: bool) -> None:
        """Pull or put back the cable of one unit, in the middle of an answer if one is on its way."""
        if unit not in self._cables:
            raise ValueError(f"unit {unit} has no cable of its own")
        self._cables[unit].silent = not on

    def cable_in(self, unit: int) -> bool:
        """Whether the cable of the unit is where it belongs."""
        return unit not in self._cables or not self._cables[unit].silent

    def line_figures(self) -> dict[str, int]:
        """Answers given on the serial line, and requests that came before 35 ms of silence."""
        if self._port is None:
            return {}
        return {"answers": self._port.answers, "early_requests": self._port.early_requests}

    async def run(self, stop: asyncio.Event) -> None:
        """Let time pass and answer, until ``stop`` is set."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._tick(), name="simulated time")]
                tasks += [group.create_task(port.serve(), name="serial port") for port in self._ports()]
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            if self._tcp is not None:
                await self._tcp.stop()
            for port in self._ports():
                port.close()

    def _ports(self) -> list[SerialPort]:
        return [*([] if self._port is None else [self._port]), *self._cables.values()]

    async def _tick(self) -> None:
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            for unit, image in self.images.items():
                image.ups.step((now_s - last_s) * self._speed)
                if self._truth is not None:
                    self._truth.look(unit, {**facts(image.ups), "cable": self.cable_in(unit)})
            last_s = now_s


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
