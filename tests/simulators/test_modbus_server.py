"""A real pymodbus client on a real socket."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from simulators.core.register_image import RegisterImage
from simulators.core.smart_ups import SmartUps
from simulators.modbus_server import TcpServer


@pytest.fixture
def images() -> dict[int, RegisterImage]:
    return {unit: RegisterImage(SmartUps(load_pct=10.0 * unit)) for unit in (1, 7)}


@pytest.fixture
async def server(images: dict[int, RegisterImage]) -> AsyncIterator[tuple[TcpServer, int]]:
    listening = TcpServer(images)
    _, port = await listening.start("127.0.0.1", 0)
    yield listening, port
    await listening.stop()


@pytest.fixture
async def client(server: tuple[TcpServer, int]) -> AsyncIterator[AsyncModbusTcpClient]:
    connected = AsyncModbusTcpClient("127.0.0.1", port=server[1], timeout=0.5, retries=0)
    assert await connected.connect()
    yield connected
    connected.close()


async def test_reads_every_unit_and_follows_its_state(
    images: dict[int, RegisterImage], client: AsyncModbusTcpClient
) -> None:
    for unit in (1, 7):
        answer = await client.read_holding_registers(136, count=1, device_id=unit)
        assert answer.registers == [2560 * unit]
    images[1].ups.plug(into_mains=False)
    assert (await client.read_holding_registers(0, count=2, device_id=1)).registers == [0, 0x0244]
    assert (await client.read_holding_registers(0, count=2, device_id=7)).registers == [0, 0x2002]
    assert (await client.read_input_registers(128, count=44, device_id=7)).registers[8] == 17920


async def test_access_rules_reach_the_client(client: AsyncModbusTcpClient) -> None:
    assert (await client.read_holding_registers(1, count=2)).exception_code == 2
    assert (await client.read_holding_registers(5, count=1)).registers == [0xFFFF]
    assert (await client.read_coils(0, count=8)).exception_code == 1
    assert (await client.write_coil(0, value=True)).exception_code == 1
    assert (await client.write_register(0, 1)).exception_code == 2
    assert (await client.write_register(1026, 400)).exception_code == 4


async def test_writes_and_commands(images: dict[int, RegisterImage], client: AsyncModbusTcpClient) -> None:
    answer = await client.write_register(1541, 1)
    assert not answer.isError()
    assert answer.registers == [1]
    assert images[1].ups.mode == "testing"
    assert not (await client.write_registers(1538, [0, 0x0204])).isError()
    assert not images[1].ups.outlets["sog0"].on
    assert (await client.read_holding_registers(1536, count=8)).registers == [0] * 8


async def test_other_units_are_silent_and_the_line_survives(client: AsyncModbusTcpClient) -> None:
    with pytest.raises(ModbusIOException):
        await client.read_holding_registers(0, count=2, device_id=9)
    assert not (await client.read_holding_registers(0, count=2, device_id=1)).isError()


async def test_modbus_switched_off_is_silent(
    server: tuple[TcpServer, int], client: AsyncModbusTcpClient
) -> None:
    server[0].silent = True
    with pytest.raises(ModbusIOException):
        await client.read_holding_registers(0, count=2)
    server[0].silent = False
    assert not (await client.read_holding_registers(0, count=2)).isError()


async def test_a_taken_port_is_an_error(server: tuple[TcpServer, int]) -> None:
    second = TcpServer({1: RegisterImage(SmartUps())})
    with pytest.raises(OSError, match="cannot listen"):
        await second.start("127.0.0.1", server[1])
    await second.stop()


async def test_many_clients_at_once(server: tuple[TcpServer, int]) -> None:
    async def read() -> list[int]:
        client = AsyncModbusTcpClient("127.0.0.1", port=server[1])
        await client.connect()
        answer = await client.read_holding_registers(2050, count=12, device_id=7)
        client.close()
        return list(answer.registers)

    answers = await asyncio.gather(*(read() for _ in range(20)))
    assert all(answer[:4] == [0x3132, 0x3334, 0x3536, 0x3738] for answer in answers)
