"""Acceptance ``rules``: rules over a thousand devices against a plain reference, and what they cost.

A thousand owned devices publish through a real gateway; their values wander about the thresholds of their
companies' rules, with samples that are late, of a doubtful clock, out of order or missing. Two jobs processes
share the devices; they are killed at both fault points of a commit, one is stopped and started again. Then
every event that rules told is compared with what a plain implementation (:mod:`tests.support.rule_reference`)
makes of the same samples, read from ``v_telemetry``: same rule, device, kind and time, none missing, none
twice. Last, rounds with and without rules in turn: the p99 from a sample's due time to its PUBACK.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg

from bench.processes import cpu_s
from cloud.core.authz import Actor
from cloud.core.rule import EARLY_MS, STATE_BITS
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming
from tests.accept import expect, passed, progress, wait_until
from tests.accept._rule_stream import CALM
from tests.accept.claim import quantile
from tests.faults.processes import Part, Parts
from tests.faults.seed import announce_all, now_ms
from tests.support.claiming import TestDevice, make_actors
from tests.support.parts import CloudParts, running_parts
from tests.support.rule_reference import PlainRule, PlainSample, edges_of, judged_samples
from tests.support.stack import free_port

NAME: Final = "rules"
DEVICES: Final = 1_000
COMPANIES: Final = 10
PERIOD_S: Final = 2.0
TRUTH_S: Final = 40.0
ROUNDS: Final = 16
SPELL_S: Final = 3.0
SETTLE_S: Final = 1.0
MAX_CALM_MS: Final = 50.0
"""A machine on which the p99 without rules is longer has other things to do: no ratio means anything."""
WANDERS: Final = 0.3
"""How often a value changes while the truth is looked for: most samples change something."""
MAX_RATIO: Final = 1.2
AT_ONCE: Final = 8
RULES: Final[Sequence[tuple[str, str, float, float, int, int]]] = (
    ("output_real_power_pct", "above", 80, 5, 5_000, 2_000),
    ("output_real_power_pct", "above", 80, 0, 0, 0),
    ("runtime_remaining", "below", 900, 100, 4_000, 0),
    ("battery_temperature", "above", 35, 1, 3_000, 3_000),
    ("load_w", "above", 790, 50, 0, 5_000),
    ("on_battery", "above", 0.5, 0, 3_000, 0),
)
"""Subject, side, threshold, hysteresis, hold and clear in ms; each company has all of them."""
GAP_MS: Final = 5_000
INSERT: Final = """
INSERT INTO rule (company_id, scope, scope_id, epoch, name, subject, side, threshold, hysteresis, hold_ms,
                  clear_ms, gap_ms, from_ms, created_ms, changed_ms, account_id)
