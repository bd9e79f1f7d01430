"""One ``make demo`` in a clone: started as a person starts it, read line by line, ended, and looked for."""

import contextlib
import fcntl
import itertools
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.accept import CheckError, expect, wait_until

LABEL: Final = re.compile(r"^Product ID ([0-9A-Z]{12})  Product Key ([0-9A-Z]{14})$")
LOG_IN: Final = re.compile(r"^Log-in +(\S+@\S+) +password (\S+)$")
PORTAL: Final = re.compile(r"^Portal +(https?://\S+)$")
LAST_LINE: Final = "Ctrl-C stops everything"
COLOUR: Final = "\x1b["
STOP_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class User:
    """Whom the demo runs as."""

    uid: int
    home: Path
    path: str
    python: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Ours with their home and programs, without what a fresh shell would not have."""
        foreign = ("SMARTCONNECT_", "MAKE", "MFLAGS", "PYTHON", "PYTEST", "VIRTUAL_ENV", "CI", "DATABASE_URL")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**kept, "HOME": str(self.home), "PATH": self.path, "LANG": "C.UTF-8", "TERM": "xterm"}

    def command(self, *words: str) -> list[str]:
        """A command line that runs as this user."""
        if self.uid == os.getuid():
            return list(words)
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--", *words]


@dataclass(slots=True)
class LabelShown:
    """A label as printed, and the lines to paste that follow it."""

    product_id: str
    product_key: str
    commands: list[str] = field(default_factory=list)

    def command(self, ending: str) -> str:
        """The one command that ends so."""
        found = [command for command in self.commands if command.endswith(ending)]
        expect(len(found) == 1, f"{len(found)} lines to paste end with {ending!r}")
        return found[0]


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is surely the same one later: its id and when it began."""

    pid: int
    began: str


class Demo:
    """A running ``make demo``. ``terminal``: in one, as most people run it, else with a pipe for output."""

    def __init__(self, clone: Path, user: User, *arguments: str, terminal: bool = False) -> None:
        self.clone = clone
        self.lines: list[str] = []
        self.moments_s: list[float] = []
        self.began_s = time.monotonic()
        self._user = user
        self._closing = threading.Event()
        ours, theirs = pty.openpty() if terminal else os.pipe()
        self._process = subprocess.Popen(
            user.command("make", "demo", *arguments, *([f"PYTHON={user.python}"] if user.python else [])),
            cwd=clone,
            env=user.environment,
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal if terminal else None,  # noqa: PLW1509 - one ioctl
        )
        os.close(theirs)
        self._reading = threading.Thread(target=self._read, args=(ours,))
        self._reading.start()

    def wait_ready(self, timeout_s: float) -> float:
        """Wait until all is printed; seconds since the start."""
        wait_until("make demo prints everything", lambda: self._is_ready() or self._ended(), timeout_s)
        expect(self._is_ready(), f"make demo ended: {' / '.join(self.lines[-12:])}")
        return time.monotonic() - self.began_s

    @property
    def longest_silence_s(self) -> float:
        """Longest time without a line until everything was printed."""
        moments = [self.began_s, *self.moments_s]
        return max(later - earlier for earlier, later in itertools.pairwise(moments))

    @property
    def portal_url(self) -> str:
        """The printed address."""
        return self._all(PORTAL)[0][0]

    @property
    def log_ins(self) -> list[tuple[str, str]]:
        """Printed e-mail addresses and passwords."""
        return [(email, password) for email, password in self._all(LOG_IN)]

    @property
    def labels(self) -> list[LabelShown]:
        """Printed labels with their commands."""
        found: list[LabelShown] = []
        for line in self.lines:
            match = LABEL.match(line)
            if match:
                found.append(LabelShown(match[1], match[2]))
            elif found and "smartconnect-simulator ctl" in line:
                found[-1].commands.append(line.strip())
        return found

    def paste(self, command: str) -> None:
        """Run a printed line in a shell of the same user, elsewhere."""
        done = subprocess.run(
            self._user.command("sh", "-c", command),
            cwd="/",
            env=self._user.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        expect(done.returncode == 0, f"{command}: {done.stderr}")

    def press_ctrl_c(self) -> float:
        """SIGINT to the foreground's process group, as a terminal sends it; seconds until nothing is left."""
        return self._end("Ctrl-C", lambda: os.killpg(self._process.pid, signal.SIGINT))

    def close_output(self) -> float:
        """Close the terminal's window, or stop reading the pipe; seconds until nothing is left."""
        return self._end("closing its output", self._closing.set)

    def kill_rest(self) -> None:
        """After a failed check: end what this run has left, by process id."""
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        self._closing.set()

    def _end(self, what: str, act: Callable[[], None]) -> float:
        before = self._processes()
        expect(len(before) > 5, f"only {len(before)} processes before {what}")
        began = time.monotonic()
        act()
        try:
            wait_until("", lambda: self._ended() and not self._left(before), STOP_S)
        except CheckError:
            left = [_command_line(process.pid) for process in self._left(before)]
            raise CheckError(f"{what} leaves after {STOP_S:g} s: {left or 'make itself'}") from None
        took_s = time.monotonic() - began
        self._closing.set()
        self._reading.join()
        return took_s

    def _left(self, before: set[Process]) -> set[Process]:
        return {process for process in before if _began(process.pid) == process.began} | self._processes()

    def _processes(self) -> set[Process]:
        """Descendants of make, members of their sessions, and whoever works in the clone or names it."""
        table = _table()
        tree = {self._process.pid}
        for _ in range(12):  # deeper than any tree of ours
            tree |= {pid for pid, (parent, _) in table.items() if parent in tree}
        sessions = {table[pid][1] for pid in tree if pid in table}
        found = set()
        for pid, (_, session) in table.items():
            if pid in tree or session in sessions or _belongs(pid, self.clone):
                found.add(Process(pid, _began(pid)))
        return {process for process in found if process.began}

    def _ended(self) -> bool:
        return self._process.poll() is not None

    def _is_ready(self) -> bool:
        return any(LAST_LINE in line for line in self.lines)

    def _all(self, pattern: re.Pattern[str]) -> list[tuple[str, ...]]:
        found = [match.groups() for line in self.lines if (match := pattern.match(line))]
        expect(found, f"nothing printed looks like {pattern.pattern}")
        return found

    def _read(self, descriptor: int) -> None:
        rest = b""
        with open(descriptor, "rb", buffering=0) as output:
            while not self._closing.is_set():
                if not select.select([output], [], [], 0.1)[0]:
                    continue
                try:
                    piece = output.read(65536)
                except OSError:  # a terminal that nobody has open any more
                    return
                if not piece:
                    return
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self.moments_s.append(time.monotonic())
                    self.lines.append(line.decode(errors="replace").rstrip("\r"))


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _table() -> Mapping[int, tuple[int, int]]:
    """Parent and session of every process."""
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and fields[0] != "Z":
                table[int(entry.name)] = (int(fields[1]), int(fields[3]))
    return table


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; none when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _began(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def _belongs(pid: int, clone: Path) -> bool:
    try:
        place = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return place.is_relative_to(clone) or str(clone) in _command_line(pid)


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""
