"""What ``outlet-end-to-end`` runs: a whole cloud, two simulated UPSs, and an agent that reads both.

Only the first UPS has ``allow_outlet_control = true`` at the agent.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg

from protocol.codec import encode
from simulators.control import send
from tests.accept import wait_until
from tests.faults.processes import Part, Parts, script
from tests.faults.seed import Label
from tests.faults.site import read_labels
from tests.support.parts import ALL, CloudParts
from tests.support.stack import free_port, listens

ALLOWED: Final = 1
FORBIDDEN: Final = 2
OUTLET_COMMAND: Final = "outlet_command"
"""Register 1538, by its name in the register map."""


class House:
    """The processes, and what is seen of them from outside. ``unit``: 1 or 2."""

    def __init__(self, folder: Path, cloud: CloudParts, processes: Parts) -> None:
        self.cloud = cloud
        self._socket = folder / "ups.sock"
        self._labels = folder / "labels"
        port = free_port()
        self.simulator: Part = processes.add(
            "simulator",
            [
                *(script("smartconnect-simulator"), "many", "--tcp", f"127.0.0.1:{port}", "--count", "2"),
                *("--profile", "smartconnect", "--smartconnect", "on", "--labels", str(self._labels)),
                *("--socket", str(self._socket)),
            ],
            ready=lambda: listens(port),
        )
        config = folder / "agent.toml"
        lines = ['installation = "installation.json"', 'state_dir = "agent"']
        for unit in (ALLOWED, FORBIDDEN):
            wanted = {
                "name": f"ups{unit}",
                "modbus": f"tcp://127.0.0.1:{port}",
                "unit": unit,
                "enable": "auto",
            }
            wanted |= {"allow_outlet_control": True} if unit == ALLOWED else {}
            lines += ["[[ups]]", *(f"{name} = {json.dumps(value)}" for name, value in wanted.items())]
        config.write_text("\n".join(lines) + "\n")
        (folder / "installation.json").write_bytes(encode(cloud.installation))
        self.agent: Part = processes.add(
            "agent", [script("smartconnect-agent"), "run", "--config", str(config)]
        )

    def labels(self) -> list[Label]:
        """Of both UPSs."""
        return read_labels(self._labels)

    def order(self, unit: int, *words: str) -> dict[str, Any]:
        """Work a UPS; its state afterwards."""
        return send(self._socket, list(words), unit=unit)

    def writes(self, unit: int) -> int:
        """How often its register for outlet commands was written."""
        return int(self.order(unit, "state")["writes"].get(OUTLET_COMMAND, 0))

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.cloud.dsn) as connection:
            return connection.execute(statement.encode(), values or None).fetchall()

    def change(self, statement: str, *values: object) -> None:
        """Put something in the database as time or a colleague would."""
        with psycopg.connect(self.cloud.dsn, autocommit=True) as connection:
            connection.execute(statement.encode(), values or None)

    def shown(self, unit: int, condition: str, timeout_s: float = 30.0) -> None:
        """Wait until what pages show of a UPS fulfils this SQL condition."""
        device_id = self.labels()[unit - 1].device_id
        wait_until(
            f"UPS {unit} shows {condition}",
            lambda: self.rows(f"SELECT 1 FROM latest WHERE device_id = %s AND {condition}", device_id),
            timeout_s,
        )


@contextlib.contextmanager
def running_house(folder: Path) -> Iterator[House]:
    """All of it; every process ends with the block."""
    with Parts(folder / "logs") as processes:
        cloud = CloudParts(folder / "state", processes)
        cloud.start_all(ALL)
        house = House(folder, cloud, processes)
        house.simulator.start().wait_ready()
        house.agent.start()
        yield house
