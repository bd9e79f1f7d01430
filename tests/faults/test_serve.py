"""``smartconnect-cloud serve`` outlives the death of its children, and comes back after its own."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accept import wait_until
from tests.faults.processes import descendants
from tests.support.stack import Stack, cloud_stack

TIMEOUT_S = 60.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with cloud_stack(tmp_path / "cloud") as stack:
        yield stack


def children(stack: Stack) -> dict[str, int]:
    """Process ids of the running parts, by command."""
    found = {}
    for pid in descendants(stack.part.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"cloud" in words:
            found[words[words.index(b"cloud") + 1].decode()] = pid
    return found


def is_whole(stack: Stack) -> bool:
    """Whether all parts run and answer."""
    return stack.part.ready is not None and stack.part.ready() and len(children(stack)) == 4


def test_a_database_killed_with_everything_that_uses_it(stack: Stack) -> None:
    """The gateway, the portal and the jobs are back before their database is, and wait for it."""
    wait_until("all parts run", lambda: is_whole(stack), TIMEOUT_S)
    before = children(stack)
    server = descendants(before["postgres"])
    for pid in (*server, before["gateway"], before["portal"], before["jobs"]):
        os.kill(pid, signal.SIGKILL)
    wait_until(
        "all parts are new ones and answer",
        lambda: is_whole(stack) and not set(children(stack).values()) & set(before.values()),
        TIMEOUT_S,
    )
    assert stack.part.alive
    assert stack.part.stop() == 0


def test_a_killed_serve_can_be_started_again_at_once(stack: Stack) -> None:
    """Its children end by themselves; meanwhile they hold the ports and the data directory."""
    os.kill(stack.part.pid, signal.SIGKILL)
    assert stack.part.wait(TIMEOUT_S) == -signal.SIGKILL
    stack.part.start().wait_ready()
    wait_until("all parts run", lambda: is_whole(stack), TIMEOUT_S)
    assert stack.part.stop() == 0
