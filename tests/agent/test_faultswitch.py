"""The switch that stops or kills an agent at a named point, for tests only."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.faultswitch import VARIABLE, arm
from protocol import faults
from tests.agent.house import wait_for
from tests.faults.processes import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
import os
from agent import faultswitch, logs
from protocol.faults import reach
logs.configure()
faultswitch.arm(os.environ)
for number in range(1, 4):
    print(number, flush=True)
    reach("agent.spool.fsync")
print("end", flush=True)
"""


@pytest.fixture(autouse=True)
def _nothing_armed() -> Iterator[None]:
    yield
    faults.disarm()


def program(spec: str) -> subprocess.Popen[str]:
    """A process that passes a point three times."""
    environment = clean_environment({VARIABLE: spec} if spec else {})
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def said(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """How it ended, and what it said before."""
    text, _ = process.communicate(timeout=30)
    return process.returncode, text.split()


def test_unset_it_does_nothing() -> None:
    assert said(program("")) == (0, ["1", "2", "3", "end"])


@pytest.mark.parametrize("spec", ["agent.spool.fsync:2", "agent.spool.fsync:2:kill"])
def test_it_kills_at_the_nth_passing(spec: str) -> None:
    assert said(program(spec)) == (-signal.SIGKILL, ["1", "2"])


@pytest.mark.parametrize("form", ["hold:", "hold="])
def test_it_holds_until_the_file_is_gone(tmp_path: Path, form: str) -> None:
    flag = tmp_path / "held"
    process = program(f"agent.spool.fsync:2:{form}{flag}")
    wait_for("it is held", flag.exists)
    assert process.poll() is None
    flag.unlink()
    assert said(process) == (0, ["1", "2", "3", "end"])


@pytest.mark.parametrize("spec", ["no.such.point:1", "agent.spool.fsync:x", "agent.spool.fsync:1:explode"])
def test_what_it_does_not_know_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="is not name:n"):
        arm({VARIABLE: spec})
