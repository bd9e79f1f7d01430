"""The demo's child processes: the console scripts, stopped together, never left behind."""

import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulators.demo.layout import DemoError

STOP_TIMEOUT_S: Final = 9.0  # the cloud stops its own children within 8 s
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
FIRST_RESTART_S: Final = 1.0
LONGEST_RESTART_S: Final = 30.0  # what ends again and again is started, and told of, less and less often


def script(name: str) -> str:
    """Path of one of our console scripts, beside this Python."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise DemoError(f"{path} is missing; install the project with all its extras (`make demo` does)")
    return str(path)


@dataclass(slots=True)
class Running:
    """One child with what is needed to start it again."""

    name: str
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes]
    started_s: float
    pause_s: float = FIRST_RESTART_S


class Children:
    """All children of the demo; the last started is asked to stop first."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[Running] = []

    def start(self, name: str, command: Sequence[str]) -> Running:
        """Start one; its output goes to ``logs/NAME.log``."""
        log = self._logs / f"{name}.log"
        child = Running(name, command, log, _spawn(command, log), time.monotonic())
        self._running.append(child)
        return child

    def revive(self) -> list[str]:
        """Start again what has died, each time after a longer pause; the names."""
        revived = []
        for child in self._running:
            if child.process.poll() is None or time.monotonic() - child.started_s < child.pause_s:
                continue
            child.pause_s = min(2 * child.pause_s, LONGEST_RESTART_S)
            child.process = _spawn(child.command, child.log)
            child.started_s = time.monotonic()
            revived.append(child.name)
        return revived

    def check(self, child: Running) -> None:
        """DemoError with the end of its log when the child has died."""
        code = child.process.poll()
        if code is not None:
            raise DemoError(f"{child.name} ended with status {code}; {child.log} says:\n{_tail(child.log)}")

    def stop(self) -> list[str]:
        """Ask all to stop, wait, then insist; the names of those that had to be killed."""
        killed = []
        for child in reversed(self._running):
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in reversed(self._running):
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
                killed.append(child.name)
        return killed


def run(command: Sequence[str], secret: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of our console scripts to its end, with ``secret`` on its standard input."""
    return subprocess.run(  # noqa: S603 - our own programs
        command, input=secret, capture_output=True, text=True, check=False, env=_environment()
    )


def _spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own programs
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the demo, which stops them in order
            preexec_fn=functools.partial(  # noqa: PLW1509 - one C call, bound before the fork
                ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, int(signal.SIGTERM)
            ),
        )


def _environment() -> dict[str, str]:
    """Ours, without what would point the demo's own processes elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "DATABASE_URL" and not (name.startswith("SMARTCONNECT_") and "FAULT" not in name)
    }


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-12:])
