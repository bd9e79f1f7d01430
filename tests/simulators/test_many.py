"""Two hundred UPSs behind one port, read as agents read them: each every second, at little cost."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent.config import ModbusAddress
from agent.core.ports import Link
from agent.modbus import Lines
from protocol.registers import BLOCKS, decode_block

UNITS = 200
CONNECTIONS = 4
ROUNDS = 4
MAX_LOAD = 0.6  # of one processor; 0.15 on an idle machine
BAUD_RATE = 9600  # of no meaning on TCP


def processor_s(pid: int) -> float:
    """Processor time a process has taken so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def read_round(links: list[Link]) -> list[str]:
    """The status and dynamic blocks of some UPSs on one connection, and of which UPS each came."""
    serials = []
    for link in links:
        for name in ("status", "dynamic"):
            await link.read(BLOCKS[name].start, BLOCKS[name].count)
        values = decode_block(
            BLOCKS["inventory"].start, await link.read(BLOCKS["inventory"].start, BLOCKS["inventory"].count)
        )
        serials.append(str(values["serial_number"]))
    return serials


async def read_all(port: int) -> tuple[list[float], list[str]]:
    """Seconds of each round of all units, a second apart, and the serial numbers of the last."""
    lines = [Lines() for _ in range(CONNECTIONS)]
    address = ModbusAddress.parse(f"tcp://127.0.0.1:{port}")
    links: list[list[Link]] = [
        [lines[number].link(address, unit, BAUD_RATE) for unit in range(number + 1, UNITS + 1, CONNECTIONS)]
        for number in range(CONNECTIONS)
    ]
    took_s, serials = [], []
    loop = asyncio.get_running_loop()
    for _ in range(ROUNDS):
        began_s = loop.time()
        found = await asyncio.gather(*(read_round(share) for share in links))
        took_s.append(loop.time() - began_s)
        serials = [serial for share in found for serial in share]
        await asyncio.sleep(max(0.0, 1.0 - took_s[-1]))
    for line in lines:
        await line.close()
    return took_s, serials


def test_every_unit_answers_every_second_at_little_cost() -> None:
    command = [sys.executable, "-m", "simulators", "many", "--tcp", "127.0.0.1:0", "--count", str(UNITS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            port = int(ready.rpartition(":")[2])
            before_s, began_s = processor_s(process.pid), time.monotonic()
            took_s, serials = asyncio.run(read_all(port))
            load = (processor_s(process.pid) - before_s) / (time.monotonic() - began_s)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert len(set(serials)) == UNITS
    assert min(took_s) < 1.0  # the best round: others may be slowed by what else the machine does
    assert load < MAX_LOAD
