"""Arms one fault point of this process for a test; nothing else of the agent reads the switch.

``SMARTCONNECT_FAULT=name:n[:kill | :hold=PATH]``: on the n-th passing of the point ``name``, ``kill`` (the
default) is SIGKILL to this process; ``hold`` makes PATH and waits until somebody removes it. Unset, which is
always so outside tests, nothing is armed and nothing can be.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from protocol import faults

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "SMARTCONNECT_FAULT"
HOLD_PAUSE_S: Final = 0.005

log = structlog.get_logger()


def arm(environment: Mapping[str, str]) -> None:
    """Arm what the environment asks for; ValueError where it names no point or no action of ours."""
    spec = environment.get(VARIABLE, "")
    if not spec:
        return
    name, _, rest = spec.partition(":")
    passing, _, action = rest.partition(":")
    kind, _, path = action.replace("hold:", "hold=", 1).partition("=")
    if name not in faults.POINTS or kind not in {"", "kill", "hold"} or not (passing or "1").isdigit():
        raise ValueError(
            f"{VARIABLE} = {spec!r} is not name:n[:kill | :hold=PATH], one of {', '.join(faults.POINTS)}"
        )
    faults.arm(name, int(passing or 1), (lambda _: _hold(Path(path))) if kind == "hold" else _kill)
    log.warning("a fault point is armed", spec=spec)


def _kill(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hold(path: Path) -> None:
    path.touch()
    while path.exists():
        time.sleep(HOLD_PAUSE_S)
