"""A whole site of real processes: PostgreSQL, gateway, simulated UPSs behind one port, agents that read them.

The devices are enrolled for real: a person's claims wait for the labels the simulator minted, the agents read
the codes over Modbus, announce themselves and are bound. Whoever uses the site kills its parts.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg

from protocol.codec import encode
from protocol.identity import ProductId, ProductKey
from protocol.signing import label_key, public_bytes
from simulators.control import send
from tests.accept import expect, progress, wait_until
from tests.faults.checker import Row, Verdict, judge, read_rows
from tests.faults.processes import Part, Parts, script
from tests.faults.seed import Label, claim_labels, count_owned
from tests.faults.trace import Place, Trace, read_trace
from tests.support.parts import CloudParts
from tests.support.stack import free_port, listens

LABEL_WORDS: Final = 6  # "Product ID X  Product Key Y"
ENROLL_TIMEOUT_S: Final = 90.0
DEVICES_PER_OWNER: Final = 10
EVENTS: Final = "SELECT device_id, kind FROM event WHERE device_id = ANY (%s) ORDER BY device_id, ts, seq"
ALARM: Final = re.compile(r"Traceback|\"level\": \"(error|critical)\"|\[(error|critical) *\]")
REJECTED: Final = "SELECT count(*), min(reason) FROM rejected"


def read_labels(path: Path) -> list[Label]:
    """The labels that ``smartconnect-simulator many --labels`` wrote, by unit."""
    labels = []
    for line in path.read_text("ascii").splitlines():
        words = line.split()
        if len(words) != LABEL_WORDS:
            raise ValueError(f"{path.name}: {len(words)} words are no label")
        product_id, product_key = ProductId.parse(words[2]), ProductKey.parse(words[5])
        labels.append(Label(product_id, product_key, public_bytes(label_key(product_id, product_key))))
    return labels


class Site:
    """All parts of the site; nothing runs before `start`."""

    def __init__(
        self, folder: Path, parts: Parts, *, devices: int, agents: int, poll_interval_s: float = 1.0
    ) -> None:
        self.folder = folder
        self.traces = folder / "traces"
        self.traces.mkdir(parents=True)
        self.cloud = CloudParts(folder / "cloud", parts)
        self.postgres, self.gateway = self.cloud.parts["postgres"], self.cloud.parts["gateway"]
        self.device_ids: dict[str, int] = {}
        """UPS → device; known once the labels are minted."""
        self._names = [f"ups{unit:03d}" for unit in range(1, devices + 1)]
        self._labels = folder / "labels"
        self._socket = folder / "ups.sock"
        self._port = free_port()
        self.simulator = parts.add(
            "simulator",
            [
                *(script("smartconnect-simulator"), "many", "--tcp", f"127.0.0.1:{self._port}"),
                *("--count", str(devices), "--profile", "smartconnect", "--smartconnect", "on"),
                *("--labels", str(self._labels), "--socket", str(self._socket)),
            ],
            ready=lambda: listens(self._port),
        )
        self.agents = [
            self._add_agent(parts, number, self._names[number::agents], poll_interval_s)
            for number in range(agents)
        ]

    def _add_agent(self, parts: Parts, number: int, names: list[str], poll_interval_s: float) -> Part:
        """Every agent reads its share of the UPSs, and reports each sample by itself."""
        config = self.folder / f"agent{number}.toml"
        lines = ['installation = "installation.json"', f'state_dir = "agent{number}"']
        for name in names:
            lines += ["[[ups]]", f'name = "{name}"', f'modbus = "tcp://127.0.0.1:{self._port}"']
            lines += [f"unit = {int(name[3:])}", 'enable = "auto"']
            lines += [f"poll_interval_s = {poll_interval_s}", f"report_interval_s = {poll_interval_s / 2}"]
        config.write_text("\n".join(lines) + "\n")
        return parts.add(
            f"agent{number}",
            [script("smartconnect-agent"), "run", "--config", str(config)],
            environment={
                "SMARTCONNECT_TRACE_DIR": str(self.traces),
                "SMARTCONNECT_AGENT_LOG_FORMAT": "human",
            },
        )

    def start(self) -> None:
        """Start everything and enrol every device; on return each has an owner and a stored sample."""
        self.cloud.start_all(["postgres", "gateway"])
        (self.folder / "installation.json").write_bytes(encode(self.cloud.installation))
        self.simulator.start().wait_ready()
        labels = read_labels(self._labels)
        self.device_ids = {name: label.device_id for name, label in zip(self._names, labels, strict=True)}
        claim_labels(self.cloud.dsn, labels, owners=-(-len(labels) // DEVICES_PER_OWNER))
        progress(f"cloud runs, {len(labels)} simulated UPSs, as many claims wait")
        for agent in self.agents:
            agent.start()
        ids = list(self.device_ids.values())
        took_s = wait_until(
            "every device has an owner",
            lambda: count_owned(self.cloud.dsn, ids) == len(ids),
            ENROLL_TIMEOUT_S,
            0.2,
        )
        progress(f"{len(ids)} devices are claimed {took_s:.1f} s after the agents' start")
        wait_until("every device has an acknowledged sample", self._all_acknowledged, ENROLL_TIMEOUT_S, 0.2)

    def _all_acknowledged(self) -> bool:
        evidence = self.evidence()
        return len(evidence) == len(self.device_ids) and all(trace.acked for trace in evidence.values())

    # --- what happened -------------------------------------------------------------------------------------

    def evidence(self) -> dict[int, Trace]:
        """What the agents wrote down so far, by device."""
        return {
            device_id: read_trace(path)
            for name, device_id in self.device_ids.items()
            if (path := self.traces / f"{name}.trace").exists()
        }

    def rows(self) -> list[Row]:
        """What the database holds."""
        return read_rows(self.cloud.dsn, self.device_ids.values())

    def verdict(self, evidence: Mapping[int, Trace] | None = None) -> Verdict:
        """Evidence (the present one) against the table, which is read later and so holds at least as much."""
        return judge(self.evidence() if evidence is None else evidence, self.rows())

    def wait_stored(self, evidence: Mapping[int, Trace], timeout_s: float) -> float:
        """Until every sample of this evidence is in the table; the seconds that took. CheckError."""
        what = "every sample the agents had made durable is in the table"
        return wait_until(what, lambda: not self.verdict(evidence).lost_waiting, timeout_s, 0.2)

    def wait_progress(self, timeout_s: float) -> float:
        """Until every device had samples of after now acknowledged; the seconds that took.

        CheckError when that takes too long, or when a part ends meanwhile.
        """
        before = {device_id: _last_spooled(trace) for device_id, trace in self.evidence().items()}

        def holds() -> bool:
            for part in (self.gateway, self.simulator, *self.agents):
                expect(part.alive, f"{part.name} ended with status {part.status}")
            return all(
                max(trace.acked.items(), default=(0, 0)) > before.get(device_id, (0, 0))
                for device_id, trace in self.evidence().items()
            )

        return wait_until("every device had a newer sample acknowledged", holds, timeout_s, 0.1)

    def events(self) -> dict[int, list[str]]:
        """Kinds of the stored events of each device, by time."""
        found: dict[int, list[str]] = {device_id: [] for device_id in self.device_ids.values()}
        for device_id, kind in self._ask(EVENTS, [list(found)]):
            found[device_id].append(kind)
        return found

    def rejected(self) -> tuple[int, str]:
        """How many messages the gateway could not use, and one of the reasons."""
        [(count, reason)] = self._ask(REJECTED, [])
        return int(count), str(reason or "")

    def alarms(self) -> list[str]:
        """What the logs hold that no kill excuses: crashes, and rows behind the fence's back."""
        found = []
        for part in (self.gateway, self.simulator, *self.agents):
            text = part.log.read_text(errors="replace") if part.log.exists() else ""
            found += [f"{part.name}: {line[:300]}" for line in text.splitlines() if ALARM.search(line)]
        return found

    def _ask(self, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.cloud.dsn, connect_timeout=5) as connection:
            return connection.execute(query, values or None).fetchall()

    # --- what is done to it --------------------------------------------------------------------------------

    def order(self, name: str, *words: str) -> dict[str, Any]:
        """Work a simulated UPS; its state afterwards."""
        return send(self._socket, list(words), unit=int(name[3:]))

    def order_all(self, *words: str) -> None:
        """Work all of them."""
        for name in self._names:
            self.order(name, *words)

    def drain(self, timeout_s: float) -> float:
        """Stop the UPSs, so that no more samples come, and wait until the table holds all; the seconds.

        The agents are asked to stop at the end: what they still had in memory is on disk then, and is sent by
        their next start, which has nothing to read. So the evidence is whole.
        """
        self.simulator.stop()
        took_s = self.wait_stored(self.evidence(), timeout_s)
        for agent in self.agents:
            expect(agent.stop() == 0, f"{agent.name} did not end well")
        for agent in self.agents:
            agent.start()
        took_s += self.wait_stored(self.evidence(), timeout_s)
        for agent in self.agents:
            agent.stop()  # perhaps so early that it had no time to say goodbye
        return took_s


def _last_spooled(trace: Trace) -> Place:
    return max(trace.spooled, default=(0, 0))


def _last_words(site: Site, lines: int = 12) -> str:
    parts = [site.postgres, site.gateway, site.simulator, *site.agents]
    tails = {part.name: [line[:200] for line in part.tail(lines).splitlines()] for part in parts}
    return json.dumps(tails, indent=1, ensure_ascii=False)


@contextlib.contextmanager
def built_site(folder: Path, **size: Any) -> Iterator[Site]:
    """A site that runs; all its processes end with the block. After a failure their last words are shown."""
    with Parts(folder / "logs") as parts:
        site = Site(folder, parts, **size)
        try:
            site.start()
            yield site
        except BaseException:
            progress(_last_words(site))
            raise