VALUES (%(company)s, %(scope)s, %(scope_id)s, %(epoch)s, 'a rule', %(subject)s, %(side)s, %(threshold)s,
        %(hysteresis)s, %(hold)s, %(clear)s, %(gap)s, %(now)s, %(now)s, %(now)s, 1)"""
SAMPLES: Final = """
SELECT stream, seq, (extract(epoch FROM ts) * 1000)::bigint, epoch, flags,
       output_real_power_pct::float8, runtime_remaining::float8, battery_temperature::float8, ups_status
  FROM v_telemetry WHERE device_id = %s AND stream > 1"""
TOLD: Final = """
SELECT device_id, (detail ->> 'rule_id')::bigint, substr(kind, 6),
       (extract(epoch FROM ts) * 1000)::bigint
  FROM event WHERE stream = 0 AND kind IN ('rule_raised', 'rule_cleared') ORDER BY device_id, seq"""
BEHIND: Final = """
SELECT count(*) FROM latest l LEFT JOIN rule_cursor c USING (device_id)
 WHERE l.stream > 0 AND (c.device_id IS NULL OR (l.stream, l.seq) > (c.stream, c.seq))"""
Edge = tuple[int, int, str, int]
"""Device, rule, what, when."""


class Run:
    """The processes and what is known of them."""

    def __init__(self, parts: CloudParts, processes: Parts, folder: Path) -> None:
        self.parts = parts
        self._out = folder / "stream.out"
        self._config = folder / "stream.json"
        self.devices: list[TestDevice] = []
        words = [sys.executable, "-m", "tests.accept._rule_stream", str(self._config), str(self._out)]
        self.stream: Part = processes.add("stream", words)
        first = parts.parts["jobs"]
        second = [*first.command, "--jobs-metrics-port", str(free_port())]
        self.jobs: list[Part] = [first, processes.add("jobs2", second)]

    def rows(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.parts.dsn, autocommit=True) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def number(self, statement: str) -> int:
        """One number."""
        return int(self.rows(statement)[0][0])

    # --- devices and rules ----------------------------------------------------------------------------------

    def own_devices(self) -> None:
        """A thousand devices of ten companies."""
        self.devices = [TestDevice() for _ in range(DEVICES)]
        announce_all(self.parts.dsn, self.devices)
        actors = make_actors(self.parts.dsn, COMPANIES)
        asyncio.run(self._claim(actors))
        progress(f"{DEVICES} devices of {COMPANIES} companies")
        epochs = dict(self.rows("SELECT device_id, epoch FROM v_ownership WHERE until_ms IS NULL"))
        expect(len(epochs) == DEVICES, f"{len(epochs)} devices are owned")
        installation = self.parts.installation
        config = {
            "host": installation.gateway_host,
            "port": installation.gateway_port,
            "ca_pem": installation.ca_pem,
            "audience": installation.audience,
            "period_s": PERIOD_S,
            "wanders": WANDERS,
            "devices": [
                {
                    "key": one.key.private_bytes_raw().hex(),
                    "device_id": one.device_id,
                    "epoch": epochs[one.device_id],
                }
                for one in self.devices
            ],
        }
        self._config.write_text(json.dumps(config))
        for number, actor in enumerate(actors):
            for rule in RULES:
                self._add_rule(actor.company_id, rule)
            mine = self.devices[number].device_id
            only = {"scope": "device", "scope_id": mine, "epoch": epochs[mine]}
            self._add_rule(actor.company_id, RULES[1], **only)

    async def _claim(self, actors: Sequence[Actor]) -> None:
        async with make_pool(self.parts.dsn, name="claims", max_size=AT_ONCE) as pool:
            gate = asyncio.Semaphore(AT_ONCE)

            async def one(pool: Pool, number: int, device: TestDevice) -> None:
                async with gate:
                    actor = actors[number % COMPANIES]
                    await claiming.submit(pool, actor, device.product_id, device.label_pub, now_ms())

            await asyncio.gather(*(one(pool, number, device) for number, device in enumerate(self.devices)))

    def _add_rule(self, company_id: int, rule: tuple[str, str, float, float, int, int], **more: Any) -> None:
        names = ("subject", "side", "threshold", "hysteresis", "hold", "clear")
        values = dict(zip(names, rule, strict=True))
        place = {"scope": "company", "scope_id": company_id, "epoch": 0, **more}
        self.rows(INSERT, {**values, **place, "company": company_id, "gap": GAP_MS, "now": now_ms()})

    # --- what happens ---------------------------------------------------------------------------------------

    def samples(self) -> list[tuple[float, float]]:
        """(due by the monotonic clock in s, latency in ms) of each sample that was acknowledged."""
        text = self._out.read_text("ascii") if self._out.exists() else ""
        words = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(float(due_s), float(latency_ms)) for due_s, latency_ms in words]

    def start_stream(self) -> None:
        """Until every device has had some PUBACKs."""
        self.stream.start()
        wait_until("the devices stream", lambda: len(self.samples()) > DEVICES, 120.0, 0.5)

    def pause_stream(self) -> None:
        """Stop the devices; everything they sent is stored."""
        self.check_alive()
        expect(self.stream.stop() == 0, f"the devices ended badly: {self.stream.tail()}")
        self._out.unlink()

    def calm_down(self) -> None:
        """From their next start on the values of devices change as seldom as in real life, or nearly."""
        config = json.loads(self._config.read_text())
        self._config.write_text(json.dumps({**config, "wanders": CALM}))

    def check_alive(self) -> None:
        """CheckError where the devices or the gateway ended."""
        expect(self.stream.alive, f"the devices ended: {self.stream.tail()}")
        expect(self.parts.parts["gateway"].alive, "the gateway ended")

    def disturb(self) -> int:
        """Kill and restart the jobs processes while the devices stream; how many deaths."""
        deaths = 0
        for place, point in enumerate(("rules.judge.before", "rules.judge.after") * 2):
            part = self.jobs[place % 2]
            part.stop()
            part.start(fault=f"{point}:{2 + place}:kill")
            wait_until(f"a jobs process dies at {point}", partial(_has_died, part), 40.0)
            deaths += 1
            part.start()
            time.sleep(TRUTH_S / 8)
            self.check_alive()
        return deaths

    def catch_up(self) -> float:
        """Until all that was stored is judged; the seconds that took."""
        return wait_until("every sample is judged", lambda: self.number(BEHIND) == 0, 60.0, 0.1)

    # --- truth ----------------------------------------------------------------------------------------------

    def expected(self) -> Iterator[Edge]:
        """What the plain reference makes of the samples."""
        rules = self.rows(
            "SELECT rule_id, company_id, scope, scope_id, subject, side, threshold, hysteresis, hold_ms,"
            " clear_ms, gap_ms, from_ms FROM v_rule"
        )
        owned = self.rows(
            "SELECT device_id, company_id, epoch, from_ms, rated_real_power_w FROM v_ownership"
            " JOIN device USING (device_id) WHERE until_ms IS NULL"
        )
        with psycopg.connect(self.parts.dsn) as connection:
            for device_id, company_id, epoch, owned_ms, watts in owned:
                rows = connection.execute(SAMPLES, [device_id]).fetchall()
                for rule_id, company, scope, scope_id, subject, *says in rules:
                    if company != company_id or (scope == "device" and scope_id != device_id):
                        continue
                    made = [
                        PlainSample(row[0], row[1], row[2], row[3], row[4], value_of(subject, row, watts))
                        for row in rows
                    ]
                    judged = judged_samples(made, epoch, owned_ms - EARLY_MS)
                    for what, ts_ms in edges_of(PlainRule(*says), judged):
                        yield device_id, rule_id, what, ts_ms

    def compare(self) -> tuple[int, int]:
        """How many edges and samples; CheckError unless both sides agree to the millisecond."""
        told: list[Edge] = [(row[0], row[1], row[2], row[3]) for row in self.rows(TOLD)]
        wanted = list(self.expected())
        extra, missing = Counter(told) - Counter(wanted), Counter(wanted) - Counter(told)
        figures = f"{len(told)} told, {len(wanted)} by the reference"
        expect(
            not extra and not missing,
            f"{figures}: not by the reference {list(extra)[:3]}, not told {list(missing)[:3]}",
        )
        by_pair: dict[tuple[int, int], list[str]] = {}
        for device_id, rule_id, what, _ in told:
            by_pair.setdefault((device_id, rule_id), []).append(what)
        wrong = [
            pair
            for pair, kinds in by_pair.items()
            if any((what == "raised") != (place % 2 == 0) for place, what in enumerate(kinds))
        ]
        expect(not wrong, f"raised and cleared do not alternate: {wrong[:3]}")
        return len(told), self.number("SELECT count(*) FROM v_telemetry")

    # --- cost -----------------------------------------------------------------------------------------------

    def cost(self) -> tuple[float, str]:
        """The ratio of the p99 with rules to that without, round by round, and all figures in words."""
        spells: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        spent_s = {True: 0.0, False: 0.0}
        for number in range(2 * ROUNDS):
            enabled = number % 4 in {1, 2}
            self.rows("UPDATE rule SET enabled = %s", [enabled])
            time.sleep(SETTLE_S)
            began, before_s = time.monotonic(), cpu_s(self.jobs[0].pid)
            time.sleep(SPELL_S)
            spells[enabled].append((began, time.monotonic()))
            spent_s[enabled] += cpu_s(self.jobs[0].pid) - before_s
            self.check_alive()
        samples = self.samples()
        p99s = {
            enabled: [
                quantile([late_ms for due_s, late_ms in samples if begin <= due_s < end], 0.99)
                for begin, end in of_kind
            ]
            for enabled, of_kind in spells.items()
        }
        with_ms, without_ms = median(p99s[True]), median(p99s[False])
        lists = ["/".join(f"{one:.0f}" for one in p99s[enabled]) for enabled in (True, False)]
        figures = (
            f"p99, median of {ROUNDS} rounds each: {with_ms:.1f} ms with rules ({lists[0]}),"
            f" {without_ms:.1f} ms without ({lists[1]}), ratio {with_ms / without_ms:.2f}; the jobs process"
            f" took {spent_s[True] / ROUNDS / SPELL_S:.3f} of a core with rules,"
            f" {spent_s[False] / ROUNDS / SPELL_S:.3f} without"
        )
        expect(without_ms <= MAX_CALM_MS, f"the machine is too busy to judge: {figures}")
        return with_ms / without_ms, figures


def _has_died(part: Part) -> bool:
    return not part.alive


def value_of(subject: str, row: tuple[Any, ...], watts: int) -> float:
    """A subject's value in a row of ``SAMPLES``."""
    load, runtime, temperature, status = row[5:9]
    match subject:
        case "output_real_power_pct":
            return float(load)
        case "load_w":
            return float(load) / 100.0 * watts
        case "runtime_remaining":
            return float(runtime)
        case "battery_temperature":
            return float(temperature)
    return float("nan") if status == 0 else float(bool(status & STATE_BITS[subject]))


