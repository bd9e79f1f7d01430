"""The parts of the check ``event-truth``: a cloud, UPSs on serial lines, agents behind links to be cut."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psycopg

from protocol.codec import encode
from simulators.control import send
from tests.accept import expect, progress, wait_until
from tests.accept._cut_link import CutLinks
from tests.accept._event_oracle import Stored
from tests.faults.processes import Part, Parts, script
from tests.faults.seed import claim_labels, count_owned
from tests.faults.site import ALARM, read_labels
from tests.support.parts import CloudParts

ENROLL_TIMEOUT_S: Final = 90.0
POLL_S: Final = 1.0
REPORT_S: Final = 10.0
OFFLINE_AFTER_S: Final = 75
UNITS_PER_OWNER: Final = 10
AWAY: Final = (
    r"^(\d\d):(\d\d):(\d\d) \[\w+ *\]"
    r" (no connection to the cloud|connected to the cloud again)\b.*\bups=ups{unit}$"
)
EVENTS: Final = (
    "SELECT device_id, kind, coalesce(detail->>'result', ''), (extract(epoch FROM ts) * 1000)::bigint, stream"
    " FROM event WHERE device_id = ANY (%s) ORDER BY device_id, ts, stream, seq"
)


class EventSite:
    """Everything that runs; `start` enrols the units."""

    def __init__(self, folder: Path, parts: Parts, *, units: int, agents: int) -> None:
        self.folder, self.units = folder, units
        self.truth = folder / "truth"
        self.cloud = CloudParts(folder / "cloud", parts)
        jobs = self.cloud.parts["jobs"]
        jobs.command = [*jobs.command, "--offline-after-s", str(OFFLINE_AFTER_S)]
        self.links = CutLinks(self.cloud.gateway_port, agents)
        self._socket, self._labels = folder / "ups.sock", folder / "labels"
        cables = folder / "cables"
        self.simulator = parts.add(
            "simulator",
            [
                *(script("smartconnect-simulator"), "many", "--cables", str(cables), "--count", str(units)),
                *("--profile", "smartconnect", "--smartconnect", "on", "--truth", str(self.truth)),
                *("--labels", str(self._labels), "--socket", str(self._socket)),
            ],
            ready=self._socket.exists,
        )
        self.agents = [self._add_agent(parts, cables, number, agents) for number in range(agents)]
        self.device_ids: dict[int, int] = {}
        """Unit → device."""

    def units_of(self, agent: int) -> list[int]:
        """The units that an agent reads."""
        return [unit for unit in range(1, self.units + 1) if unit % len(self.agents) == agent]

    def _add_agent(self, parts: Parts, cables: Path, number: int, agents: int) -> Part:
        config = self.folder / f"agent{number}.toml"
        lines = [f'installation = "installation{number}.json"', f'state_dir = "agent{number}"']
        for unit in range(1, self.units + 1):
            if unit % agents == number:
                lines += ["[[ups]]", f'name = "ups{unit}"', f'modbus = "serial:{cables / f"unit{unit}"}"']
                lines += [f"unit = {unit}", 'enable = "auto"', f"poll_interval_s = {POLL_S}"]
                lines += [f"report_interval_s = {REPORT_S}"]
        config.write_text("\n".join(lines) + "\n")
        command = [script("smartconnect-agent"), "run", "--config", str(config)]
        return parts.add(f"agent{number}", command, environment={"SMARTCONNECT_AGENT_LOG_FORMAT": "human"})

    def start(self) -> None:
        """Start everything; on return each unit has an owner and a stored reading."""
        self.cloud.start_all(["postgres", "gateway", "jobs"])
        for number, port in enumerate(self.links.ports):
            installation = replace(self.cloud.installation, gateway_port=port)
            (self.folder / f"installation{number}.json").write_bytes(encode(installation))
        self.simulator.start().wait_ready()
        labels = read_labels(self._labels)
        self.device_ids = {unit: label.device_id for unit, label in enumerate(labels, start=1)}
        claim_labels(self.cloud.dsn, labels, owners=-(-len(labels) // UNITS_PER_OWNER))
        for agent in self.agents:
            agent.start()
        ids = list(self.device_ids.values())
        wait_until(
            "every device has an owner",
            lambda: count_owned(self.cloud.dsn, ids) == len(ids),
            ENROLL_TIMEOUT_S,
            0.2,
        )
        query = "SELECT count(DISTINCT device_id) FROM telemetry"
        wait_until(
            "every device has readings", lambda: self.ask(query) == [(len(ids),)], ENROLL_TIMEOUT_S, 0.2
        )
        progress(f"cloud, {len(self.agents)} agents and {len(ids)} UPSs on serial lines run")

    def ask(self, query: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of the cloud's database."""
        with psycopg.connect(self.cloud.dsn, connect_timeout=5) as connection:
            return connection.execute(query, values).fetchall()

    def stored(self) -> tuple[dict[int, list[Stored]], dict[int, list[str]]]:
        """By unit: the events that devices sent, and the kinds of those that the cloud told itself."""
        units = {device_id: unit for unit, device_id in self.device_ids.items()}
        sent: dict[int, list[Stored]] = {unit: [] for unit in self.device_ids}
        own: dict[int, list[str]] = {unit: [] for unit in self.device_ids}
        for device_id, kind, result, ts_ms, stream in self.ask(EVENTS, [list(units)]):
            if stream:
                sent[units[device_id]].append(Stored(kind, result, ts_ms))
            else:
                own[units[device_id]].append(kind)
        return sent, own

    def times_away_s(self, unit: int) -> list[float]:
        """How long a unit was without connection each time, as its agent says."""
        found: list[float] = []
        lost_s: float | None = None
        log = self.agents[unit % len(self.agents)].log.read_text(errors="replace")
        for hour, minute, second, what in re.findall(AWAY.format(unit=unit), log, re.MULTILINE):
            at_s = int(hour) * 3600.0 + int(minute) * 60 + int(second)
            if what.startswith("no"):
                lost_s = at_s if lost_s is None else lost_s
            elif lost_s is not None:
                found.append((at_s - lost_s) % 86_400)
                lost_s = None
        return found

    def order(self, unit: int, *words: str) -> None:
        """Work a simulated UPS."""
        send(self._socket, list(words), unit=unit)

    def kill_gateway(self) -> None:
        """SIGKILL; it stays away until `revive_gateway`."""
        self.cloud.kill("gateway")

    def revive_gateway(self) -> None:
        """Start it again."""
        self.cloud.parts["gateway"].start()

    def expect_alive(self) -> None:
        """Nothing has ended that was not killed."""
        for part in (self.simulator, *self.agents, self.cloud.parts["jobs"], self.cloud.parts["postgres"]):
            expect(part.alive, f"{part.name} ended with status {part.status}")

    def alarms(self) -> list[str]:
        """What the logs hold that neither a cut nor a kill excuses."""
        found = []
        for part in (*self.agents, self.simulator, self.cloud.parts["gateway"], self.cloud.parts["jobs"]):
            text = part.log.read_text(errors="replace") if part.log.exists() else ""
            found += [f"{part.name}: {line[:300]}" for line in text.splitlines() if re.search(ALARM, line)]
        return found

    def last_words(self) -> str:
        """The end of every log."""
        parts = [*self.cloud.parts.values(), self.simulator, *self.agents]
        return json.dumps({part.name: part.tail(8).splitlines() for part in parts}, indent=1)


@contextlib.contextmanager
def running_site(folder: Path, *, units: int, agents: int) -> Iterator[EventSite]:
    """A site that runs until the block ends. After a failure its last words are shown."""
    with Parts(folder / "logs") as parts:
        site = EventSite(folder, parts, units=units, agents=agents)
        with site.links:
            try:
                site.start()
                yield site
            except BaseException:
                progress(site.last_words())
                raise
