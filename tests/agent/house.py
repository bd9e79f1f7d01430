"""A whole house of real processes round one agent: PostgreSQL, gateway, a simulated UPS, the agent itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg

from agent import control
from cloud.postgres.pool import make_pool
from cloud.services import claiming
from protocol.codec import encode
from simulators.control import send
from tests.faults.checker import judge, read_rows
from tests.faults.processes import Part, Parts, script
from tests.faults.seed import Label, make_labels
from tests.faults.trace import read_trace
from tests.support.claiming import make_actors
from tests.support.parts import CloudParts
from tests.support.stack import free_port, listens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloud.core.authz import Actor
    from tests.faults.checker import Verdict

WAIT_S: Final = 30.0


def wait_for(what: str, holds: Callable[[], object], timeout_s: float = WAIT_S) -> float:
    """Look again and again until it holds; the seconds that took. AssertionError names what did not come."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > timeout_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


class House:
    """The processes and what they say. Everything starts stopped, except the simulator."""

    def __init__(
        self,
        folder: Path,
        processes: Parts,
        *,
        cloud: CloudParts | None = None,
        rtu: bool = False,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.cloud = cloud or CloudParts(folder / "cloud", processes)
        self.label: Label = make_labels(1)[0]
        self._database: psycopg.Connection[tuple[Any, ...]] | None = None
        self.traces = folder / "traces"
        self.traces.mkdir()
        self._socket = folder / "sim.sock"
        self._port = port = free_port()
        key_file = folder / "label.key"
        key_file.touch(0o600)
        key_file.write_text(self.label.product_key.value)
        command = [script("smartconnect-simulator"), "ups", "--profile", "smartconnect"]
        command += [
            "--tcp",
            f"127.0.0.1:{port}",
            "--rtu",
            str(folder / "line"),
            "--socket",
            str(self._socket),
        ]
        command += ["--product-id", self.label.product_id.value, "--product-key-file", str(key_file)]
        self.simulator = processes.add("simulator", command, ready=self._is_simulated)
        self.simulator.start().wait_ready()
        self.config = folder / "agent.toml"
        modbus = f"serial:{folder / 'line'}" if rtu else f"tcp://127.0.0.1:{port}"
        wanted = {"name": "ups", "modbus": modbus, "enable": "auto", "report_interval_s": 1.0, **settings}
        lines = ['installation = "installation.json"', 'state_dir = "state"', "[[ups]]"]
        self.config.write_text("\n".join([*lines, *(f"{k} = {json.dumps(v)}" for k, v in wanted.items())]))
        self.agent: Part = processes.add(
            "agent",
            [script("smartconnect-agent"), "run", "--config", str(self.config)],
            environment={"SMARTCONNECT_TRACE_DIR": str(self.traces)},
        )

    def start_cloud(self) -> None:
        """PostgreSQL and gateway, unless they run; writes the file that names them to the agent."""
        if not self.cloud.parts["postgres"].alive:
            self.cloud.start_all(["postgres", "gateway"])
        (self.folder / "installation.json").write_bytes(encode(self.cloud.installation))

    def claim(self, name: str = "owner") -> Actor:
        """Somebody who was not there before claims the UPS by its label."""
        (person,) = make_actors(self.cloud.dsn, 1, f"{name}-{self.label.device_id}-")

        async def claimed() -> None:
            async with make_pool(self.cloud.dsn, name="claim", max_size=1) as pool:
                now_ms = time.time_ns() // 1_000_000
                await claiming.submit(pool, person, self.label.product_id, self.label.label_pub, now_ms)

        asyncio.run(claimed())
        return person

    def asked(self) -> dict[str, Any]:
        """What the running agent says of the UPS when it is asked for its status; empty if none runs."""
        answer = control.ask(self.folder / "state", {"order": "status"})
        found: dict[str, Any] = {} if answer is None else answer["upss"][0]
        return found

    def _is_simulated(self) -> bool:
        return listens(self._port) and self._socket.is_socket()

    def order(self, *words: str) -> dict[str, Any]:
        """Work the simulated UPS; its state afterwards."""
        return send(self._socket, list(words))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query whose only parameter is this device."""
        if self._database is not None:
            try:
                return self._database.execute(query, [self.label.device_id]).fetchall()
            except psycopg.OperationalError:  # the server was started anew since
                self.hang_up()
        self._database = psycopg.connect(self.cloud.dsn, connect_timeout=5, autocommit=True)
        return self._database.execute(query, [self.label.device_id]).fetchall()

    def hang_up(self) -> None:
        """Close the connection for `rows`, if there is one."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def latest(self, column: str) -> Any:
        """A column of what a page would show; None before the device has an owner."""
        rows = self.rows(f"SELECT {column} FROM latest WHERE device_id = %s")
        return rows[0][0] if rows else None

    def events(self) -> list[str]:
        """Kinds of the stored events, by time."""
        return [kind for (kind,) in self.rows("SELECT kind FROM event WHERE device_id = %s ORDER BY ts, seq")]

    def stored(self) -> int:
        """How many samples the database holds."""
        return int(self.rows("SELECT count(*) FROM telemetry WHERE device_id = %s")[0][0])

    def spooled(self) -> int:
        """How many samples the agent says it made durable."""
        return len(read_trace(self.traces / "ups.trace").spooled)

    def verdict(self) -> Verdict:
        """What the agent wrote down against what the database holds."""
        trace = read_trace(self.traces / "ups.trace")
        device_id = self.label.device_id
        return judge({device_id: trace}, read_rows(self.cloud.dsn, [device_id]))

    def is_drained(self) -> bool:
        """Whether everything the agent spooled so far is acknowledged."""
        return not read_trace(self.traces / "ups.trace").open()


@contextlib.contextmanager
def built_house(
    folder: Path, *, cloud: CloudParts | None = None, rtu: bool = False, **settings: object
) -> Iterator[House]:
    """A house; all its processes end with the block, but a ``cloud`` that is handed in is left alone."""
    with Parts(folder / "logs") as processes:
        house = House(folder, processes, cloud=cloud, rtu=rtu, **settings)
        try:
            yield house
        finally:
            house.hang_up()
