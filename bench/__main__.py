"""``make bench``: the product beside a plain and a careful consumer, in one run, on one PostgreSQL.

The figures go to standard output and to ``bench/results/latest.json``; ``bench/README.md`` says how to read
them.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import report
from bench.broker import broker
from bench.candidates import (
    CONNECTIONS,
    OVERLOAD,
    SATURATED,
    Gateway,
    Run,
    gateway,
    run_baseline,
    run_ours,
)
from bench.enrollment import Owned, enroll
from bench.processes import BenchError
from bench.profiling import profile
from bench.setting import Place, fsyncs_per_s, place
from bench.wire import Shape
from cloud import logs

BASELINE_TRIES: Final = 4
RESULTS: Final = Path(__file__).parent / "results"
PROTOBUF: Final = Shape(json=False, samples=1)
JSON: Final = Shape(json=True, samples=1)
BASELINES: Final = {"plain": JSON, "careful": PROTOBUF}
OURS: Final = {"ours": PROTOBUF, "ours-json": JSON}
FIRST_RATE: Final = {"plain": 12_000, "careful": 80_000}
"""What a baseline is offered in the warm-up, before its own rate is known: more than it can store."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often. Seconds are those of the load of one run."""

    rounds: int = 5
    ours_s: float = 4.0
    baseline_s: float = 6.0
    warm_up_s: float = 3.0
    latency_rounds: int = 5
    latency_s: float = 4.0


QUICK: Final = Plan(rounds=1, ours_s=2.0, baseline_s=2.0, warm_up_s=1.0, latency_rounds=1, latency_s=3.0)


def say(text: str) -> None:
    """How far it is, on standard error."""
    print(text, file=sys.stderr, flush=True)


class Bench:
    """One measurement on one ground."""

    def __init__(self, ground: Place, at: Gateway, devices: Sequence[Owned], plan: Plan) -> None:
        self._ground = ground
        self._at = at
        self._devices = devices
        self._plan = plan
        self._rates: dict[str, float] = {}

    def warm_up(self) -> None:
        """Run every candidate once, unmeasured: WAL files are made, and the baselines' rates become known."""
        for name in BASELINES:
            messages = int(FIRST_RATE[name] / OVERLOAD * self._plan.warm_up_s / 2)
            self._rates[name] = self._baseline(name, FIRST_RATE[name], messages).rows_per_s
        for name in OURS:
            self._ours(name, self._plan.warm_up_s)

    def throughput(self) -> list[Run]:
        """The rounds: every candidate once in each, and each round begins with the next one."""
        names = [*BASELINES, *OURS]
        runs = []
        for number in range(self._plan.rounds):
            say(f"round {number + 1} of {self._plan.rounds}")
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                run = self._measured(name)
                say("  " + report.line(run))
                runs.append(run)
        return runs

    def latency(self) -> list[Run]:
        """The product at a fixed rate."""
        runs = []
        for number in range(self._plan.latency_rounds):
            say(f"{report.RATE:,} messages/s, {number + 1} of {self._plan.latency_rounds}")
            for name in OURS:
                run = self._ours(name, self._plan.latency_s, report.RATE)
                say("  " + report.line(run))
                runs.append(run)
        return runs

    def _measured(self, name: str) -> Run:
        if name in OURS:
            return self._ours(name, self._plan.ours_s)
        for _ in range(BASELINE_TRIES):
            rate = self._rates[name]
            run = self._baseline(name, rate * OVERLOAD, int(rate * self._plan.baseline_s))
            self._rates[name] = max(rate, run.rows_per_s)
            if run.backlog_s >= SATURATED * run.seconds:
                return run
            self._rates[name] = rate * OVERLOAD
        raise BenchError(f"{name} stores whatever it is sent: its rate cannot be measured so")

    def _baseline(self, name: str, rate: float, messages: int) -> Run:
        return run_baseline(self._ground, self._devices, name, BASELINES[name], rate, messages)

    def _ours(self, name: str, seconds: float, rate: float = 0.0) -> Run:
        return run_ours(self._ground, self._devices, self._at, name, OURS[name], seconds, rate)


def measure(plan: Plan) -> dict[str, Any]:
    """Measure everything; the result as it is written. BenchError where something did not do what it must."""
    machine, versions = report.machine(), report.versions()
    began_s = time.monotonic()
    with place() as ground, gateway(ground) as at:
        with broker(ground.folder, ground.settings.certificate_paths) as server:
            versions["mosquitto"] = server.version
        versions["postgresql"] = ground.postgres_version()
        machine["fdatasync_per_s"] = fsyncs_per_s(ground.folder)
        bench = Bench(ground, at, enroll(ground, CONNECTIONS), plan)
        say("warming up")
        bench.warm_up()
        runs, latency = bench.throughput(), bench.latency()
    result = report.result_of(runs, latency, versions, machine)
    return {**result, "quick": plan == QUICK, "took_s": round(time.monotonic() - began_s)}


def measure_profile(plan: Plan) -> dict[str, str]:
    """Where the gateway's time goes, by load."""
    found = {}
    loads = {"ours": (PROTOBUF, 0.0), "ours-json": (JSON, 0.0), "ours-10k": (PROTOBUF, float(report.RATE))}
    for name, (shape, rate) in loads.items():
        say(f"profile of {name}")
        found[name] = profile(name, shape, plan.ours_s, rate)
    return found


def run(plan: Plan) -> dict[str, Any]:
    """Measure, print and write; the result."""
    logs.configure("bench", level="warning")
    result = measure(plan)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "latest.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(report.summary(result))
    print(f"written to {path} after {result['took_s']} s", flush=True)
    return result


def missed_goals(result: dict[str, Any]) -> list[str]:
    """Names of the goals that were not met."""
    return [name for name, goal in result["goals"].items() if not goal["met"]]


def run_profile(plan: Plan) -> None:
    """Profile, print and write."""
    logs.configure("bench", level="warning")
    text = "\n".join(measure_profile(plan).values())
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "profile.txt"
    path.write_text(text)
    print(text)
    print(f"written to {path}", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 where a part failed, 0 also where a goal was missed (it says so)."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: about a minute, rough figures")
    parser.add_argument("--profile", action="store_true", help="only say where the gateway's time goes")
    chosen = parser.parse_args(words)
    plan = QUICK if chosen.quick else Plan()
    try:
        missed = [] if chosen.profile else missed_goals(run(plan))
        if chosen.profile or missed:
            run_profile(plan)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
