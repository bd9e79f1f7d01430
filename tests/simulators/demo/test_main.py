"""``smartconnect-demo`` as a process: what it prints, that it ends whole, and that it remembers."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulators.control import send
from simulators.demo.report import RULE

START_S = 60.0
STOP_S = 10.0
ENDINGS = ("Ctrl-C", "terminal closed", "killed", "closed pipe")
LABEL = re.compile(r"^Product ID [0-9A-Z]{12}  Product Key [0-9A-Z]{14}$", re.MULTILINE)


class RunningDemo:
    """The program with a pipe for its output."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "simulators.demo", "--state-dir", str(folder), *arguments],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        deadline = time.monotonic() + START_S
        while self.said.count(RULE) < 2:
            line = self.process.stdout.readline().decode()
            assert line, f"it ended: {self.said}"
            assert time.monotonic() < deadline
            self.said += line

    def children(self) -> list[int]:
        """Process ids of its children and theirs."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                fields = _stat(int(entry.name))
                if fields:
                    parents[int(entry.name)] = int(fields[1])
        tree = {self.process.pid}
        for _ in range(6):
            tree |= {pid for pid, parent in parents.items() if parent in tree}
        return sorted(tree - {self.process.pid})

    def end(self, how: str) -> None:
        """Bring it to its end in one of the ways that happen."""
        assert self.process.stdout is not None
        match how:
            case "Ctrl-C":
                os.killpg(self.process.pid, signal.SIGINT)
            case "closed pipe":
                self.process.stdout.close()
            case "terminal closed":
                self.process.send_signal(signal.SIGHUP)
            case "killed":
                self.process.kill()
        self.wait_ended()

    def wait_ended(self) -> None:
        """Wait for the end; a failure says which processes were slow, and the last each of them said."""
        try:
            self.process.wait(STOP_S / 2)
        except subprocess.TimeoutExpired:
            slow = [
                Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in self.children() if _stat(pid)
            ]
            try:
                self.process.wait(STOP_S / 2)
            except subprocess.TimeoutExpired:
                said = [f"{log.name}:\n{log.read_text()[-2000:]}" for log in (self.folder / "logs").iterdir()]
                pytest.fail("\n".join(["still there after half of the time:", *slow, *said]))


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


@contextlib.contextmanager
def running(folder: Path) -> Iterator[RunningDemo]:
    demo = RunningDemo(folder)
    try:
        demo.wait_ready()
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.process.wait(2 * STOP_S)
        assert demo.process.stdout is not None
        demo.process.stdout.close()


def reset(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulators.demo", "--state-dir", str(folder), "--reset"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timeout(240)
def test_however_it_ends_nothing_is_left_and_the_next_start_remembers_until_a_reset(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    labels: list[str] = []
    for ending in ENDINGS:
        with running(folder) as demo:
            found = LABEL.findall(demo.said)
            labels = labels or found
            assert len(labels) == 2
            assert found == labels
            is_first = ending == ENDINGS[0]
            remembered = send(folder / "ups2.sock", ["state"])["smartconnect"]
            assert remembered != is_first, "off at the first start, then as it was left"
            send(folder / "ups2.sock", ["enable"])
            _until(lambda: '"smartconnect": false' not in (folder / "demo.json").read_text())
            if is_first:
                refused = reset(folder)
                assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)
            before = demo.children()
            assert len(before) > 5
            demo.end(ending)
            _until(lambda before=before: not any(_lives(pid) for pid in before))  # type: ignore[misc]  # bound early
    assert reset(folder).returncode == 0
    assert not folder.exists()


def _lives(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + STOP_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
