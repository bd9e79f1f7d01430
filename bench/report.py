"""Figures of many runs: medians, ratios, goals, and what they were measured on."""

import dataclasses
import datetime as dt
import importlib.metadata
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.candidates import CONNECTIONS, OVERLOAD, WINDOW, Run

RATE: Final = 10_000
"""Messages a second of the latency runs, all connections together."""
PACKAGES: Final = ("numpy", "psycopg", "uvloop", "msgspec", "protobuf", "paho-mqtt", "cryptography")


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be: ``at_least`` says on which side."""

    value: float
    at_least: bool = True

    def met(self, seen: float) -> bool:
        """Whether it is."""
        return seen >= self.value if self.at_least else seen <= self.value


RATIOS: Final = {
    "ours/plain": ("ours", "plain"),
    "ours-json/plain": ("ours-json", "plain"),
    "ours/careful": ("ours", "careful"),
    "careful/plain": ("careful", "plain"),
}
"""Name of a ratio → the two candidates whose rates are divided."""
P99: Final = "p99_ms_at_10k"
GOALS: Final = {
    "ours/plain": Goal(40),
    "ours-json/plain": Goal(25),
    "ours/careful": Goal(5),
    P99: Goal(10, at_least=False),
}


def rate_of(runs: Sequence[Run], name: str) -> float:
    """Median of the rows a second of a candidate."""
    return statistics.median(run.rows_per_s for run in runs if run.name == name)


def ratios_of(runs: Sequence[Run]) -> dict[str, float]:
    """Median rate over median rate."""
    return {name: round(rate_of(runs, a) / rate_of(runs, b), 2) for name, (a, b) in RATIOS.items()}


def ranges_of(runs: Sequence[Run]) -> dict[str, tuple[float, float]]:
    """The same ratios within each round: the lowest and the highest."""
    found = {}
    for name, (a, b) in RATIOS.items():
        pairs = zip(_rates(runs, a), _rates(runs, b), strict=True)
        each = [upper / lower for upper, lower in pairs]
        found[name] = (round(min(each), 2), round(max(each), 2))
    return found


def _rates(runs: Sequence[Run], name: str) -> list[float]:
    return [run.rows_per_s for run in runs if run.name == name]


def goals_of(ratios: dict[str, float], latency: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Each goal, what was seen, and whether that meets it."""
    seen = {**ratios, P99: round(statistics.median(run.p99_ms for run in latency), 2)}
    return {
        name: {"goal": goal.value, "seen": seen[name], "met": goal.met(seen[name])}
        for name, goal in GOALS.items()
    }


def result_of(
    runs: Sequence[Run], latency: Sequence[Run], versions: dict[str, str], machine: dict[str, Any]
) -> dict[str, Any]:
    """What is written to the result file."""
    ratios = ratios_of(runs)
    return {
        "ratios": ratios,
        "ratios_lowest_highest": ranges_of(runs),
        "goals": goals_of(ratios, latency),
        "rows_per_s": {name: rate_of(runs, name) for name in dict.fromkeys(run.name for run in runs)},
        "latency_ms": {
            name: {
                f"{figure}_ms": statistics.median(
                    getattr(run, f"{figure}_ms") for run in latency if run.name == name
                )
                for figure in ("p50", "p99", "max")
            }
            for name in dict.fromkeys(run.name for run in latency)
        },
        "load": {
            "connections": CONNECTIONS,
            "in_flight_each": WINDOW,
            "baselines_overload": OVERLOAD,
            "latency_messages_per_s": RATE,
        },
        "versions": versions,
        "machine": machine,
        "runs": [dataclasses.asdict(run) for run in runs],
        "latency_runs": [dataclasses.asdict(run) for run in latency],
    }


def machine() -> dict[str, Any]:
    """What this machine is, and how busy it was before we began."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / 2**20, 1),
        "kernel": platform.release(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Of what takes part; the servers' are added by who runs them."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "measured_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "python": platform.python_version(),
        **found,
    }


def _revision() -> str:
    """Commit of this checkout, with a plus sign where files differ from it; empty outside a repository."""
    words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()


# --- for people ---------------------------------------------------------------------------------------------


def line(run: Run) -> str:
    """One run, as it is printed when it ends."""
    cores = ", ".join(f"{name} {share:.2f}" for name, share in run.cores.items())
    return (
        f"{run.name:<12}{run.rows_per_s:>9,} rows/s  p50 {run.p50_ms:>8.1f}  p99 {run.p99_ms:>8.1f} ms"
        f"  cores: {cores}"
    )


def summary(result: dict[str, Any]) -> str:
    """The table that is printed at the end."""
    lines = ["", f"{'':<16}{'rows/s':>10}   (median of the rounds)"]
    lines += [f"{name:<16}{rate:>10,.0f}" for name, rate in result["rows_per_s"].items()]
    lines += ["", f"{'ratio':<16}{'seen':>8}{'lowest':>9}{'highest':>9}{'goal':>8}"]
    for name, seen in result["ratios"].items():
        low, high = result["ratios_lowest_highest"][name]
        lines.append(f"{name:<16}{seen:>7}x{low:>8}x{high:>8}x{_goal(result, name):>14}")
    lines += ["", f"{f'at {RATE:,}/s':<16}{'p50 ms':>8}{'p99 ms':>9}{'max ms':>9}{'goal':>8}"]
    for name, ages in result["latency_ms"].items():
        goal = _goal(result, P99) if name == "ours" else ""
        lines.append(
            f"{name:<16}{ages['p50_ms']:>8.2f}{ages['p99_ms']:>9.2f}{ages['max_ms']:>9.1f}{goal:>14}"
        )
    others = max(run["cores"]["others"] for run in result["runs"] + result["latency_runs"])
    lines += ["", f"other work on this machine: at most {others:.2f} cores in a run"]
    return "\n".join(lines)


def _goal(result: dict[str, Any], name: str) -> str:
    found = result["goals"].get(name)
    if found is None:
        return ""
    sign = ">=" if GOALS[name].at_least else "<="
    return f"{sign} {found['goal']:g} {'ok' if found['met'] else 'SHORT'}"
