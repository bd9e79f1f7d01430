"""WorkStation on a pseudo-terminal, typed at as a person does."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final, Self

from tests.faults.processes import clean_environment

if TYPE_CHECKING:
    from types import TracebackType

WAIT_S: Final = 60.0
PROMPT: Final = re.compile(r"WorkStation 1\.\d \[[\w-]+\]> $")


class Terminal:
    """The simulator on a pseudo-terminal."""

    def __init__(self, command: list[str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=clean_environment()
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(WAIT_S)
        os.close(self._master)

    def read(self) -> str:
        """What it says up to its next prompt."""
        said, deadline_s = "", time.monotonic() + WAIT_S
        while not PROMPT.search(said):
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                raise AssertionError(f"no prompt within {WAIT_S:g} s after:\n{said}")
            said += os.read(self._master, 65536).decode().replace("\r\n", "\n")
        return said

    def type(self, line: str) -> str:
        """Type a line; the answer."""
        os.write(self._master, line.encode() + b"\n")
        return self.read()

    def leave(self) -> int:
        """Quit; the exit status."""
        os.write(self._master, b"quit\n")
        return self._process.wait(WAIT_S)


def request_in(said: str) -> str:
    return "-".join(re.findall(r"^(?:[0-9A-Z]{6}-){5}[0-9A-Z]{6}$", said, re.MULTILINE))


def id_in(said: str) -> str:
    found = re.search(r"(?:[1-9A-Za-z]{5}-){8}[1-9A-Za-z]{5}", said)
    assert found is not None, said
    return found[0]
