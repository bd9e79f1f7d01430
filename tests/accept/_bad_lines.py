"""One agent, a healthy UPS, and three bad lines: unplugged, asked by a wrong unit id, Modbus switched off."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from cloud.core.authz import Actor
from protocol.codec import encode
from simulators.control import send
from tests.accept import expect, progress, wait_until
from tests.accept._attacks import Log
from tests.faults.checker import judge, read_rows
from tests.faults.processes import Part, Parts, script
from tests.faults.seed import Label, make_labels
from tests.faults.trace import Trace, read_trace
from tests.support.interop import submit_claim
from tests.support.parts import CloudParts
from tests.support.stack import free_port, listens

POLL_S = 0.5
LONGEST_STEP_S = 2.0
"""Between two samples of the healthy UPS: more would be a reading that failed."""
ENROL_S = 60.0
NOTICE_S = 30.0
RECOVER_S = 40.0
"""A UPS that was silent is asked every 10 s."""
SILENT = "the UPS does not answer soundly"
ASKS_AGAIN = "the UPS answers again"
HINT = "is Modbus switched on, and the unit id right?"
HEALTHY, UNPLUGGED, WRONG_UNIT, MODBUS_OFF = "healthy", "unplugged", "wrong-unit", "modbus-off"
ON_TERMINALS = (UNPLUGGED, MODBUS_OFF)


class BadLines:
    """Four simulated UPSs, each a process, and the agent that reads them."""

    def __init__(self, work: Path, processes: Parts, cloud: CloudParts, owner: Actor) -> None:
        self._work = work
        self._cloud = cloud
        self._owner = owner
        self._traces = work / "traces"
        self._traces.mkdir()
        names = (HEALTHY, UNPLUGGED, WRONG_UNIT, MODBUS_OFF)
        self._labels: dict[str, Label] = dict(zip(names, make_labels(len(names)), strict=True))
        self._ports = {name: free_port() for name in names}
        self._simulators = {name: self._add_simulator(processes, name) for name in names}
        config = work / "agent.toml"
        config.write_text(self._settings())
        self.agent: Part = processes.add(
            "agent",
            [script("smartconnect-agent"), "run", "--config", str(config)],
            environment={"SMARTCONNECT_TRACE_DIR": str(self._traces)},
        )
        self._log = Log(self.agent.log)

    def start(self) -> None:
        """Start everything; the three UPSs that can be read are claimed, and their samples arrive."""
        (self._work / "installation.json").write_bytes(encode(self._cloud.installation))
        for simulator in self._simulators.values():
            simulator.start()
        for simulator in self._simulators.values():
            simulator.wait_ready()
        readable = [HEALTHY, *ON_TERMINALS]
        for label in (self._labels[name] for name in readable):
            submit_claim(self._cloud, self._owner, label.product_id, label.label_pub)
        self.agent.start()
        for name in readable:
            wait_until(f"samples of {name} are stored", lambda n=name: self._stored(n) > 2, ENROL_S)  # type: ignore[misc]  # bound per name
        progress("an agent reads three UPSs and asks a fourth one by a wrong unit id")

    def judge_all(self) -> int:
        """Each bad line once: its line in the agent's log, and what comes when it is good again; how many."""
        entry = self._log.expect_line(0, WRONG_UNIT, {"event": SILENT, "ups": WRONG_UNIT, "reason": HINT})
        progress(f"wrong unit id: {entry['reason']}")
        self._judge(UNPLUGGED, "is it plugged in?", self._unplug, self._plug_in)
        self._judge(MODBUS_OFF, HINT, lambda: self._switch_modbus("off"), lambda: self._switch_modbus("on"))
        return 3

    def _judge(self, name: str, reason: str, spoil: Any, mend: Any) -> None:
        start, events = self._log.size(), self._events(name)
        spoil()
        self._log.expect_line(start, name, {"event": SILENT, "level": "warning", "ups": name}, NOTICE_S)
        wait_until(
            f"{name}: the cloud knows",
            lambda: self._events(name) == [*events, "communication_lost"],
            NOTICE_S,
        )
        said = self._said(name)
        expect(reason in said, f"{name}: the agent says {said!r}")
        mend()
        self._log.expect_line(start, name, {"event": ASKS_AGAIN, "ups": name}, RECOVER_S)
        before = self._stored(name)
        wait_until(f"{name}: samples arrive again", lambda: self._stored(name) > before, NOTICE_S)
        progress(f"{name}: {said}; {ASKS_AGAIN} afterwards")

    def _said(self, name: str) -> str:
        """The reason in the event that the cloud keeps."""
        query = (
            "SELECT detail ->> 'reason' FROM event WHERE device_id = %s AND kind = 'communication_lost'"
            " ORDER BY ts DESC LIMIT 1"
        )
        return str(self._ask(query, name)[0][0])

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """Both lines are bad inside the block."""
        self._unplug()
        self._switch_modbus("off")
        try:
            yield
        finally:
            self._plug_in()
            self._switch_modbus("on")

    def finish(self) -> int:
        """Stop the agent; the healthy UPS's samples, none lost, none missing. CheckError."""
        expect(self.agent.alive, f"the agent ended: {self.agent.tail()}")
        complaint = [
            entry for entry in self._log.entries() if entry["event"] == SILENT and entry.get("ups") == HEALTHY
        ]
        expect(not complaint, f"the healthy UPS was disturbed: {complaint[:1]}")
        self._simulators[HEALTHY].stop()
        wait_until("the agent has delivered everything", lambda: not self._trace().open(), NOTICE_S)
        device_id = self._labels[HEALTHY].device_id
        trace = self._trace()
        verdict = judge({device_id: trace}, read_rows(self._cloud.dsn, [device_id]))
        expect(not verdict.complaints(drained=True), "; ".join(verdict.complaints(drained=True)))
        times = sorted(trace.spooled.values())[1:]  # the first is from before the time was known
        step_ms = max(after - before for before, after in itertools.pairwise(times))
        expect(step_ms <= 1000 * LONGEST_STEP_S, f"{step_ms} ms between two samples of the healthy UPS")
        expect(self.agent.stop() == 0, f"the agent did not stop well: {self.agent.tail()}")
        return verdict.spooled

    # --- parts ----------------------------------------------------------------------------------------------

    def _terminal(self, name: str) -> Path:
        return self._work / f"{name}.tty"

    def _add_simulator(self, processes: Parts, name: str) -> Part:
        label, port = self._labels[name], self._ports[name]
        key_file = self._work / f"{name}.key"
        key_file.touch(0o600)
        key_file.write_text(label.product_key.value)
        command = [
            *(
                script("smartconnect-simulator"),
                "ups",
                "--profile",
                "smartconnect",
                "--tcp",
                f"127.0.0.1:{port}",
            ),
            *("--socket", str(self._socket(name)), "--smartconnect", "on"),
            *("--product-id", label.product_id.value, "--product-key-file", str(key_file)),
        ]
        if name in ON_TERMINALS:
            command += ["--rtu", str(self._terminal(name))]
        return processes.add(name, command, ready=lambda: listens(port))

    def _socket(self, name: str) -> Path:
        return self._work / f"{name}.sock"

    def _settings(self) -> str:
        text = [f"installation = {json.dumps('installation.json')}", 'state_dir = "state"']
        for name, port in self._ports.items():
            modbus = f"serial:{self._terminal(name)}" if name in ON_TERMINALS else f"tcp://127.0.0.1:{port}"
            text += ["[[ups]]", f'name = "{name}"', f"modbus = {json.dumps(modbus)}", 'enable = "auto"']
            text += [f"unit = {9 if name == WRONG_UNIT else 1}"]
            text += [f"poll_interval_s = {POLL_S}", "report_interval_s = 1.0"]
        return "\n".join(text) + "\n"

    def _unplug(self) -> None:
        self._simulators[UNPLUGGED].kill()

    def _plug_in(self) -> None:
        self._simulators[UNPLUGGED].start().wait_ready()

    def _switch_modbus(self, word: str) -> None:
        send(self._socket(MODBUS_OFF), ["modbus", word])

    # --- what is known --------------------------------------------------------------------------------------

    def _trace(self) -> Trace:
        return read_trace(self._traces / f"{HEALTHY}.trace")

    def _stored(self, name: str) -> int:
        return int(self._ask("SELECT count(*) FROM v_telemetry WHERE device_id = %s", name)[0][0])

    def _events(self, name: str) -> list[str]:
        """Kinds of the stored events about the line, by time."""
        query = "SELECT kind FROM event WHERE device_id = %s AND kind = 'communication_lost' ORDER BY ts, seq"
        return [kind for (kind,) in self._ask(query, name)]

    def _ask(self, query: str, name: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._cloud.dsn) as connection:
            return connection.execute(query, (self._labels[name].device_id,)).fetchall()
