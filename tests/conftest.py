"""Fixtures every test may use, and a last word on what was not run."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# How fast an example runs says how busy the machine is; what is fast enough is measured in bench/.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

pytest_plugins = ["tests.support.browser", "tests.support.postgres"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a reason for all tests that were skipped."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        if isinstance(report.longrepr, tuple)
        else str(report.longrepr)
        for report in terminalreporter.getreports("skipped")
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(f"not run: {count} tests, {reason}")
