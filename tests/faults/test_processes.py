"""The handles on processes themselves: nothing survives, a kill takes all below, the environment is clean."""

import os
import sys
from pathlib import Path

import pytest

from tests.accept import wait_until
from tests.faults.processes import PartError, Parts, clean_environment, descendants

NAP = "import time; print('up', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {NAP}"
PARENT = (
    "import subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True);"
    "print('up', flush=True); time.sleep(60)"
)


def runs(pid: int) -> bool:
    """Whether this process is there and is more than an entry that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_everything_ends_with_the_block(tmp_path: Path) -> None:
    with Parts(tmp_path) as parts:
        part = parts.add("nap", [sys.executable, "-c", NAP]).start()
        wait_until("it runs", lambda: part.find("up"), 20)
        pid = part.pid
    assert not runs(pid)


def test_a_kill_takes_what_runs_below_in_sessions_of_their_own(tmp_path: Path) -> None:
    with Parts(tmp_path) as parts:
        part = parts.add("parent", [sys.executable, "-c", PARENT]).start()
        wait_until("both run", lambda: part.find("up") and descendants(part.pid), 20)
        below = descendants(part.pid)
        part.kill()
        assert part.status == -9
        wait_until("the child has ended", lambda: not any(map(runs, below)), 5)


def test_killing_below_leaves_the_parent(tmp_path: Path) -> None:
    with Parts(tmp_path) as parts:
        part = parts.add("parent", [sys.executable, "-c", PARENT]).start()
        wait_until("both run", lambda: part.find("up") and descendants(part.pid), 20)
        below = descendants(part.pid)
        part.kill_below()
        wait_until("the child has ended", lambda: not any(map(runs, below)), 5)
        assert part.alive


def test_a_program_that_does_not_stop_is_named_and_killed(tmp_path: Path) -> None:
    with Parts(tmp_path) as parts:
        part = parts.add("deaf", [sys.executable, "-c", DEAF]).start()
        wait_until("it runs", lambda: part.find("up"), 20)
        with pytest.raises(PartError, match="deaf did not stop"):
            part.stop(0.2)
        assert part.status == -9


def test_an_early_end_is_told_with_the_last_words(tmp_path: Path) -> None:
    with Parts(tmp_path) as parts:
        part = parts.add("brief", [sys.executable, "-c", "raise SystemExit('no luck')"], ready=lambda: False)
        with pytest.raises(PartError, match="no luck"):
            part.start().wait_ready(20)


def test_nothing_of_ours_leaks_into_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    monkeypatch.setenv("SMARTCONNECT_FAULT", "agent.publish:1:kill")
    found = clean_environment({"X": "1"})
    assert found["PATH"] == os.environ["PATH"]
    assert found["X"] == "1"
    assert not any(name.startswith(("DATABASE", "SMARTCONNECT")) for name in found)
