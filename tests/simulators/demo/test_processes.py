"""The demo's children: real processes, started again when they die, gone when it stops."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulators.demo.layout import DemoError
from simulators.demo.processes import FIRST_RESTART_S, Children, run

DEADLINE_S = 20.0
WAITS = [sys.executable, "-c", "import signal, sys; print('up', flush=True); signal.pause()"]
DEAF_PROGRAM = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""
DEAF = [sys.executable, "-c", DEAF_PROGRAM]
ENDS = [sys.executable, "-c", "import sys; sys.exit('the reason')"]


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    children = Children(tmp_path)
    yield children
    children.stop()


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_stopping_waits_for_all(children: Children, tmp_path: Path) -> None:
    names = ("one", "two")
    running = [children.start(name, WAITS) for name in names]
    for name in names:
        until(lambda name=name: (tmp_path / f"{name}.log").read_text())  # type: ignore[misc]  # bound early
    assert children.stop() == []
    for child in running:
        assert child.process.returncode is not None
        assert not Path(f"/proc/{child.process.pid}").exists()


def test_who_does_not_stop_when_asked_is_killed(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulators.demo.processes.STOP_TIMEOUT_S", 0.2)
    child = children.start("deaf", DEAF)
    until((tmp_path / "deaf.log").read_text)
    assert children.stop() == ["deaf"]
    assert child.process.returncode == -9


def test_who_dies_is_started_again_less_and_less_often(children: Children) -> None:
    child = children.start("short", ENDS)
    assert children.revive() == [], "not at once"
    until(children.revive)
    assert child.pause_s == 2 * FIRST_RESTART_S
    assert time.monotonic() - child.started_s < 1


def test_who_dies_at_the_start_is_told_of_with_its_last_words(children: Children) -> None:
    child = children.start("short", ENDS)
    child.process.wait()
    with pytest.raises(DemoError, match=r"(?s)short ended with status 1.*the reason"):
        children.check(child)


def test_own_programs_do_not_see_the_settings_of_another_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere.example.org/x")
    monkeypatch.setenv("SMARTCONNECT_PORTAL_PORT", "1")
    monkeypatch.setenv("SMARTCONNECT_FAULT", "commit:1")
    done = run([sys.executable, "-c", "import os; print(*sorted(os.environ)); print(input())"], "secret\n")
    names, heard = done.stdout.splitlines()
    assert heard == "secret"
    assert "DATABASE_URL" not in names
    assert "SMARTCONNECT_PORTAL_PORT" not in names
    assert "SMARTCONNECT_FAULT" in names
