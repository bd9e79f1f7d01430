"""Acceptance checks: each module here has ``main() -> int`` and is run by ``make accept NAME=<module>``.

A check runs the real programs, says on stderr how far it is, and ends with one line on stdout: ``PASS
name: …`` with the figures it saw, or ``FAIL name: …`` with the reason.
"""

import sys
import time
from collections.abc import Callable
from typing import Final

_BEGAN: Final = time.monotonic()


class CheckError(Exception):
    """What was expected did not happen; the text is the reason in the FAIL line."""


def progress(text: str) -> None:
    """Say how far the check is."""
    sys.stderr.write(f"{time.monotonic() - _BEGAN:7.1f} s  {text}\n")
    sys.stderr.flush()


def expect(holds: object, complaint: str) -> None:
    """CheckError with this complaint unless it holds."""
    if not holds:
        raise CheckError(complaint)


def wait_until(what: str, holds: Callable[[], object], timeout_s: float, pause_s: float = 0.02) -> float:
    """Poll until ``holds()`` is true; the seconds that took, or CheckError naming ``what``."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > timeout_s:
            raise CheckError(f"not within {timeout_s:g} s: {what}")
        time.sleep(pause_s)
    return time.monotonic() - began


def passed(name: str, figures: str) -> int:
    """Print the last line of a check that held; its exit status."""
    print(f"PASS {name}: {' '.join(figures.split())}", flush=True)
    return 0


def failed(name: str, why: str) -> int:
    """Print the last line of a check that did not hold; its exit status."""
    print(f"FAIL {name}: {' '.join(why.split())}", flush=True)
    return 1
