"""Fixtures every test may use, and a last word on what was not run."""

from collections import Counter

import pytest

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
