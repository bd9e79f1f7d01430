"""The process that derives label keys: its answers, its rank, and that it neither dies for good nor stays."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.services.deriver import NICE, Deriver, DeriverError, serve
from protocol.identity import ProductId, ProductKey
from protocol.signing import label_key, public_bytes
from tests.faults.processes import descendants

PRODUCT = ProductId.parse("ABCDEFGHJKLM")
KEY = ProductKey.parse("ABCDEFGHJKLMNP")
OTHER = ProductKey.parse("ABCDEFGHJKLMNQ")
ENDS_S = 10.0
STARTER = """
import sys
from cloud.services.deriver import Deriver
deriver = Deriver()
deriver.start()
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def one() -> Iterator[Deriver]:
    running = Deriver()
    yield running
    running.close()


def its_pid() -> int:
    """The process of the only deriver."""
    (pid,) = (pid for pid in descendants(os.getpid()) if is_deriver(pid))
    return pid


def is_deriver(pid: int) -> bool:
    """Whether this process is one, and lives."""
    try:
        return b"cloud.services.deriver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_gives_what_the_device_derives_and_gives_way_to_others(one: Deriver) -> None:
    for key in (KEY, OTHER, KEY):
        assert one.derive(PRODUCT, key) == public_bytes(label_key(PRODUCT, key))
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, its_pid()) == min(ours + NICE, 19)


def test_one_that_was_killed_is_started_again(one: Deriver) -> None:
    one.derive(PRODUCT, KEY)
    killed = its_pid()
    os.kill(killed, signal.SIGKILL)
    assert one.derive(PRODUCT, OTHER) == public_bytes(label_key(PRODUCT, OTHER))
    assert its_pid() != killed


def test_one_that_cannot_run_is_not_tried_for_ever(one: Deriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DeriverError):
        one.derive(PRODUCT, KEY)


def test_it_ends_with_whoever_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        deadline = time.monotonic() + ENDS_S
        while not (children := [pid for pid in descendants(starter.pid) if is_deriver(pid)]):
            assert time.monotonic() < deadline
        starter.kill()
    while is_deriver(children[0]):
        assert time.monotonic() < deadline, "it outlives whoever started it"


def test_it_answers_line_by_line() -> None:
    questions = b"".join(b"%s %s\n" % (PRODUCT.value.encode(), key.value.encode()) for key in (KEY, OTHER))
    answers = io.BytesIO()
    serve(io.BytesIO(questions), answers)
    assert answers.getvalue().decode().splitlines() == [
        public_bytes(label_key(PRODUCT, key)).hex() for key in (KEY, OTHER)
    ]
