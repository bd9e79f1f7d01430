"""Many units on a serial line each, and the file of what really happened to them."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from simulators.command_line import main
from simulators.core.rtu import is_intact, seal
from simulators.truth_log import TruthLog
from simulators.unit import Simulator, UnitSpec, build


def ask(unit: int) -> bytes:
    """A read of the status block."""
    return seal(bytes((unit, 3, 0, 0, 0, 27)))


async def heard(link: Path, request: bytes, timeout_s: float) -> bytes:
    """What comes back on the line within this time, or until an answer is complete."""
    line = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        os.write(line, request)
        data = b""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < deadline and len(data) < 59:
            await asyncio.sleep(0.01)
            try:
                data += os.read(line, 512)
            except BlockingIOError:
                continue
        return data
    finally:
        os.close(line)


async def test_each_unit_has_its_own_cable_and_its_truth_is_written_down(tmp_path: Path) -> None:
    images = {unit: build(UnitSpec("ups_serial")) for unit in (1, 2)}
    stop = asyncio.Event()
    with TruthLog(tmp_path / "truth") as truth:
        simulator = Simulator(images, truth=truth)
        simulator.open_cables(tmp_path / "cables")
        running = asyncio.create_task(simulator.run(stop))
        one, two = tmp_path / "cables" / "unit1", tmp_path / "cables" / "unit2"
        assert is_intact(await heard(one, ask(1), 5.0))
        simulator.switch_cable(1, on=False)
        images[2].ups.plug(into_mains=False)
        nothing, answer = await asyncio.gather(heard(one, ask(1), 0.3), heard(two, ask(2), 5.0))
        assert nothing == b""
        assert is_intact(answer)
        async with asyncio.timeout(10):
            while '"cable", "value": false' not in (tmp_path / "truth").read_text():
                await asyncio.sleep(0.02)
        stop.set()
        await running
    lines = [json.loads(line) for line in (tmp_path / "truth").read_text().splitlines()]
    news = [(line["unit"], line["fact"], line["value"]) for line in lines]
    assert news.count((1, "mode", "online")) == news.count((2, "mode", "on_battery")) == 1
    assert (1, "cable", False) in news
    assert (1, "mode", "on_battery") not in news
    assert not one.is_symlink()


def test_units_without_any_line_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["many", "--count", "2"]) == 1
    assert "--cables" in capsys.readouterr().err
