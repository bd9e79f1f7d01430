"""The sampler in a real process that works in one thread and waits in another."""

import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.processes import cpu_s, wait_for
from bench.sampler import BEGIN, END, Sample, ThreadSample

PROGRAM = """
import pathlib, sys, threading

def burn():
    while True:
        sum(range(1000))

def rest():
    threading.Event().wait()

for work in (burn, rest):
    threading.Thread(target=work, name=work.__name__, daemon=True).start()
pathlib.Path(sys.argv[1]).touch()
threading.Event().wait()
"""


def test_says_which_thread_worked_and_where(tmp_path: Path) -> None:
    (tmp_path / "busy_and_idle.py").write_text(PROGRAM)
    output, ready = tmp_path / "sample.json", tmp_path / "ready"
    command = [sys.executable, "-m", "bench.sampler", str(output), "busy_and_idle", str(ready)]
    process = subprocess.Popen(command, env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"})
    try:
        wait_for("the program runs", ready.exists, 20)
        process.send_signal(BEGIN)
        begun_s = cpu_s(process.pid)
        wait_for("it has worked for a while", lambda: cpu_s(process.pid) > begun_s + 0.5, 30)
        process.send_signal(END)
        wait_for("the sample is written", output.exists, 20)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    sample = msgspec.json.decode(output.read_bytes(), type=Sample)
    threads = {thread.name: thread for thread in sample.threads}
    assert threads.keys() == {"MainThread", "burn", "rest"}
    assert threads["burn"].cores > 10 * threads["rest"].cores
    assert _share(threads["burn"], " burn") > 0.9
    assert _share(threads["rest"], " rest") > 0.9
    assert _share(threads["rest"], " burn") == 0


def _share(thread: ThreadSample, ending: str) -> float:
    return sum(share for place, share in thread.anywhere.items() if place.endswith(ending))
