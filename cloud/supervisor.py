"""Runs child processes for ``serve``: starts them in order, restarts one that dies, stops all of them in
time.

::

started ──▶ running ──exit──▶ waiting (0.2 s, doubled up to 10 s; 0.2 s again after 30 s of running) ──▶
started │ exit status 2 (a setting is wrong: starting again would not help) ▼ everything stops, and serve
ends with status 2
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from cloud.process import end_with_parent

FIRST_DELAY_S: Final = 0.2
MAX_DELAY_S: Final = 10.0
HEALTHY_AFTER_S: Final = 30.0
STOP_TIMEOUT_S: Final = 4.0  # two groups of children, one after the other, within 9 s
EXIT_CONFIGURATION: Final = 2
LINE_LIMIT_BYTES: Final = 1 << 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Child:
    """One process to keep running; ``before`` is awaited ahead of each start, for instance to find its
    database.
    """

    name: str
    command: Sequence[str]


class Supervisor:
    """Keeps groups of children running until told to stop; a later group stops before an earlier one."""

    def __init__(self, *, prefix: bool) -> None:
        self._prefix = prefix
        self._stopping = asyncio.Event()
        self._groups: list[list[asyncio.Task[None]]] = []
        self.exit_code = 0

    def stop(self, exit_code: int = 0) -> None:
        """Ask for the end; the first reason decides the exit code."""
        if not self._stopping.is_set():
            self.exit_code = exit_code
            self._stopping.set()

    async def wait_stopping(self) -> None:
        """Return once somebody asked for the end."""
        await self._stopping.wait()

    @property
    def stopping(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stopping.is_set()

    def start(self, children: Sequence[Child]) -> None:
        """Start a group of children and keep it running."""
        self._groups.append([asyncio.create_task(self._keep(child), name=child.name) for child in children])

    async def until_ready(self, ready: Callable[[], Awaitable[bool]], timeout_s: float) -> bool:
        """Poll ``ready``; False when the end was asked for, or the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not self.stopping and loop.time() < deadline:
            if await ready():
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 0.02)
        return False

    async def stop_all(self) -> None:
        """Stop the groups, the last one first."""
        self.stop()
        for group in reversed(self._groups):
            for task in group:
                task.cancel()
            await asyncio.gather(*group, return_exceptions=True)

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        delay_s = FIRST_DELAY_S
        while True:
            began = loop.time()
            code = await self._run(child)
            if self.stopping:
                return
            if code == EXIT_CONFIGURATION:
                log.error("a process cannot run with these settings", child=child.name)
                self.stop(EXIT_CONFIGURATION)
                return
            if loop.time() - began > HEALTHY_AFTER_S:
                delay_s = FIRST_DELAY_S
            log.warning(
                "a process ended and is started again", child=child.name, status=code, delay_s=delay_s
            )
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, MAX_DELAY_S)

    async def _run(self, child: Child) -> int:
        process = await asyncio.create_subprocess_exec(
            *child.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops them in order
            preexec_fn=end_with_parent(signal.SIGTERM),
            limit=LINE_LIMIT_BYTES,
        )
        assert process.stdout is not None  # noqa: S101 - asked for above
        copying = asyncio.create_task(self._copy(child.name, process.stdout), name=f"output of {child.name}")
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _end(child.name, process)
            raise
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(copying, 1.0)
        return code

    async def _copy(self, name: str, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line beyond the limit; what was read of it is dropped
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip("\n")
            sys.stderr.write(f"{name:<8}│ {text}\n" if self._prefix else text + "\n")
            sys.stderr.flush()


async def _end(name: str, process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            if number == signal.SIGKILL:
                log.warning(
                    "a process did not stop in time and is killed", child=name, after_s=STOP_TIMEOUT_S
                )
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            return


def handle_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` at SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def own_command(*arguments: str) -> list[str]:
    """Command line that runs this very program with other arguments."""
    return [sys.executable, "-P", "-m", "cloud", *arguments]


def has_terminal() -> bool:
    """Whether our log goes to a person."""
    return os.isatty(sys.stderr.fileno())
