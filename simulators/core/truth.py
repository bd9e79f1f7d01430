"""What really happens to a simulated UPS, as facts that change: what anybody who reads it must find out.

Taken from the physics alone, never from registers, so that it can judge whoever reads those.
"""

from collections.abc import Mapping

from simulators.core.ups_state import UpsState

Fact = str | bool
RESULTS = frozenset({"passed", "failed", "refused", "aborted"})


def facts(ups: UpsState) -> dict[str, Fact]:
    """The facts of this moment, by name. A test's result is empty while it runs, and before the first one."""
    return {
        "mode": ups.mode.value,
        "low": ups.low_runtime,
        "overloaded": ups.overloaded,
        "worn_out": ups.worn_out,
        "test": _result(ups.test_status),
        "calibration": _result(ups.calibration_status),
        **{f"outlet {name}": outlet.on for name, outlet in ups.outlets.items()},
    }


def changed(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> dict[str, Fact]:
    """The facts that are new or others now."""
    return {name: value for name, value in after.items() if before.get(name) != value}


def _result(status: frozenset[str]) -> str:
    return next(iter(status & RESULTS), "")
