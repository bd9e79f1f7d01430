import asyncio
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from protocol.extension import COUNT, START, decode_extension
from simulators import label
from simulators.unit import Simulator, UnitSpec, build


def test_build_applies_points_and_profile() -> None:
    codes = label.mint()
    points = (("sku", "SMT750IC"), ("load_pct", "55"), ("mains", "off"))
    image = build(UnitSpec("smartconnect", points, codes, smartconnect=True))
    assert (image.ups.plate.sku, image.ups.load_pct, image.ups.plugged) == ("SMT750IC", 55, False)
    block = decode_extension(image.read(START, COUNT))
    assert block is not None
    assert block.enabled
    assert decode_extension(build(UnitSpec("ups_serial")).read(START, COUNT)) is None


def test_smartconnect_needs_codes_and_points_must_exist() -> None:
    with pytest.raises(ValueError, match="product codes"):
        build(UnitSpec("smartconnect"))
    with pytest.raises(ValueError, match="no point"):
        build(UnitSpec("ups_serial", (("colour", "red"),)))


async def test_both_transports_show_one_unit_whose_time_passes(tmp_path: Path) -> None:
    image = build(UnitSpec("ups_serial", (("mains", "off"),)))
    simulator = Simulator({1: image}, speed=1000)
    _, port = await simulator.listen_tcp("127.0.0.1", 0)
    link = tmp_path / "tty"
    simulator.open_line(link)
    stop = asyncio.Event()
    running = asyncio.create_task(simulator.run(stop))
    tcp = AsyncModbusTcpClient("127.0.0.1", port=port)
    serial = AsyncModbusSerialClient(str(link), baudrate=9600, timeout=1)
    assert await tcp.connect()
    assert await serial.connect()
    while image.ups.output_on:
        await asyncio.sleep(0.02)
    for client in (tcp, serial):
        answer = await client.read_holding_registers(0, count=3)
        assert answer.registers[1] & 0x0010
        assert answer.registers[2] == 13
        client.close()
    assert simulator.line_figures()["answers"] == 1
    stop.set()
    await running
    assert not link.is_symlink()
