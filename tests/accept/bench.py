"""Acceptance ``bench``: the whole measurement of ``make bench``, and whether its goals are met."""

import contextlib
import sys

from bench.__main__ import Plan, missed_goals, run, run_profile
from tests.accept import expect, passed


def main() -> int:
    """Measure, keep the result, compare with the goals; where one is missed, a profile says why."""
    with contextlib.redirect_stdout(sys.stderr):
        result = run(Plan())
        missed = missed_goals(result)
        if missed:
            run_profile(Plan())
    seen = [f"{name} {goal['seen']:g} (goal {goal['goal']:g})" for name, goal in result["goals"].items()]
    others = max(run["cores"]["others"] for run in result["runs"] + result["latency_runs"])
    figures = f"{', '.join(seen)}, other work on the machine at most {others:.2f} cores"
    expect(not missed, f"short of the goal: {', '.join(missed)}; {figures}")
    return passed("bench", figures)
