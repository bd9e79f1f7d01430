"""The real programs as processes that a test starts, kills and starts again; none of them outlives the test.

A `Part` is one program with its command line and log; `Parts` keeps them and ends them all, whatever happens:
at the end of its block, at exit, and (by a signal from the kernel) when this very process is killed.
"""

import atexit
import contextlib
import ctypes
import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 10.0  # every program of ours has to stop within this
POLL_S: Final = 0.02
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
FAULT_VARIABLE: Final = "SMARTCONNECT_FAULT"
KEPT_VARIABLES: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "LD_LIBRARY_PATH")


class PartError(Exception):
    """A program did not do what was asked of it; the text ends with what it said last."""


def script(name: str) -> str:
    """Path of one of our console scripts, beside this Python."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise PartError(f"{path} is missing: install the project with the extra [test]")
    return str(path)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a program of ours needs of our environment, and nothing that would point it elsewhere."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, **(extra or {})}


def descendants(pid: int) -> list[int]:
    """Process ids below ``pid``, nearest first; sessions and groups of their own do not hide them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(after_name[1]), []).append(int(entry.name))
    found, at = [pid], 0
    while at < len(found):
        found += children.get(found[at], [])
        at += 1
    return found[1:]


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Signal each of them that still is."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@dataclass
class Part:
    """One program. ``ready`` says whether it answers; without it, a running process is a ready one.

    Start it from the main thread only: Linux would end it with the thread.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """Process id; PartError while it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise PartError(f"{self.name} does not run")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """How it ended (negative: by which signal); None while it runs or before the first start."""
        return None if self._process is None else self._process.poll()

    def start(self, *, fault: str = "") -> Self:
        """Start it, with a fault point armed if asked for; does not wait."""
        if self.alive:
            raise PartError(f"{self.name} runs already")
        extra = {FAULT_VARIABLE: fault} if fault else {}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean_environment({**self.environment, **extra}),
                start_new_session=True,  # Ctrl-C is for the test
                preexec_fn=functools.partial(  # noqa: PLW1509 - one C call, bound before the fork
                    ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, int(signal.SIGTERM)
                ),
            )
        self.starts += 1
        return self

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> float:
        """Wait until it answers; the seconds that took. PartError when it ends or the time is over."""
        began = time.monotonic()
        while True:
            status = self.status
            if status is not None:
                raise PartError(f"{self.name} ended with status {status}:\n{self.tail()}")
            if self.ready is None or self.ready():
                return time.monotonic() - began
            if time.monotonic() - began > timeout_s:
                raise PartError(f"{self.name} was not ready within {timeout_s:g} s:\n{self.tail()}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """SIGKILL the process and all below it, at once; it has ended on return."""
        self._signal_tree(signal.SIGKILL)

    def kill_below(self) -> None:
        """SIGKILL only what runs below it, as when a server dies under its launcher."""
        pids = descendants(self.pid)
        if not pids:
            raise PartError(f"nothing runs below {self.name}")
        signal_all(pids, signal.SIGKILL)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM and wait; its exit status. PartError when that takes too long; then it was killed."""
        if self._process is None:
            raise PartError(f"{self.name} was never started")
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise PartError(f"{self.name} did not stop within {timeout_s:g} s:\n{self.tail()}") from None

    def end(self) -> None:
        """Ask it to stop, then insist; for cleaning up."""
        with contextlib.suppress(PartError):
            self.stop()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; the exit status, or None when it still runs."""
        if self._process is None:
            raise PartError(f"{self.name} was never started")
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def tail(self, lines: int = 12) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def find(self, pattern: str) -> re.Match[str] | None:
        """The last place in its log that matches."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        last = None
        for last in re.finditer(pattern, text):  # noqa: B007 - the last one is wanted
            pass
        return last

    def _signal_tree(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        below = descendants(self._process.pid)
        signal_all([self._process.pid, *below], number)
        self._process.wait(STOP_TIMEOUT_S)


class Parts:
    """Some programs; all of them end with the block, last started first."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._parts: list[Part] = []

    def add(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> Part:
        """A program that is not started yet; its log is ``LOGS/NAME.log``."""
        part = Part(name, command, self._logs / f"{name}.log", environment or {}, ready)
        self._parts.append(part)
        return part

    def __enter__(self) -> Self:
        atexit.register(self.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        atexit.unregister(self.close)

    def close(self) -> None:
        """End all of them, whatever state they are in."""
        parts, self._parts = self._parts, []
        for part in reversed(parts):
            if part.status is None and part.alive:
                part.end()
