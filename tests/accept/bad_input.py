"""``bad-input``: what bad peers, bad messages and bad lines do, while healthy devices beside them go on.

Each bad input once, with the line it must leave in a log or the reason code it must be answered with. Two
healthy devices run all the time: one that publishes 100 samples a second straight to the gateway, and a UPS
read by the agent that has the bad lines, too. Neither may lose a sample. Then quiet and disturbed spells take
turns, and the first device's 99th percentile from publish to PUBACK is compared between them: the median of
the spells' percentiles, so that something else on the machine that stalls a spell or two decides nothing;
those of all samples are printed beside it. Where the quiet
percentile is above 100 ms the machine is too busy to judge, and the check fails.
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from cloud import logs
from tests.accept import expect, passed, progress
from tests.accept._attacks import PATIENCE_S, VERSIONS, Attacker, Log
from tests.accept._bad_lines import BadLines
from tests.accept._wire import login_to_json
from tests.faults.processes import Part, Parts
from tests.support.interop import Claimed, claim_device, make_owner
from tests.support.parts import CloudParts

NAME = "bad-input"
RATE_HZ = 100
SPELLS = 15
SPELL_S = 2.0
SETTLE_S = 0.3
FLOOD_PAUSE_S = 0.1
MAX_RATIO = 2.0
MAX_QUIET_MS = (
    100.0  # a gateway that has nothing else to do answers in a few; above this others have the processors
)


def main() -> int:
    """Run the check; the exit status."""
    logs.configure(NAME, level="critical")  # the claims below are no news
    with tempfile.TemporaryDirectory(prefix="bad-input-") as directory:
        work = Path(directory)
        with Parts(work / "logs") as processes:
            cloud = CloudParts(work / "cloud", processes)
            cloud.start_all(("postgres", "gateway"))
            return passed(NAME, _run(work, processes, cloud))


def _run(work: Path, processes: Parts, cloud: CloudParts) -> str:
    owner = make_owner(cloud)
    attacker = Attacker(claim_device(cloud, owner), Log(cloud.parts["gateway"].log))
    lines = BadLines(work, processes, cloud, owner)
    lines.start()
    steady = Steady(work, processes, claim_device(cloud, owner))
    steady.start()
    reasons = _wire(attacker)
    messages = _messages(attacker)
    outages = lines.judge_all()
    windows = _spells(attacker, lines)
    sent = steady.stop()
    figures = steady.compare(windows)
    return (
        f"{reasons} bad connections, {messages} bad messages and {outages} bad lines: a log line or reason"
        f" code each; beside them {sent} samples at {RATE_HZ}/s and {lines.finish()} of a UPS of the same"
        f" agent, 0 lost; {figures}"
    )


def _wire(attacker: Attacker) -> int:
    """Connections that never become sessions; how many kinds."""
    start = attacker.log.size()
    half, silent = attacker.half_handshake(), attacker.silence()
    slow: dict[str, dict[str, object]] = {
        "half a TLS handshake": {"event": "no TLS handshake", "peer": half},
        "no CONNECT after the handshake": {"event": "refused", "peer": silent, "code": "0xa0"},
    }
    cases: dict[str, tuple[Any, dict[str, object]]] = {
        "garbage instead of TLS": (attacker.plain_garbage, {"event": "no TLS handshake"}),
        "garbage inside TLS": (attacker.garbage_in_tls, {"event": "refused", "code": "0x81"}),
        "a PINGREQ before the CONNECT": (attacker.no_connect, {"event": "refused", "code": "0x82"}),
        "a CONNECT of 1 MB": (attacker.huge_connect, {"event": "refused", "code": "0x95"}),
    }
    for what, (do, wanted) in cases.items():
        progress(f"{what}: {attacker.once(what, do, wanted)}")
    for what, wanted in slow.items():
        progress(f"{what}: {attacker.log.expect_line(start, what, wanted, PATIENCE_S)['reason']}")
    attacker.hang_up()
    return len(cases) + len(slow)


def _messages(attacker: Attacker) -> int:
    """Messages that cannot be used, with both versions; how many."""
    names = list(attacker.bad_messages())
    for version in VERSIONS:
        for name in names:
            attacker.send_bad(name, version)
    device = attacker.device
    expect(device.stored() == device.accepted, "a bad message left a row, or a good one beside it left none")
    progress(f"{len(names)} bad messages refused with each version, the good ones beside them stored")
    return len(names) * len(VERSIONS)


def _spells(attacker: Attacker, lines: BadLines) -> "Windows":
    """Quiet and disturbed spells in turn."""
    windows = Windows()
    for number in range(SPELLS):
        for disturbed in (number % 2 == 0, number % 2 == 1):
            began = time.monotonic()
            end_s = began + SETTLE_S + SPELL_S
            if disturbed:
                with lines.disturbed():
                    windows.attacks += attacker.flood(end_s, FLOOD_PAUSE_S)
            else:
                time.sleep(end_s - time.monotonic())
            windows.add(disturbed, began + SETTLE_S, end_s)
    progress(f"{windows.attacks} bad connections and as many bad messages in {SPELLS} disturbed spells")
    return windows


@dataclass
class Windows:
    """When it was quiet and when it was not, by the monotonic clock."""

    quiet: list[tuple[float, float]] = field(default_factory=list)
    disturbed: list[tuple[float, float]] = field(default_factory=list)
    attacks: int = 0

    def add(self, disturbed: bool, start_s: float, end_s: float) -> None:
        """One more spell."""
        (self.disturbed if disturbed else self.quiet).append((start_s, end_s))


class Steady:
    """The healthy device that publishes straight to the gateway."""

    def __init__(self, work: Path, processes: Parts, device: Claimed) -> None:
        self._device = device
        self._out = work / "steady.out"
        self._config = work / "steady.json"
        command = [sys.executable, "-m", "tests.accept._steady", str(self._config), str(self._out)]
        self._part: Part = processes.add("steady", command, ready=lambda: len(self.samples()) > RATE_HZ)

    def start(self) -> None:
        """Run; returns when it has published for a second."""
        config = {
            "login": login_to_json(self._device.login()),
            "topic": self._device.topic(),
            "rate_hz": RATE_HZ,
        }
        self._config.write_text(json.dumps(config))
        self._part.start().wait_ready()

    def stop(self) -> int:
        """Stop it; the number of samples, each acknowledged and in the table once. CheckError."""
        expect(self._part.alive, f"the healthy device ended: {self._part.tail()}")
        status = self._part.stop()
        expect(status == 0, f"the healthy device ended with {status}: {self._part.tail()}")
        acknowledged = [seq for seq, _, _ in self.samples()]
        with psycopg.connect(self._device.cloud.dsn) as connection:
            rows = connection.execute(
                "SELECT seq FROM v_telemetry WHERE device_id = %s ORDER BY seq",
                (self._device.wire.device_id,),
            ).fetchall()
        stored = [seq for (seq,) in rows]
        expect(acknowledged == list(range(1, len(acknowledged) + 1)), "an acknowledgement is missing")
        expect(stored == acknowledged, f"{len(acknowledged)} acknowledged, {len(stored)} in the table")
        return len(stored)

    def samples(self) -> list[tuple[int, float, float]]:
        """(seq, due by the monotonic clock in s, latency in ms) of each."""
        text = self._out.read_text("ascii") if self._out.exists() else ""
        words = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(int(seq), float(due_s), float(latency_ms)) for seq, due_s, latency_ms in words]

    def compare(self, windows: Windows) -> str:
        """The two percentiles in words; CheckError where the disturbed one is too high."""
        quiet, disturbed = self._by_spell(windows.quiet), self._by_spell(windows.disturbed)
        fewest = min(len(spell) for spell in (*quiet, *disturbed))
        expect(fewest > 0.9 * RATE_HZ * SPELL_S, f"a spell has {fewest} samples, too few to judge")
        before_ms, after_ms = (median([p99(spell) for spell in spells]) for spells in (quiet, disturbed))
        all_ms = [p99(sorted(chain(*spells))) for spells in (quiet, disturbed)]
        figures = (
            f"p99 publish to PUBACK {before_ms:.2f} ms quiet, {after_ms:.2f} ms under"
            f" {windows.attacks / (SPELLS * SPELL_S):.0f} bad connections and messages a second: ratio"
            f" {after_ms / before_ms:.2f} (median of {SPELLS} spells each; over all samples"
            f" {all_ms[0]:.2f} and {all_ms[1]:.2f} ms)"
        )
        judge(before_ms, after_ms, figures)
        return figures

    def _by_spell(self, spells: list[tuple[float, float]]) -> list[list[float]]:
        """The latencies of each spell, sorted."""
        samples = self.samples()
        return [
            sorted(latency_ms for _, due_s, latency_ms in samples if start_s <= due_s < end_s)
            for start_s, end_s in spells
        ]


def judge(quiet_ms: float, disturbed_ms: float, figures: str) -> None:
    """CheckError where the disturbed percentile is too high, or the quiet one says that nobody can tell."""
    expect(quiet_ms <= MAX_QUIET_MS, f"the machine is too busy to judge: {figures}")
    expect(disturbed_ms <= MAX_RATIO * quiet_ms, figures)


def p99(values: list[float]) -> float:
    """The 99th percentile of sorted values."""
    return values[min(len(values) - 1, int(0.99 * len(values)))]
