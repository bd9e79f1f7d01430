import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators.control import ControlServer, obey, send
from simulators.unit import Simulator, UnitSpec, build


@pytest.fixture
def simulator() -> Simulator:
    return Simulator({1: build(UnitSpec("ups_serial")), 5: build(UnitSpec("ups_serial"))})


@pytest.fixture
async def path(simulator: Simulator, tmp_path: Path) -> AsyncIterator[Path]:
    socket = tmp_path / "s"
    server = ControlServer(simulator, socket)
    await server.start()
    yield socket
    await server.stop()
    assert not socket.exists()


def test_orders(simulator: Simulator) -> None:
    assert obey(simulator, 1, ["mains", "off"])["mode"] == "on_battery"
    assert obey(simulator, 1, ["load", "80"])["load_pct"] == 80
    assert obey(simulator, 1, ["button"])["presence"] == 1
    assert obey(simulator, 1, ["disable"])["smartconnect"] is False
    assert obey(simulator, 1, ["enable"])["smartconnect"] is True
    assert obey(simulator, 1, ["set", "state_of_charge", "33"])["charge_pct"] == 33
    assert obey(simulator, 1, ["modbus", "off"])["modbus"] is False
    assert obey(simulator, 5, ["state"])["mode"] == "online"
    assert obey(simulator, 5, ["test"])["mode"] == "testing"
    with pytest.raises(ValueError, match="no cable"):
        obey(simulator, 5, ["cable", "off"])


@pytest.mark.parametrize(
    "words", [[], ["mains"], ["mains", "maybe"], ["load", "much"], ["fly"], ["set", "a", "b"]]
)
def test_misunderstood_orders(simulator: Simulator, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"orders|neither|float|point"):
        obey(simulator, 1, words)


def test_the_front_panel_takes_what_the_ups_takes(simulator: Simulator) -> None:
    assert obey(simulator, 1, ["panel", "transfer_low", "190"])["rows"]["transfer_low"] == 190
    assert obey(simulator, 1, ["panel", "sensitivity", "low"])["rows"]["sensitivity"] == ["low"]
    assert obey(simulator, 1, ["panel", "ups_name", "Rack", "4"])["rows"]["ups_name"] == "Rack 4"
    for words in (
        ["transfer_low", "250"],
        ["sensitivity", "high"],
        ["ups_status", "1"],
        ["ups_name", "x" * 17],
    ):
        with pytest.raises(ValueError, match=r"take|setting|bit|characters"):
            obey(simulator, 1, ["panel", *words])
    assert obey(simulator, 1, ["state"])["rows"]["transfer_low"] == 190


def test_absent_unit(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="no unit 2"):
        obey(simulator, 2, ["state"])


def test_state_is_plain_json_with_every_row(simulator: Simulator) -> None:
    state = json.loads(json.dumps(obey(simulator, 1, ["state"])))
    assert state["rows"]["ups_status"] == ["high_efficiency", "online"]
    assert state["rows"]["manufacture_date"] == "2024-05-17"
    assert state["serial_number"] == state["rows"]["serial_number"]


async def test_over_the_socket(path: Path, simulator: Simulator) -> None:
    state = await asyncio.to_thread(send, path, ["mains", "off"], unit=5)
    assert state["mode"] == "on_battery"
    assert simulator.images[1].ups.plugged
    with pytest.raises(ValueError, match="orders are"):
        await asyncio.to_thread(send, path, ["fly"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_garbage_on_the_socket_is_survived(path: Path) -> None:
    for data in (b"\xff\xfe\n", b"x" * 10000, b"one two\n", b"\n"):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(data)
        writer.write_eof()
        await reader.read()
        writer.close()
    assert (await asyncio.to_thread(send, path, ["state"]))["mains"] is True
