"""Processes of a run: starting, stopping, and how much processor time each took."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

STOP_TIMEOUT_S: Final = 12.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_IDLE: Final = {3, 4}  # fields idle and iowait of /proc/stat


class BenchError(Exception):
    """A part of the measurement did not do what it should; the text says which."""


def python(module: str, *words: str) -> list[str]:
    """Command line of one of our modules."""
    return [sys.executable, "-m", module, *words]


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until the block ends; SIGTERM then, SIGKILL if that does not help."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Worker:
    """A process of ours that is given one JSON text and answers with JSON lines."""

    def __init__(self, module: str, order: bytes) -> None:
        self.name = module
        self.process = subprocess.Popen(python(module), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None  # a pipe, as asked for
        self.process.stdin.write(order)
        self.process.stdin.close()

    def line(self) -> Any:
        """Its next line; BenchError where it ended instead."""
        assert self.process.stdout is not None  # a pipe, as asked for
        text = self.process.stdout.readline()
        if not text:
            raise BenchError(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(text)

    def end(self) -> None:
        """Wait for its end, or end it."""
        try:
            self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def free_port() -> int:
    """A TCP port of this machine that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Does something accept connections there?"""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def busy_s() -> float:
    """Processor time all processes of this machine have had, as proc(5) counts it; stolen time included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(int(ticks) for place, ticks in enumerate(fields) if place not in _IDLE) / _TICKS_PER_S


def cpu_s(pid: int) -> float:
    """Processor time of a process and its children, living and ended, so far."""
    total = 0.0
    for entry in _family(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = _stat(entry)
            total += sum(map(int, fields[11:15])) / _TICKS_PER_S  # utime, stime, cutime, cstime: proc(5)
    return total


def _stat(pid: int) -> list[str]:
    """Fields of proc(5) after the command's name: [0] is the state, [1] the parent."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _family(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def wait_for(what: str, holds: Any, timeout_s: float = 60.0) -> None:
    """Poll until ``holds()``; BenchError naming ``what`` after the time-out."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise BenchError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.02)