def run(check: Run) -> str:
    """Every part in turn; the figures for the last line."""
    check.own_devices()
    for part in check.jobs:
        part.start()
    check.start_stream()
    progress(f"{DEVICES} devices stream, a sample every {PERIOD_S:g} s")
    deaths = check.disturb()
    progress(f"jobs processes were killed {deaths} times at a commit")
    check.pause_stream()
    late_s = check.catch_up()
    edges, samples = check.compare()
    expect(edges > DEVICES, f"only {edges} edges: too few to say anything")
    progress(f"{edges} edges of {samples} samples agree with the plain reference")
    check.jobs[1].stop()
    check.calm_down()
    check.start_stream()
    ratio, figures = check.cost()
    check.stream.stop()
    told = f"""{DEVICES} devices, {len(RULES)} rules each, {samples} samples: {edges} raised or cleared, as
        the plain reference says, with {deaths} kills of two jobs processes; judged {late_s:.1f} s after the
        last sample; {figures}"""
    expect(ratio <= MAX_RATIO, f"telemetry suffers: {told}")
    return told


def main() -> int:
    """Run the check."""
    with tempfile.TemporaryDirectory(prefix="sc-rules-") as name:
        folder = Path(name)
        with (
            running_parts(folder / "cloud", ("postgres", "gateway")) as parts,
            Parts(folder / "logs") as more,
        ):
            return passed(NAME, run(Run(parts, more, folder)))
