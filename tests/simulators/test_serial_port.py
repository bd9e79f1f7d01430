"""Real clients on the pseudo-terminal: pymodbus, and bytes written by hand."""

import asyncio
import contextlib
import fcntl
import os
import sys
import termios
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusIOException

from simulators.core.register_image import RegisterImage
from simulators.core.rtu import SILENCE_S, is_intact, seal
from simulators.core.smart_ups import SmartUps
from simulators.serial_port import SerialPort

READ_STATUS = seal(bytes.fromhex("01 03 00 00 00 1B"))
STATUS_BYTES = 59


@pytest.fixture
def link(tmp_path: Path) -> Path:
    return tmp_path / "tty"


@pytest.fixture
async def port(link: Path) -> AsyncIterator[SerialPort]:
    serving = SerialPort(link, {1: RegisterImage(SmartUps())})
    task = asyncio.create_task(serving.serve())
    yield serving
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
async def client(port: SerialPort, link: Path) -> AsyncIterator[AsyncModbusSerialClient]:
    assert port.terminal
    connected = AsyncModbusSerialClient(str(link), baudrate=9600, timeout=0.6, retries=0)
    assert await connected.connect()
    yield connected
    connected.close()


class Wire:
    """A client that writes what it likes."""

    def __init__(self, link: Path) -> None:
        self._line = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def close(self) -> None:
        os.close(self._line)

    def write(self, data: bytes) -> None:
        os.write(self._line, data)

    @property
    def waiting(self) -> int:
        """How many bytes have come and were not read."""
        return int.from_bytes(fcntl.ioctl(self._line, termios.FIONREAD, bytes(4)), sys.byteorder)

    async def read(self, enough: int, *, deadline_s: float = 10.0) -> bytes:
        """So many bytes at least. TimeoutError."""
        data = b""
        last_s = time.monotonic() + deadline_s
        while len(data) < enough:
            if time.monotonic() > last_s:
                raise TimeoutError(f"{len(data)} of {enough} bytes came")
            await asyncio.sleep(0.001)
            with contextlib.suppress(BlockingIOError):
                data += os.read(self._line, 512)
        return data

    async def rest(self, quiet_s: float = 0.15) -> bytes:
        """What still comes, until the line has been quiet for so long."""
        data = b""
        last_s = time.monotonic()
        while time.monotonic() - last_s < quiet_s:
            await asyncio.sleep(0.001)
            with contextlib.suppress(BlockingIOError):
                data += os.read(self._line, 512)
                last_s = time.monotonic()
        return data


@pytest.fixture
async def wire(port: SerialPort, link: Path) -> AsyncIterator[Wire]:
    assert port.terminal
    opened = Wire(link)
    yield opened
    opened.close()


async def test_pymodbus_reads_and_writes(client: AsyncModbusSerialClient) -> None:
    answer = await client.read_holding_registers(2050, count=12)
    assert answer.registers[4:6] == [0x1234, 0x5678]
    await asyncio.sleep(SILENCE_S)
    assert not (await client.write_registers(596, [0x4142] + [0x2020] * 7)).isError()
    await asyncio.sleep(SILENCE_S)
    assert (await client.read_holding_registers(596, count=8)).registers[0] == 0x4142
    await asyncio.sleep(SILENCE_S)
    assert (await client.read_holding_registers(1, count=2)).exception_code == 2


async def test_other_units_are_silent(client: AsyncModbusSerialClient) -> None:
    with pytest.raises(ModbusIOException):
        await client.read_holding_registers(0, count=2, device_id=9)
    assert not (await client.read_holding_registers(0, count=2)).isError()


async def test_answers_take_as_long_as_at_9600_baud(client: AsyncModbusSerialClient) -> None:
    taken_s = []
    for _ in range(5):  # a busy machine delays some of them, hardly all
        begun_s = time.monotonic()
        await client.read_holding_registers(516, count=120)
        taken_s.append(time.monotonic() - begun_s)
        if taken_s[-1] < 0.450:
            break
        await asyncio.sleep(SILENCE_S)
    assert min(taken_s) > 0.250
    assert taken_s[-1] < 0.450


async def test_garbage_is_forgotten_after_35_ms(wire: Wire, port: SerialPort) -> None:
    wire.write(b"\x01\x03\x00")
    wire.write(READ_STATUS)
    assert await wire.rest() == b""
    await asyncio.sleep(SILENCE_S)
    wire.write(READ_STATUS)
    answer = await wire.read(STATUS_BYTES)
    assert len(answer) == STATUS_BYTES
    assert is_intact(answer)
    assert port.answers == 1


async def test_unknown_function_and_wrong_crc_do_not_disturb(wire: Wire) -> None:
    wire.write(seal(b"\x01\x2b\x0e\x01\x00"))
    assert await wire.read(5) == seal(b"\x01\xab\x01")
    wire.write(READ_STATUS[:-1] + b"\x00")
    assert await wire.rest() == b""
    wire.write(READ_STATUS)
    assert is_intact(await wire.read(STATUS_BYTES))


async def test_a_request_right_behind_the_last_byte_is_answered_and_counted(
    wire: Wire, port: SerialPort
) -> None:
    wire.write(READ_STATUS)
    assert is_intact(await wire.read(STATUS_BYTES))
    wire.write(READ_STATUS)
    assert is_intact(await wire.read(STATUS_BYTES))
    assert port.early_requests == 1


async def test_a_unit_does_not_hear_while_it_speaks(wire: Wire, port: SerialPort) -> None:
    wire.write(READ_STATUS)
    assert len(await wire.read(20)) >= 20
    wire.write(READ_STATUS)
    assert len(await wire.rest()) < STATUS_BYTES
    assert port.answers == 1


async def test_modbus_switched_off_is_silent(wire: Wire, port: SerialPort) -> None:
    port.silent = True
    wire.write(READ_STATUS)
    assert await wire.rest() == b""


async def test_unread_answers_of_an_earlier_client_are_gone(
    link: Path, port: SerialPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulators.serial_port.STALE_S", 0.05)
    first = Wire(link)
    first.write(READ_STATUS)
    while first.waiting < STATUS_BYTES:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.15)
    first.close()
    second = Wire(link)
    second.write(READ_STATUS)
    assert len(await second.read(STATUS_BYTES) + await second.rest()) == STATUS_BYTES
    assert port.answers == 2
    second.close()


async def test_the_link_replaces_an_old_one_and_goes_with_the_port(link: Path) -> None:
    link.symlink_to("/nowhere")
    port = SerialPort(link, {})
    assert str(link.readlink()) == port.terminal
    newer = SerialPort(link, {})
    port.close()
    assert str(link.readlink()) == newer.terminal
    newer.close()
    assert not link.is_symlink()


async def test_a_port_that_is_closed_twice_leaves_its_successor_alone(link: Path) -> None:
    """The system gives the next port the name, and the descriptors, of the one that has gone."""
    port = SerialPort(link, {})
    port.close()
    newer = SerialPort(link, {})
    port.close()
    assert str(link.readlink()) == newer.terminal
    wire = Wire(link)
    wire.write(b"x")
    wire.close()
    newer.close()


async def test_a_file_is_not_replaced(link: Path) -> None:
    link.write_text("important")
    with pytest.raises(FileExistsError, match="not a link"):
        SerialPort(link, {})
    assert link.read_text() == "important"


async def test_a_client_sees_the_port_hang_up(link: Path) -> None:
    port = SerialPort(link, {1: RegisterImage(SmartUps())})
    wire = Wire(link)
    port.close()
    with pytest.raises(OSError, match="Input/output error"):
        wire.write(READ_STATUS)
    wire.close()
