"""Simulated UPSs over Modbus/TCP: pymodbus does the transport, ``RegisterImage`` every decision.

The address space given to pymodbus is a blank sheet: its action fills in what a read may see and carries out
a write. Requests for other units get no answer, as on a line.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from simulators.core.register_image import MAP_WORDS, AccessError, RegisterImage
from simulators.core.rtu import READ_HOLDING, READ_INPUT, WRITE_MANY, WRITE_ONE

if TYPE_CHECKING:
    import asyncio


class TcpServer:
    """A listening socket with one or more units behind it."""

    def __init__(self, images: Mapping[int, RegisterImage]) -> None:
        self._images = images
        self._server: ModbusTcpServer | None = None
        self.silent = False

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, and tell where; OSError when the address is taken."""
        devices = [_device(unit, image) for unit, image in self._images.items()]
        self._server = ModbusTcpServer(
            devices,
            address=(host, port),
            trace_pdu=self._filter,  # type: ignore[arg-type] # None, which drops a request, works, too
        )
        try:
            await self._server.serve_forever(background=True)
        except RuntimeError as problem:
            raise OSError(f"cannot listen on {host}:{port}") from problem
        listener = cast("asyncio.Server", self._server.transport)
        name = listener.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def stop(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # it has no types
            self._server = None

    def _filter(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU | None:
        if sending or (not self.silent and pdu.dev_id in self._images):
            return pdu
        return None


def _device(unit: int, image: RegisterImage) -> SimDevice:
    sheet = SimData(0, count=MAP_WORDS, values=0, datatype=DataType.REGISTERS)
    return SimDevice(unit, simdata=[sheet], action=partial(_access, image))


async def _access(
    image: RegisterImage,
    function_code: int,
    _start: int,
    address: int,
    count: int,
    registers: list[int],
    values: list[int] | list[bool] | None,
) -> ExcCodes | None:
    """Called by pymodbus at each access, before it reads from or writes to the sheet."""
    try:
        if function_code in {READ_HOLDING, READ_INPUT}:
            registers[address : address + count] = image.read(address, count)
        elif function_code not in {WRITE_ONE, WRITE_MANY}:
            return ExcCodes.ILLEGAL_FUNCTION
        elif values:  # the read after a single write echoes what was written
            image.write(address, [int(value) for value in values])
    except AccessError as refusal:
        return ExcCodes(refusal.code)
    return None
